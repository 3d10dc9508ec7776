//! Replies as they come off the wire, and what they announce.

#![no_main]

use slurm_protocol::{MIN_FRAME, Message, Prefix, Reply, prefix};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let limit = 64 << 20;
    if let Some((first, _)) = data.split_first_chunk::<4>()
        && let Ok(Prefix::Frame(length)) = prefix(*first, limit)
    {
        assert!((MIN_FRAME..=limit).contains(&length));
    }
    let reply = match Reply::decode(data) {
        Ok(reply) => reply,
        Err(error) => {
            assert!(error.offset <= data.len(), "{error}");
            return;
        }
    };
    assert!(reply.auth_range().end + reply.body.len() == data.len());
    match reply.message() {
        Ok(Message::Config(config) | Message::Reconfigure(config)) => {
            let held = config.files.iter().map(|file| file.content.len());
            assert!(held.sum::<usize>() <= data.len());
        }
        Ok(_) => {}
        Err(error) => assert!(error.offset <= data.len(), "{error}"),
    }
});

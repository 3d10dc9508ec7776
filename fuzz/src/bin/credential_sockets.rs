//! What munged and Slurm's own daemons answer over their sockets.

#![no_main]

use slurm_protocol::{
    MUNGED_HEADER, MungedReply, munged_reply_length, sack_reply, sack_reply_length,
};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((&choice, answer)) = data.split_first() else {
        return;
    };
    let munged = choice % 2 == 0;
    if munged && let Some((header, body)) = answer.split_first_chunk::<MUNGED_HEADER>() {
        let _ = munged_reply_length(header);
        if let Ok(MungedReply::Credential(credential)) = MungedReply::decode(body) {
            assert!(!credential.is_empty() && credential.len() < body.len());
        }
    }
    if !munged && let Some((first, rest)) = answer.split_first_chunk::<4>() {
        let _ = sack_reply_length(*first);
        let _ = sack_reply(rest);
    }
    match straw::fuzzing::credential(munged, answer) {
        Ok(credential) => assert!(credential.bytes().all(|byte| byte.is_ascii_graphic())),
        Err(error) => assert!(straw_fuzz::is_harmless(&error), "{error:?}"),
    }
});

#![no_main]

use slurm_protocol::{
    MUNGED_HEADER, MungedReply, munged_reply_length, sack_reply, sack_reply_length,
};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Some((header, body)) = data.split_first_chunk::<MUNGED_HEADER>() {
        let _ = munged_reply_length(header);
        let _ = MungedReply::decode(body);
    }
    if let Some((first, rest)) = data.split_first_chunk::<4>() {
        let _ = sack_reply_length(*first);
        let _ = sack_reply(rest);
    }
});

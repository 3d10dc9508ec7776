#![no_main]

use slurm_protocol::Reply;

libfuzzer_sys::fuzz_target!(|frame: &[u8]| {
    if let Ok(reply) = Reply::decode(frame) {
        let _ = reply.message();
    }
});

#![no_main]

use slurm_protocol::MessageType;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    slurm_protocol_fuzz::body(MessageType::RESPONSE_CONFIG, data);
});

#![no_main]

libfuzzer_sys::fuzz_target!(|data: ([u8; 4], usize)| {
    let (bytes, limit) = data;
    let _ = slurm_protocol::prefix(bytes, limit);
});

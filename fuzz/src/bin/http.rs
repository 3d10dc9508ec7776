//! Requests to the server behind `--health`: whatever comes, what goes back is one answer in HTTP.

#![no_main]

use straw::fuzzing::{Asked, ask};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let failure = String::from_utf8_lossy(data);
    let Asked::Answered(answer) = ask(data, &failure) else {
        assert!(data.len() < 8 * 1024);
        return;
    };
    let end = answer
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .expect("a head");
    let (head, body) = answer.split_at(end + 4);
    let head = str::from_utf8(head).expect("a head is text");
    assert!(head.starts_with("HTTP/1.1 "), "{head}");
    assert!(
        head.matches("\r\n").count() == head.matches('\n').count(),
        "{head}"
    );
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "));
    let length: usize = length.expect("a length").parse().expect("a number");
    assert!(
        body.len() == length || (body.is_empty() && data.trim_ascii_start().starts_with(b"HEAD "))
    );
    let body = str::from_utf8(body).expect("a body is text");
    assert!(straw_fuzz::is_harmless(body), "{body:?}");
});

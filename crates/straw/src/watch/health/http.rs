//! HTTP/1.1, as little of it as it takes: a request's head in, an answer's bytes out.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::metrics;
use super::status::Status;
use crate::text::time;

/// The longest head of a request that is read, in bytes.
pub(super) const LONGEST_HEAD: usize = 8 * 1024;

/// The most header lines in it.
const MOST_HEADERS: usize = 64;

const TEXT: &str = "text/plain; charset=utf-8";

/// What was made of the bytes that came so far.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Head<'a> {
    /// The head does not end in them.
    Partial,
    /// It ends; a body may follow, in which nobody is interested.
    Whole(Request<'a>),
    /// It is not read any further.
    Refused(Code),
}

/// What is asked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request<'a> {
    method: &'a str,
    target: &'a str,
}

/// The status codes that are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    Ok,
    BadRequest,
    NotFound,
    NotAllowed,
    HeadTooLarge,
    Unavailable,
}

impl Code {
    fn line(self) -> &'static str {
        match self {
            Self::Ok => "200 OK",
            Self::BadRequest => "400 Bad Request",
            Self::NotFound => "404 Not Found",
            Self::NotAllowed => "405 Method Not Allowed",
            Self::HeadTooLarge => "431 Request Header Fields Too Large",
            Self::Unavailable => "503 Service Unavailable",
        }
    }
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    code: Code,
    content_type: &'static str,
    body: String,
    /// Whether the body is only spoken of.
    head_only: bool,
}

/// Reads the head of a request off the beginning of what came.
pub(super) fn head(bytes: &[u8]) -> Head<'_> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) if length > LONGEST_HEAD => {
            Head::Refused(Code::HeadTooLarge)
        }
        Ok(httparse::Status::Partial) if bytes.len() >= LONGEST_HEAD => {
            Head::Refused(Code::HeadTooLarge)
        }
        Ok(httparse::Status::Partial) => Head::Partial,
        Err(httparse::Error::TooManyHeaders) => Head::Refused(Code::HeadTooLarge),
        Err(_) => Head::Refused(Code::BadRequest),
        Ok(httparse::Status::Complete(_)) => {
            let is_host = |header: &&httparse::Header<'_>| header.name.eq_ignore_ascii_case("host");
            let hosts = request.headers.iter().filter(is_host).count();
            match (request.method, request.path, request.version) {
                // A request of 1.1 has one, and RFC 9112 has us insist.
                (_, _, Some(1)) if hosts != 1 => Head::Refused(Code::BadRequest),
                (Some(method), Some(target), _) => Head::Whole(Request { method, target }),
                _ => Head::Refused(Code::BadRequest),
            }
        }
    }
}

impl Request<'_> {
    /// Answers it with what is known now.
    pub(super) fn answer(&self, status: &Status) -> Answer {
        // Asked as a proxy is asked, a target has the host before the path.
        let path = match self.target.split_once("://") {
            Some(("http", rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
            _ => self.target,
        };
        let path = path.split(['?', '#']).next().unwrap_or_default();
        let known = ["/healthz", "/readyz", "/metrics"].contains(&path);
        let mut answer = match (self.method, path) {
            ("GET" | "HEAD", "/healthz") => Answer::whether(status.alive(Instant::now())),
            ("GET" | "HEAD", "/readyz") => Answer::whether(status.ready(SystemTime::now())),
            ("GET" | "HEAD", "/metrics") => Answer {
                content_type: metrics::CONTENT_TYPE,
                ..Answer::new(Code::Ok, &status.metrics(SystemTime::now()))
            },
            _ if known => Answer::new(Code::NotAllowed, "only GET and HEAD are answered\n"),
            _ => Answer::new(Code::NotFound, "there are /healthz, /readyz and /metrics\n"),
        };
        answer.head_only = self.method == "HEAD";
        answer
    }
}

impl Answer {
    /// One to a request that was not read.
    pub(super) fn refusal(code: Code) -> Self {
        let body = match code {
            Code::HeadTooLarge => "the head of a request has 8 KiB and 64 lines at most\n",
            Code::Unavailable => "too many connections at once\n",
            _ => "this is no request in HTTP/1.1\n",
        };
        Self::new(code, body)
    }

    /// A yes, or a no with its reason.
    fn whether(outcome: Result<(), String>) -> Self {
        match outcome {
            Ok(()) => Self::new(Code::Ok, "ok\n"),
            Err(why) => Self::new(Code::Unavailable, &(why + "\n")),
        }
    }

    fn new(code: Code, body: &str) -> Self {
        Self {
            code,
            content_type: TEXT,
            body: body.to_owned(),
            head_only: false,
        }
    }

    /// What goes over the wire.
    pub(super) fn to_bytes(&self, now: SystemTime) -> Vec<u8> {
        let allow = match self.code {
            Code::NotAllowed => "Allow: GET, HEAD\r\n",
            _ => "",
        };
        let date = date(now).map(|date| format!("Date: {date}\r\n"));
        format!(
            "HTTP/1.1 {}\r\n{}{allow}Content-Type: {}\r\nContent-Length: {}\r\n\
             Cache-Control: no-store\r\nConnection: close\r\n\r\n{}",
            self.code.line(),
            date.unwrap_or_default(),
            self.content_type,
            self.body.len(),
            if self.head_only { "" } else { &self.body },
        )
        .into_bytes()
    }
}

/// A time as HTTP writes it: `Sun, 06 Nov 1994 08:49:37 GMT`.
fn date(now: SystemTime) -> Option<String> {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let seconds = now.duration_since(UNIX_EPOCH).ok()?.as_secs();
    let weekday = DAYS[(seconds / 86400 % 7) as usize];
    // 1994-11-06T08:49:37Z
    let text = time(seconds)?;
    let (date, clock) = text.trim_end_matches('Z').split_once('T')?;
    let mut parts = date.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    let month = MONTHS.get(month.parse::<usize>().ok()?.checked_sub(1)?)?;
    Some(format!("{weekday}, {day} {month} {year} {clock} GMT"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::super::testing::{at, current};
    use super::*;

    fn ask(request: &str, status: &Status) -> String {
        let answer = match head(request.as_bytes()) {
            Head::Whole(request) => request.answer(status),
            Head::Refused(code) => Answer::refusal(code),
            Head::Partial => panic!("{request}"),
        };
        String::from_utf8(answer.to_bytes(at(784_111_777))).unwrap()
    }

    fn status_line(request: &str) -> String {
        let status = Status::new(Duration::from_secs(60));
        let answer = ask(request, &status);
        answer.lines().next().unwrap().to_owned()
    }

    #[test]
    fn an_answer_byte_for_byte() {
        let status = Status::new(Duration::MAX);
        let head = "HTTP/1.1 503 Service Unavailable\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
                    Content-Type: text/plain; charset=utf-8\r\nContent-Length: 30\r\n\
                    Cache-Control: no-store\r\nConnection: close\r\n\r\n";
        let body = "no configuration is there yet\n";
        assert_eq!(ask("HEAD /readyz HTTP/1.0\r\n\r\n", &status), head);
        let get = "GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n";
        assert_eq!(ask(get, &status), format!("{head}{body}"));
        status.found(&current("..gen-1", 1000));
        let answer = ask(get, &status);
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nok\n"), "{answer}");

        status.next_sign_by(Instant::now());
        let answer = ask(&get.replace("readyz", "healthz"), &status);
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.contains("a sign of life"), "{answer}");

        let answer = ask(&get.replace("readyz", "metrics"), &status);
        let kind = "\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n";
        assert!(answer.contains(kind), "{answer}");
        assert!(answer.contains("\nstraw_ready 1\n"), "{answer}");
        let not_allowed = ask(&get.replace("GET", "DELETE"), &status);
        assert!(
            not_allowed.contains("\r\nAllow: GET, HEAD\r\n"),
            "{not_allowed}"
        );
    }

    #[test]
    fn requests_and_their_answers() {
        let many = "A: b\r\n".repeat(MOST_HEADERS);
        let long = "b".repeat(LONGEST_HEAD);
        for (request, code) in [
            ("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", 200),
            ("GET /healthz HTTP/1.1\nHost: a\n\nwith a body", 200),
            ("GET /healthz HTTP/1.0\r\n\r\n", 200),
            ("GET /healthz?verbose HTTP/1.0\r\n\r\n", 200),
            ("GET http://a:9100/healthz HTTP/1.0\r\n\r\n", 200),
            ("GET http://a HTTP/1.0\r\n\r\n", 404),
            ("GET / HTTP/1.0\r\n\r\n", 404),
            ("GET /healthz/ HTTP/1.0\r\n\r\n", 404),
            ("GET /../healthz HTTP/1.0\r\n\r\n", 404),
            ("OPTIONS * HTTP/1.0\r\n\r\n", 404),
            ("get /healthz HTTP/1.0\r\n\r\n", 405),
            ("POST /readyz HTTP/1.0\r\n\r\n", 405),
            ("POST /metrics HTTP/1.0\r\n\r\n", 405),
            ("GET /healthz HTTP/1.1\r\n\r\n", 400),
            ("GET /healthz HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n", 400),
            ("GET /healthz\r\n\r\n", 400),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
            ("\x16\x03\x01\x02", 400),
            ("SSH-2.0-OpenSSH_9.6\r\n", 400),
            (&format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n"), 431),
            (&format!("GET / HTTP/1.1\r\nHost: {long}"), 431),
            (&format!("GET / HTTP/1.1\r\nHost: {long}\r\n\r\n"), 431),
        ] {
            let answer = status_line(request);
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {code} ")),
                "{request}: {answer}"
            );
        }
        let most = LONGEST_HEAD - "GET / HTTP/1.1\r\nHost: \r\n\r\n".len();
        let request = |length| format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", "b".repeat(length));
        assert_eq!(status_line(&request(most)), "HTTP/1.1 404 Not Found");
        assert!(status_line(&request(most + 1)).starts_with("HTTP/1.1 431 "));
    }

    #[test]
    fn dates() {
        assert_eq!(date(at(0)).unwrap(), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(
            date(at(951_825_600)).unwrap(),
            "Tue, 29 Feb 2000 12:00:00 GMT"
        );
        assert_eq!(date(at(u64::from(u32::MAX) * 1000)), None);
    }

    proptest! {
        #[test]
        fn anything_is_read(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Head::Whole(request) = head(&bytes) {
                request.answer(&Status::new(Duration::ZERO));
            }
        }

        #[test]
        fn any_target_is_answered(target in "[!-~]{1,40}", method in "[A-Z]{1,8}") {
            let bytes = format!("{method} {target} HTTP/1.0\r\n\r\n");
            for end in 0..bytes.len() {
                prop_assert_eq!(head(&bytes.as_bytes()[..end]), Head::Partial);
            }
            match head(bytes.as_bytes()) {
                Head::Whole(request) => { request.answer(&Status::new(Duration::ZERO)); }
                other => prop_assert_eq!(other, Head::Refused(Code::BadRequest)),
            }
        }
    }
}

//! Messages as they go over the wire, for `-vvv`: in hexadecimal, and without what is secret.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::ops::Range;

use log::Level;
use secrecy::ExposeSecret as _;
use secrecy::zeroize::Zeroizing;
use slurm_protocol::{MessageType, Reply};

use crate::credential::Opened;
use crate::endpoint::Endpoint;

/// So much of a message is shown, in bytes.
const MOST: usize = 256;

/// What of a frame that cannot be read is shown: as much as a header has.
const HEADER: usize = 16;

/// As many bytes of a credential, come back in a reply, are no accident.
const ECHO: usize = 8;

/// What each JSON object in base64 begins with that begins with a key, and so each token.
const TOKEN: &[u8] = b"eyJ";

/// The plugin's number opens the authentication section, and is no secret.
const PLUGIN_ID: usize = 4;

/// The dump of one exchange.
pub(super) struct Dump<'a> {
    wanted: bool,
    controller: &'a Endpoint,
    address: SocketAddr,
    /// The credential that was sent, or that may have been before.
    secret: Zeroizing<Vec<u8>>,
}

impl<'a> Dump<'a> {
    pub(super) fn new(
        controller: &'a Endpoint,
        address: SocketAddr,
        credential: Option<&Opened>,
    ) -> Self {
        let wanted = log::log_enabled!(Level::Trace);
        // A token goes out more than once, and can come back when nothing was sent.
        let secret = match credential {
            Some(Opened::Token(token)) if wanted => token.secret().expose_secret().into(),
            _ => Vec::new(),
        };
        Self {
            wanted,
            controller,
            address,
            secret: Zeroizing::new(secret),
        }
    }

    /// A request, with its length prefix and the place of its authentication section.
    pub(super) fn sent(&mut self, request: &[u8], section: Range<usize>) {
        if !self.wanted {
            return;
        }
        let secret = behind_plugin(section);
        let sent = request.get(secret.clone()).unwrap_or_default();
        if !sent.is_empty() {
            self.secret = Zeroizing::new(sent.to_vec());
        }
        self.show("sent", request, &[secret]);
    }

    /// A reply's frame.
    pub(super) fn received(&self, frame: &[u8]) {
        if self.wanted {
            self.show("got", frame, &secrets(frame, &self.secret));
        }
    }

    fn show(&self, what: &str, bytes: &[u8], secrets: &[Range<usize>]) {
        log::trace!(
            "{} ({}): {what} {} bytes{}",
            self.controller,
            self.address,
            bytes.len(),
            text(bytes, secrets)
        );
    }
}

fn behind_plugin(section: Range<usize>) -> Range<usize> {
    (section.start + PLUGIN_ID).min(section.end)..section.end
}

/// What of a reply is not shown: its own authentication, a token that was asked for, whatever else
/// looks like one, and what a peer says of the credential that it was sent.
fn secrets(frame: &[u8], sent: &[u8]) -> Vec<Range<usize>> {
    let mut secrets = match Reply::decode(frame) {
        Ok(reply) => {
            let section = reply.auth_range();
            let body = section.end;
            let shown = match reply.header.message_type {
                MessageType::RESPONSE_AUTH_TOKEN => body,
                _ => frame.len(),
            };
            vec![behind_plugin(section), shown..frame.len()]
        }
        Err(_) => std::iter::once(HEADER.min(frame.len())..frame.len()).collect(),
    };
    for (at, piece) in frame.windows(ECHO).take(MOST).enumerate() {
        if sent.windows(ECHO).any(|secret| secret == piece) {
            secrets.push(at..at + ECHO);
        }
    }
    secrets.extend(tokens(&frame[..frame.len().min(MOST)]));
    secrets
}

/// Where tokens stand.
fn tokens(bytes: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let in_token = |byte: &&u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    let begins = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(TOKEN));
    begins.map(move |at| at..at + bytes[at..].iter().take_while(in_token).count())
}

/// Sixteen bytes a line, as hexadecimal and as text.
fn text(bytes: &[u8], secrets: &[Range<usize>]) -> String {
    let secret = |at: usize| secrets.iter().find(|secret| secret.contains(&at));
    let shown = bytes.len().min(MOST);
    let mut text = String::new();
    let mut at = 0;
    while at < shown {
        let mut end = at;
        // What is hidden is told as one, however long it is; they can overlap.
        while let Some(secret) = secret(end) {
            end = secret.end;
        }
        if end > at {
            let _ = write!(text, "\n  {at:04x}  ({} bytes, not shown)", end - at);
        } else {
            while end < shown && secret(end).is_none() {
                end += 1;
            }
            rows(&mut text, bytes, at..end);
        }
        at = end;
    }
    let more = bytes.len().saturating_sub(at);
    if more > 0 {
        let _ = write!(text, "\n  and {more} more bytes");
    }
    text
}

fn rows(text: &mut String, bytes: &[u8], range: Range<usize>) {
    let start = range.start;
    for (row, bytes) in bytes.get(range).unwrap_or_default().chunks(16).enumerate() {
        let _ = write!(text, "\n  {:04x} ", start + row * 16);
        for byte in bytes {
            let _ = write!(text, " {byte:02x}");
        }
        text.extend(std::iter::repeat_n("   ", 16 - bytes.len()));
        text.push_str("  ");
        text.extend(bytes.iter().map(|byte| match byte {
            b' '..=b'~' => char::from(*byte),
            _ => '.',
        }));
    }
}

#[cfg(test)]
mod tests {
    use slurm_protocol::{ConfigFlags, Credential, ProtocolVersion, RequestConfig};
    use slurm_protocol::{Release, UnsealedRequest};

    use super::*;

    const TOKEN: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdW4iOiJhbGljZSJ9.c2lnbmF0dXJl";

    /// What of a token shows in a dump: any four letters of it in either column.
    fn is_in(text: &str, secret: &[u8]) -> bool {
        secret.windows(4).any(|piece| {
            let hex: Vec<_> = piece.iter().map(|byte| format!("{byte:02x}")).collect();
            text.contains(&hex.join(" ")) || text.contains(str::from_utf8(piece).unwrap())
        })
    }

    #[test]
    fn nothing_of_a_credential_is_shown_at_any_version() {
        let credentials = [
            Credential::Jwt {
                token: TOKEN,
                username: None,
            },
            Credential::Munge(TOKEN),
            Credential::Slurm(TOKEN),
        ];
        for release in Release::ALL {
            for credential in &credentials {
                let request = RequestConfig::new(ConfigFlags::CLIENT);
                let request = UnsealedRequest::new(&request, release.version()).unwrap();
                let sealed = request.seal(Some(credential)).unwrap();
                let section = request.credential_in(&sealed);
                let shown = text(&sealed, &[behind_plugin(section.clone())]);
                assert!(!is_in(&shown, TOKEN.as_bytes()), "{release}: {shown}");
                // The header is, and the plugin's number, and the body.
                assert!(shown.contains(" 07 df "), "{shown}");
                assert!(shown.contains(" 00 00 00 6"), "{shown}");
                assert!(shown.ends_with("  ......"), "{shown}");
            }
        }
    }

    /// A reply of this type.
    fn frame(message_type: u16, body: &[u8]) -> Vec<u8> {
        let mut frame = ProtocolVersion::V26_05.0.to_be_bytes().to_vec();
        frame.extend([0, 0x40]);
        frame.extend(message_type.to_be_bytes());
        frame.extend((body.len() as u32).to_be_bytes());
        frame.extend([0; 6]);
        frame.extend(body);
        frame
    }

    #[test]
    fn a_reply_hands_no_secret_on() {
        let mut sent = vec![0, 0, 0, 0x40];
        sent.extend(TOKEN.as_bytes());
        // A token that was asked for; ours, come back in whatever; and something that is no reply.
        let half = [b"xx", &TOKEN.as_bytes()[10..30], b"yy"].concat();
        for frame in [
            frame(5040, TOKEN.as_bytes()),
            frame(2016, TOKEN.as_bytes()),
            frame(9999, &half),
            [b"0123456789abcdefghij".as_slice(), TOKEN.as_bytes()].concat(),
        ] {
            let shown = text(&frame, &secrets(&frame, &sent));
            assert!(!is_in(&shown, TOKEN.as_bytes()), "{shown}");
        }
        // Somebody else's, wherever it stands.
        for frame in [
            frame(9999, TOKEN.as_bytes()),
            frame(9999, [b" ", TOKEN.as_bytes(), b" "].concat().as_slice()),
            [b"\0\0", TOKEN.as_bytes()].concat(),
        ] {
            let shown = text(&frame, &secrets(&frame, b""));
            assert!(!is_in(&shown, TOKEN.as_bytes()), "{shown}");
        }
        let code = frame(8001, &[0, 0, 3, 0xef]);
        assert_eq!(
            text(&code, &secrets(&code, &sent)),
            "\n  0000  2d 00 00 40 1f 41 00 00 00 04 00 00 00 00 00 00  -..@.A..........\
             \n  0010  00 00 03 ef                                      ...."
        );
        let long = frame(2016, &[b'x'; 1000]);
        assert!(text(&long, &secrets(&long, &sent)).ends_with("\n  and 760 more bytes"));
    }
}

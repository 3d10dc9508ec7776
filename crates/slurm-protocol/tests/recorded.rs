//! Every recorded exchange with a real controller: our encoders make the request byte for byte,
//! our decoders read from the reply what the recording's index says.

use base64::Engine as _;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use slurm_protocol::{
    ConfigFlags, Credential, MAX_FRAME, MUNGED_HEADER, Message, MessageType, MungedReply, PluginId,
    Prefix, ProtocolVersion, Reply, RequestAuthToken, RequestConfig, RequestPing, UnsealedRequest,
    munged_reply_length, munged_request, prefix, sack_reply, sack_reply_length, sack_request,
};

const RELEASES: [&str; 8] = [
    "20.11", "21.08", "22.05", "23.02", "24.05", "24.11", "25.05", "26.05",
];

/// Requests that this crate has no way to make: they are malformed, foreign, or of a version that
/// it does not speak. Their replies are read all the same.
const NOT_OURS: [&str; 14] = [
    "err-bodylen-too-big",
    "err-garbage",
    "err-jwt-null",
    "err-noauth-section",
    "err-oversized-length",
    "err-plugin-999",
    "err-short-frame",
    "err-string-overrun",
    "err-unknown-msgtype",
    "err-zero-length",
    "munge-bad",
    "munge-nonul",
    "version-below-v35",
    "version-far-future-v99",
];

/// Requests of which the credential was made for something else than our payload says.
const OTHER_PAYLOAD: [&str; 8] = [
    "err-munge-restrict-other",
    "err-restrict-other",
    "err-wrong-hash",
    "munge-k12-nocustom",
    "munge-none-be",
    "munge-none-le",
    "munge-null",
    "no-payload",
];

#[derive(Deserialize)]
struct Exchange {
    #[serde(default)]
    server_series: String,
    #[serde(default)]
    server_variant: String,
    case: String,
    proto_version: Option<u8>,
    msg_type: Option<u16>,
    config_flags: Option<u32>,
    request_b64: Option<String>,
    munge_request_b64: Option<String>,
    munge_reply_b64: Option<String>,
    sack_request_b64: Option<String>,
    sack_reply_b64: Option<String>,
    reply_b64: Option<String>,
    push_b64: Option<String>,
    expected: Option<Expected>,
}

#[derive(Deserialize)]
struct Expected {
    kind: String,
    frame_len: Option<usize>,
    version: Option<u8>,
    flags: Option<u16>,
    msg_type: Option<u16>,
    body_len: Option<u32>,
    auth: Option<u32>,
    files: Option<Vec<File>>,
    spool_dir: Option<String>,
    rc: Option<u32>,
    token_len: Option<usize>,
}

#[derive(Deserialize)]
struct File {
    name: String,
    exists: bool,
    execute: Option<bool>,
    length: Option<usize>,
    sha256: Option<String>,
}

fn exchanges() -> impl Iterator<Item = Exchange> {
    RELEASES.iter().flat_map(|release| {
        let path = format!("{}/tests/wire/{release}.jsonl", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&path).expect(&path);
        text.lines()
            .map(|line| serde_json::from_str(line).expect(&path))
            .collect::<Vec<Exchange>>()
    })
}

impl Exchange {
    fn label(&self) -> String {
        format!(
            "{} {} {}",
            self.server_series, self.server_variant, self.case
        )
    }

    fn request(&self) -> Vec<u8> {
        decode(self.request_b64.as_deref().unwrap_or_default())
    }

    fn reply(&self) -> Vec<u8> {
        decode(self.reply_b64.as_deref().unwrap_or_default())
    }

    /// The request that was sent, made anew from what it says.
    fn unsealed(&self, sent: &Sent) -> UnsealedRequest {
        let label = self.label();
        let request = match self.msg_type.map(MessageType) {
            Some(MessageType::REQUEST_CONFIG) => {
                // The short form was recorded of versions without a port, the long one of all.
                let port = (sent.body.len() == 6)
                    .then(|| u16::from_be_bytes(sent.body[4..].try_into().unwrap()));
                let flags = u32::from_be_bytes(sent.body[..4].try_into().unwrap());
                if let Some(said) = self.config_flags {
                    assert_eq!(flags, said, "{label}");
                }
                let mut request = RequestConfig::new(ConfigFlags(flags));
                request.port = port;
                UnsealedRequest::new(&request, sent.version)
            }
            Some(MessageType::REQUEST_PING) => UnsealedRequest::new(&RequestPing, sent.version),
            Some(MessageType::REQUEST_AUTH_TOKEN) => {
                let lifespan = u32::from_be_bytes(sent.body[..4].try_into().unwrap());
                let name = (sent.body.len() > 8).then(|| {
                    String::from_utf8(sent.body[8..sent.body.len() - 1].to_vec()).unwrap()
                });
                let request = RequestAuthToken::new(lifespan, name.as_deref());
                UnsealedRequest::new(&request, sent.version)
            }
            other => panic!("{label}: request {other:?}"),
        };
        request.unwrap()
    }

    fn is_push(&self) -> bool {
        self.push_b64.is_some()
    }
}

fn decode(text: &str) -> Vec<u8> {
    base64::engine::general_purpose::STANDARD
        .decode(text)
        .expect("base64")
}

/// A recorded request taken apart with nothing of the crate's: what was sent, not how.
struct Sent {
    version: ProtocolVersion,
    auth: Option<(u32, Vec<Option<String>>)>,
    body: Vec<u8>,
}

impl Sent {
    fn read(bytes: &[u8]) -> Self {
        let u16_at = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let u32_at = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
        let version = ProtocolVersion(u16_at(4));
        let header = if version < ProtocolVersion::V22_05 {
            18
        } else {
            16
        };
        let no_auth = u16_at(6) & 0x40 != 0;
        let mut at = 4 + header;
        let auth = (!no_auth).then(|| {
            let plugin = u32_at(at);
            at += 4;
            let strings = (0..if plugin == 102 { 2 } else { 1 })
                .map(|_| {
                    let length = u32_at(at) as usize;
                    at += 4 + length;
                    (length > 0)
                        .then(|| String::from_utf8(bytes[at - length..at - 1].to_vec()).unwrap())
                })
                .collect();
            (plugin, strings)
        });
        Self {
            version,
            auth,
            body: bytes[at..].to_vec(),
        }
    }

    fn credential(&self) -> Option<Credential<'_>> {
        let (plugin, strings) = self.auth.as_ref()?;
        let first = strings[0].as_deref().expect("a credential");
        Some(match *plugin {
            101 => Credential::Munge(first),
            102 => Credential::Jwt {
                token: first,
                username: strings[1].as_deref(),
            },
            103 => Credential::Slurm(first),
            other => panic!("auth plugin {other}"),
        })
    }
}

#[test]
fn encoders_make_every_request_byte_for_byte() {
    let mut made = 0;
    let mut passed_over = std::collections::BTreeSet::new();
    for exchange in exchanges().filter(|exchange| !exchange.is_push()) {
        let label = exchange.label();
        if NOT_OURS.contains(&exchange.case.as_str()) {
            passed_over.insert(exchange.case.clone());
            continue;
        }
        let version = exchange.proto_version.map(ProtocolVersion::from_index);
        let recorded = exchange.request();
        let sent = Sent::read(&recorded);
        assert_eq!(Some(sent.version), version, "{label}");
        let credential = sent.credential();
        let credential = credential.as_ref();
        let request = exchange.unsealed(&sent);
        let bytes = request.seal(credential);
        assert!(bytes.unwrap() == recorded, "{label}");
        made += 1;
    }
    assert!(passed_over.iter().eq(&NOT_OURS), "{passed_over:?}");
    assert_eq!(made, 646);
}

#[test]
fn credentials_are_asked_for_byte_for_byte() {
    let (mut munge, mut sack) = (0, 0);
    for exchange in exchanges().filter(|exchange| !exchange.is_push()) {
        let label = exchange.label();
        let (Some(recorded), slot) = (match &exchange.munge_request_b64 {
            Some(request) => (Some(request), &exchange.munge_reply_b64),
            None => (exchange.sack_request_b64.as_ref(), &exchange.sack_reply_b64),
        }) else {
            continue;
        };
        let case = exchange.case.as_str();
        if NOT_OURS.contains(&case) {
            continue;
        }
        let sent = Sent::read(&exchange.request());
        let payload = exchange.unsealed(&sent).payload();
        let reply = decode(slot.as_deref().unwrap());
        let (asked, made) = if exchange.munge_request_b64.is_some() {
            munge += 1;
            let (header, body) = reply.split_at(MUNGED_HEADER);
            let length = munged_reply_length(header.try_into().unwrap());
            assert_eq!(length, Ok(body.len()), "{label}");
            let MungedReply::Credential(made) = MungedReply::decode(body).unwrap() else {
                panic!("{label}: munged refused");
            };
            (munged_request(&payload, 0), made)
        } else {
            sack += 1;
            let (first, rest) = reply.split_at(4);
            let length = sack_reply_length(first.try_into().unwrap());
            assert_eq!(length, Ok(rest.len()), "{label}");
            let made = sack_reply(rest).unwrap().to_vec();
            (sack_request(sent.version, &payload), made)
        };
        if OTHER_PAYLOAD.contains(&case) {
            // Up to 21.08 the type alone is what is asked for, in one of these cases as well.
            let is_ours = case == "munge-none-le" && sent.version < ProtocolVersion::V22_05;
            assert_eq!(asked == decode(recorded), is_ours, "{label}");
        } else {
            assert_eq!(asked, decode(recorded), "{label}");
        }
        let (_, strings) = sent.auth.unwrap();
        assert_eq!(
            strings[0].as_deref().map(str::as_bytes),
            Some(&*made),
            "{label}"
        );
    }
    assert_eq!((munge, sack), (168, 54));
}

#[test]
fn what_munged_refuses_is_said() {
    let path = format!("{}/tests/wire/munged.jsonl", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).expect(&path);
    let said: Vec<_> = text
        .lines()
        .map(|line| {
            let exchange: Exchange = serde_json::from_str(line).expect(&path);
            let reply = exchange.reply();
            let (header, body) = reply.split_at(MUNGED_HEADER);
            let length = munged_reply_length(header.try_into().unwrap());
            assert_eq!(length, Ok(body.len()));
            match MungedReply::decode(body).unwrap() {
                MungedReply::Error { number, text } => (number, String::from_utf8(text).unwrap()),
                other => panic!("{other:?}"),
            }
        })
        .collect();
    assert_eq!(
        said,
        [
            (10, "Invalid cipher type 99".to_owned()),
            (11, "Invalid MAC type 0".to_owned())
        ]
    );
}

#[test]
fn every_reply_is_read_as_its_index_says() {
    let mut read = 0;
    for exchange in exchanges().filter(|exchange| !exchange.is_push()) {
        let label = exchange.label();
        let expected = exchange.expected.as_ref().expect("an index entry");
        let reply = exchange.reply();
        match expected.kind.as_str() {
            "empty" => assert!(reply.is_empty(), "{label}"),
            "http" => {
                let first = reply[..4].try_into().unwrap();
                assert_eq!(prefix(first, MAX_FRAME), Ok(Prefix::Http), "{label}");
            }
            "msg" => {
                check(&label, expected, &reply);
                read += 1;
            }
            other => panic!("{label}: {other}"),
        }
    }
    assert_eq!(read, 560);
}

fn check(label: &str, expected: &Expected, bytes: &[u8]) {
    let (first, frame) = bytes.split_at(4);
    let length = expected.frame_len.unwrap();
    let first = first.try_into().unwrap();
    assert_eq!(
        prefix(first, MAX_FRAME),
        Ok(Prefix::Frame(length)),
        "{label}"
    );
    assert_eq!(frame.len(), length, "{label}");

    let version = ProtocolVersion::from_index(expected.version.unwrap());
    if version < ProtocolVersion::OLDEST {
        // Two controllers were asked in the version of 20.02, which this crate does not speak.
        let error = Reply::decode(frame).unwrap_err();
        assert_eq!((error.field, error.offset), ("version", 0), "{label}");
        return;
    }
    let reply = Reply::decode(frame).unwrap_or_else(|error| panic!("{label}: {error}"));
    assert_eq!(reply.header.version, version, "{label}");
    assert_eq!(Some(reply.header.flags.0), expected.flags, "{label}");
    assert_eq!(
        Some(reply.header.message_type.0),
        expected.msg_type,
        "{label}"
    );
    assert_eq!(Some(reply.header.body_length), expected.body_len, "{label}");
    assert_eq!(reply.auth, expected.auth.map(PluginId), "{label}");

    match reply
        .message()
        .unwrap_or_else(|error| panic!("{label}: {error}"))
    {
        Message::Config(config) => {
            let files = expected.files.as_ref().expect(label);
            assert_eq!(config.files.len(), files.len(), "{label}");
            for (file, expected) in config.files.iter().zip(files) {
                let label = format!("{label} {}", expected.name);
                assert_eq!(file.name, expected.name.as_bytes(), "{label}");
                assert_eq!(file.exists, expected.exists, "{label}");
                assert_eq!(file.execute, expected.execute.unwrap_or(false), "{label}");
                assert_eq!(file.content.len(), expected.length.unwrap_or(0), "{label}");
                if let Some(digest) = &expected.sha256 {
                    let actual: String = Sha256::digest(&file.content)
                        .iter()
                        .map(|byte| format!("{byte:02x}"))
                        .collect();
                    assert_eq!(&actual, digest, "{label}");
                }
            }
            let spool_dir = expected.spool_dir.as_deref().map(str::as_bytes);
            assert_eq!(config.spool_dir.as_deref(), spool_dir, "{label}");
        }
        Message::ReturnCode(code) => assert_eq!(Some(code.0), expected.rc, "{label}"),
        Message::AuthToken(token) => {
            let length = token.token.map(|token| token.len());
            assert_eq!(length, expected.token_len, "{label}");
        }
        other => panic!("{label}: {other:?}"),
    }
}

#[test]
fn what_controllers_push_has_the_body_of_a_reply() {
    let mut read = 0;
    for exchange in exchanges().filter(Exchange::is_push) {
        let label = exchange.label();
        let bytes = decode(exchange.push_b64.as_deref().unwrap());
        let reply = Reply::decode(&bytes[4..]).unwrap_or_else(|error| panic!("{label}: {error}"));
        assert_eq!(
            Some(reply.header.message_type.0),
            exchange.msg_type,
            "{label}"
        );
        assert_eq!(reply.auth, Some(PluginId::MUNGE), "{label}");
        match reply
            .message()
            .unwrap_or_else(|error| panic!("{label}: {error}"))
        {
            Message::Reconfigure(config) => {
                let names = config.files.iter().map(|file| file.name.as_slice());
                assert!(
                    names.into_iter().any(|name| name == b"slurm.conf"),
                    "{label}"
                );
                read += 1;
            }
            Message::Other(other) => assert_eq!(Some(other.0), exchange.msg_type),
            other => panic!("{label}: {other:?}"),
        }
    }
    assert_eq!(read, 3);
}

//! Messages with any content, in every version and with every credential: what is written is read.
//! Then the same with damage.

#![no_main]

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use slurm_protocol::{
    ConfigFlags, Credential, Message, MessageType, Reply, RequestAuthToken, RequestConfig,
    RequestPing, encode_request,
};
use straw_fuzz::{File, Section, config_body, frame, put_str, version};

#[derive(Arbitrary, Debug)]
enum Body {
    Config {
        files: Vec<File>,
        spool_dir: Option<Vec<u8>>,
    },
    Token(Option<Vec<u8>>),
    Code(u32),
    CodeWithText(u32, Option<Vec<u8>>),
    Request {
        kind: u8,
        number: u32,
        user: Option<String>,
        credential: Option<(u8, String)>,
    },
}

#[derive(Arbitrary, Debug)]
struct Input {
    version: u8,
    section: Section,
    body: Body,
    damage: Vec<(u16, u8)>,
    cut: Option<u16>,
}

libfuzzer_sys::fuzz_target!(|input: Input| {
    let Input {
        version: choice,
        section,
        body,
        damage,
        cut,
    } = input;
    let version = version(choice);
    let (kind, bytes) = match &body {
        Body::Config { files, spool_dir } => (
            MessageType::RESPONSE_CONFIG,
            config_body(version, files, spool_dir.as_deref()),
        ),
        Body::Token(token) => {
            let mut bytes = Vec::new();
            put_str(&mut bytes, token.as_deref());
            (MessageType::RESPONSE_AUTH_TOKEN, bytes)
        }
        Body::Code(code) => (MessageType::RESPONSE_SLURM_RC, code.to_be_bytes().to_vec()),
        Body::CodeWithText(code, text) => {
            let mut bytes = code.to_be_bytes().to_vec();
            put_str(&mut bytes, text.as_deref());
            (MessageType::RESPONSE_SLURM_RC_MSG, bytes)
        }
        Body::Request {
            kind,
            number,
            user,
            credential,
        } => {
            request(
                version,
                *kind,
                *number,
                user.as_deref(),
                credential.as_ref(),
            );
            return;
        }
    };
    let mut frame = frame(version, kind, &section, &bytes);
    let reply = Reply::decode(&frame).expect("a frame that is right");
    assert_eq!(reply.header.version, version);
    assert_eq!(reply.header.message_type, kind);
    assert_eq!(reply.body, bytes);
    match (reply.message().expect("a body that is right"), &body) {
        (Message::Config(config), Body::Config { files, spool_dir }) => {
            assert_eq!(config.spool_dir, *spool_dir);
            if version < slurm_protocol::ProtocolVersion::V21_08 {
                assert_eq!(config.files.len(), 11);
                for (index, file) in config.files.iter().enumerate() {
                    let sent = files.get(index).map(|file| file.content.as_slice());
                    assert_eq!(file.content, sent.unwrap_or_default());
                    assert_eq!(file.exists, sent.is_some());
                }
            } else {
                assert_eq!(config.files.len(), files.len());
                let executes = version >= slurm_protocol::ProtocolVersion::V23_11;
                for (read, sent) in config.files.iter().zip(files) {
                    assert_eq!(
                        (read.exists, read.execute, &read.name, &read.content),
                        (
                            sent.exists,
                            sent.execute && executes,
                            &sent.name,
                            &sent.content
                        )
                    );
                }
            }
        }
        (Message::AuthToken(read), Body::Token(sent)) => assert_eq!(read.token, *sent),
        (Message::ReturnCode(read), Body::Code(sent) | Body::CodeWithText(sent, _)) => {
            assert_eq!(read.0, *sent);
        }
        (read, _) => panic!("{read:?}"),
    }
    for (at, byte) in &damage {
        let at = usize::from(*at) % frame.len();
        frame[at] = *byte;
    }
    frame.truncate(cut.map_or(frame.len(), usize::from));
    if let Ok(reply) = Reply::decode(&frame) {
        let _ = reply.message();
    }
});

/// A request has the header of a reply, so what is sent can be read.
fn request(
    version: slurm_protocol::ProtocolVersion,
    kind: u8,
    number: u32,
    user: Option<&str>,
    credential: Option<&(u8, String)>,
) {
    let credential = credential.map(|(kind, text)| match kind % 3 {
        0 => Credential::Jwt {
            token: text,
            username: user,
        },
        1 => Credential::Munge(text),
        _ => Credential::Slurm(text),
    });
    let credential = credential.as_ref();
    let sent = match kind % 3 {
        0 => encode_request(
            &RequestConfig::new(ConfigFlags(number)),
            version,
            credential,
        ),
        1 => encode_request(&RequestAuthToken::new(number, user), version, credential),
        _ => encode_request(&RequestPing, version, credential),
    };
    let Ok(sent) = sent else { return };
    let (length, frame) = sent.split_first_chunk::<4>().expect("a length");
    assert_eq!(u32::from_be_bytes(*length) as usize, frame.len());
    let read = Reply::decode(frame).expect("a header that is right");
    assert_eq!(read.header.version, version);
    assert_eq!(read.auth, credential.map(Credential::plugin));
    if kind % 3 == 1 {
        let (lifespan, rest) = read.body.split_first_chunk::<4>().expect("a lifespan");
        assert_eq!(u32::from_be_bytes(*lifespan), number);
        let mut name = Vec::new();
        put_str(&mut name, user.map(str::as_bytes));
        assert_eq!(rest, name);
    }
}

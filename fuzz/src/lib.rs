//! What the fuzz targets share: messages of a controller's, made from what they are to say.

#![forbid(unsafe_code)]

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use slurm_protocol::{MessageType, ProtocolVersion};

/// A version that we speak, or one of the next, which nobody knows yet.
pub fn version(choice: u8) -> ProtocolVersion {
    let (oldest, newest) = (ProtocolVersion::OLDEST, ProtocolVersion::NEWEST);
    let count = newest.index() - oldest.index() + 3;
    ProtocolVersion::from_index(oldest.index() + choice % count)
}

/// A file of a reply.
#[derive(Arbitrary, Clone, Debug)]
pub struct File {
    pub exists: bool,
    pub execute: bool,
    pub name: Vec<u8>,
    pub content: Vec<u8>,
}

/// The authentication section of a reply.
#[derive(Arbitrary, Clone, Debug)]
pub enum Section {
    None,
    Munge(Option<Vec<u8>>),
    Jwt(Option<Vec<u8>>, Option<Vec<u8>>),
    Slurm(Option<Vec<u8>>),
    /// Of a plugin that nobody knows.
    Other(Vec<u8>),
}

/// A string with its terminator, or NULL.
pub fn put_str(into: &mut Vec<u8>, text: Option<&[u8]>) {
    let Some(text) = text else {
        into.extend([0; 4]);
        return;
    };
    into.extend((text.len() as u32 + 1).to_be_bytes());
    into.extend(text);
    into.push(0);
}

/// A message without its length prefix.
pub fn frame(
    version: ProtocolVersion,
    kind: MessageType,
    section: &Section,
    body: &[u8],
) -> Vec<u8> {
    let mut frame = version.0.to_be_bytes().to_vec();
    let no_auth = matches!(section, Section::None);
    frame.extend([0, if no_auth { 0x40 } else { 0 }]);
    if version < ProtocolVersion::V22_05 {
        frame.extend([0, 0]);
    }
    frame.extend(kind.0.to_be_bytes());
    frame.extend((body.len() as u32).to_be_bytes());
    frame.extend([0; 6]);
    let plugin = |frame: &mut Vec<u8>, id: u32| frame.extend(id.to_be_bytes());
    match section {
        Section::None => {}
        Section::Munge(credential) => {
            plugin(&mut frame, 101);
            put_str(&mut frame, credential.as_deref());
        }
        Section::Jwt(token, user) => {
            plugin(&mut frame, 102);
            put_str(&mut frame, token.as_deref());
            put_str(&mut frame, user.as_deref());
        }
        Section::Slurm(credential) => {
            plugin(&mut frame, 103);
            put_str(&mut frame, credential.as_deref());
        }
        Section::Other(bytes) => {
            plugin(&mut frame, 4711);
            frame.extend(bytes);
        }
    }
    frame.extend(body);
    frame
}

/// The body of RESPONSE_CONFIG; the twelve places of 20.11 take the contents of the first files.
pub fn config_body(version: ProtocolVersion, files: &[File], spool_dir: Option<&[u8]>) -> Vec<u8> {
    let mut body = Vec::new();
    if version < ProtocolVersion::V21_08 {
        for place in 0..11 {
            put_str(
                &mut body,
                files.get(place).map(|file| file.content.as_slice()),
            );
        }
    } else {
        body.extend((files.len() as u32).to_be_bytes());
        for file in files {
            body.push(file.exists.into());
            if version >= ProtocolVersion::V23_11 {
                body.push(file.execute.into());
            }
            put_str(&mut body, Some(&file.name));
            put_str(&mut body, Some(&file.content));
        }
    }
    put_str(&mut body, spool_dir);
    body
}

/// What a reply with these files is read as.
pub fn reply(files: &[File]) -> slurm_protocol::ResponseConfig {
    let version = ProtocolVersion::NEWEST;
    let body = config_body(version, files, None);
    let frame = frame(version, MessageType::RESPONSE_CONFIG, &Section::None, &body);
    match slurm_protocol::Reply::decode(&frame).and_then(|reply| reply.message()) {
        Ok(slurm_protocol::Message::Config(reply)) => reply,
        other => panic!("{other:?}"),
    }
}

/// Whether nothing is in a text that a terminal obeys; lines and tabs are good.
pub fn is_harmless(text: &str) -> bool {
    !text
        .chars()
        .any(|c| c.is_control() && !matches!(c, '\n' | '\t'))
}

/// A directory in memory, where there is one; the same for the whole run.
pub fn scratch() -> &'static std::path::Path {
    use std::sync::OnceLock;
    static DIRECTORY: OnceLock<tempfile::TempDir> = OnceLock::new();
    DIRECTORY
        .get_or_init(|| {
            let made = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
            made.expect("there is a directory for temporary files")
        })
        .path()
}

//! Sets for the tests of several modules.

use slurm_protocol::{Message, ProtocolVersion, Reply};

use super::ConfigSet;

/// A set as a reply would hold it: `*` behind a name makes it executable.
pub(crate) fn set(files: &[(&str, &str)]) -> ConfigSet {
    let mut body = (files.len() as u32).to_be_bytes().to_vec();
    for (name, content) in files {
        let execute = name.ends_with('*');
        body.extend([1, u8::from(execute)]);
        for text in [name.trim_end_matches('*'), content] {
            body.extend((text.len() as u32 + 1).to_be_bytes());
            body.extend(text.as_bytes());
            body.push(0);
        }
    }
    body.extend([0; 4]);
    let mut frame = ProtocolVersion::V26_05.0.to_be_bytes().to_vec();
    frame.extend([0, 0x40, 0x07, 0xe0]);
    frame.extend((body.len() as u32).to_be_bytes());
    frame.extend([0; 6]);
    frame.extend(body);
    match Reply::decode(&frame).unwrap().message().unwrap() {
        Message::Config(reply) => ConfigSet::new(reply).unwrap(),
        other => panic!("{other:?}"),
    }
}

//! What the fuzz targets share.

use slurm_protocol::{MessageType, ProtocolVersion, Reply};

/// Reads `data` as the body of a message: its first byte chooses the protocol version.
pub fn body(message_type: MessageType, data: &[u8]) {
    let Some((&choice, body)) = data.split_first() else {
        return;
    };
    let (oldest, newest) = (ProtocolVersion::OLDEST, ProtocolVersion::NEWEST);
    let count = newest.index() - oldest.index() + 2;
    let version = ProtocolVersion::from_index(oldest.index() + choice % count);
    let mut frame = version.0.to_be_bytes().to_vec();
    frame.extend(0x0040_u16.to_be_bytes());
    if version < ProtocolVersion::V22_05 {
        frame.extend([0, 0]);
    }
    frame.extend(message_type.0.to_be_bytes());
    frame.extend((body.len() as u32).to_be_bytes());
    frame.extend([0; 6]);
    frame.extend(body);
    let reply = Reply::decode(&frame).expect("the header is right");
    let _ = reply.message();
}

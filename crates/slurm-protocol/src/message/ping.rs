//! REQUEST_PING (docs/protocol.md, section 5.4).

use super::{Request, sealed};
use crate::codec::Writer;
use crate::{EncodeError, MessageType, ProtocolVersion};

/// Asks whether a controller is there. Its body is empty; the reply is a return code.
///
/// Without a credential it is the probe that finds out which version a controller accepts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestPing;

impl Request for RequestPing {
    const TYPE: MessageType = MessageType::REQUEST_PING;
}

impl sealed::Body for RequestPing {
    #[allow(private_interfaces)]
    fn encode(&self, _: &mut Writer, _: ProtocolVersion) -> Result<(), EncodeError> {
        Ok(())
    }
}

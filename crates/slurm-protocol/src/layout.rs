//! Where releases differ on the wire, and the form that each protocol version has.
//!
//! This is the one place that decides by version. A form is named here, and written once in the
//! module that encodes or decodes it. A new release that changes a message gets a new form and a
//! line here (docs/protocol.md, "What changed when").

use crate::ProtocolVersion;

/// The forms of one protocol version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) header: HeaderForm,
    pub(crate) config_request: ConfigRequestForm,
    pub(crate) config_reply: ConfigReplyForm,
    pub(crate) payload: PayloadForm,
}

/// The message header (docs/protocol.md, section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderForm {
    /// With a message index behind the flags: 18 bytes.
    Indexed,
    /// Without: 16 bytes.
    Plain,
}

/// The body of REQUEST_CONFIG (docs/protocol.md, section 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConfigRequestForm {
    /// The flags alone.
    Flags,
    /// The flags and the port that a listener waits on.
    FlagsPort,
}

/// The body of RESPONSE_CONFIG (docs/protocol.md, section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConfigReplyForm {
    /// Twelve strings, whose names go by their place.
    Fixed,
    /// A list of files: whether it exists, name, content.
    List,
    /// The same with a flag for what is executable.
    ListExecute,
}

/// What a credential that is made for one message carries (docs/protocol.md, section 7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PayloadForm {
    /// The message's type.
    Type,
    /// A digest of the message's body and type.
    Digest,
}

impl Layout {
    /// The forms of a version; of one that is newer than we know, those of the newest.
    pub(crate) fn of(version: ProtocolVersion) -> Self {
        Self {
            header: if version < ProtocolVersion::V22_05 {
                HeaderForm::Indexed
            } else {
                HeaderForm::Plain
            },
            config_request: if version < ProtocolVersion::V25_05 {
                ConfigRequestForm::Flags
            } else {
                ConfigRequestForm::FlagsPort
            },
            config_reply: if version < ProtocolVersion::V21_08 {
                ConfigReplyForm::Fixed
            } else if version < ProtocolVersion::V23_11 {
                ConfigReplyForm::List
            } else {
                ConfigReplyForm::ListExecute
            },
            payload: if version < ProtocolVersion::V22_05 {
                PayloadForm::Type
            } else {
                PayloadForm::Digest
            },
        }
    }
}

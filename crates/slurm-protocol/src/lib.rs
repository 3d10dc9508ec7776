//! The part of Slurm's RPC protocol that a client needs to fetch its configuration.
//!
//! Bytes in, values out: no sockets, files, clocks or threads. A request is a struct that is
//! [encoded](encode_request) for a [`ProtocolVersion`]; a reply is a frame that is
//! [decoded](Reply::decode) by the version found in it; and [`Negotiation`] decides which version
//! to speak to a controller whose release is not known. A token is a credential as it is; one out
//! of a [munge](munged_request) or a [SACK](sack_request) socket is made for a single
//! [request](UnsealedRequest).
//!
//! ```text
//!   RequestConfig ──encode_request──▶ bytes ──(your socket)──▶ slurmctld
//!                                                                  │
//!   ResponseConfig ◀──decode── Reply ◀──decode── frame ◀──prefix───┘
//! ```
//!
//! ```
//! use slurm_protocol::{
//!     ConfigFlags, Credential, Message, ProtocolVersion, Reply, RequestConfig, encode_request,
//! };
//!
//! // What goes to the controller, length prefix included.
//! let version = ProtocolVersion::V24_11;
//! let request = RequestConfig::new(ConfigFlags::CLIENT);
//! let credential = Credential::Jwt { token: "eyJ…", username: None };
//! let bytes = encode_request(&request, version, Some(&credential))?;
//! assert_eq!(&bytes[4..6], &[0x2a, 0x00]);
//!
//! // What comes back, without its length prefix: here, that configless is off.
//! let frame = [
//!     0x2a, 0x00, 0x00, 0x40, 0x1f, 0x41, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, // header
//!     0x00, 0x00, 0x08, 0x4e, // body: error number 2126
//! ];
//! let reply = Reply::decode(&frame)?;
//! let Message::ReturnCode(code) = reply.message()? else { unreachable!() };
//! assert_eq!(code.name(), Some("ESLURM_CONFIGLESS_DISABLED"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Protocol versions 36 to 46 (Slurm 20.11 to 26.11) are known. Where two releases differ, both
//! forms are written down once and chosen in one place, the `layout` module. The facts are in
//! `docs/protocol.md` of straw's repository; the comments name its sections.
#![forbid(unsafe_code)]

mod codec;
mod credential;
mod errno;
mod frame;
mod header;
mod layout;
mod message;
mod munged;
mod negotiate;
mod release;
mod sack;

pub use codec::{DecodeError, DecodeErrorKind, EncodeError};
pub use credential::{Credential, PluginId};
pub use errno::Errno;
pub use frame::{FrameError, MAX_FRAME, MIN_FRAME, Prefix, prefix};
pub use header::{Header, HeaderFlags, MessageType};
pub use message::config::{ConfigFile, ConfigFlags, RequestConfig, ResponseConfig};
pub use message::ping::RequestPing;
pub use message::token::{RequestAuthToken, ResponseAuthToken};
pub use message::{Message, Reply, Request, UnsealedRequest, encode_request};
pub use munged::{MUNGED_HEADER, MungedReply, munged_reply_length, munged_request};
pub use negotiate::{Answer, Attempt, Negotiation, Outcome, Step};
pub use release::{ParseReleaseError, ProtocolVersion, Release};
pub use sack::{sack_reply, sack_reply_length, sack_request};

/// Its examples are tested with these.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

//! REQUEST_CONFIG and RESPONSE_CONFIG (docs/protocol.md, sections 5.1 and 5.2).

use super::{Request, sealed};
use crate::codec::{DecodeErrorKind, Reader, Writer};
use crate::layout::{ConfigReplyForm, ConfigRequestForm, Layout};
use crate::{DecodeError, EncodeError, MessageType, ProtocolVersion};

/// Asks for configuration files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestConfig {
    /// Which set of files.
    pub flags: ConfigFlags,
    /// The port that the sender listens on, 0 for none. The layout has it since 25.05; there
    /// `None` sends 0. `Some` sends it to older ones too, which ignore it: so one body serves
    /// every version, and none is ever too short.
    pub port: Option<u16>,
}

impl RequestConfig {
    /// Asks for this set of files. The port is 0 and is sent to every release, so that no body
    /// is ever too short (docs/protocol.md, section 5.1).
    pub fn new(flags: ConfigFlags) -> Self {
        let port = Some(0);
        Self { flags, port }
    }
}

impl Request for RequestConfig {
    const TYPE: MessageType = MessageType::REQUEST_CONFIG;
}

impl sealed::Body for RequestConfig {
    #[allow(private_interfaces)]
    fn encode(&self, w: &mut Writer, version: ProtocolVersion) -> Result<(), EncodeError> {
        w.u32(self.flags.0);
        match (Layout::of(version).config_request, self.port) {
            (ConfigRequestForm::Flags, None) => {}
            (_, port) => w.u16(port.unwrap_or(0)),
        }
        Ok(())
    }
}

/// Which set of files is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigFlags(pub u32);

impl ConfigFlags {
    /// What a client command needs. Any user who can authenticate may have it.
    pub const CLIENT: Self = Self(0);
    /// What a slurmd needs. Only root and SlurmUser may have it.
    pub const SLURMD: Self = Self(1);
}

/// Configuration files, as a controller has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResponseConfig {
    /// The files, in the order of the wire, which says nothing. A name can come twice; then the
    /// contents are equal.
    pub files: Vec<ConfigFile>,
    /// slurmd's spool directory; only in the slurmd set.
    pub spool_dir: Option<Vec<u8>>,
}

/// One configuration file, or the word that there is none of this name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigFile {
    /// Whether the controller has it.
    pub exists: bool,
    /// Whether it is a script, to be made executable. Always false before 23.11.
    pub execute: bool,
    /// Its name, relative to the directory of slurm.conf. It comes from the peer: check it before
    /// use.
    pub name: Vec<u8>,
    /// Its bytes. Before 21.08 an empty file looks like one that is not there.
    pub content: Vec<u8>,
}

/// The most files that a reply may list; real ones have some dozens. Without a limit the values
/// would take many times the memory of the bytes that they come in.
const MOST_FILES: usize = 4096;

/// The names that go with the places of the fixed form, in their order.
const FIXED_NAMES: [&str; 11] = [
    "slurm.conf",
    "acct_gather.conf",
    "cgroup.conf",
    "cgroup_allowed_devices_file.conf",
    "ext_sensors.conf",
    "gres.conf",
    "knl_cray.conf",
    "knl_generic.conf",
    "plugstack.conf",
    "topology.conf",
    "job_container.conf",
];

impl ResponseConfig {
    pub(crate) fn decode(mut r: Reader<'_>, version: ProtocolVersion) -> Result<Self, DecodeError> {
        let files = match Layout::of(version).config_reply {
            ConfigReplyForm::Fixed => Self::decode_fixed(&mut r)?,
            ConfigReplyForm::List => Self::decode_list(&mut r, false)?,
            ConfigReplyForm::ListExecute => Self::decode_list(&mut r, true)?,
        };
        let spool_dir = r.str("spool_dir")?.map(<[u8]>::to_vec);
        r.finish()?;
        Ok(Self { files, spool_dir })
    }

    fn decode_fixed(r: &mut Reader<'_>) -> Result<Vec<ConfigFile>, DecodeError> {
        let mut files = Vec::new();
        for name in FIXED_NAMES {
            let content = r.str(name)?;
            files.push(ConfigFile {
                exists: content.is_some(),
                execute: false,
                name: name.into(),
                content: content.unwrap_or_default().to_vec(),
            });
        }
        Ok(files)
    }

    fn decode_list(r: &mut Reader<'_>, has_execute: bool) -> Result<Vec<ConfigFile>, DecodeError> {
        let smallest = if has_execute { 10 } else { 9 };
        let start = r.offset();
        let Some(count) = r.count("files", smallest, MOST_FILES)? else {
            // So says a controller whose reply would have been too large.
            return Err(r.error_at("files", start, DecodeErrorKind::NoList));
        };
        let mut files = Vec::new();
        for _ in 0..count {
            let exists = r.bool("files.exists")?;
            let execute = has_execute && r.bool("files.execute")?;
            let name = r.str("files.name")?;
            let content = r.str("files.content")?;
            // A controller encodes "no object" as a file without a name.
            let Some(name) = name else { continue };
            files.push(ConfigFile {
                exists,
                execute,
                name: name.to_vec(),
                content: content.unwrap_or_default().to_vec(),
            });
        }
        Ok(files)
    }
}

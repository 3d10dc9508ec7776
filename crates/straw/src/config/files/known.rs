//! What is remembered of a directory, for whoever fetches into it again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use slurm_protocol::ProtocolVersion;

use super::notes::BadNotes;
use super::{Target, WriteError};
use crate::config::CA_CERT;
use crate::disk::{lstatat, open_directory};

/// What is remembered of a directory that a set was written into.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Known {
    /// The protocol versions that controllers accepted.
    pub versions: BTreeMap<String, ProtocolVersion>,
    /// The CA to trust, where the set came through TLS.
    pub ca: Option<KnownCa>,
    /// Whether straw wrote the CA's file.
    pub wrote_ca_cert: bool,
}

/// A CA that was trusted before.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KnownCa {
    /// The file with its certificates.
    pub path: PathBuf,
    /// What stood in it, in PEM; `None` where the notes that would say so do not count.
    pub pem: Option<String>,
}

impl Known {
    /// What is remembered of this directory; nothing where there is none.
    ///
    /// Where somebody else could have written the notes, or they are damaged, one thing is still
    /// to be seen: that there is a CA, and so perhaps nothing may go out in the clear.
    ///
    /// # Errors
    ///
    /// [`WriteError`], where it cannot be seen whether there is something: that is no reason to
    /// do without TLS.
    pub fn of(directory: &Path) -> Result<Self, WriteError> {
        let error = |errno| WriteError::directory(directory, errno);
        let descriptor = match open_directory(directory) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Self::default()),
            other => other.map_err(error)?,
        };
        let target = Target {
            path: directory.to_owned(),
            descriptor,
        };
        let path = directory.join(CA_CERT);
        // A link that leads nowhere is there, too.
        let is_there = match lstatat(&target.descriptor, CA_CERT) {
            Err(Errno::NOENT) => false,
            other => other.map(|_| true).map_err(error)?,
        };
        Ok(match target.read_manifest() {
            Ok(manifest) => {
                if manifest.ca.is_some() && !is_there {
                    log::warn!("{} is gone, so this goes without TLS", path.display());
                }
                let pem = manifest.ca.clone().filter(|_| is_there);
                Self {
                    versions: manifest.versions(),
                    wrote_ca_cert: manifest.names().any(|name| name.as_str() == CA_CERT),
                    ca: pem.map(|pem| KnownCa {
                        path,
                        pem: Some(pem),
                    }),
                }
            }
            // Nothing could be written there either.
            Err(BadNotes::Errno(errno)) => return Err(target.unreadable(errno)),
            Err(_) => Self {
                ca: is_there.then_some(KnownCa { path, pem: None }),
                ..Self::default()
            },
        })
    }
}

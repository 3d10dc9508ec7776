//! What the fuzz targets (`fuzz/`) reach of this crate beside its public parts. It is in no other
//! build.

use std::collections::BTreeMap;
use std::ops::Range;

use slurm_protocol::ProtocolVersion;

pub use crate::config::slurm_conf::{Conf, Edit, Kind, Pair, Statement};
pub use crate::credential::fuzz::credential;
pub use crate::dns::fuzz::{Answer, lookup};
pub use crate::transport::tls::fuzz::check;
pub use crate::watch::health::fuzz::{Asked, ask};

use crate::config::Origin;

/// A text as a terminal gets it.
pub fn safe(text: &str) -> String {
    crate::text::safe(text).into_owned()
}

/// Where the first token in a text is.
pub fn find_token(text: &str) -> Option<Range<usize>> {
    crate::credential::find_token(text)
}

/// Whether a text is a token.
pub fn is_token(text: &str) -> bool {
    crate::credential::is_token(text)
}

/// What settings say, by these keys.
pub fn settings(text: &str, keys: &[String]) -> Result<BTreeMap<String, Vec<String>>, String> {
    crate::cli::read_settings(text, keys)
}

/// Where a set came from.
pub fn origin() -> Origin {
    Origin {
        controller: "ctl1:6817".to_owned(),
        version: ProtocolVersion::NEWEST,
        ca: None,
    }
}

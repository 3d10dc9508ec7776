//! `straw releases`: what straw can talk to.

use serde_json::json;
use slurm_protocol::Release;

use super::args::Output;
use super::{print, print_json};
use crate::error::Error;

pub(super) fn run(output: &Output) -> Result<(), Error> {
    if output.json {
        let releases: Vec<_> = Release::ALL
            .iter()
            .map(|release| {
                json!({
                    "release": release.name(),
                    "protocol_version": release.version().index(),
                })
            })
            .collect();
        return print_json(&json!({ "releases": releases }));
    }
    let mut text = "RELEASE  PROTOCOL VERSION\n".to_owned();
    for release in Release::ALL {
        text.push_str(&format!("{release}    {}\n", release.version().index()));
    }
    print(text.as_bytes())
}

//! What an installation of straw consists of.

use std::fs;
use std::path::Path;

use clap_complete::Shell;

use super::crates::{self, Crate};
use super::man;
use super::notices;
use super::pack::File;
use super::release::Release;
use crate::Result;
use crate::run::root;

pub struct Content {
    pub release: Release,
    pub binary: Vec<u8>,
    /// The manual pages, each with its name: `straw-exec.1`.
    pub man: Vec<(String, Vec<u8>)>,
    pub bash: Vec<u8>,
    pub zsh: Vec<u8>,
    pub fish: Vec<u8>,
    /// What the crate's says of the program.
    pub readme: Vec<u8>,
    pub changelog: Vec<u8>,
    pub mit: Vec<u8>,
    pub apache: Vec<u8>,
    /// The licences of all crates in the binary.
    pub notices: String,
    /// The crates in the binary.
    pub crates: Vec<Crate>,
}

impl Content {
    /// All of it, with this binary.
    pub fn of(binary: &Path, release: Release) -> Result<Self> {
        let file = |name: &str| {
            fs::read(root().join(name)).map_err(|error| format!("{name} cannot be read: {error}"))
        };
        let crates = crates::in_binary(&release.triple)?;
        Ok(Self {
            binary: fs::read(binary)?,
            man: man::pages(&release)?,
            bash: completions(Shell::Bash),
            zsh: completions(Shell::Zsh),
            fish: completions(Shell::Fish),
            readme: of_program(&String::from_utf8(file("crates/straw/README.md")?)?)?,
            changelog: file("CHANGELOG.md")?,
            mit: file("LICENSE-MIT")?,
            apache: file("LICENSE-APACHE")?,
            notices: notices::of(&crates)?,
            crates,
            release,
        })
    }

    /// The completions, where the shells look for them below these directories.
    pub fn completions(&self, prefix: &str, zsh: &str) -> [File; 3] {
        let bash = format!("{prefix}/share/bash-completion/completions/straw");
        let fish = format!("{prefix}/share/fish/vendor_completions.d/straw.fish");
        [
            File::new(bash, &*self.bash),
            File::new(format!("{prefix}/share/zsh/{zsh}/_straw"), &*self.zsh),
            File::new(fish, &*self.fish),
        ]
    }
}

/// A crate's README without what it says of the library.
fn of_program(readme: &str) -> Result<Vec<u8>> {
    let end = readme.find("\n## ").ok_or("the README has no sections")?;
    let (_, last) = readme.trim_end().rsplit_once("\n\n").unwrap_or_default();
    Ok(format!("{}\n{last}\n", &readme[..end]).into_bytes())
}

fn completions(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut straw::cli::command(), "straw", &mut script);
    script
}

//! A command with variables in front of it.

use std::process::{Command, Stdio};

use crate::{Result, USAGE};

pub struct Line {
    variables: Vec<(String, String)>,
    words: Vec<String>,
}

impl Line {
    pub fn parse(words: &[&str]) -> Result<Self> {
        let is_variable = |word: &&&str| word.split_once('=').is_some_and(|(name, _)| named(name));
        let count = words.iter().take_while(is_variable).count();
        let (variables, words) = words.split_at(count);
        if words.is_empty() {
            return Err(USAGE.into());
        }
        Ok(Self {
            variables: variables
                .iter()
                .filter_map(|word| word.split_once('='))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            words: words.iter().map(|&word| word.to_owned()).collect(),
        })
    }

    /// The command as it is run the so-many-th time, with nothing to read and nobody to read it.
    pub fn command(&self, run: usize) -> Command {
        let mut words = self
            .words
            .iter()
            .map(|word| word.replace("{run}", &run.to_string()));
        let mut command = Command::new(words.next().unwrap_or_default());
        command
            .args(words)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        command
    }

    pub fn program(&self) -> &str {
        &self.words[0]
    }
}

fn named(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c == '_')
}

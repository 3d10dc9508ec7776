//! Which credential to use, of those that there are.

use std::fs;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret as _, SecretString};

use super::{CredentialError, Method, Service, Source, TokenCommand, TokenSource, socket};

/// The directory that sockets are looked for in.
const RUN: &str = "/run";

/// The same, where it is no link to the one above.
const VAR_RUN: &str = "/var/run";

/// Where credentials are said to be.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Places {
    /// `--token-file`.
    pub token_file: Option<PathBuf>,
    /// `--token-command`.
    pub token_command: Option<TokenCommand>,
    /// The variable `SLURM_JWT_FILE`.
    pub token_file_variable: Option<PathBuf>,
    /// The variable `SLURM_JWT`.
    pub token_variable: Option<SecretString>,
    /// `--sack-socket`.
    pub sack_socket: Option<PathBuf>,
    /// The variable `SLURM_SACK_SOCKET`.
    pub sack_socket_variable: Option<PathBuf>,
    /// `--munge-socket`.
    pub munge_socket: Option<PathBuf>,
}

/// The credential that was chosen.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Choice {
    /// Where it comes from.
    pub source: Source,
    /// Why this one: a clause.
    pub why: &'static str,
}

impl Places {
    /// The credential of this method; of any, without one: a token, else a SACK socket, else a
    /// munge socket.
    ///
    /// # Errors
    ///
    /// [`CredentialError::None`], with every place that was looked at.
    pub fn choose(&self, method: Option<Method>) -> Result<Choice, CredentialError> {
        self.choose_in(method, Path::new(RUN), Path::new(VAR_RUN))
    }

    fn choose_in(
        &self,
        method: Option<Method>,
        run: &Path,
        var_run: &Path,
    ) -> Result<Choice, CredentialError> {
        let wanted = |candidate| method.is_none_or(|method| method == candidate);
        let mut looked = Vec::new();
        let mut dead = None;
        let mut found = None;
        if wanted(Method::Jwt) {
            found = self.token(&mut looked);
        }
        // A socket that is named comes before one that happens to be there.
        if found.is_none() && wanted(Method::Slurm) {
            found = self.named_sack(&mut looked);
        }
        if found.is_none() && wanted(Method::Munge) {
            found = self.named_munge(&mut looked);
        }
        if found.is_none() && wanted(Method::Slurm) {
            found = sack(run, method, &mut looked, &mut dead);
        }
        if found.is_none() && wanted(Method::Munge) {
            found = munge(run, var_run, method, &mut looked);
        }
        // Where there is nothing else, what is wrong with it is told when it is used.
        found
            .or(dead)
            .ok_or(CredentialError::None { method, looked })
    }

    fn token(&self, looked: &mut Vec<String>) -> Option<Choice> {
        let found = |source, why| chosen(Source::Token(source), why);
        if let Some(file) = &self.token_file {
            return found(TokenSource::File(file.clone()), "--token-file is given");
        }
        looked.push("--token-file (not given)".to_owned());
        if let Some(command) = &self.token_command {
            let source = TokenSource::Command(command.clone());
            return found(source, "--token-command is given");
        }
        looked.push("--token-command (not given)".to_owned());
        if let Some(file) = &self.token_file_variable {
            return found(TokenSource::File(file.clone()), "SLURM_JWT_FILE is set");
        }
        looked.push("SLURM_JWT_FILE (not set)".to_owned());
        match &self.token_variable {
            Some(token) if !token.expose_secret().trim().is_empty() => {
                return found(TokenSource::Variable(token.clone()), "SLURM_JWT is set");
            }
            Some(_) => looked.push("SLURM_JWT (empty)".to_owned()),
            None => looked.push("SLURM_JWT (not set)".to_owned()),
        }
        None
    }

    fn named_sack(&self, looked: &mut Vec<String>) -> Option<Choice> {
        if let Some(path) = &self.sack_socket {
            return chosen(Source::Sack(path.clone()), "--sack-socket is given");
        }
        looked.push("--sack-socket (not given)".to_owned());
        if let Some(path) = &self.sack_socket_variable {
            return chosen(Source::Sack(path.clone()), "SLURM_SACK_SOCKET is set");
        }
        looked.push("SLURM_SACK_SOCKET (not set)".to_owned());
        None
    }

    fn named_munge(&self, looked: &mut Vec<String>) -> Option<Choice> {
        if let Some(path) = &self.munge_socket {
            return chosen(Source::Munge(path.clone()), "--munge-socket is given");
        }
        looked.push("--munge-socket (not given)".to_owned());
        None
    }
}

fn chosen(source: Source, why: &'static str) -> Option<Choice> {
    Some(Choice { source, why })
}

/// A SACK socket in one of its usual places: Slurm's own order, less the directory of a cluster
/// whose name is not known yet. That is taken where there is only one (docs/protocol.md, section
/// 7.3).
///
/// slurmd leaves its socket behind when it ends. Where another way is left to try, one that nobody
/// listens on does not count.
fn sack(
    run: &Path,
    method: Option<Method>,
    looked: &mut Vec<String>,
    dead: &mut Option<Choice>,
) -> Option<Choice> {
    let mut there = |path: PathBuf, looked: &mut Vec<String>| {
        if let Err(error) = socket::find(Service::Sack, &path) {
            looked.push(missing(&path, &error));
            return None;
        }
        if method.is_none() && socket::is_dead(&path) {
            looked.push(format!("{} (nobody listens on it)", path.display()));
            let why = "no token is given, and of all sockets only this one is there";
            *dead = dead.take().or(chosen(Source::Sack(path), why));
            return None;
        }
        let why = match method {
            None => "no token is given, and this socket is there",
            Some(_) => "--auth asks for it, and this socket is there",
        };
        chosen(Source::Sack(path), why)
    };
    if let Some(found) = there(run.join("slurm/sack.socket"), looked) {
        return Some(found);
    }
    let mut of_clusters = sockets_of_clusters(run);
    match of_clusters.len() {
        0 => looked.push(format!("{}/slurm-*/sack.socket (none)", run.display())),
        1 => return there(of_clusters.remove(0), looked),
        count => looked.push(format!(
            "{}/slurm-*/sack.socket ({count} of them: choose with --sack-socket)",
            run.display()
        )),
    }
    there(run.join("slurmctld/sack.socket"), looked)
}

/// munged's socket in one of its usual places.
fn munge(
    run: &Path,
    var_run: &Path,
    method: Option<Method>,
    looked: &mut Vec<String>,
) -> Option<Choice> {
    for directory in [run, var_run] {
        let path = directory.join("munge/munge.socket.2");
        match socket::find(Service::Munge, &path) {
            Ok(()) => {
                let why = match method {
                    None => "no token is given, no SACK socket is of use, and this socket is there",
                    Some(_) => "--auth asks for it, and this socket is there",
                };
                return chosen(Source::Munge(path), why);
            }
            Err(error) => looked.push(missing(&path, &error)),
        }
    }
    None
}

/// What is wrong with a place where a socket could be.
fn missing(path: &Path, error: &CredentialError) -> String {
    let CredentialError::Socket { error, service, .. } = error else {
        return path.display().to_string();
    };
    let why = match error.describe(*service) {
        why if why == "it is not there" => "not there".to_owned(),
        why => why,
    };
    format!("{} ({why})", path.display())
}

/// The SACK sockets of clusters that have a directory of their own.
fn sockets_of_clusters(run: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(run) else {
        return Vec::new();
    };
    let mut sockets: Vec<_> = entries
        .flatten()
        .filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b"slurm-"))
        .map(|entry| entry.path().join("sack.socket"))
        .filter(|path| socket::find(Service::Sack, path).is_ok())
        .collect();
    sockets.sort();
    sockets
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    /// A `/run` and a `/var/run` with these sockets in the first.
    fn run(sockets: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("var")).unwrap();
        for socket in sockets {
            let path = dir.path().join(socket);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            // Until the process ends.
            std::mem::forget(UnixListener::bind(path).unwrap());
        }
        dir
    }

    fn choose(places: &Places, method: Option<Method>, sockets: &[&str]) -> Result<String, String> {
        let run = run(sockets);
        let text = |text: String| text.replace(&run.path().display().to_string(), "RUN");
        let choice = places.choose_in(method, run.path(), &run.path().join("var"));
        choice
            .map(|choice| text(format!("{}: {}", choice.source.place(), choice.why)))
            .map_err(|error| match error {
                CredentialError::None { looked, .. } => text(looked.join(", ")),
                other => panic!("{other}"),
            })
    }

    const MUNGE: &str = "munge/munge.socket.2";
    const SACK: &str = "slurm/sack.socket";

    #[test]
    fn a_token_then_sack_then_munge() {
        let none = Places::default();
        let auto = |places: &Places, sockets: &[&str]| choose(places, None, sockets).unwrap();
        assert_eq!(
            auto(&none, &[MUNGE]),
            "RUN/munge/munge.socket.2: no token is given, no SACK socket is of use, and this socket is there"
        );
        assert_eq!(
            auto(&none, &[MUNGE, SACK]),
            "RUN/slurm/sack.socket: no token is given, and this socket is there"
        );
        let mut places = Places {
            token_variable: Some("x.y.z".into()),
            ..Places::default()
        };
        assert_eq!(auto(&places, &[MUNGE, SACK]), "SLURM_JWT: SLURM_JWT is set");
        places.token_file_variable = Some("/run/a".into());
        assert_eq!(auto(&places, &[]), "/run/a: SLURM_JWT_FILE is set");
        places.token_command = Some("get-token --for me".parse().unwrap());
        assert_eq!(
            auto(&places, &[]),
            "the output of `get-token`: --token-command is given"
        );
        places.token_file = Some("/run/b".into());
        assert_eq!(auto(&places, &[]), "/run/b: --token-file is given");
    }

    #[test]
    fn a_method_that_is_asked_for_is_the_only_one_looked_for() {
        let places = Places {
            token_variable: Some("x.y.z".into()),
            ..Places::default()
        };
        let munge = choose(&places, Some(Method::Munge), &[MUNGE, SACK]).unwrap();
        assert!(munge.starts_with("RUN/munge/munge.socket.2: "));
        let slurm = choose(&places, Some(Method::Slurm), &[MUNGE, SACK]).unwrap();
        assert!(slurm.starts_with("RUN/slurm/sack.socket: "));
        let error = choose(&places, Some(Method::Slurm), &[MUNGE]).unwrap_err();
        assert!(
            !error.contains("token") && !error.contains("munge"),
            "{error}"
        );
        let error = choose(&Places::default(), Some(Method::Jwt), &[MUNGE, SACK]).unwrap_err();
        assert!(!error.contains("socket"), "{error}");
    }

    #[test]
    fn a_socket_that_is_named_is_the_only_one_of_its_kind() {
        let places = Places {
            sack_socket_variable: Some("/run/x/sack.socket".into()),
            munge_socket: Some("/run/x/munge.socket".into()),
            ..Places::default()
        };
        // As Slurm's own commands: no falling back to another.
        let auto = choose(&places, None, &[MUNGE, SACK]).unwrap();
        assert!(auto.starts_with("/run/x/sack.socket: "), "{auto}");
        let munge = choose(&places, Some(Method::Munge), &[MUNGE]).unwrap();
        assert!(munge.starts_with("/run/x/munge.socket: "), "{munge}");
        let places = Places {
            sack_socket_variable: None,
            ..places
        };
        let auto = choose(&places, None, &[MUNGE, SACK]).unwrap();
        assert!(auto.starts_with("/run/x/munge.socket: "), "{auto}");
    }

    #[test]
    fn the_socket_of_the_only_cluster_is_taken() {
        let none = Places::default();
        let slurm = Some(Method::Slurm);
        let one = ["slurm-one/sack.socket", "slurmctld/sack.socket"];
        let chosen = choose(&none, slurm, &one).unwrap();
        assert!(
            chosen.starts_with("RUN/slurm-one/sack.socket: "),
            "{chosen}"
        );
        let two = ["slurm-one/sack.socket", "slurm-two/sack.socket"];
        let error = choose(&none, slurm, &two).unwrap_err();
        assert!(
            error.contains("(2 of them: choose with --sack-socket)"),
            "{error}"
        );
        let chosen = choose(&none, slurm, &[two[0], two[1], one[1]]).unwrap();
        assert!(
            chosen.starts_with("RUN/slurmctld/sack.socket: "),
            "{chosen}"
        );
    }

    #[test]
    fn a_socket_that_was_left_behind_does_not_hide_another() {
        let run = run(&[MUNGE]);
        let left = run.path().join(SACK);
        fs::create_dir_all(left.parent().unwrap()).unwrap();
        drop(UnixListener::bind(&left).unwrap());
        let choose = |method| {
            let places = Places::default();
            places.choose_in(method, run.path(), &run.path().join("var"))
        };
        let chosen = choose(None).unwrap();
        assert_eq!(chosen.source.method(), Method::Munge);
        // Where nothing else will do, what is wrong with it is told later.
        fs::remove_file(run.path().join(MUNGE)).unwrap();
        assert_eq!(choose(None).unwrap().source.method(), Method::Slurm);
        let chosen = choose(Some(Method::Slurm)).unwrap();
        assert_eq!(chosen.source.method(), Method::Slurm);
    }

    #[test]
    fn where_there_is_none_every_place_is_named() {
        let places = Places {
            token_variable: Some(" ".into()),
            ..Places::default()
        };
        assert_eq!(
            choose(&places, None, &["munge/other"]).unwrap_err(),
            "--token-file (not given), --token-command (not given), SLURM_JWT_FILE (not set), SLURM_JWT (empty), --sack-socket (not given), \
             SLURM_SACK_SOCKET (not set), --munge-socket (not given), RUN/slurm/sack.socket (not there), RUN/slurm-*/sack.socket (none), \
             RUN/slurmctld/sack.socket (not there), RUN/munge/munge.socket.2 (not there), \
             RUN/var/munge/munge.socket.2 (not there)"
        );
    }
}

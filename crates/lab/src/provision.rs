//! What tests need of a machine: whether it is there, how a fresh Debian machine gets it, and what is
//! said where it cannot be had. Docker, before all.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::Unavailable;
use crate::process::{Output, Process, docker as docker_command, tail};

/// How long a Docker daemon may take to start.
const START: Duration = Duration::from_secs(60);

/// How long the installation of a few packages may take.
const INSTALL: Duration = Duration::from_secs(600);

/// Where a Docker daemon that we start ourselves writes.
const DAEMON_LOG: &str = "/var/log/straw-lab-dockerd.log";

/// Whether Docker answers. Changes nothing.
///
/// # Errors
///
/// When it does not, with what its command says.
pub fn available() -> Result<(), Unavailable> {
    let info =
        docker_command(["info", "--format={{.ServerVersion}}"]).limit(Duration::from_secs(20));
    let said = match info.run() {
        // `docker info` ends with status 0 in some releases even where no daemon answers.
        Ok(out) if out.success() && !out.text().is_empty() => return Ok(()),
        Ok(out) => tail(&out.error_text(), 1),
        Err(error) => error.to_string(),
    };
    Err(Unavailable::new(
        format!("Docker does not answer: {said}"),
        "install Docker (docker.io on Debian) and start its daemon, or run as root on Debian, where \
         the lab does both",
    ))
}

/// Whether this runs in CI (`CI=true`), where what cannot be tested is a failure.
pub fn in_ci() -> bool {
    std::env::var_os("CI").is_some_and(|ci| ci == "true")
}

/// Says that the test of this thread, or a part of it, cannot be done here.
///
/// It is said past what the harness keeps to itself of a test that passes.
///
/// # Panics
///
/// With `CI=true`: there, what cannot be tested is a failure. Most of it needs root, so `.ci/run` has to
/// be root, and the user of a hosted runner is not.
#[track_caller]
pub fn skip(why: &str) {
    assert!(!in_ci(), "cannot be tested: {why}");
    let thread = thread::current();
    let test = thread.name().unwrap_or("a test");
    let line = format!("{test}: skipped: {why}\n");
    // Where nobody listens, there is nobody to tell.
    let _ = io::stderr().write_all(line.as_bytes());
}

/// Makes sure that Docker answers: on Debian, and as root, it is installed and started if need be.
/// Each step is told to `log` in a line.
///
/// # Errors
///
/// When Docker does not answer and cannot be brought to.
pub fn docker(log: &mut dyn FnMut(&str)) -> Result<(), Unavailable> {
    let Err(unavailable) = available() else {
        return Ok(());
    };
    if !is_root() || !is_debian() {
        return Err(unavailable);
    }

    // dockerd cannot do without iptables, which its package only recommends. From trixie on the
    // command is a package of its own.
    install(log, &["docker.io", "iptables"], "dockerd")?;
    install(log, &["docker-cli"], "docker")?;

    log("starting the Docker daemon");
    let by_service = Process::new("service")
        .args(["docker", "start"])
        .limit(START);
    if by_service.run().is_ok_and(|out| out.success()) && answers_within(Duration::from_secs(15)) {
        return Ok(());
    }
    log(&format!(
        "starting dockerd without a service manager, its log is {DAEMON_LOG}"
    ));
    start_daemon()?;
    if answers_within(START) {
        return Ok(());
    }
    let said = fs::read_to_string(DAEMON_LOG).unwrap_or_default();
    Err(Unavailable::new(
        format!("dockerd does not start: {}", tail(&said, 5)),
        format!("read {DAEMON_LOG}; a container that is to run Docker must be privileged"),
    ))
}

/// One installation at a time: apt-get does not wait for another's lists.
static INSTALLING: Mutex<()> = Mutex::new(());

/// Installs Debian packages, unless a program that they bring is there already.
///
/// # Errors
///
/// When they cannot be installed, because this is not Debian or we are not root, for example.
pub fn install(
    log: &mut dyn FnMut(&str),
    packages: &[&str],
    program: &str,
) -> Result<(), Unavailable> {
    let _one_at_a_time = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    if has(program) {
        return Ok(());
    }
    log(&format!("installing {}", packages.join(" ")));
    let apt = |args: &[&str]| {
        Process::new("apt-get")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(args.iter().copied())
            .limit(INSTALL)
    };
    // Old lists may do as well: what counts is whether the installation succeeds.
    drop(apt(&["update"]).run());
    let wait = "--option=DPkg::Lock::Timeout=300";
    let out = apt(&["install", "-y", "--no-install-recommends", wait])
        .args(packages.iter().copied())
        .run();
    match out {
        Ok(out) if out.success() => Ok(()),
        Ok(out) => Err(failed(packages, &out)),
        Err(error) => Err(Unavailable::new(
            error.to_string(),
            "run it by hand to see why",
        )),
    }
}

fn failed(packages: &[&str], out: &Output) -> Unavailable {
    let packages = packages.join(" ");
    Unavailable::new(
        format!("cannot install {packages}: {}", tail(&out.error_text(), 3)),
        format!("see to it that `apt-get install {packages}` works"),
    )
}

/// Starts `dockerd` in a session of its own, so that it lives on when we end.
fn start_daemon() -> Result<(), Unavailable> {
    let cannot = |error: io::Error| {
        Unavailable::new(
            format!("cannot start dockerd: {error}"),
            "start dockerd by hand",
        )
    };
    let log = File::create(DAEMON_LOG).map_err(cannot)?;
    Command::new("setsid")
        .args(["--fork", "dockerd"])
        .stdin(Stdio::null())
        .stdout(log.try_clone().map_err(cannot)?)
        .stderr(log)
        .status()
        .map(drop)
        .map_err(cannot)
}

fn answers_within(limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    while Instant::now() < deadline {
        if available().is_ok() {
            return true;
        }
        thread::sleep(Duration::from_millis(200));
    }
    false
}

/// Whether we are root: `/proc/self` belongs to the user we act as.
pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0)
}

/// Whether this is Debian or made from it.
pub(crate) fn is_debian() -> bool {
    fs::read_to_string("/etc/os-release").is_ok_and(|text| names_debian(&text))
}

fn names_debian(os_release: &str) -> bool {
    os_release
        .lines()
        .filter_map(|line| {
            line.strip_prefix("ID=")
                .or_else(|| line.strip_prefix("ID_LIKE="))
        })
        .flat_map(|value| value.trim_matches('"').split_whitespace())
        .any(|id| id == "debian")
}

/// Whether a program is on the search path.
pub(crate) fn has(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|dir| Path::new(&dir).join(program).is_file())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debian_and_what_is_made_from_it() {
        assert!(names_debian("NAME=\"Debian\"\nID=debian\n"));
        assert!(names_debian("ID=ubuntu\nID_LIKE=\"debian\"\n"));
        assert!(names_debian("ID=mint\nID_LIKE=\"ubuntu debian\"\n"));
        assert!(!names_debian("ID=fedora\nID_LIKE=\"rhel\"\n"));
    }
}

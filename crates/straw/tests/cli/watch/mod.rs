//! `straw watch`, with controllers on loopback whose state a test changes.

mod directory;
mod health;
mod hook;
mod once;
mod process;
mod story;
mod tokens;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Pid, Signal, kill_process};
use slurm_protocol::ProtocolVersion;

use crate::fake::{Act, Fake, config, return_code};
use crate::messages::golden;
use crate::straw::Straw;

const V26_05: ProtocolVersion = ProtocolVersion::V26_05;

/// One that no rule finds anything wrong with, with Slurm here or without.
const CONF: &str = "ClusterName=lab\nSlurmctldHost=localhost\n";

/// The longest that anything may take that is waited for, on a machine that has much to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// What every token begins with: `{"`.
const OF_A_TOKEN: &str = "eyJ";

/// How a controller is.
#[derive(Clone)]
enum State {
    /// It speaks this version, and gives out this slurm.conf.
    Serves(ProtocolVersion, String),
    /// The same, to whoever has this token.
    ServesOnly(String, String),
    /// It is a backup that has nothing to say.
    Standby,
    /// It takes no token.
    Refuses,
    /// It is not configless.
    ConfiglessOff,
}

/// A controller, the state that it is in, and how often it was asked with a credential.
struct Controller {
    fake: Fake,
    state: Arc<Mutex<State>>,
    asked: Mutex<usize>,
}

impl Controller {
    fn start(state: State) -> Self {
        let state = Arc::new(Mutex::new(state));
        let its = Arc::clone(&state);
        let fake = Fake::start(move |seen| {
            let refusal = |version| Act::Send(return_code(version, 1007));
            let now = its.lock().unwrap().clone();
            match now {
                State::Serves(own, _) if !own.accepted_by_controller().contains(&seen.version) => {
                    refusal(own)
                }
                _ if !seen.has_credential => refusal(seen.version),
                State::ServesOnly(token, _) if !holds(&seen.bytes, token.as_bytes()) => {
                    refusal(seen.version)
                }
                State::Serves(_, conf) | State::ServesOnly(_, conf) => {
                    Act::Send(config(seen.version, &[("slurm.conf", &conf)]))
                }
                State::Standby => Act::Send(return_code(seen.version, 2131)),
                State::Refuses => refusal(seen.version),
                State::ConfiglessOff => Act::Send(return_code(seen.version, 2126)),
            }
        });
        Self {
            fake,
            state,
            asked: Mutex::new(0),
        }
    }

    fn serving() -> Self {
        Self::start(serves(CONF))
    }

    fn is(&self, state: State) {
        *self.state.lock().unwrap() = state;
    }

    fn address(&self) -> String {
        self.fake.address.to_string()
    }

    /// How often it has been asked with a credential so far.
    fn asked(&self) -> usize {
        let new = self.fake.requests();
        let new = new.iter().filter(|seen| seen.has_credential).count();
        let mut asked = self.asked.lock().unwrap();
        *asked += new;
        *asked
    }

    /// Waits until it has been asked once more than so often.
    fn asked_after(&self, before: usize) {
        until("asked", || (self.asked() > before).then_some(()));
    }
}

fn serves(conf: &str) -> State {
    State::Serves(V26_05, conf.to_owned())
}

fn holds(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// Asks again and again until there is an answer.
#[track_caller]
fn until<T>(what: &str, mut answer: impl FnMut() -> Option<T>) -> T {
    let give_up = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = answer() {
            return answer;
        }
        assert!(Instant::now() < give_up, "{what}: not within {PATIENCE:?}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A watch that runs, until it is dropped at the latest.
struct Running {
    child: Child,
    said: Arc<Mutex<String>>,
    directory: tempfile::TempDir,
}

impl Running {
    fn start(straw: Straw) -> Self {
        let Straw {
            mut command,
            directory,
        } = straw;
        Self::run(&mut command, directory)
    }

    fn run(command: &mut Command, directory: tempfile::TempDir) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let (heard, stderr) = (Arc::clone(&said), child.stderr.take().unwrap());
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut heard = heard.lock().unwrap();
                heard.push_str(&line);
                heard.push('\n');
            }
        });
        Self {
            child,
            said,
            directory,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn said(&self) -> String {
        self.said.lock().unwrap().clone()
    }

    /// Waits until it says this.
    #[track_caller]
    fn says(&self, part: &str) -> String {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let said = self.said();
            if said.contains(part) {
                return said;
            }
            assert!(Instant::now() < give_up, "`{part}` expected in:\n{said}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until it says so often that it has a set that is new.
    #[track_caller]
    fn has_new(&self, times: usize) {
        let is_there = || count(&self.said(), "new configuration of") == times;
        let give_up = Instant::now() + PATIENCE;
        while !is_there() {
            assert!(
                Instant::now() < give_up,
                "{times} new sets:
{}",
                self.said()
            );
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn signal(&self, signal: Signal) {
        // Before that it would be ended.
        self.says("keeping");
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Has it refresh now, and waits until this controller was asked.
    fn refresh(&self, controller: &Controller) {
        self.says("keeping");
        let before = controller.asked();
        self.signal(Signal::HUP);
        controller.asked_after(before);
    }

    /// Waits for its end.
    fn ended(&mut self) -> ExitStatus {
        until("its end", || self.child.try_wait().unwrap())
    }

    /// Ends it, and returns all that it said, in which there is no token.
    fn end(mut self) -> (String, tempfile::TempDir) {
        self.signal(Signal::TERM);
        let status = self.ended();
        assert_eq!(status.code(), Some(0), "{}", self.said());
        // Its other end is closed, and so the reader is done, as soon as nobody else has it.
        until("the end of what it says", || {
            (Arc::strong_count(&self.said) == 1).then_some(())
        });
        let said = self.said();
        assert!(!said.contains(OF_A_TOKEN), "{said}");
        let directory = std::mem::replace(&mut self.directory, tempfile::tempdir().unwrap());
        (said, directory)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A watch of this controller into `store`, with a token. It asks by itself only once an hour.
fn watch(controller: &Controller, arguments: &str) -> Straw {
    let server = controller.address();
    let line = format!("watch {server} -o store --refresh 1h {arguments}");
    Straw::with_token(&line.split_whitespace().collect::<Vec<_>>()).env("PATH", "/usr/bin:/bin")
}

/// The same once more, in a directory where one was before.
fn again(controller: &Controller, arguments: &str, directory: tempfile::TempDir) -> Straw {
    let mut straw = watch(controller, arguments);
    straw.command.current_dir(&directory);
    straw.directory = directory;
    straw
}

fn count(text: &str, part: &str) -> usize {
    text.matches(part).count()
}

/// Brings about every error of a watch that ends it. Returns their kinds.
pub fn errors() -> BTreeSet<String> {
    let mut kinds = BTreeSet::new();
    let mut meet = |kind: String| {
        assert!(!kind.is_empty(), "no error");
        kinds.insert(kind);
    };
    let controller = Controller::serving();
    let fakes = &[&controller.fake];
    let with = |arguments: &[&str]| {
        let server = controller.address();
        let line = [&["watch", &server, "-o", "store"], arguments].concat();
        Straw::with_token(&line).env("PATH", "/usr/bin:/bin")
    };
    for (name, arguments) in [
        // An address that is set aside for documentation.
        ("watch-health-address", &["--health", "192.0.2.1:9100"][..]),
        ("watch-health-file", &["--health", "no/such/directory"]),
        ("watch-no-command-signal", &["--on-change", "signal:HUP"]),
        ("watch-no-command-restart", &["--on-change", "restart"]),
        ("watch-no-token-file", &["--renew-token"]),
        ("watch-hook-not-found", &["--on-change", "nosuchcommand"]),
        ("watch-pid-file", &["--pid-file", "no/such/directory/pid"]),
    ] {
        meet(golden(name, with(arguments), fakes));
    }
    let straw = with(&["--health", "./mine"]);
    fs::write(straw.path().join("mine"), "mine").unwrap();
    meet(golden("watch-health-in-the-way", straw, fakes));
    let straw = with(&["--pid-file", "pipe"]);
    mknodat(
        CWD,
        straw.path().join("pipe"),
        FileType::Fifo,
        Mode::RWXU,
        0,
    )
    .unwrap();
    meet(golden("watch-pid-file-pipe", straw, fakes));
    // A store that cannot be written to is no place to keep fresh.
    let file = with(&[]);
    fs::write(file.path().join("store"), "").unwrap();
    meet(golden("watch-store-file", file, fakes));
    let none = &["watch", "ctl1", "-o", "/proc/none"];
    meet(golden("watch-store-none", Straw::with_token(none), &[]));
    assert_eq!(controller.asked(), 0);

    let taken = "already-running";
    let straw = with(&["--pid-file", "pid"]);
    let path = straw.path().join("pid");
    fs::write(&path, "4711\n").unwrap();
    let held = fs::File::open(&path).unwrap();
    rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
    assert_eq!(golden("watch-pid-file-taken", straw, fakes), taken);
    meet(taken.to_owned());
    // That ends nothing: a test below meets it.
    meet("token-not-newer".to_owned());
    // The system would have to refuse a handler for a signal.
    meet("no-signals".to_owned());
    // And a thread; the user who runs the tests may be one whom no limit holds.
    meet("no-thread".to_owned());
    kinds
}

#[test]
fn help_and_usage() {
    golden("help-watch", Straw::new(&["watch", "--help"]), &[]);
    let line = "watch ctl1 -o store --max-stale 10s";
    let line: Vec<_> = line.split(' ').collect();
    golden("usage-watch-max-stale", Straw::new(&line), &[]);
}

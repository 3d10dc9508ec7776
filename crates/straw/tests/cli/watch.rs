//! `straw watch`, with controllers on loopback whose state a test changes.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::process::{Pid, Signal, kill_process};
use slurm_protocol::ProtocolVersion;
use snapbox::{Assert, Data};

use crate::fake::{Act, Fake, config, return_code};
use crate::messages::golden;
use crate::straw::{Straw, sign, token};

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

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap().as_secs()
}

/// A token of alice's that was made so many seconds ago and lives so many seconds more.
fn token_of(age: u64, left: u64) -> String {
    let (issued, expires) = (now() - age, now() + left);
    sign(
        r#"{"alg":"HS256","typ":"JWT"}"#,
        &format!(r#"{{"exp":{expires},"iat":{issued},"sun":"alice"}}"#),
    )
}

/// Writes a file in one step, for its owner alone.
fn put(path: &Path, text: &str) {
    let part = path.with_extension("part");
    fs::write(&part, text).unwrap();
    fs::set_permissions(&part, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(part, path).unwrap();
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

/// Two controllers, and what comes to pass in a watch's life.
fn story(name: &str, options: &str) {
    let (first, second) = (Controller::serving(), Controller::start(State::Standby));
    let servers = format!("{},{}", first.address(), second.address());
    let line = format!("{options} watch -o store --refresh 1h {servers}");
    let straw = Straw::with_token(&line.split_whitespace().collect::<Vec<_>>());
    let directory = straw.path().canonicalize().unwrap();
    let running = Running::start(straw);
    running.has_new(1);

    // Nothing is new.
    for _ in 0..3 {
        running.refresh(&first);
    }
    first.is(serves(&format!("{CONF}# another line\n")));
    running.refresh(&first);
    running.has_new(2);

    // Failures of two kinds, in turn, several times each.
    for _ in 0..2 {
        first.is(State::Standby);
        for _ in 0..2 {
            running.refresh(&first);
        }
        running.says("standby");
        first.is(State::Refuses);
        for _ in 0..2 {
            running.refresh(&first);
        }
        running.says("refused");
    }

    // Another controller goes on, with the set that is there.
    let conf = format!("{CONF}# another line\n");
    first.is(State::Standby);
    second.is(serves(&conf));
    running.signal(Signal::HUP);
    running.says("no longer from");
    // It becomes one of another release, and then there is another set.
    second.is(State::Serves(ProtocolVersion::V24_11, conf.clone()));
    running.refresh(&second);
    running.says("speaks 42");
    second.is(State::Serves(ProtocolVersion::V24_11, CONF.to_owned()));
    running.refresh(&second);
    running.has_new(3);
    let (said, _directory) = running.end();

    let mut text = format!("$ straw {}\n{said}", line.trim_start());
    for (value, label) in [
        (directory.to_str().unwrap(), "[DIR]"),
        (&first.fake.address.port().to_string(), "[PORT]"),
        (&second.fake.address.port().to_string(), "[OTHER]"),
    ] {
        text = text.replace(value, label);
    }
    // How long it failed is not ours to say.
    let lines = text.lines().map(|line| {
        let line = between(line, "fresh again, ", " later", "[TIME]");
        between(&line, "\"time\":\"", "\"", "[TIME]") + "\n"
    });
    let path = format!("{}/tests/golden/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    Assert::new()
        .action_env(snapbox::assert::DEFAULT_ACTION_ENV)
        .normalize_paths(false)
        .eq(
            lines.collect::<String>(),
            Data::read_from(path.as_ref(), None),
        );
}

/// A line with something else in a place of it.
fn between(line: &str, before: &str, after: &str, there: &str) -> String {
    let parts = line.split_once(before).and_then(|(head, rest)| {
        let (_, tail) = rest.split_once(after)?;
        Some(format!("{head}{before}{there}{after}{tail}"))
    });
    parts.unwrap_or_else(|| line.to_owned())
}

#[test]
fn a_line_for_each_change_failure_and_recovery() {
    story("watch-story", "");
}

#[test]
fn the_same_lines_as_objects() {
    story("watch-story-json", "--log-format json");
}

#[test]
fn once() {
    let controller = Controller::start(State::Standby);
    let run = |arguments: &str, directory: tempfile::TempDir| {
        let mut straw = again(&controller, &format!("--once {arguments}"), directory);
        let output = straw.run();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let (stdout, stderr) = (text(output.stdout), text(output.stderr));
        assert!(!stderr.contains(OF_A_TOKEN) && !stdout.contains(OF_A_TOKEN));
        let code = output.status.code().unwrap();
        (code, stdout, stderr, straw.directory)
    };
    let directory = tempfile::tempdir().unwrap();
    // Without a set that is good, how it fails is its exit code.
    let (code, _, _, directory) = run("--wait 1s", directory);
    assert_eq!(code, 3);
    for (state, expected) in [(State::Refuses, 4), (State::ConfiglessOff, 6)] {
        controller.is(state);
        let (code, stdout, stderr, _) = run("--json", tempfile::tempdir().unwrap());
        assert_eq!(code, expected, "{stderr}");
        assert!(stdout.contains(&format!("\"exit_code\": {expected}")));
    }

    controller.is(serves(CONF));
    let mut first = again(&controller, "--once --on-change", directory);
    first.command.arg("touch called");
    let stderr = first.done();
    assert_eq!(count(&stderr, "configuration of"), 1, "{stderr}");
    assert!(stderr.ends_with("store: new\n"), "{stderr}");
    let called = first.path().join("called");
    assert!(called.exists());
    fs::remove_file(&called).unwrap();
    let (code, stdout, stderr, directory) = run("--on-change false", first.directory);
    assert_eq!((code, stdout.as_str()), (0, ""));
    assert_eq!(count(&stderr, "\n"), 1, "{stderr}");
    assert!(stderr.ends_with("store: unchanged\n"), "{stderr}");

    // The last good one will do; but not for whoever is refused.
    controller.is(State::Standby);
    let (code, stdout, stderr, directory) = run("--json", directory);
    assert_eq!(code, 0, "{stderr}");
    assert!(stderr.contains("using the configuration of"), "{stderr}");
    let report: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    let store = directory.path().canonicalize().unwrap().join("store");
    let expected = serde_json::json!({
        "directory": store,
        "generation": store.join("..gen-1"),
        "controller": controller.address(),
        "protocol_version": 43,
        "changed": false,
        "stale": true,
    });
    assert_eq!(report, expected);
    let (code, _, _, directory) = run("--max-stale 0s", directory);
    assert_eq!(code, 3);
    controller.is(State::Refuses);
    let (code, ..) = run("", directory);
    assert_eq!(code, 4);
}

#[test]
fn signals_and_the_files_that_go_with_it() {
    let controller = Controller::serving();
    let files = "--pid-file pid --health ./health";
    let mut running = Running::start(watch(&controller, files));
    running.has_new(1);
    let pid = fs::read_to_string(running.path("pid")).unwrap();
    assert_eq!(pid, format!("{}\n", running.child.id()));
    let health = running.path("health");
    until("the health file", || health.exists().then_some(()));

    // Another one for the same directory.
    let server = controller.address();
    let line = ["watch", &server, "-o", "store", "--pid-file", "pid"];
    let mut second = Straw::with_token(&line);
    second.command.current_dir(running.directory.path());
    let output = second.run();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(9), "{stderr}");
    let process = format!("is held by process {}", running.child.id());
    assert!(stderr.contains(&process), "{stderr}");

    // Any number of signals is one refresh more, or some; and others do nothing.
    for signal in [Signal::USR1, Signal::USR2, Signal::WINCH, Signal::CONT] {
        running.signal(signal);
    }
    controller.is(serves("ClusterName=other\n"));
    running.refresh(&controller);
    running.has_new(2);
    let conf = fs::read_to_string(running.path("store/slurm.conf")).unwrap();
    assert_eq!(conf, "ClusterName=other\n");
    assert!(running.child.try_wait().unwrap().is_none());

    let (_, directory) = running.end();
    for file in ["pid", "health"] {
        assert!(!directory.path().join(file).exists(), "{file}");
    }
    // What one left that was killed is in nobody's way.
    running = Running::start(again(&controller, files, directory));
    running.says("keeping");
    running.child.kill().unwrap();
    running.ended();
    assert!(running.path("pid").exists());
    let directory = std::mem::replace(&mut running.directory, tempfile::tempdir().unwrap());
    let third = Running::start(again(&controller, files, directory));
    third.says("keeping");
    let pid = fs::read_to_string(third.path("pid")).unwrap();
    assert_eq!(pid, format!("{}\n", third.child.id()));
    third.end();
}

#[test]
fn a_command_on_changes() {
    let controller = Controller::serving();
    let with_hook = |directory| {
        let mut straw = again(&controller, "--on-change", directory);
        straw
            .command
            .arg("sh -c 'cat \"$SLURM_CONF\" >> log; exit 3'");
        Running::start(straw)
    };
    let log = |running: &Running| fs::read_to_string(running.path("log")).unwrap_or_default();
    let running = with_hook(tempfile::tempdir().unwrap());
    // For the first set. That it fails is said, and nothing else comes of it.
    running.says("/sh, which is run on changes, ended with exit code 3");
    assert_eq!(log(&running), CONF);
    running.refresh(&controller);
    let (_, directory) = running.end();

    // Not where nothing has changed since then; but for what changes.
    let running = with_hook(directory);
    running.refresh(&controller);
    running.refresh(&controller);
    controller.is(serves("ClusterName=other\n"));
    running.refresh(&controller);
    running.says("which is run on changes");
    let expected = format!("{CONF}ClusterName=other\n");
    until("its work", || (log(&running) == expected).then_some(()));
    running.refresh(&controller);
    let (said, directory) = running.end();
    assert_eq!(count(&said, "which is run"), 1, "{said}");

    // Nor for what changed while nobody watched, before it is here.
    controller.is(serves(CONF));
    let running = with_hook(directory);
    running.refresh(&controller);
    let expected = format!("{expected}{CONF}");
    until("its work", || (log(&running) == expected).then_some(()));
    running.end();
}

/// A command that is at work keeps straw neither from its own work nor from ending.
#[test]
fn a_command_that_takes_its_time() {
    let controller = Controller::serving();
    let mut straw = watch(&controller, "--on-change");
    straw
        .command
        .arg("sh -c 'echo $$ > at-work; sleep 1000; true'");
    let running = Running::start(straw);
    let group = until("its start", || {
        let text = fs::read_to_string(running.path("at-work")).ok()?;
        Pid::from_raw(text.trim().parse().ok()?)
    });
    running.refresh(&controller);
    controller.is(serves("ClusterName=other\n"));
    running.refresh(&controller);
    running.has_new(2);
    running.end();
    until("its end", || {
        rustix::process::test_kill_process_group(group)
            .is_err()
            .then_some(())
    });
}

/// What is answered to a request for this path: the status, and the text.
fn get(address: SocketAddr, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(!answer.contains(OF_A_TOKEN), "{answer}");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap();
    (status.to_owned(), body.to_owned())
}

#[test]
fn health_by_http() {
    let controller = Controller::serving();
    let (_, directory) = first_set(&controller);
    // With a set from before, it is ready while nobody answers; until that is too old.
    controller.is(State::Standby);
    let server = controller.address();
    let line = "-v watch -o store --refresh 2s --max-stale 2s --health 127.0.0.1:0";
    let line: Vec<_> = line.split(' ').chain([server.as_str()]).collect();
    let mut straw = Straw::with_token(&line);
    straw.command.current_dir(&directory);
    straw.directory = directory;
    // Some time has passed since then, or has not: it begins anew.
    touch(&straw.path().join("store/..data/.straw.json"));
    let running = Running::start(straw);
    let said = running.says("health: listening on ");
    let address = said.split("listening on ").nth(1).unwrap();
    let address: SocketAddr = address.lines().next().unwrap().parse().unwrap();
    let status = |path| get(address, path).0;
    let first = status("/readyz");
    let (not_ready, why) = until("not ready", || {
        let answer = get(address, "/readyz");
        (answer.0 != "200").then_some(answer)
    });
    assert_eq!((first.as_str(), not_ready.as_str()), ("200", "503"));
    assert!(why.contains("was last checked"), "{why}");
    running.says("more than --max-stale");
    assert_eq!(status("/healthz"), "200");
    controller.is(serves(CONF));
    until("ready again", || (status("/readyz") == "200").then_some(()));
    let (_, metrics) = get(address, "/metrics");
    assert!(metrics.contains("straw_ready 1"), "{metrics}");
    let (said, _) = running.end();
    assert_eq!(count(&said, "more than --max-stale"), 1, "{said}");
    assert_eq!(count(&said, "fresh again"), 1, "{said}");
}

#[test]
fn health_by_a_file() {
    let controller = Controller::start(State::Refuses);
    let running = Running::start(watch(&controller, "--health ./ready"));
    running.says("refused");
    let file = running.path("ready");
    assert!(!file.exists());
    controller.is(serves(CONF));
    running.signal(Signal::HUP);
    until("the file", || file.exists().then_some(()));
    let (_, directory) = running.end();
    assert!(!directory.path().join("ready").exists());

    controller.is(State::Standby);
    let running = Running::start(again(&controller, "--health ./ready", directory));
    until("the file", || running.path("ready").exists().then_some(()));
    running.signal(Signal::HUP);
    running.says("standby");
    let file = running.path("ready");
    let text = || fs::read_to_string(&file).unwrap_or_default();
    until("why it fails", || text().contains("standby").then_some(()));
    running.end();
}

/// Has the first set come, and returns where it is.
fn first_set(controller: &Controller) -> (String, tempfile::TempDir) {
    let running = Running::start(watch(controller, ""));
    running.has_new(1);
    running.end()
}

fn touch(path: &Path) {
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::now()).unwrap();
}

#[test]
fn a_service_manager() {
    let controller = Controller::start(State::Standby);
    let straw = watch(&controller, "");
    let path = straw.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let next = || {
        let mut bytes = [0; 4096];
        let length = socket.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    };
    // Its number is known only once it is there.
    let Straw { command, directory } = straw;
    let mut shell = Command::new("/bin/sh");
    let script = "WATCHDOG_PID=$$ exec \"$@\"";
    shell.args(["-c", script, "sh"]).arg(command.get_program());
    shell.args(command.get_args()).env_clear();
    for (name, value) in command.get_envs() {
        shell.env(name, value.unwrap());
    }
    shell
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "400000")
        .current_dir(&directory);
    let running = Running::run(&mut shell, directory);
    running.says("standby");
    // It lives, and has nothing yet.
    let mut heard = String::new();
    while count(&heard, "WATCHDOG=1") < 2 || !heard.contains("STATUS=no configuration") {
        heard.push_str(&next());
    }
    assert!(!heard.contains("READY=1"), "{heard}");
    controller.is(serves(CONF));
    while !heard.contains("READY=1") {
        heard.push_str(&next());
    }
    assert!(running.path("store/slurm.conf").exists());
    running.signal(Signal::TERM);
    while !heard.contains("STOPPING=1") {
        heard.push_str(&next());
    }
    assert!(!heard.contains(OF_A_TOKEN), "{heard}");
}

#[test]
fn a_directory_that_is_replaced_or_removed() {
    let controller = Controller::serving();
    let mut straw = watch(&controller, "--on-change");
    straw.command.arg("sh -c 'echo >> called'");
    let running = Running::start(straw);
    running.has_new(1);
    let store = running.path("store");
    let is_there = || {
        let conf = fs::read_to_string(store.join("slurm.conf"));
        conf.is_ok_and(|conf| conf == CONF).then_some(())
    };
    fs::remove_dir_all(&store).unwrap();
    running.refresh(&controller);
    until("the same set in a new directory", is_there);
    running.has_new(2);
    fs::rename(&store, running.path("elsewhere")).unwrap();
    fs::create_dir(&store).unwrap();
    running.refresh(&controller);
    until("the same set in another directory", is_there);
    running.has_new(3);
    // What reads it there is told each time.
    let called = || fs::read_to_string(running.path("called")).unwrap_or_default();
    until("the command", || (called() == "\n\n\n").then_some(()));

    // A link to elsewhere, and something that is no directory.
    fs::remove_dir_all(&store).unwrap();
    symlink("elsewhere", &store).unwrap();
    running.refresh(&controller);
    until("the set behind the link", is_there);
    fs::remove_file(&store).unwrap();
    fs::write(&store, "").unwrap();
    running.signal(Signal::HUP);
    running.says("store cannot be used");
    fs::remove_file(&store).unwrap();
    running.signal(Signal::HUP);
    running.says("fresh again");
    until("the set in a directory", is_there);
    running.end();
}

#[test]
fn a_directory_where_it_may_not_write() {
    if rustix::process::geteuid().is_root() {
        // Root may write anywhere; `live` has read-only mounts.
        return;
    }
    let controller = Controller::serving();
    let mut straw = watch(&controller, "");
    let store = straw.path().join("store");
    fs::create_dir(&store).unwrap();
    fs::set_permissions(&store, fs::Permissions::from_mode(0o555)).unwrap();
    assert_eq!(straw.run().status.code(), Some(9));
}

/// With tokens in a file: what a watch says, and what it does with them.
fn with_file(controller: &Controller, first: &str, arguments: &[&str]) -> Straw {
    let server = controller.address();
    let line = ["watch", &server, "-o", "store", "--refresh", "1h"];
    let line = [&line[..], &["--token-file", "token"], arguments].concat();
    let straw = Straw::new(&line).env("PATH", "/usr/bin:/bin");
    if !first.is_empty() {
        put(&straw.path().join("token"), first);
    }
    straw
}

#[test]
fn a_token_that_is_refused_is_replaced() {
    let (old, new) = (token(3000), token(3600));
    let controller = Controller::start(State::ServesOnly(new.clone(), CONF.to_owned()));
    // As Kubernetes has it: a link to a link that is switched.
    let straw = with_file(&controller, "", &["-vvv"]);
    let at = |name: &str| straw.path().join(name);
    for (name, token) in [("..1", &old), ("..2", &new)] {
        fs::create_dir(at(name)).unwrap();
        put(&at(name).join("token"), token);
    }
    symlink("..1", at("..data")).unwrap();
    symlink("..data/token", at("token")).unwrap();
    let running = Running::start(straw);
    running.says("refused");
    symlink("..2", running.path("..new")).unwrap();
    fs::rename(running.path("..new"), running.path("..data")).unwrap();
    running.says("new configuration of");
    let (said, directory) = running.end();
    assert_eq!(count(&said, " is here, "), 1, "{said}");
    assert_eq!(count(&said, "\nwarning: "), 1, "{said}");

    // The same without a token for a while.
    let path = directory.path().join("token");
    fs::remove_file(&path).unwrap();
    let mut straw = with_file(&controller, "", &[]);
    straw.command.current_dir(&directory);
    straw.directory = directory;
    let running = Running::start(straw);
    running.signal(Signal::HUP);
    running.says("cannot be read");
    put(&path, &new);
    running.says("fresh again");
    // The set was there all the time, and nothing came of it.
    let (said, _) = running.end();
    assert_eq!(count(&said, "new configuration"), 0, "{said}");
}

#[test]
fn a_token_that_nobody_renews() {
    let controller = Controller::serving();
    let running = Running::start(with_file(&controller, &token_of(1700, 100), &[]));
    let said = running.says("what needs it stops then");
    let line = said
        .lines()
        .find(|line| line.contains("expires at"))
        .unwrap();
    assert!(
        line.starts_with("warning: the token in token expires at 2"),
        "{line}"
    );
    assert!(line.contains("--renew-token"), "{line}");
    for _ in 0..3 {
        running.refresh(&controller);
    }
    let (said, _) = running.end();
    assert_eq!(count(&said, "expires at"), 1, "{said}");

    // In a variable it is in a place where nobody can renew it.
    let mut straw = watch(&controller, "");
    straw.command.env("SLURM_JWT", token_of(1700, 100));
    let running = Running::start(straw);
    running.says("a variable cannot be renewed");
    running.end();

    // Nor does one become good there that is not.
    for useless in ["rubbish".to_owned(), token_of(100, 0)] {
        let mut straw = watch(&controller, "");
        straw.command.env("SLURM_JWT", useless);
        assert_eq!(straw.run().status.code(), Some(4));
    }

    // What lives for long enough is nothing to speak of.
    let running = Running::start(with_file(&controller, &token_of(100, 1700), &[]));
    running.has_new(1);
    let (said, _) = running.end();
    assert!(!said.contains("expires"), "{said}");
}

const RENEWS: [&str; 3] = ["--renew-token", "--token-command", "cat next"];

#[test]
fn a_token_command_into_a_file() {
    let controller = Controller::serving();
    // It has lived for more than four fifths of its life, so it is its turn.
    let (old, new) = (token_of(900, 100), token_of(0, 1000));
    let straw = with_file(&controller, &old, &[&RENEWS[..], &["-vvv"]].concat());
    put(&straw.path().join("next"), &new);
    let running = Running::start(straw);
    running.says("the token in");
    let file = running.path("token");
    let is_there = |token: &str| {
        let text = fs::read_to_string(&file).unwrap_or_default();
        (text.trim() == token).then_some(())
    };
    until("the new token", || is_there(&new));
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // It is used; and not replaced before its time.
    controller.is(State::ServesOnly(new.clone(), CONF.to_owned()));
    running.refresh(&controller);
    put(&running.path("next"), &token_of(0, 2000));
    running.refresh(&controller);
    assert_eq!(is_there(&new), Some(()));
    // Nor is one that somebody else puts there.
    let theirs = token_of(1, 4000);
    controller.is(State::ServesOnly(theirs.clone(), CONF.to_owned()));
    put(&file, &theirs);
    running.refresh(&controller);
    running.says("another token in");
    assert_eq!(is_there(&theirs), Some(()));
    let (said, directory) = running.end();
    assert_eq!(count(&said, "is renewed, and good until"), 1, "{said}");
    assert_eq!(count(&said, "\nwarning: "), 0, "{said}");

    // Where there is none yet, or none that is a token, one is made.
    for rubbish in ["", "rubbish"] {
        put(&file_in(&directory), rubbish);
        let line = ["watch", "-o", "store", "--renew-token=token", "--once"];
        let line = [&line[..], &["--token-command", "cat next"]].concat();
        let server = controller.address();
        let mut straw = Straw::new(&[&line[..], &[server.as_str()]].concat());
        straw
            .command
            .env("PATH", "/usr/bin:/bin")
            .current_dir(&directory);
        let made = fs::read_to_string(directory.path().join("next")).unwrap();
        controller.is(State::ServesOnly(made.clone(), CONF.to_owned()));
        straw.done();
        assert_eq!(
            fs::read_to_string(file_in(&directory)).unwrap().trim(),
            made
        );
    }
}

fn file_in(directory: &tempfile::TempDir) -> PathBuf {
    directory.path().join("token")
}

/// Tokens that say that they were made at the beginning of time are not renewed all the time.
#[test]
fn a_token_command_that_does_not_know_the_time() {
    let controller = Controller::serving();
    let command = "sh -c 'echo >> runs; cat next'";
    let arguments = ["--renew-token", "--token-command", command];
    let straw = with_file(&controller, &token_of(900, 100), &arguments);
    let next = token(2000);
    put(&straw.path().join("next"), &next);
    let running = Running::start(straw);
    until("the new token", || {
        let text = fs::read_to_string(running.path("token")).ok()?;
        (text.trim() == next).then_some(())
    });
    // Each signal has it look at the token as well.
    for _ in 0..3 {
        running.refresh(&controller);
    }
    put(&running.path("next"), &token(3000));
    for _ in 0..3 {
        running.refresh(&controller);
    }
    let runs = fs::read_to_string(running.path("runs")).unwrap();
    assert_eq!(runs, "\n");
    running.end();
}

#[test]
fn a_token_that_cannot_be_renewed() {
    let controller = Controller::serving();
    for (next, why) in [
        ("cat token", "no longer than the one that is there"),
        ("exit 3", "ended with exit code 3"),
    ] {
        let command = format!("sh -c 'echo >> runs; [ -e next ] && exec cat next; {next}'");
        let arguments = ["--renew-token", "--token-command", &command];
        let old = token_of(900, 100);
        let running = Running::start(with_file(&controller, &old, &arguments));
        let said = running.says("cannot be renewed");
        let line = said.lines().find(|line| line.contains("cannot be renewed"));
        let line = line.unwrap();
        assert!(line.starts_with("warning: the token in "), "{line}");
        assert!(line.contains(why), "{line}");
        assert!(line.contains("; it expires at 2"), "{line}");
        assert!(line.contains("what needs it stops then"), "{line}");
        // It is tried again, and not told of again.
        let runs = || fs::read_to_string(running.path("runs")).unwrap().len();
        until("another try", || (runs() >= 2).then_some(()));
        put(&running.path("next"), &token_of(0, 1000));
        running.says("is renewed again, and good until");
        let (said, _) = running.end();
        assert_eq!(count(&said, "cannot be renewed"), 1, "{said}");
        assert_eq!(count(&said, "is renewed again"), 1, "{said}");
    }
    // Somebody else has it renewed.
    let arguments = ["--renew-token", "--token-command", "false"];
    let running = Running::start(with_file(&controller, &token_of(900, 100), &arguments));
    running.says("cannot be renewed");
    put(&running.path("token"), &token_of(0, 1000));
    running.says("another token in");
    // There is none, and none can be got.
    let running = Running::start(with_file(&controller, "", &arguments));
    running.says("there is none that is of use");
    running.end();
}

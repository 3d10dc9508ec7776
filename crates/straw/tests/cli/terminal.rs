//! `straw exec --refresh` at a terminal: under a shell with job control, in a script, and as all that
//! there is.

use std::cell::Cell;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{SIGKILL, kill};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{
    LocalModes, OptionalActions, Winsize, tcgetattr, tcgetpgrp, tcsetattr, tcsetwinsize,
};

use crate::straw::{Straw, skip};
use crate::supervise::{
    COUNTS, Cluster, LONG, await_end, forwards_each_once, names, send, state, until, variables,
};

/// Says its number and straw's, and each line that it reads; ends with 4 after `end`.
const READS: &str = r#"#!/usr/bin/perl
$| = 1;
print "reader $$ ", getppid, "\n";
while (<STDIN>) { chomp; print "got <$_>\n"; exit 4 if /end/ }
print "no more\n";
"#;

/// Says that it has begun, and waits, in a shell's quotes. (A shell takes no notice of ^C while it
/// starts something.)
const WAITS: &str = r#"perl -e "\$| = 1; print qq(begun\n); sleep 1000""#;

/// A terminal, and what runs at it.
struct Terminal {
    screen: Arc<File>,
    child: Child,
    said: Arc<Mutex<String>>,
    /// Reads from it until it is told to end.
    reader: Option<thread::JoinHandle<()>>,
    end: Arc<AtomicBool>,
    /// How much of it was seen.
    seen: Cell<usize>,
    /// Its directory, which is to live as long.
    straw: Straw,
}

impl Terminal {
    /// Runs a command as the leader of a session at a terminal that does not echo. It finds straw with
    /// its options by `$STRAW`, and a reader by `./reads`.
    fn start(straw: Straw, command: &[&str]) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let screen = openpt(flags).unwrap();
        grantpt(&screen).unwrap();
        unlockpt(&screen).unwrap();
        let name = ptsname(&screen, Vec::new()).unwrap().into_string().unwrap();
        program(&straw.path().join("reads"), READS);
        let counts = format!("#!/usr/bin/perl\nprint \"counts \", getppid, \"\\n\";{COUNTS}");
        program(&straw.path().join("counts"), &counts);
        program(&straw.path().join("broken"), "#!/no/such/interpreter\n");
        let line = line_of(&straw);
        let mut modes = tcgetattr(&screen).unwrap();
        modes.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&screen, OptionalActions::Now, &modes).unwrap();
        let mut setsid = Command::new("setsid");
        setsid
            .arg("--ctty")
            .args(command)
            .env_clear()
            .envs(variables(&straw))
            .env("STRAW", line.join(" "))
            .env("PS1", "$ ")
            .env("TERM", "dumb")
            .current_dir(straw.path());
        let side = || File::options().read(true).write(true).open(&name).unwrap();
        let setsid = setsid.stdin(side()).stdout(side()).stderr(side());
        let child = setsid.spawn().unwrap();
        let screen = Arc::new(File::from(screen));
        let said = Arc::<Mutex<String>>::default();
        let end = Arc::<AtomicBool>::default();
        let reader = thread::spawn({
            let (screen, said, end) = (screen.clone(), said.clone(), end.clone());
            move || {
                let mut buffer = [0; 4096];
                let slice = Timespec::try_from(Duration::from_millis(20)).unwrap();
                while !end.load(Ordering::SeqCst) {
                    let mut wanted = [PollFd::new(&*screen, PollFlags::IN)];
                    if poll(&mut wanted, Some(&slice)) != Ok(1) {
                        continue;
                    }
                    // Nobody has the other side open any more.
                    let Ok(count) = (&*screen).read(&mut buffer) else {
                        return;
                    };
                    let text = String::from_utf8_lossy(&buffer[..count]);
                    said.lock().unwrap().push_str(&text);
                }
            }
        });
        Self {
            screen,
            child,
            said,
            reader: Some(reader),
            end,
            seen: Cell::new(0),
            straw,
        }
    }

    fn write(&self, text: &str) {
        (&*self.screen).write_all(text.as_bytes()).unwrap();
    }

    /// Waits for a text, and returns what comes before it.
    fn see(&self, text: &str) -> String {
        let give_up = Instant::now() + LONG;
        loop {
            let said = self.said.lock().unwrap();
            let new = &said[self.seen.get()..];
            if let Some(at) = new.find(text) {
                self.seen.set(self.seen.get() + at + text.len());
                return new[..at].to_owned();
            }
            assert!(Instant::now() < give_up, "no {text:?} in:\n{said}");
            drop(said);
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// The next line.
    fn line(&self) -> String {
        self.see("\n").trim_end_matches('\r').to_owned()
    }

    /// The numbers of a reader and its straw.
    fn reader(&self) -> (i32, i32) {
        self.see("reader ");
        let line = self.line();
        let (reader, straw) = line.split_once(' ').unwrap();
        (reader.parse().unwrap(), straw.parse().unwrap())
    }

    /// Fails unless a reader gets what is typed.
    fn reads(&self, text: &str) {
        self.write(&format!("{text}\n"));
        self.see(&format!("got <{text}>"));
    }

    /// Fails unless a shell gets what is typed.
    fn has_shell(&self) {
        self.write("echo shell$((20 + 2))\n");
        self.see("shell22");
    }

    /// Has it go away.
    fn hang_up(&mut self) {
        self.end.store(true, Ordering::SeqCst);
        self.reader.take().unwrap().join().unwrap();
        self.screen = Arc::new(File::open("/dev/null").unwrap());
    }

    /// Waits until the shell knows that its job is stopped, which can be a while after it is.
    fn knows_it_stopped(&self) {
        until("the shell says so", || {
            self.write("jobs; echo jobs$((20 + 2))\n");
            self.see("jobs22").contains("Stopped")
        });
    }

    /// The process group that may read.
    fn foreground(&self) -> i32 {
        tcgetpgrp(&*self.screen).map_or(0, |group| group.as_raw_nonzero().get())
    }

    fn end(mut self) -> Option<i32> {
        await_end(&mut self.child).code()
    }
}

/// Ends all that runs at it.
impl Drop for Terminal {
    fn drop(&mut self) {
        self.end.store(true, Ordering::SeqCst);
        let session = self.child.id().cast_signed();
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let number = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok());
            if number.is_some_and(|number| stat(number, 3) == Some(session)) {
                let _ = kill(Pid::from_raw(number.unwrap_or_default()), SIGKILL);
            }
        }
        let _ = self.child.wait();
    }
}

/// The words of a straw.
fn line_of(straw: &Straw) -> Vec<String> {
    let words = [straw.command.get_program()].into_iter();
    let words = words.chain(straw.command.get_args());
    words
        .map(|word| word.to_str().unwrap().to_owned())
        .collect()
}

/// A number out of what the kernel says of a process, counted from its state.
fn stat(pid: i32, field: usize) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    fields.split(' ').nth(field)?.parse().ok()
}

fn program(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A shell with job control, at a terminal of its own.
fn shell(cluster: &Cluster) -> Terminal {
    // Its options are those of whoever calls it.
    let straw = cluster.straw(&["1h"], &[]);
    let shell = ["bash", "--norc", "--noprofile", "--noediting", "-i"];
    let terminal = Terminal::start(straw, &shell);
    terminal.has_shell();
    terminal
}

fn both_stop(reader: i32, straw: i32) {
    for pid in [reader, straw] {
        until("both are stopped", || state(pid) == Some('T'));
    }
}

#[test]
fn what_is_typed_reaches_a_command_once() {
    let cluster = Cluster::start();
    let terminal = shell(&cluster);
    let names = names().join(" ");
    terminal.write(&format!("$STRAW ./counts {names}; echo code$?\n"));
    terminal.see("counts ");
    let straw = terminal.line().parse().unwrap();
    // It is ready for signals with its own number.
    terminal.line();
    for _ in 0..2 {
        for (typed, name) in [("\x03", "INT"), ("\x1c", "QUIT"), ("\x1a", "TSTP")] {
            terminal.write(typed);
            assert_eq!(terminal.line(), name);
        }
    }
    for columns in [100, 101] {
        let size = Winsize {
            ws_row: 30,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&*terminal.screen, size).unwrap();
        assert_eq!(terminal.line(), "WINCH");
    }
    // What somebody sends to straw itself arrives as well, and not twice.
    forwards_each_once(straw, || terminal.line());
    assert_eq!(terminal.line(), "code7");
    terminal.has_shell();

    // What the command has started gets it from the terminal, too.
    terminal.write(&format!(
        "$STRAW sh -c '{WAITS}; echo ended'; echo code$?\n"
    ));
    terminal.see("begun");
    terminal.write("\x03");
    assert_eq!(terminal.see("code130").trim(), "");
    terminal.has_shell();
}

#[test]
fn a_command_is_a_job_as_any_other() {
    let cluster = Cluster::start();
    let terminal = shell(&cluster);
    terminal.write("$STRAW ./reads; echo code$?\n");
    let (reader, straw) = terminal.reader();
    assert_eq!(terminal.foreground(), reader);
    terminal.reads("one");

    // ^Z and fg, again and again.
    for round in 0..3 {
        terminal.write("\x1a");
        terminal.see("Stopped");
        assert_eq!((state(reader), state(straw)), (Some('T'), Some('T')));
        terminal.has_shell();
        terminal.write("fg\n");
        until("it has the terminal", || terminal.foreground() == reader);
        terminal.reads(&format!("round {round}"));
    }

    // In the background it is stopped when it wants to read, and not before.
    terminal.write("\x1a");
    terminal.see("Stopped");
    terminal.write("bg\n");
    until("it has gone on, and stops again", || {
        terminal.has_shell();
        state(reader) == Some('T') && state(straw) == Some('T')
    });
    terminal.knows_it_stopped();
    terminal.write("fg\n");
    terminal.reads("from the background");

    // Somebody else stops straw.
    send(straw, libc::SIGTSTP);
    terminal.see("Stopped");
    assert_eq!((state(reader), state(straw)), (Some('T'), Some('T')));
    terminal.write("fg\n");
    terminal.reads("end");
    // The shell goes on with what comes after it only where it was never stopped.
    terminal.has_shell();

    // One that begins in the background.
    terminal.write("$STRAW ./reads &\n");
    let (reader, straw) = terminal.reader();
    both_stop(reader, straw);
    terminal.knows_it_stopped();
    terminal.write("fg; echo code$?\n");
    terminal.reads("end");
    terminal.see("code4");
    terminal.has_shell();

    // One that only writes runs on there, and its end is no matter of the terminal.
    terminal.write("$STRAW sh -c 'sleep 0.2; echo writ''ten' & wait $!; echo code$?\n");
    terminal.see("written");
    terminal.see("code0");
    terminal.has_shell();
}

#[test]
fn others_in_the_same_line_can_read_too() {
    let cluster = Cluster::start();
    let terminal = shell(&cluster);
    terminal.write("$STRAW ./reads | cat; echo code${PIPESTATUS[0]}\n");
    let (reader, straw) = terminal.reader();
    terminal.reads("one");
    terminal.write("\x1a");
    terminal.see("Stopped");
    assert_eq!((state(reader), state(straw)), (Some('T'), Some('T')));
    terminal.has_shell();
    terminal.write("fg\n");
    terminal.reads("two");
    terminal.reads("end");
    terminal.has_shell();

    // As a pager does: it changes the terminal, and reads from it. Then the command does.
    let pager = "read ready; stty -icanon </dev/tty; stty icanon </dev/tty; echo paging; \
                 read line </dev/tty; echo \"pager <$line>\"; : > paged; exec cat";
    fs::write(terminal.straw.path().join("pager"), pager).unwrap();
    let line = "$STRAW sh -c 'echo ready; until [ -e paged ]; do sleep 0.05; done; \
                read line </dev/tty; echo \"got <$line>\"; WAITS; true' | sh pager\n";
    terminal.write(&line.replace("WAITS", WAITS));
    terminal.see("paging");
    terminal.write("one line\n");
    terminal.see("pager <one line>");
    terminal.write("another\n");
    terminal.see("got <another>");
    terminal.see("begun");
    terminal.write("\x03");
    terminal.has_shell();

    // And before it.
    terminal.write("./reads | $STRAW sh -c 'echo begun; cat'; echo code${PIPESTATUS[1]}\n");
    terminal.see("begun");
    terminal.reads("three");
    terminal.write("\x1a");
    terminal.see("Stopped");
    terminal.has_shell();
    terminal.write("fg\n");
    terminal.reads("four");
    terminal.reads("end");
    terminal.has_shell();
}

#[test]
fn without_a_shell_nothing_stops_for_good() {
    let cluster = Cluster::start();
    let straw = cluster.straw(&["1h"], &["./reads"]);
    let line: Vec<_> = line_of(&straw);
    let words: Vec<_> = line.iter().map(String::as_str).collect();
    let terminal = Terminal::start(straw, &words);
    terminal.reader();
    for round in 0..3 {
        terminal.write("\x1a");
        terminal.reads(&format!("round {round}"));
    }
    terminal.reads("end");
    assert_eq!(terminal.end(), Some(4));

    let straw = cluster.straw(&["1h"], &["./reads"]);
    let terminal = Terminal::start(straw, &words);
    terminal.reader();
    terminal.write("\x03");
    assert_eq!(terminal.end(), Some(128 + 2));

    // When the terminal goes away, so does the command.
    let straw = cluster.straw(&["1h"], &["./reads"]);
    let mut terminal = Terminal::start(straw, &words);
    let (reader, straw) = terminal.reader();
    terminal.hang_up();
    until("they are gone", || {
        [reader, straw].map(|pid| state(pid).is_none_or(|state| state == 'Z')) == [true; 2]
    });
}

#[test]
fn a_script_can_read_when_a_command_has_ended() {
    let cluster = Cluster::start();
    let script = |command: &str| {
        let script = format!("{command}; code=$?; read line; echo \"script <$line> $code\"");
        let straw = cluster.straw(&["1h"], &[]);
        Terminal::start(straw, &["sh", "-c", &script])
    };
    let terminal = script("$STRAW ./reads");
    terminal.reader();
    terminal.write("\x1a");
    terminal.reads("one");
    terminal.reads("end");
    terminal.write("two\n");
    terminal.see("script <two> 4");

    // Killed, with somebody else at the terminal to whom it had handed it on.
    let terminal = script("$STRAW bash --norc --noprofile --noediting -i");
    terminal.has_shell();
    terminal.write(&format!("echo pid$$; {WAITS}\n"));
    terminal.see("pid");
    let inner = terminal.line().parse().unwrap();
    // Before that it may still take the terminal.
    terminal.see("begun");
    let script_itself = terminal.child.id().cast_signed();
    until("another group has it", || {
        ![inner, script_itself].contains(&terminal.foreground())
    });
    send(inner, libc::SIGKILL);
    until("the script has it", || {
        terminal.foreground() == script_itself
    });
    terminal.write("two\n");
    terminal.see("script <two> 137");

    // One that cannot be run.
    let terminal = script("$STRAW ./broken");
    terminal.see("interpreter");
    terminal.write("three\n");
    terminal.see("script <three> 126");
    // One in the background leaves the terminal to the script.
    let terminal = script("$STRAW sh -c 'echo begun; sleep 1000' & sleep 0");
    terminal.see("begun");
    terminal.write("four\n");
    terminal.see("script <four> 0");
}

#[test]
fn a_command_that_is_started_again_has_the_terminal() {
    let cluster = Cluster::start();
    let options = ["100ms", "--on-change", "restart"];
    let straw = cluster.straw(&options, &["./reads"]);
    let line = line_of(&straw);
    let terminal = Terminal::start(straw, &line.iter().map(String::as_str).collect::<Vec<_>>());
    for _ in 0..3 {
        let (reader, _) = terminal.reader();
        terminal.reads("one");
        assert_eq!(terminal.foreground(), reader);
        cluster.change();
    }
    terminal.reader();
    // ^C is meant for the command, and for straw with it.
    terminal.write("\x03");
    assert_eq!(terminal.end(), Some(128 + 2));
}

/// In a PID namespace that shares the session of whoever made it, straw's process group has no number.
#[test]
fn in_a_namespace_within_a_session_a_command_reads() {
    if !rustix::process::geteuid().is_root() {
        return skip("only root can make a PID namespace");
    }
    let cluster = Cluster::start();
    let straw = cluster.straw(
        &["1h"],
        &["sh", "-c", "echo begun; read x; echo \"got <$x>\""],
    );
    let line = line_of(&straw);
    let namespace = ["unshare", "--pid", "--fork", "--mount-proc"];
    let line: Vec<_> = namespace
        .into_iter()
        .chain(line.iter().map(String::as_str))
        .collect();
    let terminal = Terminal::start(straw, &line);
    terminal.see("begun");
    terminal.write("one\n");
    terminal.see("got <one>");
    assert_eq!(terminal.end(), Some(0));
}

/// What is not about `exec`, and takes a terminal all the same.
#[test]
fn doctor_is_coloured_at_a_terminal_that_shows_colours() {
    let straw = Straw::new(&["doctor", "127.0.0.1:1", "--auth", "jwt"]);
    let script = "TERM=xterm $STRAW; echo =1=; TERM=xterm NO_COLOR=1 $STRAW; echo =2=; \
                  TERM=dumb $STRAW; echo =3=; TERM=xterm $STRAW | cat; echo =4=";
    let terminal = Terminal::start(straw, &["sh", "-c", script]);
    for (end, coloured) in [
        ("=1=", true),
        ("=2=", false),
        ("=3=", false),
        ("=4=", false),
    ] {
        let said = terminal.see(end);
        assert!(said.contains("connection refused"), "{said}");
        assert_eq!(said.contains("\x1b["), coloured, "{said}");
    }
    assert_eq!(terminal.end(), Some(0));
}

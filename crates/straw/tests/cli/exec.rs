//! `straw exec` and the shims, with controllers on loopback.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use slurm_protocol::ProtocolVersion;

use crate::fake::{Act, Fake, config, return_code};
use crate::messages::golden;
use crate::straw::{Straw, copy_to, program, token};

const V26_05: ProtocolVersion = ProtocolVersion::V26_05;
/// One that no rule finds anything wrong with, with Slurm here or without.
const CONF: &str = "ClusterName=lab\nSlurmctldHost=localhost\n";
const FILES: &[(&str, &str)] = &[("slurm.conf", CONF), ("topology.conf", "")];

/// A controller that gives out the files, or what `state` says instead of them.
fn controller() -> Fake {
    Fake::controller(V26_05, FILES)
}

/// straw with a store of its own, a token, and commands to find.
fn straw(arguments: &[&str], servers: &str) -> Straw {
    Straw::with_token(arguments)
        .env("PATH", "/usr/bin:/bin")
        .env("STRAW_STORE", "store")
        .env("STRAW_SERVERS", servers)
}

fn text(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// Brings about every error with commands, shims and the store. Returns their kinds.
pub fn errors() -> BTreeSet<String> {
    let mut kinds = BTreeSet::new();
    let mut meet = |kind: String| {
        assert!(!kind.is_empty(), "no error");
        kinds.insert(kind);
    };
    // Behind the command `--json` would be the command's.
    let tell = |name: &str, kind: &str, straw: Straw, fakes: &[&Fake]| {
        golden(name, straw, fakes);
        kind.to_owned()
    };
    let fake = controller();
    let server = fake.address.to_string();
    let exec = |command: &[&str]| {
        let line: Vec<_> = ["exec", "--"].iter().chain(command).copied().collect();
        straw(&line, &server)
    };
    meet(tell(
        "exec-not-found",
        "command-not-found",
        exec(&["nosuchcommand"]),
        &[&fake],
    ));
    meet(tell(
        "exec-no-path",
        "command-not-found",
        exec(&["/no/such/command"]),
        &[&fake],
    ));
    meet(tell(
        "exec-not-executable",
        "command-not-run",
        exec(&["/etc/passwd"]),
        &[&fake],
    ));
    let script = exec(&["./script"]);
    let path = script.path().join("script");
    fs::write(&path, "#!/no/such/interpreter\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    meet(tell(
        "exec-no-interpreter",
        "command-not-run",
        script,
        &[&fake],
    ));

    // The store.
    let file = exec(&["true"]);
    fs::write(file.path().join("store"), "").unwrap();
    meet(tell("store-file", "store-unusable", file, &[&fake]));
    let in_the_way = exec(&["true"]);
    fs::create_dir(in_the_way.path().join("store")).unwrap();
    fs::write(in_the_way.path().join("store/slurm.conf"), "mine").unwrap();
    meet(tell(
        "store-in-the-way",
        "store-in-the-way",
        in_the_way,
        &[&fake],
    ));
    let ours = Straw::with_token(&["exec", "--", "true"])
        .env("PATH", "/usr/bin:/bin")
        .env("STRAW_SERVERS", &server);
    let runtime = ours.path().join("runtime");
    fs::create_dir(&runtime).unwrap();
    fs::set_permissions(&runtime, fs::Permissions::from_mode(0o700)).unwrap();
    let private = runtime.join("straw");
    fs::create_dir(&private).unwrap();
    fs::set_permissions(&private, fs::Permissions::from_mode(0o777)).unwrap();
    // It is passed over for the next place, which is there.
    let mut ours = ours.env("XDG_RUNTIME_DIR", &runtime);
    assert!(ours.run().status.success());

    let mut first = exec(&["true"]);
    assert!(first.run().status.success());
    let mut fetch = Straw::with_token(&["fetch", &server, "-o", "store"]);
    fetch.command.current_dir(first.path());
    meet(golden("directory-is-store", fetch, &[&fake]));

    // These take mounts, other users or a moment; the store's own tests meet them.
    for kind in [
        "not-ours",
        "read-only",
        "full",
        "locked",
        "gone",
        "not-written",
    ] {
        meet(format!("store-{kind}"));
    }

    // Shims.
    let shim = |arguments: &[&str]| Straw::new(arguments).env("PATH", "/nowhere");
    meet(golden(
        "shim-no-commands",
        shim(&["shim", "install", "--dir", "."]),
        &[],
    ));
    meet(golden(
        "shim-name",
        shim(&["shim", "install", "--dir", ".", "a/b"]),
        &[],
    ));
    let theirs = shim(&["shim", "install", "--dir", ".", "sinfo"]);
    fs::write(theirs.path().join("sinfo"), "").unwrap();
    meet(golden("shim-in-the-way", theirs, &[]));
    meet(golden(
        "shim-no-directory",
        shim(&["shim", "list", "--dir", "none"]),
        &[],
    ));
    kinds
}

#[test]
fn a_command_has_all_that_it_needs_and_nothing_is_left_behind() {
    let fake = controller();
    let script = r#"echo "$SLURM_CONF"; cat "$SLURM_CONF"; echo "${SLURM_JWT-none}"; cat; exit 7"#;
    let arguments = ["exec", "--token-file", "token", "--", "sh", "-c", script];
    let mut straw = straw(&arguments, &fake.address.to_string());
    straw.command.env_remove("SLURM_JWT");
    let path = straw.path().join("token");
    let secret = token(60);
    fs::write(&path, &secret).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(straw.path().join("in"), "from stdin\n").unwrap();
    let stdin = fs::File::open(straw.path().join("in")).unwrap();
    let output = straw.command.stdin(Stdio::from(stdin)).output().unwrap();
    let (stdout, stderr) = text(&output);
    assert_eq!(output.status.code(), Some(7), "{stderr}");
    let conf = straw
        .path()
        .canonicalize()
        .unwrap()
        .join("store/slurm.conf");
    let expected = format!("{}\n{CONF}{secret}\nfrom stdin\n", conf.display());
    assert_eq!((stdout, stderr), (expected, String::new()));

    // The same process, and the command's own end.
    let arguments = ["exec", "--", "sh", "-c", "echo $$; kill -TERM $$"];
    let mut straw = self::straw(&arguments, &fake.address.to_string());
    let child = straw.command.stdout(Stdio::piped()).spawn().unwrap();
    let pid = child.id();
    let output = child.wait_with_output().unwrap();
    assert_eq!(text(&output).0, format!("{pid}\n"));
    assert_eq!(output.status.signal(), Some(15));
}

/// A directory with a shim of this name, and a command behind it.
fn shim(name: &str, script: &str) -> (tempfile::TempDir, OsString) {
    let root = tempfile::tempdir().unwrap();
    let (shims, commands) = (root.path().join("shims"), root.path().join("commands"));
    fs::create_dir(&shims).unwrap();
    fs::create_dir(&commands).unwrap();
    symlink(program(), shims.join(name)).unwrap();
    let command = commands.join(name);
    fs::write(&command, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&command, fs::Permissions::from_mode(0o755)).unwrap();
    let path = [&shims, &commands, Path::new("/usr/bin"), Path::new("/bin")]
        .map(|path| path.as_os_str().to_owned());
    let path = path.join(&OsString::from(":"));
    (root, path)
}

/// A shim as a shell calls it.
fn call(root: &tempfile::TempDir, path: &OsString, name: &str, servers: &str) -> Command {
    let mut command = Command::new(root.path().join("shims").join(name));
    command
        .arg0(name)
        .env_clear()
        .env("PATH", path)
        .env("STRAW_STORE", root.path().join("store"))
        .env("STRAW_SERVERS", servers)
        .env("SLURM_JWT", token(600))
        .stdin(Stdio::null());
    command
}

#[test]
fn a_shim_hands_on_every_argument_as_it_is() {
    let fake = controller();
    let (root, path) = shim(
        "squeue",
        r#"printf '%s|' "$0" "$@"; echo; cat "$SLURM_CONF""#,
    );
    let servers = fake.address.to_string();
    let mut command = call(&root, &path, "squeue", &servers);
    let arguments = [
        "--json",
        "-v",
        "--",
        "--help",
        "",
        "a b",
        "--token-file=x",
        "exec",
    ];
    let output = command.args(arguments).output().unwrap();
    let (stdout, stderr) = text(&output);
    let called = root.path().join("commands/squeue");
    let expected = format!("{}|{}|\n{CONF}", called.display(), arguments.join("|"));
    assert_eq!((stdout, stderr), (expected, String::new()));

    // SLURM_CONF that names something else is the user's business, and so is a command within.
    let theirs = root.path().join("theirs.conf");
    fs::write(&theirs, "ClusterName=theirs\n").unwrap();
    let mut command = call(&root, &path, "squeue", &servers);
    let output = command.env("SLURM_CONF", &theirs).output().unwrap();
    assert!(text(&output).0.ends_with("ClusterName=theirs\n"));
}

#[test]
fn shims_that_start_together_make_one_request() {
    let fake = controller();
    let (root, path) = shim("sinfo", r#"cat "$SLURM_CONF""#);
    let servers = fake.address.to_string();
    let children: Vec<_> = (0..100)
        .map(|_| {
            call(&root, &path, "sinfo", &servers)
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        let (stdout, stderr) = text(&output);
        assert_eq!((stdout.as_str(), stderr.as_str()), (CONF, ""));
    }
    let requests = fake.requests();
    let fetched = requests.iter().filter(|seen| seen.has_credential).count();
    assert_eq!((requests.len(), fetched), (2, 1));
}

/// Makes the set in a store look as old as this.
fn age(store: &Path, age: Duration) {
    let notes = store.join("..data/.straw.json");
    let file = fs::File::options().write(true).open(notes).unwrap();
    file.set_modified(SystemTime::now() - age).unwrap();
}

#[test]
fn the_last_good_set_is_used_while_no_controller_can_be_reached() {
    let fake = controller();
    let (root, path) = shim("sinfo", r#"cat "$SLURM_CONF""#);
    let store = root.path().join("store");
    let run = |servers: &str| {
        // The servers are what the set is made from, so they stay, and who is behind them goes.
        let output = call(&root, &path, "sinfo", servers).output().unwrap();
        let (stdout, stderr) = text(&output);
        (output.status.code(), stdout, stderr)
    };
    // Two controllers, of which the second is never there.
    let servers = format!("{},127.0.0.1:1", fake.address);
    let good = (Some(0), CONF.to_owned(), String::new());
    assert_eq!(run(&servers), good);
    assert_eq!(fake.requests().len(), 2);
    // Fresh: nobody is asked.
    assert_eq!(run(&servers), good);
    assert_eq!(fake.requests().len(), 0);
    // Old: the controller is asked once, at the version that it accepted.
    age(&store, Duration::from_secs(600));
    assert_eq!(run(&servers), good);
    assert_eq!(fake.requests().len(), 1);
}

#[test]
fn what_stands_between_is_told_from_what_is_refused() {
    let (root, path) = shim("sinfo", r#"cat "$SLURM_CONF""#);
    let store = root.path().join("store");
    let refuse = std::sync::Arc::new(AtomicU32::new(0));
    let code = std::sync::Arc::clone(&refuse);
    let fake = Fake::answers(move |version| match code.load(Ordering::SeqCst) {
        0 => config(version, FILES),
        code => return_code(version, code),
    });
    let servers = fake.address.to_string();
    let run = || {
        let output = call(&root, &path, "sinfo", &servers).output().unwrap();
        let (stdout, stderr) = text(&output);
        (output.status.code(), stdout, stderr)
    };
    assert_eq!(run().0, Some(0));

    // A backup in standby: nobody is in charge, and what there is will do.
    refuse.store(2131, Ordering::SeqCst);
    age(&store, Duration::from_secs(600));
    let (status, stdout, stderr) = run();
    assert_eq!((status, stdout.as_str()), (Some(0), CONF), "{stderr}");
    assert!(
        stderr.contains("using the configuration of 10m ago"),
        "{stderr}"
    );
    // For half a minute nobody asks again.
    fake.requests();
    let (status, _, stderr) = run();
    assert_eq!((status, fake.requests().len()), (Some(0), 0), "{stderr}");
    assert!(
        stderr.contains("using the configuration of 10m ago"),
        "{stderr}"
    );
    // Too old is too old.
    age(&store, Duration::from_secs(25 * 3600));
    let (status, _, stderr) = run();
    assert_eq!(status, Some(3), "{stderr}");

    // A credential that is refused is never papered over, however often it is tried.
    refuse.store(1007, Ordering::SeqCst);
    age(&store, Duration::from_secs(600));
    fs::remove_file(store.join("..failed")).unwrap();
    for _ in 0..2 {
        let (status, stdout, stderr) = run();
        assert_eq!((status, stdout.as_str()), (Some(4), ""), "{stderr}");
    }
    // Nor is one that has expired, while the set is fresh.
    refuse.store(0, Ordering::SeqCst);
    assert_eq!(run().0, Some(0));
    let mut expired = call(&root, &path, "sinfo", &servers);
    let output = expired.env("SLURM_JWT", token(-60)).output().unwrap();
    assert_eq!(output.status.code(), Some(4));
}

#[test]
fn one_users_token_is_no_matter_of_anothers() {
    // The first one is refused, all the others are not.
    let first = AtomicBool::new(true);
    let fake = Fake::answers(move |version| {
        if first.swap(false, Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(500));
            return return_code(version, 1007);
        }
        config(version, FILES)
    });
    let (root, path) = shim("sinfo", r#"cat "$SLURM_CONF""#);
    let servers = fake.address.to_string();
    let children: Vec<_> = (0..5)
        .map(|_| {
            call(&root, &path, "sinfo", &servers)
                .stderr(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let ends = children
        .into_iter()
        .map(|child| child.wait_with_output().unwrap());
    let codes: Vec<_> = ends.map(|output| output.status.code().unwrap()).collect();
    let refused = codes.iter().filter(|code| **code == 4).count();
    let good = codes.iter().filter(|code| **code == 0).count();
    assert_eq!((refused, good), (1, 4), "{codes:?}");
}

#[test]
fn shims_do_not_go_round_in_circles() {
    let root = tempfile::tempdir().unwrap();
    let path = ["a", "b"].map(|name| {
        let directory = root.path().join(name);
        fs::create_dir(&directory).unwrap();
        // Copies, which nothing tells from a command.
        copy_to(&directory.join("sinfo"));
        directory.into_os_string()
    });
    let path = path.join(&OsString::from(":"));
    let run = |program: &Path, path: &std::ffi::OsStr, directory: &Path| {
        Command::new(program)
            .arg0("sinfo")
            .env_clear()
            .env("PATH", path)
            .env("SLURM_CONF", "/nowhere/slurm.conf")
            .current_dir(directory)
            .output()
            .unwrap()
    };
    let output = run(&root.path().join("a/sinfo"), &path, root.path());
    let (_, stderr) = text(&output);
    assert_eq!(output.status.code(), Some(127), "{stderr}");
    assert!(stderr.contains("is straw, and straw again"), "{stderr}");

    // An empty part of the PATH is the working directory, and what is found there is run.
    let here = root.path().join("here");
    fs::create_dir(&here).unwrap();
    let command = here.join("sinfo");
    fs::write(&command, "#!/bin/sh\necho here\n").unwrap();
    fs::set_permissions(&command, fs::Permissions::from_mode(0o755)).unwrap();
    let shims = root.path().join("shims");
    fs::create_dir(&shims).unwrap();
    symlink(program(), shims.join("sinfo")).unwrap();
    let mut path = shims.clone().into_os_string();
    path.push(":");
    let output = run(&shims.join("sinfo"), &path, &here);
    assert_eq!(text(&output), ("here\n".to_owned(), String::new()));
}

#[test]
fn settings_count_whatever_the_command_is_told() {
    let fake = controller();
    let arguments = ["exec", "--", "echo", "-h", "--help", "help", "-V"];
    let mut straw = Straw::with_token(&arguments)
        .env("PATH", "/usr/bin:/bin")
        .env("STRAW_CONFIG", "straw.toml");
    let settings = format!("servers = \"{}\"\nstore = \"store\"\n", fake.address);
    fs::write(straw.path().join("straw.toml"), settings).unwrap();
    let output = straw.run();
    assert_eq!(
        text(&output),
        ("-h --help help -V\n".to_owned(), String::new())
    );
    // Nothing is as good as nothing said.
    let mut straw = straw.env("SLURM_CONF_SERVER", "").env("SLURM_CONF", "");
    assert!(straw.run().status.success());
}

#[test]
fn a_token_of_the_settings_is_read_afresh_within_a_command() {
    let fake = controller();
    let (root, path) = shim("squeue", r#"printf '%s' "$SLURM_JWT""#);
    let file = root.path().join("token");
    let (old, new) = (token(600), token(1200));
    fs::write(&file, &old).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let settings = format!(
        "servers = \"{}\"\nstore = \"{}\"\ntoken-file = \"{}\"\n",
        fake.address,
        root.path().join("store").display(),
        file.display()
    );
    fs::write(root.path().join("straw.toml"), settings).unwrap();
    let script = "squeue; printf '%s' \"$NEW\" > token; squeue; SLURM_JWT=$OWN squeue";
    let own = token(1800);
    let output = Command::new(program())
        .args(["exec", "--", "sh", "-c", script])
        .env_clear()
        .env("PATH", &path)
        .env("STRAW_CONFIG", root.path().join("straw.toml"))
        .env("NEW", &new)
        .env("OWN", &own)
        .current_dir(root.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(text(&output), (format!("{old}{new}{own}"), String::new()));
}

#[test]
fn what_came_in_the_clear_does_not_pass_for_tls() {
    let fake = controller();
    let mut plain = straw(&["exec", "--", "true"], &fake.address.to_string());
    assert!(plain.run().status.success());
    // Nobody speaks TLS there, and what was kept before is not what is wanted now.
    let ca = rcgen::generate_simple_self_signed(vec!["ctl1".to_owned()]).unwrap();
    fs::write(plain.path().join("ca.pem"), ca.cert.pem()).unwrap();
    let mut tls = plain
        .env("STRAW_CA_CERT", "ca.pem")
        .env("STRAW_TIMEOUT", "500ms");
    assert!(!tls.run().status.success());
}

#[test]
fn a_store_that_cannot_be_written_is_used_as_it_is() {
    // Another set each time: one that is unchanged needs nothing but its time set.
    let number = AtomicU32::new(0);
    let fake = Fake::answers(move |version| {
        let conf = format!("{CONF}# {}\n", number.fetch_add(1, Ordering::SeqCst));
        config(version, &[("slurm.conf", conf)])
    });
    let show = ["exec", "--", "sh", "-c", "tail -n 1 \"$SLURM_CONF\""];
    let straw = straw(&show, &fake.address.to_string());
    let mut straw = straw.bound_by_permissions();
    assert_eq!(text(&straw.run()), ("# 0\n".to_owned(), String::new()));
    let store: PathBuf = straw.path().join("store");
    age(&store, Duration::from_secs(600));
    for directory in [store.join("..data"), store.clone()] {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o555)).unwrap();
    }
    let output = straw.run();
    fs::set_permissions(&store, fs::Permissions::from_mode(0o755)).unwrap();
    let (shown, said) = text(&output);
    assert_eq!(shown, "# 0\n");
    let why = "is read-only here: permission denied; using the configuration of 10m ago";
    assert!(said.contains(why), "{said}");
}

#[test]
fn silence_is_told_to_all_who_waited_for_it() {
    let fake = Fake::start(|_| Act::Hold);
    let (root, path) = shim("sinfo", "true");
    let servers = fake.address.to_string();
    let children: Vec<_> = (0..20)
        .map(|_| {
            call(&root, &path, "sinfo", &servers)
                .env("STRAW_TIMEOUT", "1s")
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        let (_, stderr) = text(&output);
        assert_eq!(output.status.code(), Some(3), "{stderr}");
        assert!(stderr.contains("did not answer in time"), "{stderr}");
    }
    // Those who came while somebody asked did not ask again.
    assert!(fake.requests().len() <= 5);
}

#[test]
fn a_shim_within_a_command_goes_on_with_the_same_store() {
    let fake = controller();
    let (root, path) = shim("squeue", r#"cat "$SLURM_CONF"; printf '%s' "$SLURM_JWT""#);
    let secret = token(600);
    let file = root.path().join("token");
    fs::write(&file, &secret).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    // Nothing of it is in the environment, and the command goes elsewhere.
    let arguments = [
        "exec",
        "--servers",
        &fake.address.to_string(),
        "--token-file",
        "token",
        "--store",
        "store",
        "--set",
        "MailProg=/bin/true",
        "--set",
        "ReturnToService=1",
        "--",
        "sh",
        "-c",
        "cd / && squeue && squeue",
    ];
    let output = Command::new(program())
        .args(arguments)
        .env_clear()
        .env("PATH", &path)
        .current_dir(root.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (stdout, stderr) = text(&output);
    assert_eq!((output.status.code(), stderr.as_str()), (Some(0), ""));
    let once = format!("{CONF}# straw: set by hand\nMailProg=/bin/true\n");
    assert!(stdout.starts_with(&once), "{stdout}");
    assert_eq!(stdout.matches(&secret).count(), 2);
    assert_eq!(stdout.matches("ReturnToService=1").count(), 2);
    assert_eq!(fake.requests().len(), 2);
}

//! `straw exec --refresh` as the first process of a container, and beside a command elsewhere.

use std::thread;
use std::time::{Duration, Instant};

use lab::{ClientOptions, Cluster, FirstProcess, Output};
use libtest_mimic::Failed;

use crate::clusters::{Clusters, client, expect, holds, lacks, same, straw, with_straw};

/// Writes down its number and each signal that it gets; ends at SIGTERM with 7.
const COUNTS: &str = r#"open my $said, ">>", "/run/said"; $said->autoflush;
    for my $name (qw(HUP INT QUIT USR1 WINCH NUM37 CHLD)) {
        $SIG{$name} = sub { print $said "$name\n" }
    }
    $SIG{TERM} = sub { print $said "TERM\n"; exit 7 };
    print $said "$$\n";
    sleep 1 while 1"#;

/// Does not end when it is told to.
const STAYS: &str = r#"$SIG{TERM} = "IGNORE"; open my $said, ">>", "/run/said"; sleep 1 while 1"#;

/// Leaves a daemon behind that hears, and one that does not, in sessions of their own.
const DAEMONS: &str = r#"use POSIX; $| = 1; pipe my $ready, my $is;
    for my $stays (0, 1) {
        next if fork;
        setsid();
        $SIG{TERM} = sub { print "told $stays\n"; exit 0 if !$stays };
        syswrite $is, "x";
        sleep 1 while 1;
    }
    sysread $ready, my $byte, 1 for 0, 1;
    exit 5"#;

/// A thousand processes that nobody waits for, of which some are killed; then waits until all are
/// gone from the list, with whatever straw itself started.
const ORPHANS: &str = r#"$| = 1;
    for my $ten (1..10) {
        next if fork;
        for my $number (1..100) {
            next if fork;
            select undef, undef, undef, 0.1 * rand;
            kill 37, $$ if $number % 3 == 0;
            kill 9, $$ if $number % 3 == 1;
            exit 0;
        }
        exit 0;
    }
    1 while wait != -1;
    my $asked = -s "/run/asked";
    sub left { grep { open my $f, "<", "$_/status"; grep /^(State:\s+Z|Name:\s+perl)/, <$f> }
        glob "/proc/[0-9]*" }
    # Only this one; and the token command went on, and was heard.
    select undef, undef, undef, 0.01 while left() > 1 || -s "/run/asked" < $asked + 20;
    print "none left\n"; exit 6"#;

/// Says what it finds in the configuration, at first and at each SIGHUP; ends at SIGTERM with 7.
const READS: &str = r#"said() { sed -n "s/^# change /$1 /p" "$SLURM_CONF" >> /run/said; }
    trap 'said hup; scontrol show config >> /run/native; echo done >> /run/said' HUP
    trap 'exit 7' TERM
    said began; echo ready >> /run/said
    while :; do sleep 0.05; done"#;

/// Sends the first process one signal after the other, and waits for what comes of each.
const SENDS: &str = r#"
    becomes() { for n in {1..600}; do "$@" && return; sleep 0.05; done; echo "in vain: $*" >&2; exit 1; }
    said() { grep -qx "$1" /run/said; }
    state() { grep -q "^State:.[$2]" "/proc/$1/status"; }
    becomes said HUP
    for name in INT QUIT USR1 WINCH; do kill -$name 1; becomes said $name; done
    kill -37 1; becomes said NUM37
    kill -CHLD 1
    child=$(head -n 1 /run/said)
    kill -TSTP 1; becomes state $child T; becomes state 1 SR
    kill -CONT 1; becomes state $child SR"#;

fn options(token: &str) -> ClientOptions {
    with_straw()
        .read_only()
        .tmpfs("/run")
        .env("SLURM_JWT", token)
        .env("STRAW_SERVERS", "ctl1")
}

/// A command with straw beside it, as the first process of a container.
fn first(
    cluster: &Cluster,
    options: &[&str],
    command: &[&str],
    token: &str,
) -> Result<FirstProcess, Failed> {
    let line = ["straw", "exec", "--refresh"].iter().chain(options);
    let line = line.chain(&["--"]).chain(command).copied();
    Ok(cluster.first_process(&self::options(token), line)?)
}

/// Runs it, and does something meanwhile.
fn run(
    first: &FirstProcess,
    meanwhile: impl FnOnce() -> Result<(), Failed>,
) -> Result<Output, Failed> {
    thread::scope(|scope| {
        let run = scope.spawn(|| first.run(""));
        let done = meanwhile();
        if done.is_err() {
            // Or it would run on for as long as it may.
            let _ = first.signal("KILL");
        }
        let output = run.join().map_err(|_| "it panicked")??;
        done.map_err(|failed| format!("{}\n{output}", failed.message().unwrap_or("failed")))?;
        Ok(output)
    })
}

/// Waits until something is so in its container.
fn until(first: &FirstProcess, is_so: &str) -> Result<(), Failed> {
    let give_up = Instant::now() + Duration::from_secs(30);
    let script = format!("for n in $(seq 200); do {is_so} && exit; sleep 0.05; done; exit 1");
    while Instant::now() < give_up {
        // It has not begun at first.
        if first
            .container()
            .exec(["sh", "-c", &script])
            .run()?
            .success()
        {
            return Ok(());
        }
    }
    Err(format!("in vain: {is_so}").into())
}

/// Every signal finds the command once; a stop is for the command alone, which goes on when it is
/// told to; and one that does not end is killed.
pub fn signals(clusters: &Clusters) -> Result<(), Failed> {
    let cluster = clusters.shared()?;
    let token = cluster.token("alice", 600)?;
    let counting = first(
        &cluster,
        &["1h"],
        &["perl", "-MIO::Handle", "-e", COUNTS],
        &token,
    )?;
    let output = run(&counting, || {
        // The first one comes from outside, as those of Docker do.
        until(&counting, "[ -s /run/said ]")?;
        counting.signal("HUP")?;
        counting.container().exec(["bash", "-c", SENDS]).check()?;
        let said = counting.container().get("/run/said")?;
        let said = String::from_utf8(said)?;
        let (_, said) = said.split_once('\n').unwrap_or_default();
        same("signals", said, "HUP\nINT\nQUIT\nUSR1\nWINCH\nNUM37\n")?;
        Ok(counting.signal("TERM")?)
    })?;
    same("stderr", expect(7, output)?.error_text().as_str(), "")?;

    let options = ["1h", "--kill-after", "1s"];
    let stays = first(&cluster, &options, &["perl", "-e", STAYS], &token)?;
    let output = run(&stays, || {
        until(&stays, "[ -e /run/said ]")?;
        Ok(stays.signal("TERM")?)
    })?;
    let said = expect(128 + 9, output)?.error_text();
    holds(&said, &["the command has not ended: it is killed"])
}

/// What a command leaves behind is told to end, and killed, where nobody else would; elsewhere it
/// lives on.
pub fn daemons(clusters: &Clusters) -> Result<(), Failed> {
    let cluster = clusters.shared()?;
    let token = cluster.token("alice", 600)?;
    let options = ["1h", "--kill-after", "1s"];
    let left = first(&cluster, &options, &["perl", "-e", DAEMONS], &token)?;
    let output = expect(5, left.run("")?)?;
    let text = output.text();
    let mut told: Vec<_> = text.lines().collect();
    told.sort_unstable();
    same("told", told, vec!["told 0", "told 1"])?;

    let client = client(&cluster)?;
    let script = "setsid sleep 1000 </dev/null >/dev/null 2>&1 & echo $!; exit 5";
    client.put("/srv/daemon", script, 0o755, "root")?;
    let line = "exec --servers ctl1 --refresh 1h --kill-after 10ms -- sh /srv/daemon";
    let output = expect(5, straw(&client, &token, line).run()?)?;
    let is_there = format!("grep sleep /proc/{}/comm", output.text());
    client.exec(["sh", "-c", &is_there]).check()?;
    Ok(())
}

/// A thousand orphans leave no trace, and do not keep straw from its own work.
pub fn orphans(clusters: &Clusters) -> Result<(), Failed> {
    let cluster = clusters.shared()?;
    let token = cluster.token("alice", 600)?;
    // It reads the variable that it would get the token from otherwise.
    let token_command = r#"sh -c 'echo >> /run/asked; echo "$SLURM_JWT"'"#;
    let options = ["20ms", "--max-age", "0s", "--token-command", token_command];
    let orphans = first(&cluster, &options, &["perl", "-e", ORPHANS], &token)?;
    let output = expect(6, orphans.run("")?)?;
    same("stdout", output.text().as_str(), "none left")?;
    lacks(&output.error_text(), &["warning"])
}

/// A command finds what has changed at the controller soon after it has, by a signal; and so do
/// Slurm's own.
pub fn changes(clusters: &Clusters) -> Result<(), Failed> {
    let cluster = clusters.shared()?;
    let token = cluster.token("alice", 600)?;
    let options = ["500ms", "--on-change", "signal:HUP"];
    let reads = first(&cluster, &options, &["sh", "-c", READS], &token)?;
    let before = cluster.controller_file("slurm.conf")?;
    let output = run(&reads, || {
        until(&reads, "grep -q ready /run/said")?;
        let mut conf = before.clone();
        conf.extend(b"MailDomain=changed.example.org\n# change one\n");
        cluster.write_controller_file("slurm.conf", &conf)?;
        cluster.reconfigure()?;
        until(&reads, "grep -q done /run/said")?;
        let native = String::from_utf8(reads.container().get("/run/native")?)?;
        holds(&native, &["changed.example.org"])?;
        Ok(reads.signal("TERM")?)
    });
    // Others have this cluster as well.
    cluster.write_controller_file("slurm.conf", &before)?;
    cluster.reconfigure()?;
    let output = expect(7, output?)?;
    lacks(&output.error_text(), &["warning"])
}

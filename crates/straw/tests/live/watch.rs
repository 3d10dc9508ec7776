//! `straw watch` and `straw exec --refresh` through what comes to pass in a cluster's life.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lab::{Cluster, Container, Exec, Release, Socket};
use libtest_mimic::Failed;
use serde_json::Value;

use crate::clusters::{Clusters, client, expect, holds, lacks, plain, same, straw, with_straw};

/// The longest that anything may take that is waited for: a backup of the lab that takes over, too.
const PATIENCE: Duration = Duration::from_secs(120);

/// What every token begins with: `{"`.
pub const OF_A_TOKEN: &str = "eyJ";

/// Asks again and again until there is an answer.
pub fn until<T>(
    what: &str,
    mut answer: impl FnMut() -> Result<Option<T>, Failed>,
) -> Result<T, Failed> {
    let give_up = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = answer()? {
            return Ok(answer);
        }
        if Instant::now() > give_up {
            return Err(format!("{what}: not within {PATIENCE:?}").into());
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// A straw that runs in a container, beside what else is done there.
struct Running<'a> {
    client: &'a Container,
    log: String,
    process: String,
}

impl<'a> Running<'a> {
    /// Starts it, and returns when its process is there.
    fn start(
        client: &'a Container,
        name: &str,
        token: &str,
        line: &[&str],
    ) -> Result<Self, Failed> {
        let log = format!("/tmp/{name}.log");
        let script = "log=$1; shift; \"$@\" >\"$log\" 2>&1 </dev/null & echo $!";
        let shell = ["sh", "-c", script, "sh", &log].into_iter();
        let exec = client.exec(shell.chain(line.iter().copied()));
        let exec = match token {
            "" => exec,
            token => exec.env("SLURM_JWT", token),
        };
        let process = exec.check()?.text();
        Ok(Self {
            client,
            log,
            process,
        })
    }

    /// `straw watch` of ctl1 with these options.
    fn watch(
        client: &'a Container,
        name: &str,
        token: &str,
        options: &str,
    ) -> Result<Self, Failed> {
        let line = format!("straw watch ctl1 {options}");
        Self::start(client, name, token, &line.split(' ').collect::<Vec<_>>())
    }

    fn said(&self) -> Result<String, Failed> {
        Ok(String::from_utf8(self.client.get(&self.log)?)?)
    }

    /// Waits until it says this so many times, and returns all that it said.
    fn says(&self, part: &str, times: usize) -> Result<String, Failed> {
        let mut last = String::new();
        until("a line", || {
            last = self.said()?;
            Ok((last.matches(part).count() >= times).then(|| last.clone()))
        })
        .map_err(|error| format!("{error:?}: `{part}` expected in:\n{last}").into())
    }

    /// Ends it, and returns all that it said, in which there is no token.
    fn end(self) -> Result<String, Failed> {
        let script = "kill -TERM $0 && while kill -0 $0 2>/dev/null; do sleep 0.05; done";
        let end = self.client.exec(["sh", "-c", script, &self.process]);
        expect(0, end.run()?)?;
        let said = self.said()?;
        lacks(&said, &[OF_A_TOKEN])?;
        Ok(said)
    }
}

/// How often a text holds another.
fn count(text: &str, part: &str, times: usize) -> Result<(), Failed> {
    match text.matches(part).count() {
        found if found == times => Ok(()),
        found => Err(format!("`{part}` {times} times expected, {found} in:\n{text}").into()),
    }
}

/// Waits until a file in a container is the same as the controller's.
fn has_conf(of: &Container, cluster: &Cluster, directory: &str) -> Result<(), Failed> {
    let path = format!("{directory}/slurm.conf");
    until("slurm.conf", || {
        let there = of.exec(["cat", &path]).run()?;
        let same = there.success() && there.stdout == cluster.controller_file("slurm.conf")?;
        Ok(same.then_some(()))
    })
}

/// slurm.conf with a line more, everywhere on the controllers.
pub fn change(cluster: &Cluster, line: &str) -> Result<(), Failed> {
    let mut conf = cluster.controller_file("slurm.conf")?;
    conf.extend(format!("{line}\n").into_bytes());
    cluster.write_controller_file("slurm.conf", &conf)?;
    Ok(cluster.reconfigure()?)
}

/// A native command in a container that has the directory, and a token.
fn sinfo<'a>(client: &'a Container, directory: &str, token: &str) -> Exec<'a> {
    let exec = client.exec(["sinfo", "-h", "-o", "%n %P"]).user("alice");
    exec.env("SLURM_CONF", &format!("{directory}/slurm.conf"))
        .env("SLURM_JWT", token)
}

/// A set that changes reaches those who read it, in this container and in another one; slurmctld is
/// away for longer than a set counts; and then it has another key.
pub fn changes_and_outages(clusters: &Clusters) -> Result<(), Failed> {
    let cluster = Cluster::builder(clusters.release).start()?;
    let token = cluster.token("alice", 3600)?;
    let writer = with_straw().volume("conf", "/shared", false);
    let writer = cluster.client(&writer)?;
    let reader = lab::ClientOptions::default().volume("conf", "/srv/conf", true);
    let reader = cluster.client(&reader)?;
    writer.put("/run/jwt/token", token.as_str(), 0o600, "root")?;
    // Where it may not write it does not begin.
    let denied = straw(&writer, &token, "watch ctl1 -o /srv").user("alice");
    holds(&expect(9, denied.run()?)?.error_text(), &["/srv", "denied"])?;
    let options = "-o /shared/slurm --verbatim --refresh 1s --max-stale 4s --timeout 3s \
                   --health /run/ready --token-file /run/jwt/token";
    let watch = Running::watch(&writer, "watch", "", options)?;
    has_conf(&reader, &cluster, "/srv/conf/slurm")?;
    let native = sinfo(&reader, "/srv/conf/slurm", &token).run()?;
    same("sinfo", expect(0, native)?.text().as_str(), "node1 main*")?;

    // A command beside straw gets a signal, and finds the new set where the old one was.
    let seen = "trap 'cat \"$SLURM_CONF\" > /tmp/seen' USR1
        touch /tmp/runs; while :; do sleep 0.1; done";
    let exec = "straw exec --servers ctl1 --verbatim --refresh 1s --on-change signal:USR1";
    let exec: Vec<_> = exec.split(' ').chain(["--", "sh", "-c", seen]).collect();
    let exec = Running::start(&writer, "exec", &token, &exec)?;
    until("the command", || {
        let runs = ["test", "-e", "/tmp/runs"];
        Ok(writer.exec(runs).run()?.success().then_some(()))
    })?;
    change(&cluster, "# another line")?;
    has_conf(&reader, &cluster, "/srv/conf/slurm")?;
    let conf = cluster.controller_file("slurm.conf")?;
    until("the command's look", || {
        let seen = writer.exec(["cat", "/tmp/seen"]).run()?;
        Ok((seen.stdout == conf).then_some(()))
    })?;
    exec.end()?;
    count(&watch.said()?, "new configuration of ctl1:6817", 2)?;

    // Longer than the set counts.
    let is_ready = || -> Result<bool, Failed> {
        Ok(writer.exec(["test", "-e", "/run/ready"]).run()?.success())
    };
    cluster.stop(0)?;
    watch.says("more than --max-stale", 1)?;
    until("not ready", || Ok((!is_ready()?).then_some(())))?;
    let said = watch.said()?;
    holds(&said, &["connection refused"])?;
    cluster.start(0)?;
    watch.says("is fresh again", said.matches("is fresh again").count() + 1)?;
    until("ready", || Ok(is_ready()?.then_some(())))?;

    // Another key: refused, and not papered over; until there is a new token.
    cluster.rotate_jwt_key()?;
    watch.says("refused the token", 1)?;
    let new = cluster.token("alice", 3600)?;
    writer.put("/run/jwt/token", new.as_str(), 0o600, "root")?;
    let fresh = watch.said()?.matches("is fresh again").count() + 1;
    watch.says("is fresh again", fresh)?;
    let native = sinfo(&reader, "/srv/conf/slurm", &new).run()?;
    expect(0, native)?;
    let said = watch.end()?;
    count(&said, "refused the token", 1)?;
    // Perhaps once more while it had the old token; and never twice for one outage.
    let stale = said.matches("more than --max-stale").count();
    if stale > said.matches("is fresh again").count() {
        return Err(format!("too old {stale} times:\n{said}").into());
    }
    count(&said, "new configuration of", 2)?;
    if is_ready()? {
        return Err("the health file is still there".into());
    }
    Ok(())
}

/// The primary goes, the backup takes over, the primary comes back: the set stays right, nothing is
/// lost, and each of these is said once.
pub fn failover(clusters: &Clusters) -> Result<(), Failed> {
    let cluster = Cluster::builder(clusters.release).backup(true).start()?;
    let client = client(&cluster)?;
    let token = cluster.token("alice", 3600)?;
    let line = "straw watch ctl1,ctl2 -o /conf --verbatim --refresh 1s --timeout 3s";
    let line: Vec<_> = line.split(' ').collect();
    let watch = Running::start(&client, "watch", &token, &line)?;
    watch.says("new configuration of ctl1:6817", 1)?;
    has_conf(&client, &cluster, "/conf")?;
    let before = client.get("/conf/slurm.conf")?;

    cluster.stop(0)?;
    watch.says("from ctl2:6817 now, no longer from ctl1:6817", 1)?;
    same(
        "slurm.conf",
        client.get("/conf/slurm.conf")?,
        before.clone(),
    )?;
    cluster.start(0)?;
    watch.says("from ctl1:6817 now, no longer from ctl2:6817", 1)?;
    // Native commands go on with it.
    cluster.wait_for_answer(0, PATIENCE)?;
    expect(0, sinfo(&client, "/conf", &token).run()?)?;
    same("slurm.conf", client.get("/conf/slurm.conf")?, before)?;
    let said = watch.end()?;
    count(&said, "new configuration of", 1)?;
    count(&said, "no longer from", 2)?;
    // Twice nobody was in charge, for a while: that can be of several kinds, and each is one line.
    let times = said.matches("is fresh again").count();
    let warnings = said.matches("warning: ").count();
    if times == 0 || warnings > times * 5 {
        return Err(format!("{warnings} warnings, {times} recoveries:\n{said}").into());
    }
    Ok(())
}

/// Where tokens are.
const TOKEN: &str = "/run/jwt/token";

/// How long they live here, in seconds.
const LIFE: u64 = 15;

/// What a token says of its time: when it was made, and when it expires.
fn times(token: &str) -> Result<(u64, u64), Failed> {
    let claims = token.split('.').nth(1).ok_or("a token expected")?;
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims)?)?;
    let seconds = |name: &str| claims[name].as_u64().ok_or("seconds expected");
    Ok((seconds("iat")?, seconds("exp")?))
}

/// A token that lives on through renewals: by itself, by munge, for a command and its shims, and for
/// another container; and one that nobody renews.
pub fn tokens(clusters: &Clusters) -> Result<(), Failed> {
    let cluster = Cluster::builder(clusters.release).start()?;
    let options = with_straw()
        .socket(Socket::Munge(0))
        .volume("jwt", "/run/jwt", false);
    let client = cluster.client(&options)?;
    let other = with_straw().volume("jwt", "/srv/jwt", true);
    let other = cluster.client(&other)?;
    for container in [&client, &other] {
        expect(0, plain(container, "shim install squeue").run()?)?;
    }
    let put = |path: &str| -> Result<(), Failed> {
        let token = cluster.token("alice", LIFE)?;
        Ok(client.put(path, token, 0o600, "root")?)
    };
    let fast = "--verbatim --refresh 1s";

    // By the token itself, beside a command whose shims read it, and by munge.
    put(TOKEN)?;
    let options = format!("-o /conf {fast} --renew-token --token-file {TOKEN}");
    let by_token = Running::watch(&client, "by-token", "", &options)?;
    let options =
        format!("-o /munge {fast} --auth munge --renew-token=/run/jwt/by-munge --lifespan {LIFE}");
    let by_munge = Running::watch(&client, "by-munge", "", &options)?;
    put("/run/jwt/of-exec")?;
    let calls = "while :; do squeue -h && echo good; sleep 1; done";
    let exec = format!(
        "straw exec --servers ctl1 {fast} --renew-token --token-file /run/jwt/of-exec -- sh -c"
    );
    let exec: Vec<_> = exec.split(' ').chain([calls]).collect();
    let exec = Running::start(&client, "exec", "", &exec)?;
    // By nobody.
    put("/run/jwt/lonely")?;
    let lonely = client.get("/run/jwt/lonely")?;
    let (_, expires) = times(&String::from_utf8(lonely)?)?;
    let options = format!("-o /lonely {fast} --token-file /run/jwt/lonely");
    let lonely = Running::watch(&client, "lonely", "", &options)?;

    // Each token that is seen, and what another container makes of it.
    let mut seen = Vec::new();
    until("three renewals", || {
        let squeue = other.exec(["squeue", "-h"]);
        let squeue = squeue
            .env("STRAW_SERVERS", "ctl1")
            .env("STRAW_MAX_AGE", "0")
            .env("STRAW_TOKEN_FILE", "/srv/jwt/token");
        expect(0, squeue.run()?)?;
        let token = String::from_utf8(client.get(TOKEN)?)?;
        if seen.last() != Some(&token) {
            seen.push(token);
        }
        Ok((seen.len() > 3).then_some(()))
    })?;
    let mut parts = Vec::new();
    for pair in seen.windows(2) {
        let ((made, expired), (next, end)) = (times(&pair[0])?, times(&pair[1])?);
        same("life", (expired - made, end - next), (LIFE, LIFE))?;
        // Whole seconds are all that tokens have.
        if next < made + LIFE / 2 - 1 || next >= expired {
            return Err(format!("made at {made}, renewed at {next}").into());
        }
        parts.push(format!("{} %", (next - made) * 100 / LIFE));
    }
    eprintln!(
        "{}: renewed at {} of {LIFE} s",
        clusters.release,
        parts.join(", ")
    );

    let said = by_token.end()?;
    count(&said, "warning: ", 0)?;
    count(&said, "expires at", 0)?;
    let by_munge_now = String::from_utf8(client.get("/run/jwt/by-munge")?)?;
    let (made, _) = times(&by_munge_now)?;
    // Its first one came when all of this began.
    if made <= times(&seen[0])?.0 + LIFE / 2 {
        return Err("munge has made no second token".into());
    }
    count(&by_munge.end()?, "warning: ", 0)?;
    let said = exec.end()?;
    holds(&said, &["good"])?;
    lacks(&said, &["straw, for squeue", "rror", "warning: "])?;

    // The hour was said while there was time, and came.
    let said = lonely.says("expired", 1)?;
    let hour = humantime(expires);
    let line = said.lines().find(|line| line.contains("expires at"));
    let line = line.ok_or_else(|| format!("no warning in:\n{said}"))?;
    holds(
        line,
        &[&hour, "/run/jwt/lonely", "what needs it stops then"],
    )?;
    let warned = said.find("expires at").unwrap_or(usize::MAX);
    if warned > said.find("expired").unwrap_or_default() {
        return Err(format!("too late:\n{said}").into());
    }
    client.put(
        "/run/jwt/lonely",
        cluster.token("alice", 3600)?,
        0o600,
        "root",
    )?;
    lonely.says("is fresh again", 1)?;
    let said = lonely.end()?;
    count(&said, "expires at", 1)?;
    count(&said, "expired", 1)
}

/// A time in seconds since 1970 as straw writes it.
fn humantime(seconds: u64) -> String {
    let output = std::process::Command::new("date")
        .args(["-u", "-d", &format!("@{seconds}"), "+%Y-%m-%dT%H:%M:%SZ"])
        .output();
    let output = output.map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).trim().to_owned()
}

/// A controller of another release in the place of one, under a watch that runs, whose disk is full at
/// first; and back again.
pub fn upgrade(_: &Clusters) -> Result<(), Failed> {
    let old = Cluster::builder(Release::V22_05).start()?;
    // It goes first, since it is in the other one's network.
    let new = Cluster::builder(Release::V24_11).jwt_key_of(&old).start()?;
    let client = old.client(&with_straw().tmpfs("/small:size=64k"))?;
    let token = old.token("alice", 3600)?;
    let options = "-o /small/conf --verbatim --refresh 1s --timeout 3s";
    let watch = Running::watch(&client, "watch", &token, options)?;
    has_conf(&client, &old, "/small/conf")?;
    change(&new, "# newer")?;
    // There is no room for the new set at first: the old one stays.
    let fill = "cat /dev/zero >/small/junk 2>/dev/null; true";
    client.exec(["sh", "-c", fill]).check()?;
    old.replace_by(0, &new)?;
    watch.says("is full", 1)?;
    has_conf(&client, &old, "/small/conf")?;
    client.exec(["rm", "/small/junk"]).check()?;
    has_conf(&client, &new, "/small/conf")?;
    let said = watch.says("speaks ", 1)?;
    let said_so = |said: &str, parts: &[&str]| {
        let line = said.lines().rfind(|line| line.contains("speaks "));
        holds(line.unwrap_or_default(), parts)
    };
    said_so(&said, &["no longer 38 (Slurm 22.05)"])?;
    // And back, to one that answers nothing that it does not know.
    old.take_back(0, &new)?;
    has_conf(&client, &old, "/small/conf")?;
    let said = watch.says("speaks ", 2)?;
    said_so(&said, &["speaks 38 (Slurm 22.05) now"])?;
    let said = watch.end()?;
    count(&said, "is full", 1)?;
    count(&said, "new configuration of ctl1:6817", 3)
}

/// How many watchers there are.
const MANY: usize = 200;

/// Two hundred that lose their controller for half a minute do not come back in the same second.
pub fn two_hundred(clusters: &Clusters) -> Result<(), Failed> {
    let cluster = Cluster::builder(clusters.release).start()?;
    let client = client(&cluster)?;
    let token = cluster.token("alice", 3600)?;
    let start = "mkdir /tmp/w; cd /tmp/w
        for i in $(seq $0); do
            straw watch ctl1 -o $i --refresh 20s --verbatim --log-format json </dev/null >$i.log 2>&1 &
        done";
    let many = MANY.to_string();
    let start = client.exec(["sh", "-c", start, &many]);
    start.env("SLURM_JWT", &token).check()?;
    let number = |script: &str| -> Result<usize, Failed> {
        let counted = client.exec(["sh", "-c", script]).check()?.text();
        Ok(counted.parse()?)
    };
    until("their sets", || {
        let there = number("ls /tmp/w/*/slurm.conf 2>/dev/null | wc -l")?;
        Ok((there == MANY).then_some(()))
    })?;

    let gone = Instant::now();
    cluster.stop(0)?;
    // This is what is to be shown, and no condition: that long it is away.
    thread::sleep(Duration::from_secs(30).saturating_sub(gone.elapsed()));
    cluster.start(0)?;
    until("their return", || {
        let failed = number("cd /tmp/w; grep -l '\"level\":\"warning\"' *.log | wc -l")?;
        let back = number("cd /tmp/w; grep -l 'is fresh again' *.log | wc -l")?;
        Ok((failed == MANY && back == MANY).then_some(()))
    })?;
    let logs = client
        .exec(["sh", "-c", "cat /tmp/w/*.log"])
        .check()?
        .text();

    lacks(&logs, &[OF_A_TOKEN])?;
    // The first request of each after that was answered: when, to the second.
    let mut seconds: BTreeMap<String, usize> = BTreeMap::new();
    let mut lines: BTreeMap<String, usize> = BTreeMap::new();
    for line in logs.lines() {
        let line: Value = serde_json::from_str(line)?;
        let (time, level) = (line["time"].as_str(), line["level"].as_str());
        let time = time.ok_or("a time expected")?;
        *lines
            .entry(level.unwrap_or_default().to_owned())
            .or_default() += 1;
        if line["message"]
            .as_str()
            .is_some_and(|text| text.contains("is fresh again"))
        {
            *seconds.entry(time[11..19].to_owned()).or_default() += 1;
        }
    }
    eprintln!("requests that were answered after the return, by the second:");
    for (second, requests) in &seconds {
        eprintln!("  {second} {requests:3} {}", "*".repeat(*requests));
    }
    let busiest = seconds.values().max().copied().unwrap_or_default();
    let (first, last) = (seconds.keys().next(), seconds.keys().last());
    eprintln!(
        "  {MANY} watchers from {first:?} to {last:?}, the busiest second has {} %; lines: {lines:?}",
        busiest * 100 / MANY
    );
    // Start, first set, failure, return; a failure of a second kind, or one more, at the most.
    if lines["warning"] > MANY * 2 || lines["notice"] > MANY * 4 {
        return Err(format!("they said too much: {lines:?}").into());
    }
    if busiest * 100 >= MANY * 40 {
        return Err(format!("{busiest} of {MANY} came in one second").into());
    }
    Ok(())
}

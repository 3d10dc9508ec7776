//! Where straw keeps what it fetched, and what becomes of it: as the first process of a container,
//! without a name, on read-only, full and foreign file systems.

use std::thread;
use std::time::{Duration, Instant};

use lab::{ClientOptions, Cluster};
use libtest_mimic::Failed;

use crate::clusters::{
    Clusters, client, expect, holds, lacks, plain, same, same_set, straw, with_straw,
};

/// A uid that no host and no container knows.
const NOBODY_IN_PARTICULAR: &str = "12345";

/// A container that has nothing but a tmpfs to write to, for somebody without a name.
fn poor(tmpfs: &str, token: &str) -> ClientOptions {
    with_straw()
        .read_only()
        .tmpfs(tmpfs)
        .user(NOBODY_IN_PARTICULAR)
        .env("SLURM_JWT", token)
        .env("STRAW_SERVERS", "ctl1")
}

/// straw is PID 1, and then the command is: with its standard input, its exit code and its signals.
pub fn first_process(clusters: &Clusters) -> Result<(), Failed> {
    let cluster = clusters.shared()?;
    let token = cluster.token("alice", 600)?;
    let script = "echo $$ $(id -u) $SLURM_CONF; cat; sinfo --noheader -o '%n %P'; exit 7";
    for (tmpfs, runtime, place) in [
        ("/tmp", "", "/tmp/straw-12345/"),
        // A tmpfs of this user's own, as systemd makes it.
        ("/mine:uid=12345,mode=0700", "/mine", "/mine/straw/"),
    ] {
        let options = poor(tmpfs, &token).env("XDG_RUNTIME_DIR", runtime);
        let line = ["straw", "exec", "--", "sh", "-c", script];
        let first = cluster.first_process(&options, line)?;
        let said = expect(7, first.run("what it reads\n")?)?;
        holds(&said.text(), &[&format!("1 12345 {place}")])?;
        let rest = said.text();
        let rest = rest.split_once('\n').unwrap_or_default().1;
        same("the rest", rest, "what it reads\nnode1 main*")?;
    }
    // Nowhere to write at all.
    let options = poor("/elsewhere", &token);
    let first = cluster.first_process(&options, ["straw", "exec", "--", "true"])?;
    let said = expect(9, first.run("")?)?.error_text();
    holds(&said, &["/tmp/straw-12345", "read-only", "a tmpfs will do"])
}

/// As root the place is /run; and signals find the command, or straw while it waits.
pub fn signals(clusters: &Clusters) -> Result<(), Failed> {
    let cluster = clusters.shared()?;
    let token = cluster.token("alice", 600)?;
    let options = poor("/run", &token).user("0");
    let own =
        "trap 'exit 11' TERM; echo $SLURM_CONF; touch /run/ready; while :; do sleep 0.05; done";
    let line = ["straw", "exec", "--", "sh", "-c", own];
    let first = cluster.first_process(&options, line)?;
    let said = thread::scope(|scope| {
        let run = scope.spawn(|| first.run(""));
        let give_up = Instant::now() + Duration::from_secs(20);
        let ready = || first.container().exec(["test", "-e", "/run/ready"]).run();
        while !ready()?.success() && Instant::now() < give_up {}
        first.signal("TERM")?;
        Ok::<_, Failed>(run.join().map_err(|_| "it panicked")??)
    })?;
    holds(&expect(11, said)?.text(), &["/run/straw/"])?;

    // The kernel spares a first process from signals that it does not handle.
    let waiting = ["straw", "-v", "exec", "--servers", "no.such.host.invalid"];
    let line = waiting.into_iter().chain(["--wait", "60s", "--", "true"]);
    let first = cluster.first_process(&options, line)?;
    let said = thread::scope(|scope| {
        let run = scope.spawn(|| first.run(""));
        let give_up = Instant::now() + Duration::from_secs(20);
        // It has not begun before it is there.
        let there = || first.container().exec(["test", "-d", "/run/straw"]).run();
        while !there()?.success() && Instant::now() < give_up {}
        first.signal("TERM")?;
        Ok::<_, Failed>(run.join().map_err(|_| "it panicked")??)
    })?;
    expect(128 + 15, said)?;
    Ok(())
}

/// Native commands in the container that mounts a store, with a token and nothing else.
fn native_works(cluster: &Cluster, directory: &str, options: &ClientOptions) -> Result<(), Failed> {
    let token = cluster.token("alice", 600)?;
    let reader = cluster.client(options)?;
    let sinfo = reader.exec(["sinfo", "-h", "-o", "%n %P"]).user("alice");
    let conf = format!("{directory}/slurm.conf");
    let sinfo = sinfo.env("SLURM_CONF", &conf).env("SLURM_JWT", &token);
    same(
        "sinfo",
        expect(0, sinfo.run()?)?.text().as_str(),
        "node1 main*",
    )
}

/// A volume that one container writes and another reads, at another place.
pub fn shared_volume(clusters: &Clusters) -> Result<(), Failed> {
    let cluster = clusters.shared()?;
    let token = cluster.token("alice", 600)?;
    let exec = "exec --servers ctl1 --store /var/lib/store";
    let elsewhere = ClientOptions::default().volume("store", "/srv/conf", true);
    let reader = with_straw().volume("store", "/srv/conf", true);
    let reader = cluster.client(&reader)?;
    let reading = |options: &str| {
        let store = "exec --servers ctl1 --store /srv/conf";
        let line = format!("{store} {options} -- printenv SLURM_CONF");
        straw(&reader, &token, &line).run()
    };
    let empty = expect(9, reading("")?)?.error_text();
    holds(&empty, &["/srv/conf", "read-only", "a writable volume"])?;

    let writer = cluster.client(&with_straw().volume("store", "/var/lib/store", false))?;
    expect(0, straw(&writer, &token, &format!("{exec} -- true")).run()?)?;
    same_set(&cluster, &writer, "/var/lib/store")?;
    same_set(&cluster, &reader, "/srv/conf")?;
    native_works(&cluster, "/srv/conf", &elsewhere)?;

    let fresh = expect(0, reading("")?)?;
    same("fresh", fresh.text().as_str(), "/srv/conf/slurm.conf")?;
    same("says", fresh.error_text().as_str(), "")?;
    // It is too old, and cannot be renewed here.
    let old = expect(0, reading("--max-age 0s")?)?;
    same("old", old.text().as_str(), "/srv/conf/slurm.conf")?;
    let parts = ["read-only", "using the configuration of"];
    holds(&old.error_text(), &parts)?;
    let stale = expect(9, reading("--max-age 0s --max-stale 0s")?)?;
    lacks(&stale.error_text(), &["using the configuration"])
}

/// No room: that is said, and the set that is there stays and is used.
pub fn full_disk(clusters: &Clusters) -> Result<(), Failed> {
    let cluster = clusters.shared()?;
    let token = cluster.token("alice", 600)?;
    let client = cluster.client(&with_straw().tmpfs("/small:size=64k"))?;
    let exec = |options: &str| {
        let line = format!("exec --servers ctl1 --verbatim {options} -- true");
        straw(&client, &token, &line).run()
    };
    let store = "--store /small/store";
    expect(0, exec(store)?)?;
    let fill = "cat /dev/zero >/small/junk 2>/dev/null; true";
    client.exec(["sh", "-c", fill]).check()?;
    let other = "--set MailDomain=example.org";
    let full = expect(9, exec(&format!("{store} {other}"))?)?;
    holds(&full.error_text(), &["is full", "make room"])?;
    same_set(&cluster, &client, "/small/store")?;
    expect(0, exec(store)?)?;
    // One that is unchanged takes no room.
    let again = expect(0, exec(&format!("{store} --max-age 0s"))?)?;
    same("unchanged", again.error_text().as_str(), "")?;
    let new = expect(9, exec("--store /small/new")?)?;
    holds(&new.error_text(), &["is full"])?;

    client.exec(["rm", "/small/junk"]).check()?;
    expect(0, exec(&format!("{store} {other}"))?)?;
    let conf = client.get("/small/store/slurm.conf")?;
    holds(&String::from_utf8_lossy(&conf), &["MailDomain=example.org"])
}

/// Places in a container as most are: XDG_RUNTIME_DIR where it is the user's, else /tmp or /run.
pub fn places(clusters: &Clusters) -> Result<(), Failed> {
    let cluster = clusters.shared()?;
    let token = cluster.token("alice", 600)?;
    let client = client(&cluster)?;
    let made = "mkdir -m 700 /srv/user /srv/root && chown 2001 /srv/user && chmod 711 /srv";
    client.exec(["sh", "-c", made]).check()?;
    for (user, runtime, place) in [
        ("2001", "", "/tmp/straw-2001/"),
        ("2001", "/srv/user", "/srv/user/straw/"),
        ("2001", "/srv/root", "/tmp/straw-2001/"),
        ("2001", "/not/there", "/tmp/straw-2001/"),
        (NOBODY_IN_PARTICULAR, "/srv/user", "/tmp/straw-12345/"),
        ("0", "", "/run/straw/"),
        ("0", "/srv/root", "/srv/root/straw/"),
    ] {
        let line = "exec --servers ctl1 -- printenv SLURM_CONF";
        let exec = plain(&client, line).user(user).env("SLURM_JWT", &token);
        let said = expect(0, exec.env("XDG_RUNTIME_DIR", runtime).run()?)?;
        if !said.text().starts_with(place) {
            return Err(format!("{user}, {runtime}: {}", said.text()).into());
        }
    }
    Ok(())
}

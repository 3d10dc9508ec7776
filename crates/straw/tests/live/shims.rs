//! Shims in front of Slurm's commands: many at once, what they pass on, and an exporter that goes on
//! through a new token, a new configuration and a controller that fails.

use std::thread;

use lab::{Cluster, Container, Exec, Output};
use libtest_mimic::Failed;
use serde_json::json;

use crate::clusters::{
    Clusters, PATIENCE, client, expect, holds, lacks, now, plain, same, straw, until,
};

/// Where the token of alice is, for shims that have a file.
const TOKEN: &str = "/run/jwt/token";

/// A client with shims and settings.
fn with_shims(cluster: &Cluster, settings: &str) -> Result<Container, Failed> {
    let client = client(cluster)?;
    client.put("/etc/straw.toml", settings, 0o644, "root")?;
    expect(0, plain(&client, "shim install").run()?)?;
    Ok(client)
}

/// A command of alice's, found on the PATH as a shell finds it.
fn command<'a>(client: &'a Container, line: &[&str]) -> Exec<'a> {
    client.exec(line.iter().copied()).user("alice")
}

/// How often the controller was asked for its configuration since `sdiag --reset`.
fn requests(cluster: &Cluster) -> Result<u32, Failed> {
    let told = cluster.controller(0).exec(["sdiag"]).check()?.text();
    let Some(line) = told.lines().find(|line| line.contains("REQUEST_CONFIG ")) else {
        return Ok(0);
    };
    let count = line.split("count:").nth(1).unwrap_or_default();
    let count = count.split_whitespace().next().unwrap_or_default();
    Ok(count.parse()?)
}

/// Thirty that start at once on a cold store ask once.
pub fn thirty_at_once(clusters: &Clusters) -> Result<(), Failed> {
    let cluster = clusters.shared()?;
    let client = with_shims(&cluster, "servers = \"ctl1\"\n")?;
    let token = cluster.token("alice", 600)?;
    cluster.controller(0).exec(["sdiag", "--reset"]).check()?;
    same("requests before", requests(&cluster)?, 0)?;
    let all = "for i in $(seq 30); do
            sinfo -h -o '%n %P' >/tmp/out.$i 2>&1 & pids=\"$pids $!\"
        done
        for pid in $pids; do wait $pid || echo $?; done; cat /tmp/out.*";
    let said = command(&client, &["sh", "-c", all]).env("SLURM_JWT", &token);
    let said = expect(0, said.run()?)?.text();
    same("what they say", said, ["node1 main*"; 30].join("\n"))?;
    same("requests", requests(&cluster)?, 1)?;
    // Another user has another store.
    let other = client.exec(["sinfo", "-h", "-o", "%n %P"]);
    let other = expect(0, other.env("SLURM_JWT", &token).run()?)?;
    same("root's", other.text().as_str(), "node1 main*")?;
    same("requests", requests(&cluster)?, 2)
}

/// Arguments, standard streams and exit codes are the command's own.
pub fn as_without(clusters: &Clusters) -> Result<(), Failed> {
    let cluster = clusters.shared()?;
    let client = with_shims(&cluster, "servers = \"ctl1\"\n")?;
    let token = cluster.token("alice", 600)?;
    expect(0, straw(&client, &token, "fetch ctl1 -o /etc/slurm").run()?)?;
    let with = |line: &[&str]| command(&client, line).env("SLURM_JWT", &token);

    // A script on standard input, and a name that has everything in it.
    let name = "a b'c\"$d\\e;f*";
    let submit = ["sbatch", "--hold", "--parsable", "--chdir=/tmp"];
    let named = ["--output=/dev/null", "--job-name", name];
    let submit = with(&[&submit[..], &named[..]].concat()).stdin("#!/bin/sh\ntrue\n");
    let job = expect(0, submit.run()?)?.text();
    let shown = with(&["squeue", "-h", "-j", &job, "-o", "%i|%j x", "-t", "all"]).run()?;
    let expected = format!("{job}|{name} x");
    same("squeue", expect(0, shown)?.text(), expected)?;

    let lines: [(i32, &[&str]); 9] = [
        (
            0,
            &["squeue", "-h", "-j", &job, "-o", "%i|%j x", "-t", "all"],
        ),
        (0, &["sinfo", "-o", "%n  %P", "--noheader"]),
        (0, &["scontrol", "show", "job", &job, "--oneliner"]),
        (0, &["scontrol", "--version"]),
        (1, &["sinfo", "--no-such-option"]),
        (1, &["sinfo", "", "-x", "%"]),
        (1, &["scontrol", "show", "job", "999999"]),
        (1, &["sbatch", "/no/such/script"]),
        (0, &["sinfo", "--help"]),
    ];
    for (status, line) in lines {
        let native = format!("/usr/bin/{}", line[0]);
        let native = [&[native.as_str()], &line[1..]].concat();
        let native = with(&native).env("SLURM_CONF", "/etc/slurm/slurm.conf");
        let native = expect(status, native.run()?)?;
        let shim = expect(status, with(line).run()?)?;
        same("stdout", shim.text(), native.text())?;
        // Slurm puts the way that it was called into some messages.
        let stderr = native.error_text().replace("/usr/bin/", "");
        same("stderr", shim.error_text().replace("/usr/bin/", ""), stderr)?;
    }
    // Whoever has SLURM_CONF is left alone.
    client.put("/tmp/mine.conf", "Mine=1\n", 0o644, "root")?;
    let own = with(&["sinfo"]).env("SLURM_CONF", "/tmp/mine.conf").run()?;
    holds(&expect(1, own)?.error_text(), &["unrecognized key: Mine"])?;
    expect(0, with(&["scancel", &job]).run()?)?;
    Ok(())
}

/// Expired tokens are refused in spite of a store that is good, and the next one is taken.
pub fn tokens(clusters: &Clusters) -> Result<(), Failed> {
    let cluster = clusters.shared()?;
    let settings = format!("servers = \"ctl1\"\ntoken-file = \"{TOKEN}\"\n");
    let client = with_shims(&cluster, &settings)?;
    let expired = cluster.sign(&json!({"exp": now() - 60, "iat": 0, "sun": "alice"}));
    let sinfo = || command(&client, &["sinfo", "-h", "-o", "%n"]);
    for _ in 0..2 {
        client.put(TOKEN, cluster.token("alice", 600)?, 0o600, "alice")?;
        same("sinfo", expect(0, sinfo().run()?)?.text().as_str(), "node1")?;
        client.put(TOKEN, expired.as_str(), 0o600, "alice")?;
        let refused = expect(4, sinfo().run()?)?.error_text();
        holds(&refused, &["(of alice) expired", TOKEN])?;
    }
    // A variable counts for more than settings.
    let token = cluster.token("alice", 600)?;
    expect(0, sinfo().env("SLURM_JWT", &token).run()?)?;
    // And is looked at just so.
    expect(4, sinfo().env("SLURM_JWT", &expired).run()?)?;
    Ok(())
}

/// Calls squeue again and again, and tells the status, and in which phase that was.
const EXPORTER: &str = r#"
    while [ ! -e /tmp/stop ]; do
        phase=$(cat /tmp/phase)
        squeue --noheader >/dev/null 2>/tmp/said && status=0 || status=$?
        echo "$phase $status" | tee -a /tmp/calls
        [ $status = 0 ] || cat /tmp/said >&2
        sleep 0.2
    done
    touch /tmp/stopped
"#;

/// An exporter's life, and the same for a command that needs no controller.
pub fn exporter(clusters: &Clusters) -> Result<(), Failed> {
    let cluster = Cluster::builder(clusters.release).backup(true).start()?;
    let settings = format!(
        "servers = [\"ctl1\", \"ctl2\"]\ntoken-file = \"{TOKEN}\"\nmax-age = \"1s\"\ntimeout = \"3s\"\n"
    );
    let client = with_shims(&cluster, &settings)?;
    let show = "#!/bin/sh\ncat \"$SLURM_CONF\"\n";
    client.put("/usr/bin/show-conf", show, 0o755, "root")?;
    expect(0, plain(&client, "shim install show-conf").run()?)?;
    let first = cluster.sign(&json!({"exp": now() + 4, "iat": now(), "sun": "alice"}));
    client.put(TOKEN, first.as_str(), 0o600, "alice")?;
    client.put("/tmp/phase", "begin", 0o644, "root")?;

    let calls = thread::scope(|scope| {
        let exporter = scope.spawn(|| {
            let exec = command(&client, &["sh", "-c", EXPORTER]);
            exec.limit(PATIENCE * 2).run()
        });
        let life = live(&cluster, &client, &first);
        let stopped = client.put("/tmp/stop", "", 0o644, "root");
        let calls = exporter.join().map_err(|_| "the exporter panicked")?;
        life.and(Ok(stopped?))?;
        Ok::<_, Failed>(calls?)
    })?;
    let text = expect(0, calls.clone())?.text();
    for phase in ["begin", "token", "configuration", "backup"] {
        holds(&text, &[&format!("{phase} 0")])?;
    }
    // While no controller is in charge, squeue itself may give up; straw never does.
    lacks(&calls.error_text(), &["straw, for squeue"])?;
    let failed = text
        .lines()
        .find(|line| !line.ends_with(" 0") && !line.starts_with("failover"));
    match failed {
        None => Ok(()),
        Some(line) => Err(format!("it failed ({line}):\n{calls}").into()),
    }
}

/// What happens to the exporter's cluster.
fn live(cluster: &Cluster, client: &Container, first: &str) -> Result<(), Failed> {
    let phase = |name: &str| client.put("/tmp/phase", name, 0o644, "root");
    let calls = |line: &'static [&'static str]| {
        move || -> Result<Output, Failed> { Ok(command(client, line).run()?) }
    };
    let show = calls(&["show-conf"]);
    expect(0, show()?)?;
    expect(0, calls(&["squeue"])()?)?;

    phase("token")?;
    client.put(TOKEN, cluster.token("alice", 600)?, 0o600, "alice")?;
    client.put("/tmp/old", first, 0o600, "alice")?;
    let old = || old_token(client, &["squeue"]);
    until("the old token", old, |output| output.status == 4)?;
    expect(0, calls(&["squeue"])()?)?;

    phase("configuration")?;
    let mut conf = cluster.controller_file("slurm.conf")?;
    conf.extend(b"# another line\n");
    cluster.write_controller_file("slurm.conf", &conf)?;
    cluster.reconfigure()?;
    let changed = |output: &Output| output.stdout.ends_with(b"# another line\n");
    until("the new configuration", show, changed)?;
    expect(0, calls(&["squeue"])()?)?;

    phase("failover")?;
    cluster.stop(0)?;
    let warned = |output: &Output| output.error_text().contains("using the configuration of");
    let warning = until("a warning", show, warned)?;
    let conf = String::from_utf8_lossy(&conf);
    same(
        "what it shows",
        expect(0, warning)?.text().as_str(),
        conf.trim(),
    )?;
    let calm = |output: &Output| output.status == 0 && output.stderr.is_empty();
    // In 22.05 that is what the backup read when it was started.
    let last = until("the backup", show, calm)?.text();
    expect(0, calls(&["squeue"])()?)?;
    phase("backup")?;
    let exporter = calls(&["cat", "/tmp/calls"]);
    let goes_on = |output: &Output| output.text().contains("backup 0");
    until("the exporter with the backup", exporter, goes_on)?;

    // The exporter has no say in what comes now, nor what it has just called.
    client.put("/tmp/stop", "", 0o644, "root")?;
    let stopped = calls(&["test", "-e", "/tmp/stopped"]);
    until("the end of the exporter", stopped, |output| {
        output.status == 0
    })?;
    cluster.stop(1)?;
    let warning = until("a warning", show, warned)?;
    same("what it shows", expect(0, warning)?.text(), last)?;
    expect(0, calls(&["scontrol", "--version"])()?)?;
    // A second after the last controller answered, which is past.
    let stale = || {
        Ok(command(client, &["scontrol", "--version"])
            .env("STRAW_MAX_STALE", "1s")
            .run()?)
    };
    let stale = until("too old", stale, |output| output.status != 0)?;
    let stale = expect(3, stale)?.error_text();
    holds(&stale, &["any of 2 controllers"])?;
    lacks(&stale, &["using the configuration"])?;
    // And nobody gets by with the old token.
    let expired = old_token(client, &["scontrol", "--version"])?;
    holds(&expect(4, expired)?.error_text(), &["expired", "/tmp/old"])
}

/// A command with the token that has been replaced.
fn old_token(client: &Container, line: &[&str]) -> Result<Output, Failed> {
    Ok(command(client, line)
        .env("STRAW_TOKEN_FILE", "/tmp/old")
        .run()?)
}

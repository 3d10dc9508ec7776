//! `straw token renew`, authenticated by each credential, within and beyond what a site allows.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lab::{Cluster, Container, Output, Socket};
use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::clusters::{Clusters, client, expect, holds, lacks, plain, same, straw, with_straw};

/// Where tokens are kept here.
const FILE: &str = "/run/jwt/token";

/// The token out of what `straw token renew` wrote to stdout: a line that a shell can evaluate.
fn on_stdout(output: Output) -> Result<String, Failed> {
    let output = expect(0, output)?;
    same("stderr", output.error_text().as_str(), "")?;
    let text = String::from_utf8(output.stdout)?;
    let line = text.strip_suffix('\n').filter(|line| !line.contains('\n'));
    let token = line.and_then(|line| line.strip_prefix("SLURM_JWT="));
    Ok(token.ok_or("one line with SLURM_JWT= expected")?.to_owned())
}

/// The token that straw wrote into a file, which is alone in it.
fn in_file(client: &Container, path: &str) -> Result<String, Failed> {
    let text = String::from_utf8(client.get(path)?)?;
    let token = text.strip_suffix('\n').ok_or("a line expected")?;
    Ok(token.to_owned())
}

/// What a token says.
fn claims(token: &str) -> Result<Value, Failed> {
    let claims = token.split('.').nth(1).ok_or("a token expected")?;
    Ok(serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims)?)?)
}

/// Fails unless a token is this user's and lives so long.
fn is_for(token: &str, user: &str, lifespan: u64) -> Result<(), Failed> {
    let claims = claims(token)?;
    same("user", &claims["sun"], &json!(user))?;
    let seconds = |name: &str| claims[name].as_u64().ok_or("seconds expected");
    same("lifespan", seconds("exp")? - seconds("iat")?, lifespan)
}

/// Fails unless straw and Slurm's own commands are let in with a token.
fn is_good(client: &Container, token: &str) -> Result<(), Failed> {
    expect(0, straw(client, token, "fetch ctl1 -o /tmp/conf").run()?)?;
    let squeue = client.exec(["squeue", "-h"]).user("alice");
    let conf = "/tmp/conf/slurm.conf";
    let squeue = squeue.env("SLURM_JWT", token).env("SLURM_CONF", conf);
    expect(0, squeue.run()?)?;
    Ok(())
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// A token makes the next one, for whose it is; only root's one for others.
pub fn by_a_token(clusters: &Clusters) -> Result<(), Failed> {
    let cluster = clusters.shared()?;
    let client = client(&cluster)?;
    let alice = cluster.token("alice", 60)?;
    let renew = |token: &str, options: &str| {
        let arguments = format!("token renew ctl1 {options}");
        straw(&client, token, &arguments).run()
    };
    let token = on_stdout(renew(&alice, "")?)?;
    is_for(&token, "alice", 1800)?;
    is_good(&client, &token)?;
    let token = on_stdout(renew(&token, "--lifespan 1h --for alice")?)?;
    is_for(&token, "alice", 3600)?;
    is_good(&client, &token)?;

    let refused = expect(6, renew(&token, "--for mallory --json")?)?;
    holds(&refused.text(), &["\"token-for-other\""])?;
    let parts = ["no token from ctl1:6817", "only root and SlurmUser may"];
    holds(&refused.error_text(), &parts)?;
    let root = cluster.token("root", 60)?;
    let token = on_stdout(renew(&root, "--for alice --lifespan 90")?)?;
    is_for(&token, "alice", 90)?;
    is_good(&client, &token)?;
    is_for(&on_stdout(renew(&root, "--for mallory")?)?, "mallory", 1800)?;

    // What has expired makes nothing, and nobody is asked.
    let expired = cluster.sign(&json!({"exp": now() - 5, "sun": "root"}));
    let refused = expect(4, renew(&expired, "-vv --json")?)?;
    holds(&refused.text(), &["\"token-expired\""])?;
    lacks(&refused.error_text(), &["asked"])
}

/// A socket makes a token, for the user whom the daemon behind it sees.
fn by_a_socket(cluster: &Cluster, socket: Socket, auth: &str) -> Result<(), Failed> {
    let client = cluster.client(&with_straw().socket(socket))?;
    let renew = |user: &str, options: &str| {
        let arguments = format!("token renew ctl1 --auth {auth} {options}");
        plain(&client, &arguments).user(user).run()
    };
    let token = on_stdout(renew("alice", "--lifespan 5m")?)?;
    is_for(&token, "alice", 300)?;
    is_good(&client, &token)?;
    is_for(&on_stdout(renew("alice", "--for alice")?)?, "alice", 1800)?;
    let refused = expect(6, renew("alice", "--for mallory --json")?)?;
    holds(&refused.text(), &["\"token-for-other\""])?;
    let token = on_stdout(renew("root", "--for alice --lifespan 5m")?)?;
    is_for(&token, "alice", 300)?;
    is_good(&client, &token)?;
    is_for(&on_stdout(renew("root", "")?)?, "root", 1800)?;
    // A uid that the controller has no name for.
    let nameless = expect(6, renew("4000", "")?)?;
    holds(
        &nameless.error_text(),
        &["no token from", "error 2010", "knows no user of this name"],
    )?;

    let directory = ["install", "-d", "-o", "alice", "/run/jwt"];
    client.exec(directory).check()?;
    let written = renew("alice", "--write /run/jwt/token --lifespan 5m")?;
    same("stdout", expect(0, written)?.text().as_str(), "")?;
    is_for(&in_file(&client, FILE)?, "alice", 300)
}

/// munged's socket.
pub fn by_munge(clusters: &Clusters) -> Result<(), Failed> {
    let cluster = clusters.shared()?;
    by_a_socket(&cluster, Socket::Munge(0), "munge")
}

/// A SACK socket.
pub fn by_sack(clusters: &Clusters) -> Result<(), Failed> {
    let cluster = clusters.slurm()?;
    by_a_socket(&cluster, Socket::Slurmd, "slurm")
}

/// A file is kept fresh: replaced at once and as a whole, readable by its owner alone, and only when
/// its token is old.
pub fn a_file_kept_fresh(clusters: &Clusters) -> Result<(), Failed> {
    let cluster = clusters.shared()?;
    let client = client(&cluster)?;
    let old = cluster.token("alice", 300)?;
    client.put(FILE, format!("SLURM_JWT={old}\n"), 0o644, "alice")?;
    // The other name of the old file shows that it was not written to.
    let prepare = "chown alice /run/jwt && ln /run/jwt/token /tmp/old";
    client.exec(["sh", "-c", prepare]).check()?;
    let renew = |options: &str| {
        let arguments = format!("token renew ctl1 --token-file {FILE} --write {FILE} {options}");
        plain(&client, &arguments).user("alice").run()
    };

    let lives = expect(0, renew("--if-under 2m")?)?;
    holds(&lives.error_text(), &["lives for another ", "not renewed"])?;
    let lives = expect(0, renew("--if-under 2m --json")?)?;
    let report: Value = serde_json::from_slice(&lives.stdout)?;
    same("renewed", &report["renewed"], &json!(false))?;
    same(
        "file",
        client.get(FILE)?,
        format!("SLURM_JWT={old}\n").into(),
    )?;

    let renewed = expect(0, renew("--if-under 10m --lifespan 20m")?)?;
    same("stdout", renewed.text().as_str(), "")?;
    holds(&renewed.error_text(), &["alice", "in /run/jwt/token"])?;
    let token = in_file(&client, FILE)?;
    is_for(&token, "alice", 1200)?;
    is_good(&client, &token)?;
    let before = String::from_utf8(client.get("/tmp/old")?)?;
    same("the old file", before, format!("SLURM_JWT={old}\n"))?;
    let beside = "stat -c '%U %a %n' * && ls -A";
    let beside = client.exec(["sh", "-c", beside]).workdir("/run/jwt");
    let beside = beside.check()?.text();
    same("beside it", beside.as_str(), "alice 600 token\ntoken")?;

    let again = expect(0, renew("--lifespan 30m --json")?)?;
    let report: Value = serde_json::from_slice(&again.stdout)?;
    same("renewed", &report["renewed"], &json!(true))?;
    same("place", &report["place"], &json!(FILE))?;
    is_for(&in_file(&client, FILE)?, "alice", 1800)?;
    // Where there is none yet, or none that is of use, one is made.
    client.put(FILE, "rubbish", 0o600, "alice")?;
    let arguments = format!("token renew ctl1 --write {FILE} --if-under 1m");
    let made = straw(&client, &old, &arguments).user("alice").run()?;
    expect(0, made)?;
    is_for(&in_file(&client, FILE)?, "alice", 1800)
}

/// A file in a directory where this user may not write.
pub fn a_file_of_others(clusters: &Clusters) -> Result<(), Failed> {
    let cluster = clusters.shared()?;
    let client = client(&cluster)?;
    let old = cluster.token("alice", 300)?;
    // The file is hers, and the directory is not.
    client.put(FILE, old.as_str(), 0o600, "alice")?;
    let arguments = format!("token renew ctl1 --token-file {FILE} --write {FILE} --json");
    let denied = expect(9, plain(&client, &arguments).user("alice").run()?)?;
    let parts = ["permission denied", "its directory must be writable"];
    holds(&denied.error_text(), &parts)?;
    holds(&denied.text(), &["\"file-not-written\""])?;
    same("file", client.get(FILE)?, old.into_bytes())?;
    let beside = client.exec(["ls", "-A", "/run/jwt"]).check()?.text();
    same("beside it", beside.as_str(), "token")
}

/// What a site forbids to users it does not forbid to root.
pub fn limits(clusters: &Clusters) -> Result<(), Failed> {
    for (parameter, kind, hint) in [
        (
            "disable_token_creation",
            "\"tokens-disabled\"",
            "disable_token_creation",
        ),
        (
            "max_token_lifespan=60",
            "\"lifespan-too-long\"",
            "max_token_lifespan",
        ),
    ] {
        let cluster = Cluster::builder(clusters.release)
            .alt_parameter(parameter)
            .start()?;
        let client = cluster.client(&with_straw().socket(Socket::Munge(0)))?;
        let renew = |user: &str, options: &str| {
            let arguments = format!("token renew ctl1 {options}");
            plain(&client, &arguments).user(user).run()
        };
        let refused = expect(6, renew("alice", "--lifespan 10m --json")?)?;
        holds(&refused.text(), &[kind])?;
        holds(&refused.error_text(), &[hint])?;
        let by_root = on_stdout(renew("root", "--for alice --lifespan 10m")?)?;
        is_for(&by_root, "alice", 600)?;
        is_good(&client, &by_root)?;
        // The token does not allow more than the socket does.
        let arguments = "token renew ctl1 --lifespan 10m --json";
        let refused = expect(6, straw(&client, &by_root, arguments).run()?)?;
        holds(&refused.text(), &[kind])?;
        if parameter != "disable_token_creation" {
            is_for(&on_stdout(renew("alice", "")?)?, "alice", 60)?;
        }
    }
    Ok(())
}

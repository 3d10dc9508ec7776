//! Tokens and credentials turn up where they were asked to be, and nowhere else.

use lab::{Cluster, Release, Socket};
use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::clusters::{Clusters, expect, lacks, plain, same, with_straw};

/// The file with the token that is given, and a command that prints it.
const GIVEN: &str = "/run/jwt/token";
const COMMAND: &str = "/usr/local/bin/get-token";

/// What every token begins with, and every credential of a SACK socket (`{"` in base64); and what
/// munge's begin with.
const BEGINNINGS: [&str; 2] = ["eyJ", "MUNGE:"];

/// What of a token is its own: claims and signature.
fn own_parts(token: &str) -> Result<Vec<String>, Failed> {
    let parts: Vec<_> = token.split('.').skip(1).map(str::to_owned).collect();
    same("parts behind the header", parts.len(), 2)?;
    Ok(parts)
}

/// Runs straw to every end, each time for a person and for a program, and ends with 1 unless each
/// had the status that was expected. The tokens are in the environment of this.
const TO_EVERY_END: &str = r#"
    all=0
    run() {
        expected=$1; token=$2; shift 2
        for json in "" --json; do
            SLURM_JWT=$token straw "$@" -vvv $json
            status=$?
            [ $status = $expected ] || { echo "$status and not $expected: $*"; all=1; }
        done
    }
    fetch="fetch ctl1 -o /tmp/conf"
    renew="token renew ctl1 --write /run/out"
    run 0 "$GIVEN" $fetch
    run 0 "" $fetch --token-file $FILE
    run 2 "" $fetch --token-file $GIVEN
    run 4 "" $fetch --token-command $GIVEN
    run 4 "" $fetch --auth munge --munge-socket $GIVEN
    run 4 "" $fetch --auth slurm --sack-socket $GIVEN
    run 2 "" $fetch --release $GIVEN
    run 2 "" $fetch --timeout $GIVEN
    run 2 "" token show $GIVEN
    run 0 "" $fetch --token-command $COMMAND
    run 0 "" $fetch --auth $AUTH
    run 0 "" token show --token-file $FILE
    run 0 "" $renew/by-token --token-file $FILE
    run 0 "" $renew/by-socket --auth $AUTH
    # Read, and found to be good for longer than that.
    run 0 "" $renew/by-token --if-under 1m

    run 4 "$EXPIRED" $fetch
    run 4 "$EXPIRED" token show
    run 4 "$FORGED" $fetch
    run 4 "$FORGED" token renew ctl1
    run 3 "$GIVEN" fetch ctl1:1
    run $NOT_ACCEPTED "$GIVEN" fetch ctl1 --release $OTHER_RELEASE
    run 6 "$GIVEN" fetch ctl1 --files slurmd
    run 6 "$GIVEN" $renew/others --for mallory
    run 9 "$GIVEN" token renew ctl1 --write /proc/token
    run 0 "$GIVEN" doctor ctl1
    run 0 "" doctor ctl1 --token-file $FILE
    run 0 "" doctor ctl1 --auth $AUTH
    run 4 "$EXPIRED" doctor ctl1
    run 4 "$FORGED" doctor ctl1
    run 0 "$GIVEN" ping ctl1
    run 0 "" ping ctl1 --auth $AUTH
    # Put where a controller belongs.
    run 2 "" doctor $GIVEN
    run 2 "" ping $GIVEN
    run 2 "" fetch $GIVEN
    exit $all"#;

/// What others see of straw in `/proc`, and what it says, while it waits for a controller in vain.
const IN_VAIN: &str = r#"
    cd /tmp; pids= n=0
    begin() {
        n=$((n + 1)); straw "$@" ctl1 -vvv --timeout 2s > "said.$n" 2>&1 &
        pids="$pids $!"
    }
    export SLURM_JWT=$GIVEN
    begin fetch
    begin fetch --token-file $FILE
    begin fetch --token-command $COMMAND
    begin fetch --auth $AUTH
    begin token renew --write /run/out/never
    for pid in $pids; do
        until grep -qx straw /proc/$pid/comm || ! kill -0 $pid; do :; done
        (cd /proc/$pid && tr '\0' ' ' < cmdline && cat comm status)
    done
    for pid in $pids; do wait $pid; done
    cat said.*"#;

/// On a cluster with munge.
pub fn with_munge(clusters: &Clusters) -> Result<(), Failed> {
    let cluster = clusters.shared()?;
    nowhere_else(&cluster, clusters.release, Socket::Munge(0), "munge")
}

/// On a cluster with auth/slurm.
pub fn with_sack(clusters: &Clusters) -> Result<(), Failed> {
    let cluster = clusters.slurm()?;
    nowhere_else(&cluster, clusters.release, Socket::Slurmd, "slurm")
}

/// Runs straw with every credential, to every end, and looks for all of them in what it said, in
/// what others see of it, and in every file.
fn nowhere_else(
    cluster: &Cluster,
    release: Release,
    socket: Socket,
    auth: &str,
) -> Result<(), Failed> {
    let client = cluster.client(&with_straw().socket(socket))?;
    let given = cluster.token("alice", 600)?;
    let expired = cluster.sign(&json!({"exp": 5, "iat": 1, "sun": "alice"}));
    let forged = json!({"exp": 4_000_000_000_u64, "iat": 1, "sun": "alice"});
    let forged = lab::jwt::sign(b"not this cluster's key", &forged);
    client.put(GIVEN, given.as_str(), 0o600, "root")?;
    let command = format!("#!/bin/sh\ncat {GIVEN}\n");
    client.put(COMMAND, command, 0o755, "root")?;
    client.exec(["mkdir", "/run/out"]).check()?;
    let (other_release, not_accepted) = match release {
        Release::V22_05 => ("26.05", "4"),
        _ => ("20.11", "5"),
    };
    let shell = |script: &str| {
        let command = client.exec(["sh", "-c", script]);
        let command = command.env("GIVEN", &given).env("EXPIRED", &expired);
        let command = command.env("FORGED", &forged).env("FILE", GIVEN);
        let command = command.env("COMMAND", COMMAND).env("AUTH", auth);
        let command = command.env("OTHER_RELEASE", other_release);
        command.env("NOT_ACCEPTED", not_accepted).run()
    };
    let mut said = expect(0, shell(TO_EVERY_END)?)?.to_string();

    // Without a file, stdout is where it was asked to be.
    let on_stdout = |arguments: &str| {
        let renewed = plain(&client, arguments).env("SLURM_JWT", &given);
        expect(0, renewed.run()?)
    };
    let plainly = on_stdout("token renew ctl1 -vvv")?;
    said.push_str(&plainly.error_text());
    let in_json = on_stdout("token renew ctl1 -vvv --json")?;
    said.push_str(&in_json.error_text());
    let in_json: Value = serde_json::from_slice(&in_json.stdout)?;
    let in_json = in_json["token"].as_str().ok_or("a token expected")?;

    cluster.pause(0)?;
    let seen = shell(IN_VAIN);
    cluster.unpause(0)?;
    let seen = expect(0, seen?)?.to_string();
    for (part, times) in [
        ("straw fetch ", 4),
        ("straw token renew --write /run/out/never ctl1 -vvv", 1),
        ("error: ", 5),
    ] {
        if seen.matches(part).count() < times {
            return Err(format!("`{part}` expected {times} times in:\n{seen}").into());
        }
    }
    said.push_str(&seen);

    let mut secrets = Vec::new();
    for token in [&given, &expired, &forged, in_json, &plainly.text()] {
        secrets.extend(own_parts(token)?);
    }
    for written in ["/run/out/by-token", "/run/out/by-socket"] {
        let token = String::from_utf8(client.get(written)?)?;
        secrets.extend(own_parts(token.trim_end())?);
    }
    let parts: Vec<_> = secrets.iter().map(String::as_str).collect();
    lacks(&said, &parts)?;
    lacks(&said, &BEGINNINGS)?;

    // The files that were given or asked for are found, so others would be as well. In straw itself
    // the beginnings may stand.
    let find = "find / /dev/shm -xdev -type f -cnewer /usr/local/bin/straw ! -name straw \\
        -exec grep -lF -f - {} + | sort; ls -A /run/out";
    let patterns = [&parts[..], &BEGINNINGS].concat().join("\n");
    let found = client.exec(["sh", "-c", find]).stdin(patterns);
    let found = found.check()?.text();
    let expected = "/run/jwt/token\n/run/out/by-socket\n/run/out/by-token\nby-socket\nby-token";
    same("files with tokens", found.as_str(), expected)
}

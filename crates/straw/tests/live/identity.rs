//! Tokens that an identity provider signs, and no secret of Slurm's on the client's side.

use std::time::{SystemTime, UNIX_EPOCH};

use lab::identity::IdentityProvider;
use lab::{Cluster, Container, Output, Release};
use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::clusters::{Clusters, client, expect, holds, lacks, plain, same, straw, until};
use crate::native::work_for_alice;

const FILE: &str = "/run/jwt/token";

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// Fails if a text holds what of a token is not the same in all of them.
fn shows_no_token(text: &str, token: &str) -> Result<(), Failed> {
    let parts: Vec<_> = token.split('.').skip(1).collect();
    same("parts behind the header", parts.len(), 2)?;
    lacks(text, &parts)
}

/// `straw token show` as a person and a program read it.
fn show(client: &Container, token: &str) -> Result<(String, Value), Failed> {
    let command = format!("token show --token-file {FILE}");
    let text = expect(0, plain(client, &command).run()?)?;
    shows_no_token(&text.to_string(), token)?;
    let object = expect(0, plain(client, &format!("{command} --json")).run()?)?;
    shows_no_token(&object.to_string(), token)?;
    Ok((text.text(), serde_json::from_slice(&object.stdout)?))
}

/// What a service account's token says, as Kubernetes projects it into a pod.
pub fn service_account() -> Value {
    json!({
        "aud": ["slurm"],
        "exp": now() + 3600,
        "iat": now(),
        "iss": "https://kubernetes.default.svc.cluster.local",
        "jti": "0b5a9ca6-5a37-4f5a-9d0e-6d6d2f6f0f5c",
        "kubernetes.io": {
            "namespace": "science",
            "node": { "name": "worker1", "uid": "8f0a40a1-6b3d-4a4f-8a4e-4c7f0e3d9a55" },
            "pod": { "name": "notebook-0", "uid": "d3b1a3f0-0d3e-4d0f-9d57-26a7a6f2c1aa" },
            "serviceaccount": { "name": "runner", "uid": "5f2d3c1e-3b1b-4c7e-8e0f-7a2b9c8d6e4f" },
        },
        "nbf": now(),
        "sub": SERVICE_ACCOUNT,
    })
}

const SERVICE_ACCOUNT: &str = "system:serviceaccount:science:runner";

/// With a person's token in a file, and nothing else, a container becomes a client.
pub fn of_a_person(clusters: &Clusters) -> Result<(), Failed> {
    let provider = IdentityProvider::start(clusters.release)?;
    let builder = Cluster::builder(clusters.release).identity_provider(&provider);
    // 22.05 cannot be told which claim it is, and takes its own.
    let (builder, claim) = match clusters.release {
        Release::V22_05 => (builder, "sun"),
        _ => (
            builder.alt_parameter("userclaimfield=preferred_username"),
            "preferred_username",
        ),
    };
    let cluster = builder.start()?;
    let client = client(&cluster)?;
    let keys = "! find / -xdev \\( -name munge.key -o -name slurm.key -o -name 'jw*.key' \\
        -o -name jwks.json \\) | grep .";
    let no_keys = || expect(0, client.exec(["sh", "-c", keys]).run()?);

    let claims = json!({
        claim: "alice",
        "sub": "f3c1a7d2",
        "iss": "https://id.lab.test",
        "iat": now(),
        "exp": now() + 600,
    });
    let token = provider.sign(&claims)?;
    client.put(FILE, token.as_str(), 0o600, "alice")?;
    let fetch = format!("fetch -v ctl1 --token-file {FILE} -o /etc/slurm");
    let said = expect(0, plain(&client, &fetch).run()?)?.error_text();
    holds(
        &said,
        &["credential: /run/jwt/token (--token-file is given)"],
    )?;
    lacks(&said, &["warning"])?;
    work_for_alice(&cluster, &client, &token)?;
    no_keys()?;

    let (text, object) = show(&client, &token)?;
    let key = provider.key_id();
    let signed = format!("signed with RS256, key {key}");
    holds(
        &text,
        &["alice", "f3c1a7d2", "https://id.lab.test", &signed],
    )?;
    let name = match clusters.release {
        Release::V22_05 => &object["user"],
        _ => &object["preferred_username"],
    };
    same("name", name, &json!("alice"))?;
    same("key", &object["key_id"], &json!(key))?;

    // The controllers have no key to make a token with. 22.05 sends an empty one.
    let renew = format!("token renew ctl1 --token-file {FILE}");
    let refused = expect(6, plain(&client, &renew).run()?)?.error_text();
    holds(
        &refused,
        match clusters.release {
            Release::V22_05 => &["no token from ctl1:6817", "identity provider"],
            _ => &["no token from ctl1:6817", "error 6009", "identity provider"],
        },
    )?;

    // Signed with a key that is not the provider's, or for somebody without a name here.
    let forged = cluster.sign(&json!({"sun": "alice", "exp": now() + 600}));
    let nameless = provider.sign(&service_account())?;
    for token in [&forged, &nameless] {
        let refused = expect(4, straw(&client, token, "fetch ctl1").run()?)?;
        holds(&refused.error_text(), &["it refused the token"])?;
    }
    Ok(())
}

/// A service account's token, where `sub` is the name: the configuration is for whoever can
/// authenticate, jobs are for users whom the hosts know.
pub fn of_a_service_account(clusters: &Clusters) -> Result<(), Failed> {
    let provider = IdentityProvider::start(clusters.release)?;
    let cluster = Cluster::builder(clusters.release)
        .identity_provider(&provider)
        .alt_parameter("userclaimfield=sub")
        .start()?;
    let client = client(&cluster)?;
    let token = provider.sign(&service_account())?;
    client.put(FILE, token.as_str(), 0o600, "root")?;
    let fetch = format!("fetch ctl1 --token-file {FILE} -o /etc/slurm");
    expect(0, plain(&client, &fetch).run()?)?;
    let slurmd = format!("fetch -v ctl1 --token-file {FILE} --files slurmd");
    let refused = expect(6, plain(&client, &slurmd).run()?)?;
    shows_no_token(&refused.to_string(), &token)?;

    // The token of a pod that was given none for Slurm: the controller does not look whom it is for.
    let mut claims = service_account();
    claims["aud"] = json!(["https://kubernetes.default.svc.cluster.local"]);
    let default = provider.sign(&claims)?;
    expect(0, straw(&client, &default, "fetch ctl1").run()?)?;

    let (text, object) = show(&client, &token)?;
    holds(&text, &[SERVICE_ACCOUNT, provider.key_id()])?;
    same("subject", &object["subject"], &json!(SERVICE_ACCOUNT))?;
    same("user", &object["user"], &Value::Null)?;

    let run = |command: &[&str]| {
        let command = client.exec(command.iter().copied());
        command.user("4000").env("SLURM_JWT", &token).run()
    };
    let nodes = expect(0, run(&["sinfo", "-h", "-o", "%n"])?)?;
    same("sinfo", nodes.text().as_str(), "node1")?;
    let job = run(&["sbatch", "--parsable", "--chdir=/tmp", "--wrap=id"])?;
    match clusters.release {
        // It takes the job, and finds out only when it is to start.
        Release::V24_11 => {
            let job = expect(0, job)?.text();
            let squeue = ["squeue", "-h", "-j", &job, "-o", "%U %r"];
            let held = |queue: &Output| queue.text() == "99 JobHeldAdmin";
            until("a job of nobody's", || Ok(run(&squeue)?), held)?;
            Ok(())
        }
        _ if job.success() => Err(format!("a job of nobody's was taken:\n{job}").into()),
        _ => Ok(()),
    }
}

//! Through TLS, with a proxy from Debian in front of a real slurmctld: Debian's Slurm has no TLS.

use lab::tls::{Recipe, TlsOptions, TlsProxy, TlsVersion};
use lab::{Cluster, Container, Exec, Release};
use libtest_mimic::Failed;
use serde_json::Value;

use crate::clusters::{Clusters, client, expect, holds, same, straw};
use crate::doctor::finds;

/// `straw` in a client container, with a token, trusting this CA.
fn trusting<'a>(
    client: &'a Container,
    token: &str,
    ca: &str,
    arguments: &str,
) -> Result<Exec<'a>, Failed> {
    client.put("/tmp/ca.pem", ca.as_bytes(), 0o644, "root:root")?;
    Ok(straw(
        client,
        token,
        &format!("{arguments} --ca-cert /tmp/ca.pem"),
    ))
}

/// Fetches through a proxy, twice; the files are the controller's.
fn served(cluster: &Cluster, client: &Container, proxy: &TlsProxy<'_>) -> Result<(), Failed> {
    let token = cluster.token("alice", 600)?;
    let port = proxy.port();
    client.exec(["rm", "-rf", "/tmp/tls"]).check()?;
    let fetch = format!("fetch ctl1:{port} -o /tmp/tls -v");
    let output = expect(0, trusting(client, &token, proxy.ca(), &fetch)?.run()?)?;
    holds(&output.error_text(), &["TLS: trusting /tmp/ca.pem"])?;
    for name in ["slurm.conf", "partitions.conf", "plugstack.conf"] {
        let fetched = client.get(&format!("/tmp/tls/{name}"))?;
        same(name, fetched, cluster.controller_file(name)?)?;
    }
    // The CA is left where Slurm's commands look for it, and trusted the next time unasked.
    same(
        "the CA",
        client.get("/tmp/tls/ca_cert.pem")?,
        proxy.ca().into(),
    )?;
    let again = format!("fetch ctl1:{port} -o /tmp/tls --json");
    let output = expect(0, straw(client, &token, &again).run()?)?;
    let json: Value = serde_json::from_str(&output.text())?;
    same("TLS", json["tls"].as_bool(), Some(true))?;
    same("exchanges", json["exchanges"].as_u64(), Some(1))
}

/// Certificates by Slurm's documented recipe (of X.509 version 1, where OpenSSL makes them so), and
/// by modern ones, with either version of TLS.
pub fn certificates(clusters: &Clusters) -> Result<(), Failed> {
    let cluster = clusters.shared()?;
    let client = client(&cluster)?;
    let both = (TlsVersion::V1_2, TlsVersion::V1_3);
    let old = (TlsVersion::V1_2, TlsVersion::V1_2);
    for (recipe, (minimum, maximum)) in [
        (Recipe::Documented, both),
        (Recipe::Documented, old),
        (Recipe::Version1, both),
        (Recipe::Version1, old),
        (Recipe::Ecdsa, both),
        (Recipe::Rsa, old),
        (Recipe::Intermediate, both),
    ] {
        let options = TlsOptions::new(recipe).versions(minimum, maximum);
        let proxy = cluster.tls_proxy(&options)?;
        served(&cluster, &client, &proxy).map_err(|error| {
            let error = error.message().unwrap_or_default();
            format!("{recipe:?}, up to {maximum:?}: {error}")
        })?;
    }
    // What makes them special is really there.
    if clusters.release == Release::V22_05 {
        let proxy = cluster.tls_proxy(&TlsOptions::new(Recipe::Documented))?;
        let shown = cluster
            .controller(0)
            .exec(["openssl", "x509", "-noout", "-text"])
            .stdin(proxy.chain().as_bytes())
            .check()?;
        holds(&shown.text(), &["Version: 1 (0x0)"])?;
    }
    Ok(())
}

/// Nothing is sent to a controller that shows the wrong certificate.
pub fn refused(clusters: &Clusters) -> Result<(), Failed> {
    let cluster = clusters.shared()?;
    let client = client(&cluster)?;
    let token = cluster.token("alice", 600)?;
    // Two CAs that signed nothing here, of the two names that these recipes give.
    let modern = cluster.tls_proxy(&TlsOptions::new(Recipe::Ecdsa).port(7818))?;
    let documented = cluster.tls_proxy(&TlsOptions::new(Recipe::Documented).port(7819))?;
    let fetch = |ca: &str, more: &str, parts: &[&str]| -> Result<(), Failed> {
        let arguments = format!("fetch ctl1:7817 -o /tmp/refused {more}");
        let output = expect(7, trusting(&client, &token, ca, &arguments)?.run()?)?;
        holds(&output.error_text(), parts)?;
        expect(1, client.exec(["test", "-e", "/tmp/refused"]).run()?)?;
        Ok(())
    };
    for (recipe, more, parts) in [
        (
            Recipe::Expired,
            "",
            &["its certificate expired on 2020-"][..],
        ),
        (
            Recipe::Ecdsa,
            "--tls-server-name ctl9",
            &["its certificate is not for ctl9: it is for ctl"],
        ),
        (
            Recipe::Version1,
            "--tls-server-name ctl",
            &["X.509 version 1, which has no place for names"],
        ),
    ] {
        let proxy = cluster.tls_proxy(&TlsOptions::new(recipe))?;
        fetch(proxy.ca(), more, parts)?;
        let found = format!("ctl1:7817 --ca-cert /tmp/ca.pem {more}");
        finds(&client, &token, &found, 7, parts)?;
        // What has expired is not looked at any further.
        let (stranger, namesake) = match recipe {
            Recipe::Expired => continue,
            Recipe::Version1 => (&modern, &documented),
            _ => (&documented, &modern),
        };
        fetch(stranger.ca(), "", &["not signed by the given CA but by"])?;
        fetch(namesake.ca(), "", &["the key of that CA did not"])?;
    }
    client.put("/tmp/ca.pem", modern.ca(), 0o644, "root:root")?;
    let parts = ["TLS 1.3; certificate of", "in charge"];
    finds(
        &client,
        &token,
        "ctl1:7818 --ca-cert /tmp/ca.pem",
        0,
        &parts,
    )?;
    let proxy = cluster.tls_proxy(&TlsOptions::new(Recipe::SelfSigned))?;
    fetch(
        documented.ca(),
        "",
        &["not signed by the given CA but by itself"],
    )?;
    // A certificate that is given itself is trusted.
    served(&cluster, &client, &proxy)
}

/// A proxy that wants to know who asks.
pub fn client_certificate(clusters: &Clusters) -> Result<(), Failed> {
    let cluster = clusters.shared()?;
    let client = client(&cluster)?;
    let token = cluster.token("alice", 600)?;
    for version in [TlsVersion::V1_2, TlsVersion::V1_3] {
        let options = TlsOptions::new(Recipe::Ecdsa)
            .client_certificate(true)
            .versions(version, version);
        let proxy = cluster.tls_proxy(&options)?;
        let fetch = "fetch ctl1:7817 -o /tmp/mutual";
        let without = trusting(&client, &token, proxy.ca(), fetch)?.run()?;
        holds(
            &expect(7, without)?.error_text(),
            &["it wants a client certificate", "--client-cert"],
        )?;
        let identity = proxy.client().ok_or("no client certificate")?;
        client.put(
            "/tmp/cert.pem",
            identity.certificate.as_bytes(),
            0o644,
            "root:root",
        )?;
        client.put("/tmp/key.pem", identity.key.as_bytes(), 0o600, "root:root")?;
        let fetch = format!("{fetch} --client-cert /tmp/cert.pem --client-key /tmp/key.pem");
        expect(0, trusting(&client, &token, proxy.ca(), &fetch)?.run()?)?;
    }
    Ok(())
}

/// A controller without TLS that is addressed in TLS: nothing of the token gets there.
pub fn none_there(clusters: &Clusters) -> Result<(), Failed> {
    let cluster = clusters.shared()?;
    let client = client(&cluster)?;
    let token = cluster.token("alice", 600)?;
    let other = cluster.tls_proxy(&TlsOptions::new(Recipe::Ecdsa))?;
    let fetch = "fetch ctl1:6817 -o /tmp/none --timeout 2s";
    let output = trusting(&client, &token, other.ca(), fetch)?.run()?;
    // 26.05 answers in HTTP, or closes; the older ones wait for a message that never comes.
    let (status, parts) = match clusters.release {
        Release::V26_05 => (7, ["TLS", "leave --ca-cert out"]),
        _ => (3, ["did not answer in time", "leave --ca-cert out"]),
    };
    holds(&expect(status, output)?.error_text(), &parts)
}

//! The ways to show a cluster who one is, on every release that has them: sockets that are mounted,
//! auth/slurm, an identity provider, and certificates of TLS.

mod support;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lab::identity::IdentityProvider;
use lab::tls::{Recipe, TlsOptions, TlsProxy, TlsVersion};
use lab::{Auth, ClientOptions, Cluster, Container, LabError, Output, Release, Socket};
use serde_json::{Value, json};

use support::{have_docker, until};

const SINFO: [&str; 3] = ["sinfo", "--noheader", "--format=%n %t"];

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

/// A job of alice's, sent off in this container with these variables, runs on the node.
fn runs_a_job(cluster: &Cluster, client: &Container, variables: &[(&str, &str)]) {
    let mut sbatch = client
        .exec([
            "sbatch",
            "--parsable",
            "--chdir=/tmp",
            "--output=/tmp/%j.out",
            "--wrap=id -un; hostname; echo done",
        ])
        .user("alice");
    for (name, value) in variables {
        sbatch = sbatch.env(name, value);
    }
    let job = sbatch.check().unwrap().text();
    let output = until("the job's output", Duration::from_secs(20), || {
        let bytes = cluster.node().get(&format!("/tmp/{job}.out")).ok()?;
        String::from_utf8(bytes)
            .ok()
            .filter(|text| text.ends_with("done\n"))
    });
    assert_eq!(output, "alice\nnode1\ndone\n");
}

/// The lines of `ps` in a container for this program.
fn processes(container: &Container, program: &str) -> String {
    let script = r#"grep -lx "$1" /proc/[0-9]*/comm; true"#;
    container
        .exec(["sh", "-c", script, "sh", program])
        .check()
        .unwrap()
        .text()
}

fn munge_socket(release: Release) {
    if !have_docker() {
        return;
    }
    let cluster = Cluster::builder(release).start().unwrap();
    let with_socket = ClientOptions::default().socket(Socket::Munge(0));

    // Slurm's commands authenticate with it, without token or daemon.
    let client = cluster.client(&with_socket).unwrap();
    assert_eq!(processes(&client, "munged"), "");
    let conf = [("SLURM_CONF_SERVER", "ctl1")];
    let out = client
        .exec(SINFO)
        .user("4000")
        .env(conf[0].0, conf[0].1)
        .check()
        .unwrap();
    assert_eq!(out.text(), "node1 idle");
    runs_a_job(&cluster, &client, &conf);
    let out = client.exec(["touch", "/run/munge/mine"]).run().unwrap();
    assert_ne!(
        out.status, 0,
        "the client can write to the host's directory"
    );

    // So does whoever can speak to the daemon, in a container that has nothing of munge.
    let bare = cluster
        .client(&with_socket.image(&cluster.images().debian))
        .unwrap();
    let nothing = "! command -v munge sinfo && ! find / -xdev -name 'libmunge*' | grep .";
    bare.exec(["sh", "-c", nothing]).check().unwrap();
    for (from, to) in [
        ("/usr/bin/munge", "/tmp/munge"),
        (
            "/usr/lib/x86_64-linux-gnu/libmunge.so.2",
            "/tmp/libmunge.so.2",
        ),
    ] {
        let bytes = cluster.controller(0).get(from).unwrap();
        bare.put(to, bytes, 0o755, "root").unwrap();
    }
    let credential = bare
        .exec(["/tmp/munge", "--string=hello"])
        .env("LD_LIBRARY_PATH", "/tmp")
        .user("4000")
        .check()
        .unwrap();
    let read = cluster
        .controller(0)
        .exec(["unmunge", "--numeric"])
        .stdin(credential.stdout)
        .check()
        .unwrap()
        .text();
    assert!(read.contains("4000") && read.ends_with("hello"), "{read}");

    // What is not there is not made up.
    for socket in [Socket::Munge(1), Socket::Slurmctld(0), Socket::Slurmd] {
        let refused = cluster.client(&ClientOptions::default().socket(socket));
        assert!(matches!(refused, Err(LabError::NoSocket { .. })));
    }
}

#[test]
fn munge_socket_of_22_05() {
    munge_socket(Release::V22_05);
}

#[test]
fn munge_socket_of_24_11() {
    munge_socket(Release::V24_11);
}

#[test]
fn munge_socket_of_26_05() {
    munge_socket(Release::V26_05);
}

fn auth_slurm(release: Release) {
    if !have_docker() {
        return;
    }
    let cluster = Cluster::builder(release).auth(Auth::Slurm).start().unwrap();
    let (controller, node) = (cluster.controller(0), cluster.node());
    for host in [controller, node] {
        assert_eq!(processes(host, "munged"), "");
        let out = host.exec(SINFO).user("alice").check().unwrap();
        assert_eq!(out.text(), "node1 idle");
    }
    runs_a_job(&cluster, controller, &[]);

    // Where Slurm's commands look for it.
    for (socket, directory) in [
        (Socket::Slurmctld(0), "/run/slurmctld"),
        (Socket::Slurmd, "/run/slurm"),
    ] {
        let options = ClientOptions::default().socket(socket);
        let client = cluster.client(&options).unwrap();
        client
            .exec(["test", "-S", &format!("{directory}/sack.socket")])
            .check()
            .unwrap();
        // Without a configuration, Slurm's commands would ask for one with munge.
        let conf = cluster.controller_file("slurm.conf").unwrap();
        client
            .put("/etc/slurm/slurm.conf", conf, 0o644, "root")
            .unwrap();
        let out = client.exec(SINFO).user("4000").check().unwrap();
        assert_eq!(out.text(), "node1 idle");
        runs_a_job(&cluster, &client, &[]);
    }

    // Elsewhere, in a container that has nothing of Slurm: the directory named after the cluster.
    let options = ClientOptions::default()
        .image(&cluster.images().debian)
        .socket_at(Socket::Slurmd, "/run/slurm-lab")
        .socket_at(Socket::Slurmctld(0), "/some/where");
    let bare = cluster.client(&options).unwrap();
    for path in ["/run/slurm-lab/sack.socket", "/some/where/sack.socket"] {
        bare.exec(["test", "-S", path]).check().unwrap();
    }
    let refused = cluster.client(&ClientOptions::default().socket(Socket::Munge(0)));
    assert!(matches!(refused, Err(LabError::NoSocket { .. })));

    // Tokens are as good as elsewhere.
    let client = cluster.client(&ClientOptions::default()).unwrap();
    let out = client
        .exec(SINFO)
        .env("SLURM_JWT", &cluster.token("alice", 600).unwrap())
        .env("SLURM_CONF_SERVER", "ctl1")
        .check()
        .unwrap();
    assert_eq!(out.text(), "node1 idle");
}

#[test]
fn auth_slurm_of_24_11() {
    auth_slurm(Release::V24_11);
}

#[test]
fn auth_slurm_of_26_05() {
    auth_slurm(Release::V26_05);
}

#[test]
fn auth_slurm_is_not_in_22_05() {
    if !have_docker() {
        return;
    }
    let refused = Cluster::builder(Release::V22_05).auth(Auth::Slurm).start();
    assert!(matches!(refused, Err(LabError::NotInRelease { .. })));
}

/// A TLS client that trusts `ca`, on the controller.
fn s_client(proxy: &TlsProxy<'_>, host: &Container, ca: &str, options: &[&str]) -> Output {
    host.put("/tmp/trusted.pem", ca, 0o644, "root").unwrap();
    let connect = format!("127.0.0.1:{}", proxy.port());
    let argv = [
        "openssl",
        "s_client",
        "-connect",
        &connect,
        "-CAfile",
        "/tmp/trusted.pem",
        "-verify_return_error",
        "-brief",
    ];
    host.exec(argv.iter().chain(options).copied())
        .run()
        .unwrap()
}

fn certificate_text(host: &Container, pem: &str) -> String {
    host.exec(["openssl", "x509", "-noout", "-text"])
        .stdin(pem)
        .check()
        .unwrap()
        .text()
}

fn tls(release: Release) {
    if !have_docker() {
        return;
    }
    let cluster = Cluster::builder(release).start().unwrap();
    let host = cluster.controller(0);
    for (recipe, marks, verdict) in [
        (Recipe::Documented, "CN = ctld|ecdsa-with-SHA384", ""),
        (Recipe::Version1, "CN = ctld|SHA384|Version: 1", ""),
        (Recipe::Ecdsa, "DNS:ctl|TLS Web Server|Version: 3", ""),
        (Recipe::Rsa, "DNS:ctl|2048 bit|Version: 3", ""),
        (Recipe::Intermediate, "CN = lab intermediate|DNS:ctl", ""),
        (Recipe::Expired, "Jan  1 00:00:00 2020|DNS:ctl", "expired"),
        (Recipe::SelfSigned, "CA:TRUE|DNS:ctl", ""),
    ] {
        let proxy = cluster.tls_proxy(&TlsOptions::new(recipe)).unwrap();
        let text = certificate_text(host, proxy.chain());
        let version = text.lines().find(|line| line.contains("Version:"));
        eprintln!(
            "{release}: {recipe:?}: {}",
            version.unwrap_or_default().trim()
        );
        // OpenSSL 3.2 and later leave out the spaces.
        let plain = text.replace(" = ", "=");
        for mark in marks.replace(" = ", "=").split('|') {
            assert!(plain.contains(mark), "{recipe:?}: no {mark} in {text}");
        }
        let out = s_client(&proxy, host, proxy.ca(), &[]);
        assert_eq!(out.success(), verdict.is_empty(), "{recipe:?}: {out}");
        assert!(out.error_text().contains(verdict), "{recipe:?}: {out}");
        // The next one is at the same port.
        proxy.stop().unwrap();
    }

    // Two at once, of which neither's authority is good for the other.
    let one = cluster.tls_proxy(&TlsOptions::new(Recipe::Ecdsa)).unwrap();
    let options = TlsOptions::new(Recipe::Rsa)
        .port(7818)
        .versions(TlsVersion::V1_2, TlsVersion::V1_2)
        .client_certificate(true);
    let two = cluster.tls_proxy(&options).unwrap();
    assert!(!s_client(&one, host, two.ca(), &[]).success());
    assert!(s_client(&one, host, one.ca(), &["-tls1_3"]).success());
    assert!(!s_client(&two, host, two.ca(), &["-tls1_3"]).success());
    assert!(!s_client(&two, host, two.ca(), &["-tls1_2"]).success());
    let shown = two.client().unwrap();
    host.put("/tmp/shown.pem", shown.certificate.as_str(), 0o644, "root")
        .unwrap();
    host.put("/tmp/shown.key", shown.key.as_str(), 0o600, "root")
        .unwrap();
    let show = ["-cert", "/tmp/shown.pem", "-key", "/tmp/shown.key"];
    let out = s_client(&two, host, two.ca(), &show);
    assert!(out.success(), "{out}");

    // A port that is taken is an error, and what is dropped is free again.
    assert!(cluster.tls_proxy(&TlsOptions::new(Recipe::Rsa)).is_err());
    drop(one);
    assert_eq!(processes(host, "stunnel").lines().count(), 1);
    let proxy = cluster
        .tls_proxy(&TlsOptions::new(Recipe::Intermediate))
        .unwrap();

    // A whole RPC goes through it: sinfo on the node, which a stunnel there takes for the controller.
    let node = cluster.node();
    node.put("/tmp/tls/ca.pem", proxy.ca(), 0o644, "root")
        .unwrap();
    let conf = format!(
        "client = yes\npid = /tmp/tls/stunnel.pid\noutput = /tmp/tls/log\n[x]\n\
         accept = 127.0.0.1:7000\nconnect = ctl1:{}\nCAfile = /tmp/tls/ca.pem\nverifyChain = yes\n",
        proxy.port()
    );
    node.put("/tmp/tls/stunnel.conf", conf, 0o644, "root")
        .unwrap();
    node.exec(["stunnel", "/tmp/tls/stunnel.conf"])
        .check()
        .unwrap();
    let conf = String::from_utf8(cluster.controller_file("slurm.conf").unwrap())
        .unwrap()
        .replace(
            "SlurmctldHost=ctl1",
            "SlurmctldHost=ctl1(127.0.0.1)\nSlurmctldPort=7000",
        );
    node.put("/tmp/tls/slurm.conf", conf, 0o644, "root")
        .unwrap();
    until("an answer through TLS", Duration::from_secs(20), || {
        let out = node
            .exec(SINFO)
            .env("SLURM_CONF", "/tmp/tls/slurm.conf")
            .run()
            .unwrap();
        (out.text() == "node1 idle").then_some(())
    });
    // It writes its log when it has the time.
    until("its line in the log", Duration::from_secs(20), || {
        let log = proxy.log().unwrap();
        log.contains("127.0.0.1:6817").then_some(())
    });
}

#[test]
fn tls_of_22_05() {
    tls(Release::V22_05);
}

#[test]
fn tls_of_24_11() {
    tls(Release::V24_11);
}

#[test]
fn tls_of_26_05() {
    tls(Release::V26_05);
}

/// What sinfo says in a client, as nobody in particular, to a token.
fn sinfo(client: &Container, token: &str) -> Output {
    client
        .exec(SINFO)
        .user("4000")
        .env("SLURM_JWT", token)
        .env("SLURM_CONF_SERVER", "ctl1")
        .run()
        .unwrap()
}

fn identity_provider(release: Release) {
    if !have_docker() {
        return;
    }
    let provider = IdentityProvider::start(release).unwrap();
    let named = release != Release::V22_05;
    let mut builder = Cluster::builder(release).identity_provider(&provider);
    if named {
        builder = builder.alt_parameter("userclaimfield=preferred_username");
    }
    let cluster = builder.start().unwrap();
    let client = cluster.client(&ClientOptions::default()).unwrap();
    let claim = if named { "preferred_username" } else { "sun" };
    let claims = |claim: &str, user: &str| -> Value {
        json!({ claim: user, "sub": "f3c1", "iat": now(), "exp": now() + 600 })
    };

    let alice = provider.sign(&claims(claim, "alice")).unwrap();
    let out = sinfo(&client, &alice);
    assert_eq!(out.text(), "node1 idle", "{out}");
    runs_a_job(
        &cluster,
        &client,
        &[("SLURM_JWT", &alice), ("SLURM_CONF_SERVER", "ctl1")],
    );

    // As by Slurm's own tokens: whoever no host knows may ask, and run nothing.
    let mallory = provider.sign(&claims(claim, "mallory")).unwrap();
    assert_eq!(sinfo(&client, &mallory).text(), "node1 idle");
    let refused = client
        .exec(["sbatch", "--chdir=/tmp", "--wrap=id"])
        .user("4000")
        .env("SLURM_JWT", &mallory)
        .env("SLURM_CONF_SERVER", "ctl1")
        .run()
        .unwrap();
    if refused.success() {
        // 24.11 takes the job, and finds out only when it is to start.
        assert_eq!(release, Release::V24_11);
        until("her job is held", Duration::from_secs(20), || {
            let squeue = ["squeue", "--noheader", "--name=wrap", "--format=%U %r"];
            let out = cluster.controller(0).exec(squeue).check().unwrap();
            (out.text() == "99 JobHeldAdmin").then_some(())
        });
    }

    // Slurm's own claims go before the one that is configured.
    let both = json!({ claim: "mallory", "sun": "alice", "exp": now() + 600 });
    let both = provider.sign(&both).unwrap();
    runs_a_job(
        &cluster,
        &client,
        &[("SLURM_JWT", &both), ("SLURM_CONF_SERVER", "ctl1")],
    );

    let plain = claims(claim, "alice").to_string();
    for (what, token) in [
        ("sub only", provider.sign(&claims("sub", "alice")).unwrap()),
        ("HS256", cluster.sign(&claims("sun", "alice"))),
        (
            "expired",
            provider
                .sign(&json!({ claim: "alice", "exp": now() - 60 }))
                .unwrap(),
        ),
        (
            "no kid",
            provider
                .sign_text(r#"{"alg":"RS256","typ":"JWT"}"#, &plain)
                .unwrap(),
        ),
        (
            "another kid",
            provider
                .sign_text(r#"{"alg":"RS256","typ":"JWT","kid":"other"}"#, &plain)
                .unwrap(),
        ),
    ] {
        let out = sinfo(&client, &token);
        assert_ne!(out.status, 0, "{what}: {out}");
    }
    let other = IdentityProvider::start(release).unwrap();
    let header = json!({ "alg": "RS256", "kid": provider.key_id() }).to_string();
    let forged = other.sign_text(&header, &plain).unwrap();
    assert_ne!(sinfo(&client, &forged).status, 0);
    let username = provider.sign(&claims("username", "alice")).unwrap();
    assert_eq!(sinfo(&client, &username).text(), "node1 idle");
    // The controllers have no key to sign with.
    assert!(cluster.token("alice", 60).is_err());
}

#[test]
fn identity_provider_of_22_05() {
    identity_provider(Release::V22_05);
}

#[test]
fn identity_provider_of_24_11() {
    identity_provider(Release::V24_11);
}

#[test]
fn identity_provider_of_26_05() {
    identity_provider(Release::V26_05);
}

/// What is said to a user who asks for a token.
fn scontrol_token(cluster: &Cluster, user: &str, lifespan: u64) -> Output {
    cluster
        .controller(0)
        .exec(["scontrol", "token", &format!("lifespan={lifespan}")])
        .user(user)
        .run()
        .unwrap()
}

fn token_limits(release: Release) {
    if !have_docker() {
        return;
    }
    let closed = Cluster::builder(release)
        .alt_parameter("disable_token_creation")
        .start()
        .unwrap();
    assert!(!scontrol_token(&closed, "alice", 30).success());
    assert!(scontrol_token(&closed, "root", 30).success());
    drop(closed);

    let short = Cluster::builder(release)
        .alt_parameter("max_token_lifespan=60")
        .start()
        .unwrap();
    assert!(!scontrol_token(&short, "alice", 600).success());
    assert!(scontrol_token(&short, "alice", 30).success());
    assert!(scontrol_token(&short, "root", 600).success());
}

#[test]
fn token_limits_of_22_05() {
    token_limits(Release::V22_05);
}

#[test]
fn token_limits_of_24_11() {
    token_limits(Release::V24_11);
}

#[test]
fn token_limits_of_26_05() {
    token_limits(Release::V26_05);
}

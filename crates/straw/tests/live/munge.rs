//! munged's socket, mounted into a container that has nothing of munge.

use lab::{Cluster, Container, Release, Socket};
use libtest_mimic::Failed;

use crate::clusters::{Clusters, expect, holds, lacks, plain, same, same_set, straw, with_straw};
use crate::doctor::finds;

/// The uid of alice, for containers that do not know her.
const ALICE: &str = "2001";

/// A uid that no host knows.
const NOBODY_IN_PARTICULAR: &str = "4000";

/// A plain Debian with straw and the socket of the controller's munged.
fn bare(cluster: &Cluster) -> Result<Container, Failed> {
    let image = &cluster.images().debian;
    let options = with_straw().image(image);
    Ok(cluster.client(&options.socket(Socket::Munge(0)))?)
}

/// Whoever the host sees gets the client set, and root alone the slurmd set, without a token and
/// without munge.
pub fn mounted_socket(clusters: &Clusters) -> Result<(), Failed> {
    let cluster = clusters.shared()?;
    let client = bare(&cluster)?;
    let nothing = "! command -v munge munged unmunge sinfo && ! dpkg -l | grep -i munge &&
        ! find / -xdev -name '*munge*' ! -path '/proc/*' ! -path /run/munge ! -path '/run/munge/*' \
        ! -path '/var/lib/systemd/*' | grep .";
    expect(0, client.exec(["sh", "-c", nothing]).run()?)?;

    let fetch = plain(&client, "fetch -v ctl1 -o /tmp/alice").user(ALICE);
    let said = expect(0, fetch.run()?)?.error_text();
    let why = "credential: /run/munge/munge.socket.2 \
               (no token is given, no SACK socket is of use, and this socket is there)";
    holds(&said, &[why])?;
    same_set(&cluster, &client, "/tmp/alice")?;

    let slurmd = "fetch ctl1 --files slurmd -o /tmp/slurmd";
    let refused = expect(6, plain(&client, slurmd).user(ALICE).run()?)?;
    let parts = [
        "ESLURM_USER_ID_MISSING, error 2010",
        "only root and SlurmUser",
    ];
    holds(&refused.error_text(), &parts)?;
    expect(0, plain(&client, slurmd).run()?)?;
    let script = if clusters.sends_scripts() {
        "slurm.conf cgroup.conf prolog.sh"
    } else {
        "slurm.conf cgroup.conf"
    };
    for name in script.split(' ') {
        let fetched = client.get(&format!("/tmp/slurmd/{name}"))?;
        same(name, fetched, cluster.controller_file(name)?)?;
    }

    let unknown = plain(&client, "fetch ctl1 -o /tmp/unknown").user(NOBODY_IN_PARTICULAR);
    expect(0, unknown.run()?)?;
    same_set(&cluster, &client, "/tmp/unknown")
}

/// At each version that the controller accepts: the old ones sign a type of message, the later ones
/// a digest.
pub fn every_release_pinned(clusters: &Clusters) -> Result<(), Failed> {
    let cluster = clusters.shared()?;
    let client = bare(&cluster)?;
    let original = cluster.controller_file("slurm.conf")?;
    for release in clusters.accepted()? {
        let arguments = format!("fetch ctl1 --auth munge --release {release} -o /tmp/{release}");
        expect(0, plain(&client, &arguments).user(ALICE).run()?)?;
        let fetched = client.get(&format!("/tmp/{release}/slurm.conf"))?;
        same("slurm.conf", &fetched, &original)?;
    }
    Ok(())
}

/// Runs munged's own start or stop on the controller, as who it runs as.
fn munged(cluster: &Cluster, arguments: &str) -> Result<(), Failed> {
    let words = ["munged"].into_iter().chain(arguments.split_whitespace());
    cluster.controller(0).exec(words).user("munge").check()?;
    Ok(())
}

/// While the host's munged is down that is what is said, whether it took its socket along or not.
/// One that is back is found without a new mount, since the directory is mounted.
pub fn munged_stopped(clusters: &Clusters) -> Result<(), Failed> {
    let cluster = clusters.shared()?;
    let client = bare(&cluster)?;
    munged(&cluster, "--stop")?;
    let stopped = without_munged(&client);
    // Whatever came of it, the cluster is for others as well.
    munged(&cluster, "")?;
    stopped?;
    expect(0, plain(&client, "fetch ctl1 -o /tmp/stopped").run()?)?;

    let killed = "pid=$(cat /run/munge/munged.pid) && kill -KILL $pid &&
        while kill -0 $pid 2>/dev/null; do sleep 0.05; done";
    cluster.controller(0).exec(["sh", "-c", killed]).check()?;
    let dead = plain(&client, "fetch ctl1 --json").run();
    let found = finds(
        &client,
        "",
        "ctl1",
        4,
        &["✗ socket munge socket", "nobody listens on it"],
    );
    munged(&cluster, "")?;
    let dead = expect(4, dead?)?;
    found?;
    let parts = ["/run/munge/munge.socket.2: nobody listens on it", "munged"];
    holds(&dead.error_text(), &parts)?;
    holds(&dead.text(), &["\"munge-unreachable\""])?;
    expect(0, plain(&client, "fetch ctl1 -o /tmp/killed").run()?)?;
    Ok(())
}

/// What straw says where munged's socket has gone with it.
fn without_munged(client: &Container) -> Result<(), Failed> {
    let none = expect(4, plain(client, "fetch ctl1 --auth munge --json").run()?)?;
    let parts = [
        "no credential",
        "/run/munge/munge.socket.2 (not there)",
        "mount the host's /run/munge",
    ];
    holds(&none.error_text(), &parts)?;
    holds(&none.text(), &["\"no-credential\""])?;
    let named = "fetch ctl1 --munge-socket /run/munge/munge.socket.2 --json";
    let named = expect(4, plain(client, named).run()?)?;
    holds(
        &named.error_text(),
        &["it is not there", "mount the host's"],
    )?;
    holds(&named.text(), &["\"munge-unreachable\""])
}

/// The socket of another cluster's munged: one with another key. A controller up to 24.05 does not
/// say why it closes the connection.
pub fn another_key(clusters: &Clusters) -> Result<(), Failed> {
    let cluster = clusters.shared()?;
    let client = bare(&cluster)?;
    let options = "--key-file=/var/lib/munge/other.key --socket=/run/munge/other \
                   --pid-file=/run/munge/other.pid --log-file=/var/log/munge/other.log \
                   --seed-file=/var/lib/munge/other.seed";
    let key = "umask 077; head -c 128 /dev/urandom > /var/lib/munge/other.key";
    let host = cluster.controller(0);
    host.exec(["sh", "-c", key]).user("munge").check()?;
    munged(&cluster, options)?;
    let fetch = "fetch ctl1 -vv --munge-socket /run/munge/other";
    let refused = plain(&client, fetch).user(ALICE).run();
    munged(&cluster, &format!("{options} --stop"))?;
    let said = expect(4, refused?)?.error_text();
    let parts: &[&str] = match clusters.release {
        Release::V22_05 => &[
            "closed the connection without a word",
            "it refused the munge credential",
            "not of this cluster's munged",
        ],
        _ => &[
            "it refused the munge credential",
            "error 1007",
            "this cluster's munge.key",
        ],
    };
    holds(&said, parts)?;
    holds(
        &said,
        &["credential: /run/munge/other (--munge-socket is given)"],
    )
}

/// A token is taken rather than the socket that is there, and its faults are not covered up.
pub fn token_first(clusters: &Clusters) -> Result<(), Failed> {
    let cluster = clusters.shared()?;
    let client = bare(&cluster)?;
    let token = cluster.token("alice", 600)?;
    // As root, who would have this set with the socket.
    let fetch = "fetch ctl1 -v --files slurmd";
    let refused = expect(6, straw(&client, &token, fetch).run()?)?;
    let parts = [
        "credential: SLURM_JWT (SLURM_JWT is set)",
        "the token is alice's",
    ];
    holds(&refused.error_text(), &parts)?;
    let expired = cluster.sign(&serde_json::json!({"exp": 1, "sun": "root"}));
    let refused = expect(4, straw(&client, &expired, fetch).run()?)?;
    holds(&refused.error_text(), &["SLURM_JWT (of root) expired"])?;
    let munge = "fetch ctl1 -v --files slurmd --auth munge -o /tmp/slurmd";
    let said = expect(0, straw(&client, &expired, munge).run()?)?.error_text();
    holds(&said, &["credential: /run/munge/munge.socket.2"])?;
    lacks(&said, &["SLURM_JWT"])
}

//! SACK sockets, of slurmd and of slurmctld, mounted into containers that have no key.

use std::time::Duration;

use lab::{Auth, Cluster, Container, Socket};
use libtest_mimic::Failed;
use slurm_protocol::ProtocolVersion;

use crate::clusters::{Clusters, expect, holds, lacks, plain, same, same_set, straw, with_straw};

/// The uid of alice, for containers that do not know her.
const ALICE: &str = "2001";

/// A uid that no host knows.
const NOBODY_IN_PARTICULAR: &str = "4000";

/// What `straw fetch -v` of alice's says; it has to get the whole client set.
fn fetches(cluster: &Cluster, client: &Container, options: &str) -> Result<String, Failed> {
    let fetch = format!("fetch -v ctl1 -o /tmp/fetched {options}");
    let said = expect(0, plain(client, &fetch).user(ALICE).run()?)?.error_text();
    same_set(cluster, client, "/tmp/fetched")?;
    client.exec(["rm", "-r", "/tmp/fetched"]).check()?;
    Ok(said)
}

/// Whoever slurmd sees gets the client set, and root alone the slurmd set, in a container that has
/// nothing of Slurm or munge.
pub fn mounted_socket(clusters: &Clusters) -> Result<(), Failed> {
    let cluster = clusters.slurm()?;
    let image = &cluster.images().debian;
    let client = cluster.client(&with_straw().image(image).socket(Socket::Slurmd))?;
    let nothing = "! command -v sackd sinfo munge && ! dpkg -l | grep -i -e slurm -e munge &&
        ! find / -xdev -name slurm.key -o -xdev -name 'libslurm*' | grep .";
    expect(0, client.exec(["sh", "-c", nothing]).run()?)?;

    let why = "credential: /run/slurm/sack.socket (no token is given, and this socket is there)";
    holds(&fetches(&cluster, &client, "")?, &[why])?;

    let slurmd = "fetch ctl1 --files slurmd -o /tmp/slurmd";
    let refused = expect(6, plain(&client, slurmd).user(ALICE).run()?)?;
    let parts = [
        "ESLURM_USER_ID_MISSING, error 2010",
        "only root and SlurmUser",
    ];
    holds(&refused.error_text(), &parts)?;
    expect(0, plain(&client, slurmd).run()?)?;
    let fetched = client.get("/tmp/slurmd/cgroup.conf")?;
    let original = cluster.controller_file("cgroup.conf")?;
    same("cgroup.conf", fetched, original)?;

    let unknown = plain(&client, "fetch ctl1 -o /tmp/unknown").user(NOBODY_IN_PARTICULAR);
    expect(0, unknown.run()?)?;
    same_set(&cluster, &client, "/tmp/unknown")?;

    // Before there was auth/slurm nobody is asked, and at every version since then it is good.
    let too_old = plain(&client, "fetch ctl1 --release 22.05 --auth slurm --json");
    let too_old = expect(2, too_old.run()?)?;
    holds(&too_old.text(), &["\"no-sack-yet\""])?;
    holds(&too_old.error_text(), &["since 23.11, not in 22.05"])?;
    for release in clusters.accepted()? {
        let options = format!("--auth slurm --release {release}");
        if release.version() < ProtocolVersion::V23_11 {
            let fetch = plain(&client, &format!("fetch ctl1 {options}"));
            holds(&expect(2, fetch.run()?)?.error_text(), &["since 23.11"])?;
        } else {
            fetches(&cluster, &client, &options)?;
        }
    }
    Ok(())
}

/// Each of the usual places, and those that are named.
pub fn places(clusters: &Clusters) -> Result<(), Failed> {
    let cluster = clusters.slurm()?;
    let bare = with_straw().image(&cluster.images().debian);
    let options = bare
        .clone()
        .socket_at(Socket::Slurmd, "/run/slurm-lab")
        .socket(Socket::Slurmctld(0))
        .socket_at(Socket::Slurmd, "/some/where");
    let client = cluster.client(&options)?;
    let said = fetches(&cluster, &client, "")?;
    holds(&said, &["credential: /run/slurm-lab/sack.socket ("])?;
    let named = "--sack-socket /some/where/sack.socket";
    let parts = ["/some/where/sack.socket (--sack-socket is given)"];
    holds(&fetches(&cluster, &client, named)?, &parts)?;

    let variable = |path: &str, arguments: &str| {
        let command = plain(&client, arguments).user(ALICE);
        command.env("SLURM_SACK_SOCKET", path).run()
    };
    let set = variable("/some/where/sack.socket", "fetch -v ctl1 -o /tmp/set")?;
    let parts = ["/some/where/sack.socket (SLURM_SACK_SOCKET is set)"];
    holds(&expect(0, set)?.error_text(), &parts)?;
    same_set(&cluster, &client, "/tmp/set")?;
    // Nothing else is taken in its place, though there would be something.
    let nothing = variable("/some/where/else.socket", "fetch -v ctl1 --json")?;
    let nothing = expect(4, nothing)?;
    holds(&nothing.text(), &["\"sack-unreachable\""])?;
    let parts = ["/some/where/else.socket: it is not there", "--sack-socket"];
    holds(&nothing.error_text(), &parts)?;

    let client = cluster.client(&bare.socket(Socket::Slurmctld(0)))?;
    let said = fetches(&cluster, &client, "")?;
    holds(&said, &["credential: /run/slurmctld/sack.socket ("])
}

/// Of two sockets, which belong to two clusters here, SACK's is taken and not munge's; of a token and
/// a socket the token.
pub fn before_munge_and_after_a_token(clusters: &Clusters) -> Result<(), Failed> {
    let other = clusters.shared()?;
    let cluster = clusters.slurm()?;
    let options = with_straw()
        .image(&cluster.images().debian)
        .socket(Socket::Slurmd)
        .socket_of(&other, Socket::Munge(0), "/run/munge");
    let client = cluster.client(&options)?;
    let said = fetches(&cluster, &client, "")?;
    holds(&said, &["credential: /run/slurm/sack.socket ("])?;
    // This controller takes none of munge's.
    let munge = plain(&client, "fetch -v ctl1 --auth munge").run()?;
    let parts = [
        "credential: /run/munge/munge.socket.2 (",
        "the munge credential",
        "AuthType",
    ];
    holds(&expect(4, munge)?.error_text(), &parts)?;
    let token = cluster.token("alice", 600)?;
    let fetch = straw(&client, &token, "fetch -v ctl1 -o /tmp/token");
    let said = expect(0, fetch.run()?)?.error_text();
    holds(&said, &["credential: SLURM_JWT (SLURM_JWT is set)"])?;
    lacks(&said, &["socket"])
}

/// The socket of a cluster that has another key.
pub fn another_key(clusters: &Clusters) -> Result<(), Failed> {
    let cluster = clusters.slurm()?;
    let other = Cluster::builder(clusters.release)
        .auth(Auth::Slurm)
        .start()?;
    let options = with_straw().image(&cluster.images().debian).socket_of(
        &other,
        Socket::Slurmctld(0),
        "/run/slurmctld",
    );
    let client = cluster.client(&options)?;
    let refused = plain(&client, "fetch ctl1 --json").user(ALICE).run()?;
    let refused = expect(4, refused)?;
    let parts = [
        "it refused the SACK credential",
        "error 1007",
        "the same slurm.key",
    ];
    holds(&refused.error_text(), &parts)?;
    holds(&refused.text(), &["\"credential-refused\""])
}

/// A daemon that is gone leaves its socket behind. One that is back is found without a new mount,
/// since the directory is mounted.
pub fn slurmd_killed(clusters: &Clusters) -> Result<(), Failed> {
    let cluster = clusters.slurm()?;
    let client = cluster.client(&with_straw().socket(Socket::Slurmd))?;
    let killed = "pkill -KILL -x slurmd && while pgrep -x slurmd; do sleep 0.05; done";
    cluster.node().exec(["sh", "-c", killed]).check()?;
    let dead = plain(&client, "fetch ctl1 --json").run();
    // Whatever came of it, the cluster is for others as well. slurmd goes into the background before
    // it listens (the flag 00010000) on its socket.
    let again = "slurmd --conf-server ctl1 &&
        until grep -q ' 00010000 .*/sack.socket' /proc/net/unix; do sleep 0.05; done";
    cluster.node().exec(["sh", "-c", again]).check()?;
    let dead = expect(4, dead?)?;
    let parts = [
        "SACK socket /run/slurm/sack.socket: nobody listens on it",
        "Mount the directory (/run/slurm)",
    ];
    holds(&dead.error_text(), &parts)?;
    holds(&dead.text(), &["\"sack-unreachable\""])?;
    fetches(&cluster, &client, "").map(drop)
}

/// Slurm's own commands work with nothing but the socket once straw has fetched the configuration.
/// Without, they cannot ask for one: they do not know yet that they are to use the socket.
pub fn native_commands(clusters: &Clusters) -> Result<(), Failed> {
    let cluster = clusters.slurm()?;
    let client = cluster.client(&with_straw().socket(Socket::Slurmd))?;
    let sinfo = || {
        let argv = ["timeout", "20", "sinfo", "-h", "-o", "%n %P"];
        client
            .exec(argv)
            .user("alice")
            .limit(Duration::from_secs(60))
    };
    let alone = sinfo().env("SLURM_CONF_SERVER", "ctl1").run()?;
    if alone.success() {
        return Err(format!("Slurm's own commands do without straw:\n{alone}").into());
    }
    expect(0, plain(&client, "fetch ctl1 -o /etc/slurm").run()?)?;
    let nodes = expect(0, sinfo().run()?)?;
    same("sinfo", nodes.text().as_str(), "node1 main*")
}

//! Finding controllers with nothing but `/etc/hosts` and `/etc/resolv.conf`.

use std::time::{Duration, Instant};

use lab::{Cluster, Container};
use libtest_mimic::Failed;

use crate::clusters::{Clusters, client, expect, holds, straw};
use crate::doctor::finds;

/// As many as a site has that names each of its hosts so by mistake.
const ADDRESSES: usize = 200;

/// So many of a host that is switched off: whoever connects to one of them waits.
const UNUSED: usize = 6;

/// For what a loaded machine adds.
const SLACK: Duration = Duration::from_secs(20);

/// Names in `/etc/hosts`, in DNS with a search list, and controllers that only SRV records name.
pub fn hosts_dns_and_srv(clusters: &Clusters) -> Result<(), Failed> {
    let cluster = clusters.shared()?;
    let client = client(&cluster)?;
    let token = cluster.token("alice", 600)?;
    let controller = cluster.controller_ip(0);

    // Docker's own name server knows ctl1 and no SRV record.
    let none = expect(3, straw(&client, &token, "fetch --json").run()?)?;
    let parts = [
        "no controller is named",
        "_slurmctld._tcp",
        "SLURM_CONF_SERVER",
    ];
    holds(&none.error_text(), &parts)?;
    holds(&none.text(), &["\"no-controller\""])?;
    finds(
        &client,
        &token,
        "",
        3,
        &["✗ controllers no controller is named, and DNS knows none"],
    )?;
    let unknown = straw(&client, &token, "fetch ctl9 --timeout 30s --json").run()?;
    let unknown = expect(3, unknown)?;
    holds(&unknown.error_text(), &["ctl9", "127.0.0.11"])?;
    holds(&unknown.text(), &["\"name-not-resolved\""])?;

    hosts(&client, "primary", &[controller.into()])?;
    expect(
        0,
        straw(&client, &token, "fetch primary -o /tmp/hosts").run()?,
    )?;

    // A name server in the cluster's network that has the site's SRV records: the first host is
    // preferred, and does not exist.
    let records = [
        &format!("--host-record=head.lab.test,{controller}"),
        "--srv-host=_slurmctld._tcp.lab.test,gone.lab.test,6817,1,0",
        "--srv-host=_slurmctld._tcp.lab.test,head.lab.test,6817,2,0",
    ];
    let dns = name_server(&cluster, &records.map(str::to_owned))?;
    let resolv_conf = format!("search wrong.test lab.test\nnameserver {dns}\noptions timeout:5");
    let script = format!("printf '{resolv_conf}\\n' > /etc/resolv.conf");
    client.exec(["sh", "-c", &script]).check()?;
    let parts = [
        "✓ controllers gone.lab.test:6817 (priority 1), head.lab.test:6817 (priority 2), from the \
         SRV record _slurmctld._tcp.lab.test",
        "! gone.lab.test no such name",
        "✓ accepted by head.lab.test:6817",
    ];
    finds(&client, &token, "", 0, &parts)?;
    let output = straw(&client, &token, "fetch -v -o /tmp/srv").run()?;
    let said = expect(0, output)?.error_text();
    holds(
        &said,
        &[
            "controllers from _slurmctld._tcp.lab.test: gone.lab.test:6817, head.lab.test:6817",
            "no such name: gone.lab.test",
            "configuration of head.lab.test:6817",
        ],
    )?;
    expect(
        0,
        straw(&client, &token, "fetch head -o /tmp/search").run()?,
    )?;
    Ok(())
}

/// The last one is found in time, whatever the others do, and a message stays short where there is
/// none.
pub fn many_addresses(clusters: &Clusters) -> Result<(), Failed> {
    let cluster = clusters.shared()?;
    let client = client(&cluster)?;
    let token = cluster.token("alice", 600)?;
    let controller = cluster.controller_ip(0);

    // Nobody listens at these of the container's own, and it says so.
    let refused = (1..ADDRESSES).map(|at| format!("127.0.7.{at}"));
    let refused: Vec<_> = refused.collect();
    // Nobody has these of its network, so nobody answers.
    let (network, _) = controller
        .rsplit_once('.')
        .ok_or("an IPv4 address expected")?;
    let first: usize = controller.rsplit('.').next().unwrap_or_default().parse()?;
    let unused: Vec<_> = (0..UNUSED)
        .map(|at| format!("{network}.{}", first + 10 + at))
        .collect();
    hosts(&client, "refused", &refused)?;
    hosts(
        &client,
        "last",
        &[&refused[..], &[controller.into()]].concat(),
    )?;
    hosts(
        &client,
        "asleep",
        &[&unused[..], &[controller.into()]].concat(),
    )?;
    // IPv4 goes first, and leads nowhere; and the other way round.
    hosts(&client, "six", &["::1".into(), controller.into()])?;

    let fetch = |host: &str| -> Result<_, Failed> {
        let began = Instant::now();
        let line = format!("fetch {host} --timeout 6s -o /tmp/{host}");
        let output = straw(&client, &token, &line).run()?;
        let took = began.elapsed();
        eprintln!("{}: {host} took {took:.1?}", clusters.release);
        match took < Duration::from_secs(6) + SLACK {
            true => Ok(output),
            false => Err(format!("{host}: it took {took:?}").into()),
        }
    };
    for host in ["last", "asleep", "six"] {
        expect(0, fetch(host)?)?;
    }
    let failed = expect(3, fetch("refused")?)?.error_text();
    holds(
        &failed,
        &["connection refused (127.0.7.1), ", "and 191 more"],
    )?;
    if failed.len() > 1000 {
        return Err(format!("a long message: {failed}").into());
    }

    // From a name server, whose answer does not fit into a datagram.
    let mut records: Vec<_> = refused
        .iter()
        .map(|address| format!("--host-record=many.lab.test,{address}"))
        .collect();
    records.push(format!("--host-record=many.lab.test,{controller}"));
    let dns = name_server(&cluster, &records)?;
    let resolv_conf = format!("printf 'nameserver {dns}\\n' > /etc/resolv.conf");
    client.exec(["sh", "-c", &resolv_conf]).check()?;
    expect(0, fetch("many.lab.test")?)?;
    Ok(())
}

/// Gives a name these addresses.
fn hosts(client: &Container, name: &str, addresses: &[String]) -> Result<(), Failed> {
    let lines = addresses
        .iter()
        .map(|address| format!("{address} {name}\n"));
    let add = client
        .exec(["sh", "-c", "cat >> /etc/hosts"])
        .stdin(lines.collect::<String>());
    add.check()?;
    Ok(())
}

/// Starts a name server beside the node's daemons, with these records, and returns its address.
fn name_server(cluster: &Cluster, records: &[String]) -> Result<String, Failed> {
    // One that a test before has left there has other records, and its port until it is gone.
    let script = "kill $(cat /run/names.pid 2>/dev/null) 2>/dev/null
        until dnsmasq --pid-file=/run/names.pid --no-resolv --no-hosts --local=/test/ \"$@\"; do
            tries=$((tries + 1))
            [ $tries -lt 100 ] || exit
            sleep 0.05
        done";
    let line = ["sh", "-c", script, "sh"].into_iter();
    let line = line.chain(records.iter().map(String::as_str));
    cluster.node().exec(line).check()?;
    Ok(cluster.node().ip()?)
}

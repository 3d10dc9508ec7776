//! Names with many addresses, of which most lead nowhere.

use std::time::{Duration, Instant};

use lab::Container;
use libtest_mimic::Failed;

use crate::clusters::{Clusters, client, expect, holds, straw};
use crate::names::name_server;

/// As many as a site has that names each of its hosts so by mistake.
const ADDRESSES: usize = 200;

/// So many of a host that is switched off: whoever connects to one of them waits.
const UNUSED: usize = 6;

/// For what a loaded machine adds.
const SLACK: Duration = Duration::from_secs(20);

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

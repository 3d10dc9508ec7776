//! Finding controllers with nothing but `/etc/hosts` and `/etc/resolv.conf`.

use lab::{Cluster, Container};
use libtest_mimic::Failed;

use crate::clusters::{Clusters, client, expect, holds, straw};
use crate::doctor::finds;

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

    append(&client, "/etc/hosts", &format!("{controller} primary"))?;
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

fn append(client: &Container, path: &str, line: &str) -> Result<(), Failed> {
    let script = format!("echo '{line}' >> {path}");
    client.exec(["sh", "-c", &script]).check()?;
    Ok(())
}

/// Starts a name server beside the node's daemons, with these records, and returns its address.
pub fn name_server(cluster: &Cluster, records: &[String]) -> Result<String, Failed> {
    // One that a test before has left there has other records.
    let script = "kill $(cat /run/names.pid 2>/dev/null) 2>/dev/null
        exec dnsmasq --pid-file=/run/names.pid --no-resolv --no-hosts --local=/test/ \"$@\"";
    let line = ["sh", "-c", script, "sh"].into_iter();
    let line = line.chain(records.iter().map(String::as_str));
    cluster.node().exec(line).check()?;
    Ok(cluster.node().ip()?)
}

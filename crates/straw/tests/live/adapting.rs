//! Containers that lack what the cluster's configuration names: natively nothing works, with straw
//! everything does, and no more is changed than has to be.

use std::collections::BTreeMap;

use lab::{Cluster, Container, Exec, Release};
use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::clusters::{Clusters, client, expect, holds, plain, same, straw, with_straw};
use crate::native::work_for_alice;

/// Where the site's own plugins are, on the cluster's hosts only.
const SITE: &str = "/opt/site";

/// Where Debian's are.
const PLUGINS: &str = "/usr/lib/x86_64-linux-gnu/slurm-wlm";

/// Every command of the kind: those that only ask, one that submits, one that cancels. $1 is a job
/// to be shown and cancelled where none can be submitted; before each command stands the rest.
/// Prints those that fail.
const COMMANDS: &str = r#"
    job=$1; shift
    failed() { echo "$1"; cat /tmp/said >&2; }
    held='--hold --parsable --chdir=/tmp --output=/dev/null --wrap=true'
    if new=$("$@" sbatch $held 2>/tmp/said); then job=$new; else failed sbatch; fi
    "$@" sinfo -h >/tmp/said 2>&1 || failed sinfo
    "$@" squeue -h >/tmp/said 2>&1 || failed squeue
    "$@" scontrol show job "$job" >/tmp/said 2>&1 || failed scontrol
    "$@" scancel "$job" >/tmp/said 2>&1 || failed scancel
"#;

const ALL: [&str; 5] = ["sbatch", "sinfo", "squeue", "scontrol", "scancel"];

/// A line that is changed: its file, what it was, what becomes of it, and by which rule.
type Changed<'a> = (&'a str, &'a str, Option<&'a str>, &'a str);

/// What Debian's account stands for, in every container here.
const NO_ACCOUNT: Changed<'static> = ("slurm.conf", "SlurmUser=slurm", None, "slurm-user");

/// A configuration, and what it does to a client.
struct Case<'a> {
    name: &'a str,
    /// Lines that are added to slurm.conf.
    lines: &'a [&'a str],
    plugstack: &'a str,
    changed: &'a [Changed<'a>],
    /// The commands that fail where the account, at least, is there.
    failing: &'a [&'a str],
}

/// A client container without the account, with shims and straw's settings.
fn stranger(cluster: &Cluster, image: Option<&str>) -> Result<Container, Failed> {
    let client = match image {
        None => client(cluster)?,
        Some(image) => cluster.client(&with_straw().image(image))?,
    };
    client.exec(["userdel", "slurm"]).check()?;
    client.put("/etc/straw.toml", "servers = \"ctl1\"\n", 0o644, "root")?;
    expect(0, plain(&client, "shim install").run()?)?;
    Ok(client)
}

/// The commands that fail when alice runs them with these words ahead of each.
fn failing<'a>(
    client: &'a Container,
    token: &str,
    job: &str,
    ahead: &[&str],
    set_up: impl FnOnce(Exec<'a>) -> Exec<'a>,
) -> Result<(Vec<String>, String), Failed> {
    let line = ["sh", "-c", COMMANDS, "commands", job];
    let exec = client.exec(line.iter().chain(ahead).copied());
    let exec = set_up(exec.user("alice").env("SLURM_JWT", token));
    let output = exec.check()?;
    let names = output.text();
    let names = names.split_whitespace().map(str::to_owned).collect();
    Ok((names, output.error_text()))
}

/// Fails unless just these commands do.
fn fail_natively(
    client: &Container,
    token: &str,
    job: &str,
    directory: &str,
    expected: &[&str],
) -> Result<(), Failed> {
    // Slurm's own commands, without the shims.
    let path = "PATH=/usr/bin:/bin";
    let conf = format!("{directory}/slurm.conf");
    let (names, said) = failing(client, token, job, &["env", path], |exec| {
        exec.env("SLURM_CONF", &conf)
    })?;
    same(&format!("those that fail ({said})"), names, owned(expected))
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().copied().map(str::to_owned).collect()
}

/// Jobs of alice's that are held, submitted on the cluster.
fn held_jobs(cluster: &Cluster, count: usize) -> Result<Vec<String>, Failed> {
    let submit = "for i in $(seq $0); do
        sbatch --hold --parsable --chdir=/tmp --output=/dev/null --wrap=true; done";
    let exec = cluster
        .controller(0)
        .exec(["sh", "-c", submit, &count.to_string()]);
    let ids = exec.user("alice").check()?.text();
    Ok(ids.lines().map(str::to_owned).collect())
}

/// What straw says that it would change, and does change: these lines and no others.
fn changes_only(
    cluster: &Cluster,
    client: &Container,
    token: &str,
    expected: &[Changed<'_>],
) -> Result<(), Failed> {
    let explained = straw(client, token, "fetch --explain --json").user("alice");
    let explained = expect(0, explained.run()?)?;
    let explained: Value = serde_json::from_slice(&explained.stdout)?;
    same("findings", &explained["findings"], &json!([]))?;
    let changes = explained["changes"].as_array().ok_or("no changes")?;
    let mut left: Vec<_> = changes.iter().collect();
    for &(file, before, after, rule) in expected {
        let is_it = |change: &&Value| {
            change["file"] == file
                && change["before"] == before
                && change["after"] == json!(after)
                && change["rule"] == rule
        };
        let Some(at) = left.iter().position(is_it) else {
            return Err(format!("`{before}` is not changed so: {changes:#?}").into());
        };
        let line = left.remove(at)["line"].as_u64().unwrap_or_default();
        let original = cluster.controller_file(file)?;
        let original = String::from_utf8_lossy(&original).into_owned();
        let there = original.lines().nth((line as usize).saturating_sub(1));
        same("the line", there, Some(before))?;
    }
    same("other changes", left.len(), 0)?;

    // The original comes back out of what is kept, and only so many lines are straw's.
    let mut by_file = BTreeMap::from([("slurm.conf", Vec::new())]);
    for change in expected {
        by_file.entry(change.0).or_default().push(change);
    }
    for (file, changes) in by_file {
        let cat = format!("cat \"$(dirname \"$SLURM_CONF\")/{file}\"");
        let line = ["straw", "exec", "--", "sh", "-c", &cat];
        let kept = client.exec(line).user("alice").env("SLURM_JWT", token);
        let kept = expect(0, kept.run()?)?;
        let kept = String::from_utf8_lossy(&kept.stdout).into_owned();
        let original = cluster.controller_file(file)?;
        same(
            file,
            undone(&kept, &changes)?,
            String::from_utf8_lossy(&original).into_owned(),
        )?;
    }
    Ok(())
}

/// A file as it was before these changes, each of which left a comment with the line that was.
fn undone(kept: &str, changes: &[&Changed<'_>]) -> Result<String, Failed> {
    let mut changes: Vec<_> = changes.to_vec();
    let mut original = String::new();
    let mut lines = kept.lines();
    while let Some(line) = lines.next() {
        if !line.starts_with("# straw: ") {
            original += line;
        } else {
            let ends = |change: &&&Changed<'_>| line.ends_with(&format!(": {}", change.1));
            let at = changes.iter().position(|change| ends(&change));
            let (_, before, after, _) = changes.remove(at.ok_or(format!("what is `{line}`?"))?);
            if let Some(after) = after {
                same("the line after it", lines.next(), Some(after))?;
            }
            original += before;
        }
        original += "\n";
    }
    same("changes that are not there", changes.len(), 0)?;
    Ok(original)
}

/// Natively it fails and with straw it works, for one configuration.
fn becomes_a_client(
    cluster: &Cluster,
    client: &Container,
    token: &str,
    job: &[String],
    case: &Case<'_>,
) -> Result<(), Failed> {
    // Nothing is left of the case before.
    let clear = "rm -rf /tmp/straw-2001 /tmp/verbatim /tmp/account";
    client.exec(["sh", "-c", clear]).check()?;
    let fetched = straw(client, token, "fetch -o /tmp/verbatim").run()?;
    holds(&expect(0, fetched)?.error_text(), &["--adapt changes"])?;
    fail_natively(client, token, &job[0], "/tmp/verbatim", &ALL)?;
    let account = "fetch -o /tmp/account --unset SlurmUser";
    expect(0, straw(client, token, account).run()?)?;
    fail_natively(client, token, &job[1], "/tmp/account", case.failing)?;

    let none = (Vec::new(), String::new());
    let exec = ["straw", "exec", "--"];
    let with_exec = failing(client, token, "none", &exec, |exec| exec)?;
    same("fail under straw exec", &with_exec, &none)?;
    let with_shims = failing(client, token, "none", &[], |exec| exec)?;
    same("fail under the shims", &with_shims, &none)?;
    changes_only(cluster, client, token, case.changed)
}

/// No account slurm, and beside that a directory of plugins, a SPANK plugin or a filter that is not
/// there.
pub fn what_is_not_there(clusters: &Clusters) -> Result<(), Failed> {
    let cluster = Cluster::builder(clusters.release).plugstack(true).start()?;
    let spank = format!("mkdir {SITE} && cp {PLUGINS}/spank_pbs.so {SITE}/spank_site.so");
    for host in [cluster.controller(0), cluster.node()] {
        host.exec(["sh", "-c", &spank]).check()?;
    }
    let client = stranger(&cluster, None)?;
    let token = cluster.token("alice", 600)?;
    let original = String::from_utf8(cluster.controller_file("slurm.conf")?)?;

    let harmless = "optional spank_pbs.so";
    let both = format!("PluginDir={PLUGINS}:{SITE}");
    let one = format!("PluginDir={PLUGINS}");
    let directory: Changed<'_> = ("slurm.conf", &both, Some(&one), "plugin-dir");
    let required = format!("required {SITE}/spank_site.so");
    let plugin: Changed<'_> = ("plugstack.conf", &required, None, "spank");
    let lua = "CliFilterPlugins=cli_filter/lua";
    let filter: Changed<'_> = ("slurm.conf", lua, None, "cli-filter");
    let cases = [
        Case {
            name: "no account",
            lines: &[],
            plugstack: harmless,
            changed: &[NO_ACCOUNT],
            failing: &[],
        },
        Case {
            name: "no directory of plugins",
            lines: &[&both],
            plugstack: harmless,
            changed: &[NO_ACCOUNT, directory],
            failing: &ALL,
        },
        Case {
            name: "no SPANK plugin",
            lines: &[],
            plugstack: &required,
            changed: &[NO_ACCOUNT, plugin],
            failing: &["sbatch"],
        },
        Case {
            name: "no filter",
            lines: &[lua],
            plugstack: harmless,
            changed: &[NO_ACCOUNT, filter],
            failing: &["sbatch"],
        },
        Case {
            name: "none of them",
            lines: &[lua, &both],
            plugstack: &required,
            changed: &[NO_ACCOUNT, directory, plugin, filter],
            failing: &ALL,
        },
    ];
    let jobs = held_jobs(&cluster, 2 * cases.len())?;
    for (case, job) in cases.iter().zip(jobs.chunks(2)) {
        let conf = original.clone() + &case.lines.join("\n") + "\n";
        cluster.write_controller_file("slurm.conf", conf.as_bytes())?;
        let plugstack = format!("{}\n", case.plugstack);
        cluster.write_controller_file("plugstack.conf", plugstack.as_bytes())?;
        cluster.reconfigure()?;
        becomes_a_client(&cluster, &client, &token, job, case)
            .map_err(|failed| of(case.name, failed))?;
    }
    // In the last case nothing is there, and a job runs all the same.
    work_for_alice(&cluster, &client, &token)
}

/// The failure of a case.
fn of(name: &str, failed: Failed) -> Failed {
    let message = failed.message().unwrap_or_default();
    format!("{name}: {message}").into()
}

/// A client of 24.11 in a cluster of 26.05, whose slurm.conf says what 24.11 never heard of.
pub fn an_older_client(clusters: &Clusters) -> Result<(), Failed> {
    let timeout = "HealthCheckTimeout=90";
    let filters = "CliFilterParameters=site_default=1";
    let builder = Cluster::builder(clusters.release);
    let cluster = builder.line(timeout).line(filters).start()?;
    let images = lab::image::prepare(Release::V24_11, &mut |_| {})?;
    let client = stranger(&cluster, Some(&images.client))?;
    let version = ["dpkg-query", "--show", "slurm-client"];
    holds(&client.exec(version).check()?.text(), &["\t24.11."])?;
    let token = cluster.token("alice", 600)?;
    let jobs = held_jobs(&cluster, 2)?;
    let changed = [
        NO_ACCOUNT,
        ("slurm.conf", timeout, None, "unknown-key"),
        ("slurm.conf", filters, None, "unknown-key"),
    ];
    let case = Case {
        name: "24.11",
        lines: &[],
        plugstack: "",
        changed: &changed,
        failing: &ALL,
    };
    becomes_a_client(&cluster, &client, &token, &jobs, &case)?;
    work_for_alice(&cluster, &client, &token)
}

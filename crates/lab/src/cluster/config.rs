//! The configuration files of a cluster.

use super::builder::{Builder, older};
use super::{JWKS, JWT_KEY, LOG_FILE, PID_FILE, STATE};
use crate::tar::Entry;

/// The names and contents of the files in `/etc/slurm` on the controllers.
pub(super) fn files(options: &Builder, series: &str) -> Vec<Entry> {
    let file = |name: &str, mode, text: &str| Entry::new(&format!("/etc/slurm/{name}"), mode, text);
    let mut files = vec![file("slurm.conf", 0o644, &slurm_conf(options))];
    // The node is a plain container, which may change nothing in the control groups, and whose host
    // may have any of their kinds. Up to 23.02 there is no way to do without; but a plugin that is
    // named, rather than found out, looks for nothing as long as nothing asks it to.
    let plugin = match older(series, "23.11") {
        true => "cgroup/v1",
        false => "disabled",
    };
    let text = format!("CgroupPlugin={plugin}\n");
    files.push(file("cgroup.conf", 0o644, &text));
    if options.include {
        files.push(file("partitions.conf", 0o644, PARTITIONS));
    }
    if options.prolog {
        files.push(file("prolog.sh", 0o755, "#!/bin/sh\nexit 0\n"));
    }
    if options.plugstack {
        files.push(file("plugstack.conf", 0o644, "optional spank_pbs.so\n"));
    }
    files
}

const PARTITIONS: &str = "PartitionName=main Nodes=node1 Default=YES MaxTime=INFINITE State=UP\n";

fn slurm_conf(options: &Builder) -> String {
    let mut lines = vec![
        "ClusterName=lab".to_owned(),
        "SlurmctldHost=ctl1".to_owned(),
    ];
    if options.backup {
        lines.push("SlurmctldHost=ctl2".to_owned());
        // A third of it is the time between two looks of the backup at the primary, a quarter that
        // between two heartbeats of the primary, both in whole seconds. With less than four it would
        // write its heartbeat without a pause.
        lines.push("SlurmctldTimeout=4".to_owned());
    }
    lines.push(format!("SlurmUser={}", options.slurm_user.name()));
    let auth = options.auth.word();
    lines.push(format!("AuthType=auth/{auth}"));
    lines.push(format!("CredType=cred/{auth}"));
    lines.push("AuthAltTypes=auth/jwt".to_owned());
    let mut parameters = vec![match options.jwks {
        None => format!("jwt_key={JWT_KEY}"),
        Some(_) => format!("jwks={JWKS}"),
    }];
    parameters.extend(options.alt_parameters.iter().cloned());
    lines.push(format!("AuthAltParameters={}", parameters.join(",")));
    if options.configless {
        lines.push("SlurmctldParameters=enable_configless".to_owned());
    }
    lines.push(format!("StateSaveLocation={STATE}"));
    lines.push(format!("SlurmctldPidFile={PID_FILE}"));
    lines.push(format!("SlurmctldLogFile={LOG_FILE}"));
    lines.extend(
        [
            "SlurmdSpoolDir=/var/spool/slurmd",
            "SlurmdLogFile=/var/log/slurm/slurmd.log",
            // What the node says of itself is believed, whatever the machine beneath it has.
            "SlurmdParameters=config_overrides",
            "ProctrackType=proctrack/linuxproc",
            "SelectType=select/cons_tres",
            "SelectTypeParameters=CR_CPU",
            "MpiDefault=none",
            "MailProg=/bin/true",
            "PropagateResourceLimits=NONE",
            "ReturnToService=2",
            "KillWait=2",
            "SchedulerParameters=batch_sched_delay=0",
        ]
        .map(str::to_owned),
    );
    if options.prolog {
        lines.push("Prolog=prolog.sh".to_owned());
    }
    lines.extend(options.lines.iter().cloned());
    lines.push("NodeName=node1 CPUs=4 State=UNKNOWN".to_owned());
    lines.push(if options.include {
        "Include partitions.conf".to_owned()
    } else {
        PARTITIONS.trim_end().to_owned()
    });
    lines.join("\n") + "\n"
}

//! `examples/apptainer`: an image built from the definition by a user without rights, and a job
//! submitted from within.

use std::fs;
use std::path::Path;
use std::time::Duration;

use lab::{BuiltImage, Release};
use libtest_mimic::Failed;

use super::{SECRETS, folder};
use crate::clusters::{Clusters, expect, holds, with_straw};

const HOME: &str = "/home/alice";

/// What the definition is built upon, and what stands for it here: a directory with the Debian of the
/// release, in which the packages are there already.
const BASE: &str = "Bootstrap: docker\nFrom: debian:trixie\n";
const LOCAL: &str = "Bootstrap: localimage\nFrom: /base\n";

/// As the README says.
pub fn definition(clusters: &Clusters) -> Result<(), Failed> {
    let cluster = clusters.shared()?;
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/live/recipes/apptainer");
    let debian = BuiltImage::debian(Release::V26_05)?;
    let image = BuiltImage::on(&debian, &tests, &cluster.images().client)?;
    // Namespaces of a user's own within a container's, and what is mounted in them.
    let options = with_straw()
        .image(image.name())
        .option("--device=/dev/fuse")
        .option("--cap-add=SYS_ADMIN")
        .option("--security-opt=seccomp=unconfined")
        .option("--security-opt=apparmor=unconfined")
        .option("--security-opt=systempaths=unconfined");
    let host = cluster.client(&options)?;
    // As udev leaves it.
    host.exec(["chmod", "0666", "/dev/fuse"]).check()?;
    let definition = fs::read_to_string(folder("apptainer").join("slurm-tools.def"))?;
    holds(&definition, &[BASE])?;
    let definition = definition.replace(BASE, LOCAL);
    host.put(
        &format!("{HOME}/slurm-tools.def"),
        definition,
        0o644,
        "alice",
    )?;
    host.exec(["cp", "/usr/local/bin/straw", HOME]).check()?;

    let apptainer = |arguments: &[&str]| {
        let command = ["apptainer"].into_iter().chain(arguments.iter().copied());
        host.exec(command).user("alice").workdir(HOME)
    };
    let build = ["build", "--fakeroot", "slurm-tools.sif", "slurm-tools.def"];
    let build = apptainer(&build).limit(Duration::from_secs(400));
    expect(0, build.run()?)?;

    let names = SECRETS.map(|name| format!("-name {name}")).join(" -o ");
    let find = format!("find /etc /opt /root /usr /var \\( {names} \\) 2>/dev/null");
    let found = apptainer(&["exec", "slurm-tools.sif", "sh", "-c", &find]).run()?;
    if !found.text().is_empty() {
        return Err(format!("the image holds {}", found.text()).into());
    }

    let token = cluster.token("alice", 600)?;
    let submit = [
        "sbatch",
        "--wait",
        "--parsable",
        "--chdir=/tmp",
        "--wrap=hostname",
    ];
    let submit = ["exec", "slurm-tools.sif"].into_iter().chain(submit);
    let submit = apptainer(&submit.collect::<Vec<_>>())
        .env("SLURM_CONF_SERVER", "ctl1,ctl2")
        .env("SLURM_JWT", &token);
    let job = expect(0, submit.run()?)?.text();
    let show = ["scontrol", "show", "job", &job];
    let job = cluster.controller(0).exec(show).check()?.text();
    holds(&job, &["UserId=alice(", "JobState=COMPLETED"])
}

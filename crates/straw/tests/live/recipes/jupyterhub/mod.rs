//! `examples/jupyterhub`: a hub starts a user's server, and from a terminal in that the user submits a
//! job. For accounts of the system's it starts none.

use std::fs;
use std::path::Path;
use std::time::Duration;

use lab::{BuiltImage, ClientOptions, Cluster, Socket};
use libtest_mimic::Failed;

use super::{folder, image};
use crate::clusters::{Clusters, expect, holds, lacks, same};
use crate::watch::OF_A_TOKEN;

/// What alice types. The answer is not yet in it.
const TYPED: &str = "echo \"job $(sbatch --wait --parsable --chdir=/tmp --wrap=hostname) ended $? \
                     with ${SLURM_JWT-no} variable\"";

/// Those for whom there is no server, and what the hub says of each.
const REFUSED: [(&str, &str); 3] = [
    ("root", "root is an account of the system's"),
    ("slurm", "slurm is an account of the system's"),
    ("--help", "no account --help here"),
];

/// The recipe's image and its configuration, with a spawner that needs no Docker.
pub fn server(clusters: &Clusters) -> Result<(), Failed> {
    let recipe = folder("jupyterhub");
    let image = image("jupyterhub", clusters.release)?;
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/live/recipes/jupyterhub");
    let image = BuiltImage::on(image.name(), &tests, "")?;
    let cluster = clusters.shared()?;
    let options = ClientOptions::default()
        .image(image.name())
        .socket(Socket::Munge(0))
        // Volumes are mounted.
        .option("--cap-add=SYS_ADMIN")
        .option("--security-opt=apparmor=unconfined");
    let hub = cluster.client(&options)?;
    let dockerfile = fs::read_to_string(recipe.join("Dockerfile"))?;
    let command = dockerfile.rsplit("CMD ").next().unwrap_or_default();
    let command = command.replace("\\\n", "");
    hub.put("/srv/command.json", command, 0o644, "root")?;
    for (name, from) in [
        ("recipe.py", recipe.join("jupyterhub_config.py")),
        ("hub.py", tests.join("hub.py")),
        ("visit.py", tests.join("visit.py")),
    ] {
        hub.put(&format!("/srv/{name}"), fs::read(from)?, 0o644, "root")?;
    }
    let start = "umask 077
        head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \\n' > /srv/token
        cd /srv && jupyterhub -f hub.py > hub.log 2>&1 &";
    hub.exec(["sh", "-c", start]).check()?;
    let answer = r"job \d+ ended 0 with no variable";
    let visit = ["python3", "/srv/visit.py", TYPED, answer].into_iter();
    let refused = REFUSED.map(|(name, _)| name);
    let visit = hub
        .exec(visit.chain(refused))
        .limit(Duration::from_secs(120))
        .run();
    let log = String::from_utf8_lossy(&hub.get("/srv/hub.log")?).into_owned();
    let shown = visit
        .map_err(Failed::from)
        .and_then(|visit| expect(0, visit))
        .map_err(|error| format!("{}\n{log}", error.message().unwrap_or_default()))?
        .text();
    lacks(&format!("{shown}{log}"), &[OF_A_TOKEN])?;
    holds(&log, &REFUSED.map(|(_, why)| why))?;
    done(&cluster, &shown)?;

    // What straw keeps fresh, for as long as the server lives, is nobody else's.
    let tokens = "cd /run/slurm-notebooks; stat -c '%n %a %U' . * */token";
    let kept = hub.exec(["sh", "-c", tokens]).check()?.text();
    let kept: Vec<_> = kept.lines().collect();
    let expected = [". 700 root", "alice@ 700 alice", "alice@/token 600 alice"];
    same("the tokens", kept, expected.to_vec())
}

/// The job that a terminal tells of was alice's, and is done.
fn done(cluster: &Cluster, shown: &str) -> Result<(), Failed> {
    let words: Vec<_> = shown.split_whitespace().collect();
    let ended = words
        .windows(2)
        .find(|pair| pair[1] == "ended" && pair[0].parse::<u32>().is_ok());
    let job = ended.ok_or_else(|| format!("no job in:\n{shown}"))?[0];
    let show = ["scontrol", "show", "job", job];
    let job = cluster.controller(0).exec(show).check()?.text();
    holds(&job, &["UserId=alice(", "JobState=COMPLETED"])
}

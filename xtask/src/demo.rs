//! straw's main job, shown on a real cluster.

use std::time::Instant;

use lab::{ClientOptions, Cluster, Container, Release, image, provision};

use crate::Result;
use crate::binary;
use crate::run::say;

pub fn run(release: &str) -> Result {
    let release: Release = release.parse()?;
    let mut tell = |line: &str| say(line);
    say("building straw");
    let straw = binary::straw()?;
    provision::docker(&mut tell)?;
    let images = image::prepare(release, &mut tell)?;
    if let Some(moved) = &images.moved {
        say(&format!("note: {moved}"));
    }

    say("booting a cluster: ctl1 (slurmctld), node1 (slurmd)");
    let begin = Instant::now();
    let cluster = Cluster::builder(release).plugstack(true).start()?;
    say(&format!(
        "Slurm {} is up after {:.1} s",
        cluster.version(),
        begin.elapsed().as_secs_f64()
    ));
    let client = cluster.client(&ClientOptions::default().straw(&straw))?;
    let token = cluster.token("alice", 600)?;

    // As in most images that people build.
    client.exec(["userdel", "slurm"]).check()?;
    println!(
        "\nA container with Slurm's client commands. It has no slurm.conf, no key, and no account slurm;"
    );
    println!("SLURM_CONF_SERVER names the controller, and alice's token is in SLURM_JWT:");
    let shell = Shell {
        client: &client,
        token: &token,
    };
    shell.show("alice", "sinfo", false)?;
    println!("\nOnce, when the image is built:");
    shell.show("root", "straw shim install", true)?;
    println!("\nFrom then on Slurm's commands just work:");
    shell.show("alice", "sinfo", true)?;
    shell.show("alice", "sbatch --output=/dev/null --wrap='sleep 60'", true)?;
    shell.wait_for_job()?;
    shell.show("alice", "squeue", true)?;
    println!("\nWhat was done for that, and what the controller itself says:");
    shell.show("alice", "straw fetch --explain", true)?;
    shell.show(
        "root",
        "straw fetch -v -o /etc/slurm && ls -l /etc/slurm",
        true,
    )?;

    println!(
        "
What happened: sinfo was straw, which found a protocol version that ctl1 speaks, asked it for the
files that a client needs, left out what would break here, kept them in a store of alice's own, and
became the real sinfo. The container has no munge key, no daemon, and no configuration that somebody
copied.

The same with your own cluster, whose slurm.conf needs AuthAltTypes=auth/jwt and
SlurmctldParameters=enable_configless: copy the static binary to /usr/local/bin in an image with
Slurm's client package, and there

  straw shim install
  export SLURM_CONF_SERVER=YOUR-CONTROLLER
  export SLURM_JWT=…                   # what `scontrol token` prints on a login node
  sinfo"
    );
    println!("\nThe binary is {}", straw.display());
    Ok(())
}

/// Shows commands as a person at a terminal in the container would see them.
struct Shell<'a> {
    client: &'a Container,
    token: &'a str,
}

impl Shell<'_> {
    fn show(&self, user: &str, command: &str, must_succeed: bool) -> Result {
        let prompt = if user == "root" { '#' } else { '$' };
        println!("\n{user}@client {prompt} {command}");
        // Both streams in the order in which they are written.
        let script = format!("{{ {command}; }} 2>&1");
        let output = self
            .client
            .exec(["sh", "-c", &script])
            .user(user)
            .env("SLURM_JWT", self.token)
            .env("SLURM_CONF_SERVER", "ctl1")
            .run()?;
        print!("{}", String::from_utf8_lossy(&output.stdout));
        if must_succeed && !output.success() {
            return Err(format!("`{command}` ended with status {}", output.status).into());
        }
        Ok(())
    }

    /// Waits until the job runs, so that the queue shows it so.
    fn wait_for_job(&self) -> Result {
        let script = "until squeue -h -t running | grep -q .; do sleep 0.1; done";
        self.client
            .exec(["timeout", "30", "sh", "-c", script])
            .env("SLURM_JWT", self.token)
            .env("SLURM_CONF_SERVER", "ctl1")
            .check()?;
        Ok(())
    }
}

//! straw's main job, shown on a real cluster.

use std::fs;
use std::time::Instant;

use lab::{ClientOptions, Cluster, Container, Release, image, provision};

use crate::Result;
use crate::binary;
use crate::recording::{Recording, Scene};
use crate::run::{root, say};

/// Where the picture of a recorded demo goes; the README shows it.
const PICTURE: &str = "docs/demo.svg";

/// Boots a cluster and uses straw in it; with `record`, makes a picture of what was to be seen.
pub fn run(release: &str, record: bool) -> Result {
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
    let mut shell = Shell {
        client: &client,
        token: &token,
        recording: Recording::default(),
    };
    shell.tell(
        "A container with Slurm's client commands, and without a slurm.conf, a key or an account slurm.\n\
         SLURM_CONF_SERVER names the controller, and alice's token is in SLURM_JWT:",
    );
    shell.show("alice", "sinfo", false)?;
    shell.tell("Once, when the image is built:");
    shell.show("root", "straw shim install", true)?;
    shell.tell("From then on Slurm's commands just work:");
    shell.show("alice", "sinfo", true)?;
    shell.show("alice", "sbatch --output=/dev/null --wrap='sleep 60'", true)?;
    shell.wait_for_job()?;
    shell.show("alice", "squeue", true)?;
    shell.tell("What was done for that:");
    shell.show("alice", "straw fetch --explain", true)?;
    // The rest is for who has the time: not in the picture.
    let picture = shell.recording.to_svg(cluster.version());
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
    if record {
        let path = root().join(PICTURE);
        fs::write(&path, picture)?;
        println!("The picture is {}", path.display());
    }
    Ok(())
}

/// Shows commands as a person at a terminal in the container would see them.
struct Shell<'a> {
    client: &'a Container,
    token: &'a str,
    recording: Recording,
}

impl Shell<'_> {
    /// Says what comes next.
    fn tell(&mut self, words: &str) {
        println!("\n{words}");
        self.recording.add(Scene::Words(words.to_owned()));
    }

    fn show(&mut self, user: &str, command: &str, must_succeed: bool) -> Result {
        let prompt = if user == "root" { '#' } else { '$' };
        let prompt = format!("{user}@client {prompt}");
        println!("\n{prompt} {command}");
        // Both streams in the order in which they are written.
        let script = format!("{{ {command}; }} 2>&1");
        let output = self
            .client
            .exec(["sh", "-c", &script])
            .user(user)
            .env("SLURM_JWT", self.token)
            .env("SLURM_CONF_SERVER", "ctl1")
            .run()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if said.contains(self.token) {
            return Err(format!("`{command}` shows the token").into());
        }
        print!("{said}");
        self.recording.add(Scene::Command {
            prompt,
            command: command.to_owned(),
            output: said,
        });
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

//! Two clusters that differ in nothing but how their hosts authenticate, and containers beside them.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use lab::image::{self, Packaged};
use lab::{Auth, ClientOptions, Cluster, Container, LabError, Release, Socket};

use super::way::{WAYS, Way};
use crate::Result;

/// What a command may take at most, before it counts as one that does not answer.
const LIMIT: Duration = Duration::from_secs(60);

/// What the lab could or could not do.
pub type Lab<T> = std::result::Result<T, LabError>;

/// Where slurmrestd listens.
const REST_PORT: u16 = 6820;

pub struct World {
    straw: PathBuf,
    pub straw_bytes: u64,
    pub munge: Cluster,
    pub slurm: Cluster,
    /// The images of the ways, in their order.
    pub images: Vec<Packaged>,
    /// Where slurmrestd is, and the container in which it runs.
    pub rest: String,
    rest_host: Container,
    /// Alice's.
    pub token: String,
}

/// What became of a command.
#[derive(Clone, Debug)]
pub struct Seen {
    pub status: i32,
    pub seconds: f64,
    /// What it wrote to stderr.
    pub said: String,
}

/// What is special about a container, beside its way.
#[derive(Default)]
pub struct Special<'a> {
    /// Another token.
    pub token: Option<&'a str>,
    /// How often `straw exec` refreshes, and how old a shim's set may be.
    pub refresh: Option<&'a str>,
    /// The image of another release.
    pub image: Option<&'a str>,
    /// What is done in it first.
    pub before: &'a str,
    /// Whether it is anywhere else than on its host.
    pub elsewhere: bool,
}

impl World {
    pub fn new(release: Release, straw: PathBuf, tell: &mut dyn FnMut(&str)) -> Result<Self> {
        let images = images(release, tell)?;
        let rest_image =
            image::with_packages(release, &["slurmrestd", "slurm-wlm-jwt-plugin"], tell)?;
        tell("starting a cluster of auth/munge, one of auth/slurm, and slurmrestd");
        let start = |auth| {
            Cluster::builder(release)
                .auth(auth)
                .backup(true)
                .line("CliFilterPlugins=cli_filter/lua")
                .line("MaxNodeCount=64")
                .start()
        };
        let (munge, slurm) = thread::scope(|scope| {
            let munge = scope.spawn(|| start(Auth::Munge));
            let slurm = start(Auth::Slurm);
            (join(munge), slurm)
        });
        let (munge, slurm) = (munge?, slurm?);
        let token = munge.token("alice", 7200)?;
        let rest_host = munge.client(&ClientOptions::default().image(&rest_image.name))?;
        let rest = format!("http://{}:{REST_PORT}/slurm/v0.0.42", rest_host.ip()?);
        let world = Self {
            straw_bytes: std::fs::metadata(&straw)?.len(),
            straw,
            munge,
            slurm,
            images,
            rest,
            rest_host,
            token,
        };
        world.filter("1")?;
        world.start_rest()?;
        Ok(world)
    }

    /// slurmrestd on a host of its own, as a user who is nobody special. Docker does not let it have
    /// namespaces of its own.
    fn start_rest(&self) -> Result {
        let conf = self.munge.controller_file("slurm.conf")?;
        self.rest_host
            .put("/etc/slurm/slurm.conf", conf, 0o644, "root")?;
        let names = names(&self.munge);
        let script = format!(
            "{names}setpriv --reuid=alice --regid=alice --clear-groups \
             slurmrestd -a rest_auth/jwt 0.0.0.0:{REST_PORT} </dev/null >/tmp/up.log 2>&1 & \
             until grep -q ':{REST_PORT:04X} 0*:0000 0A' /proc/net/tcp; do \
             kill -0 $! || {{ cat /tmp/up.log >&2; exit 1; }}; sleep 0.05; done"
        );
        self.rest_host
            .exec(["sh", "-c", &script])
            .env("SLURM_JWT", "daemon")
            .env(
                "SLURMRESTD_SECURITY",
                "disable_unshare_sysv,disable_unshare_files",
            )
            .check()?;
        Ok(())
    }

    pub fn clusters(&self) -> [&Cluster; 2] {
        [&self.munge, &self.slurm]
    }

    pub fn cluster(&self, way: &Way) -> &Cluster {
        match way.auth {
            Auth::Munge => &self.munge,
            Auth::Slurm => &self.slurm,
        }
    }

    /// Does something on both clusters at once.
    pub fn on_both(&self, act: impl Fn(&Cluster) -> Lab<()> + Sync) -> Result {
        thread::scope(|scope| {
            let munge = scope.spawn(|| act(&self.munge));
            let slurm = act(&self.slurm);
            join(munge).and(slurm)
        })?;
        Ok(())
    }

    /// Has the filter of the clients, which the controllers serve, say this number.
    pub fn filter(&self, number: &str) -> Result {
        let lua = format!(
            "function slurm_cli_setup_defaults(options, early) return slurm.SUCCESS end\n\
             function slurm_cli_pre_submit(options, offset)\n\
             slurm.log_info(\"filter {number}\")\nreturn slurm.SUCCESS end\n\
             function slurm_cli_post_submit(offset, job, step) return slurm.SUCCESS end\n"
        );
        self.on_both(|cluster| {
            cluster.write_controller_file("cli_filter.lua", lua.as_bytes())?;
            cluster.reconfigure()
        })
    }

    /// The way's image, by its index.
    fn image<'a>(&'a self, way: &Way, special: &'a Special<'_>) -> &'a str {
        let index = WAYS.iter().position(|other| other.title == way.title);
        special
            .image
            .unwrap_or_else(|| &self.images[index.unwrap_or_default()].name)
    }

    pub fn options(&self, way: &Way, special: &Special<'_>) -> ClientOptions {
        let refresh = special.refresh.unwrap_or("5m");
        let mut options = ClientOptions::default()
            .image(self.image(way, special))
            .env("CONTROLLERS", "ctl1,ctl2");
        if way.token {
            options = options.env("SLURM_JWT", special.token.unwrap_or(&self.token));
        }
        if !way.host.is_empty() && !special.elsewhere {
            // A host stays when the primary's does not.
            options = options.socket(Socket::Munge(1));
        }
        if way.straw {
            options = options
                .straw(&self.straw)
                .env("SLURM_CONF_SERVER", "ctl1,ctl2")
                .env("STRAW_MAX_AGE", refresh)
                .env("REFRESH", refresh);
        }
        options
    }

    /// The files that the way needs of a controller, as an archive.
    pub fn copies(&self, way: &Way) -> Lab<Vec<u8>> {
        if way.copies.is_empty() {
            return Ok(Vec::new());
        }
        let tar = ["tar", "-C", "/", "-c"].iter().chain(way.copies).copied();
        // Any controller has them, also one whose slurmctld is down.
        let out = self.cluster(way).controller(1).exec(tar).check()?;
        Ok(out.stdout)
    }

    /// A container that runs and is not ready yet.
    pub fn container(&self, way: &Way, special: &Special<'_>) -> Lab<Container> {
        let cluster = self.cluster(way);
        let container = cluster.client(&self.options(way, special))?;
        let script = format!("{}{}{}", names(cluster), way.image(), special.before);
        container.exec(["sh", "-c", &script]).check()?;
        Ok(container)
    }

    /// Makes it ready.
    pub fn up(&self, way: &Way, container: &Container) -> Lab<Seen> {
        let argv = ["sh", "-c", way.up()].map(str::to_owned);
        seen(container, &argv, "root", self.copies(way)?)
    }

    /// Runs a command as alice.
    pub fn run(&self, container: &Container, argv: &[String]) -> Lab<Seen> {
        seen(container, argv, "alice", Vec::new())
    }

    /// Makes a new container ready and runs a command there. What it took is that of both.
    pub fn fresh(&self, way: &Way, special: &Special<'_>, argv: &[String]) -> Lab<Seen> {
        let container = self.container(way, special)?;
        let up = self.up(way, &container)?;
        let seen = match up.status {
            0 => {
                let seen = self.run(&container, argv)?;
                let seconds = up.seconds + seen.seconds;
                Seen { seconds, ..seen }
            }
            _ => up,
        };
        self.forget(way, &container)?;
        Ok(seen)
    }

    /// Takes from the clusters the nodes of containers that are no more.
    pub fn tidy(&self) -> Result {
        let script = include_str!("scripts/tidy.sh");
        self.on_both(|cluster| {
            let tidy = cluster.controller(0).exec(["sh", "-c", script]);
            tidy.check().map(drop)
        })
    }

    /// Takes from the cluster what a container leaves there: its node, for one that is a node. Where
    /// no controller is in charge it stays.
    pub fn forget(&self, way: &Way, container: &Container) -> Lab<()> {
        if way.packages.contains(&"slurmd") {
            let name = container.exec(["hostname"]).check()?.text();
            let script = include_str!("scripts/down.sh");
            container.exec(["sh", "-c", script]).check()?;
            let delete = format!("nodename={name}");
            self.cluster(way)
                .controller(1)
                .exec(["timeout", "5", "scontrol", "delete", &delete])
                .run()?;
        }
        Ok(())
    }
}

/// The images of the ways.
pub fn images(release: Release, tell: &mut dyn FnMut(&str)) -> Result<Vec<Packaged>> {
    let mut images = Vec::new();
    for way in &WAYS {
        images.push(image::with_packages(release, way.packages, tell)?);
    }
    Ok(images)
}

/// Tells a container the controllers' names, which a site's name server knows also while they are
/// off; Docker's forgets them.
fn names(cluster: &Cluster) -> String {
    (0..cluster.controllers())
        .map(|index| {
            let address = cluster.controller_ip(index);
            format!("echo '{address} ctl{}' >>/etc/hosts\n", index + 1)
        })
        .collect()
}

/// What a command did, as the container's own clock has it.
fn seen(container: &Container, argv: &[String], user: &str, stdin: Vec<u8>) -> Lab<Seen> {
    let limit = LIMIT.as_secs().to_string();
    let script = include_str!("scripts/timed.sh");
    let timed = ["sh", "-c", script, "timed", &limit].map(str::to_owned);
    let out = container
        .exec(timed.iter().chain(argv).cloned())
        .user(user)
        .workdir("/tmp")
        .stdin(stdin)
        .limit(LIMIT + Duration::from_secs(30))
        .check()?;
    let text = out.text();
    let mut numbers = text.split_whitespace().map(str::parse::<i32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(status)), Some(Ok(milliseconds))) => Ok(Seen {
            status,
            seconds: f64::from(milliseconds) / 1000.0,
            said: out.error_text(),
        }),
        _ => Err(LabError::Command {
            command: argv.join(" "),
            status: out.status,
            stderr: out.to_string(),
        }),
    }
}

/// What a thread found; where it panicked, so do we.
pub fn join<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

//! A Slurm cluster: `ctl1`, perhaps `ctl2`, and `node1`.
//!
//! On the hosts there are root and `slurm` (or root alone), who are privileged, and `alice` (uid
//! 2001), who is not. No host knows `mallory`: a token for her is a valid token of an unknown user.

mod boot;
mod builder;
mod config;

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

pub use builder::Builder;

use crate::client::{self, ClientOptions, FirstProcess, Owner, Surroundings};
use crate::container::Container;
use crate::error::LabError;
use crate::image::Images;
use crate::jwt;
use crate::keeper::Keeper;
use crate::process::docker;
use crate::random;
use crate::release::Release;
use crate::socket::Auth;
use crate::tls::{TlsOptions, TlsProxy};

/// The key that signs tokens, on the controllers.
const JWT_KEY: &str = "/etc/slurm/jwt_hs256.key";

/// The public keys of an identity provider, on the controllers.
const JWKS: &str = "/etc/slurm/jwks.json";

/// The key of `auth/slurm`, on every host.
const SLURM_KEY: &str = "/etc/slurm/slurm.key";

/// Where slurmctld keeps its state.
const STATE: &str = "/var/spool/slurmctld";

/// The file in it that the controller in charge writes again and again, where there is a backup.
const HEARTBEAT: &str = "/var/spool/slurmctld/heartbeat";

/// Not below `/run/slurm`, which Slurm's commands search for a configuration.
const PID_FILE: &str = "/run/slurmctld/slurmctld.pid";

const LOG_FILE: &str = "/var/log/slurm/slurmctld.log";

/// A running cluster. Dropping it removes everything that it is made of.
pub struct Cluster {
    /// First, so that it is dropped first: it removes what the others stand for.
    #[expect(dead_code, reason = "it is there to be dropped")]
    keeper: Keeper,
    id: String,
    labels: Vec<String>,
    images: Images,
    network: String,
    controllers: Vec<Container>,
    /// The addresses of the controllers, and then of the node.
    addresses: Vec<String>,
    node: Container,
    jwt_key: Vec<u8>,
    clients: AtomicU32,
    configless: bool,
    auth: Auth,
}

impl fmt::Debug for Cluster {
    /// Without the key, which has no business in the message of a failed test.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("id", &self.id)
            .field("version", &self.version())
            .finish_non_exhaustive()
    }
}

impl Cluster {
    /// A cluster of a release: configless, with tokens, one controller and one node, unless the
    /// builder is told otherwise.
    pub fn builder(release: Release) -> Builder {
        Builder::new(release)
    }

    /// Its name: the value of the label [`LABEL`](crate::LABEL) on everything it is made of.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The series it is of: `24.11`.
    pub fn series(&self) -> &str {
        &self.images.series
    }

    /// The release it is of: `24.11.5`.
    pub fn version(&self) -> &str {
        &self.images.version
    }

    /// The images that its hosts and clients run.
    pub fn images(&self) -> &Images {
        &self.images
    }

    /// The name of its Docker network.
    pub fn network(&self) -> &str {
        &self.network
    }

    /// What its sockets are known by.
    pub(crate) fn owner(&self) -> Owner {
        Owner {
            id: self.id.clone(),
            auth: self.auth,
            controllers: self.controllers.len(),
        }
    }

    pub(crate) fn labels(&self) -> &[String] {
        &self.labels
    }

    /// A controller: 0 is `ctl1`, 1 its backup `ctl2`.
    ///
    /// # Panics
    ///
    /// If there is none with this index, here and wherever a controller is named so.
    pub fn controller(&self, index: usize) -> &Container {
        &self.controllers[index]
    }

    /// How many controllers there are.
    pub fn controllers(&self) -> usize {
        self.controllers.len()
    }

    /// The node, `node1`.
    pub fn node(&self) -> &Container {
        &self.node
    }

    /// The IPv4 address of a controller. It keeps it when it is cut off and reconnected.
    pub fn controller_ip(&self, index: usize) -> &str {
        &self.addresses[index]
    }

    /// A token from the controller for a user, whether anyone knows the user or not, valid for so
    /// many seconds (0 for what the controller chooses).
    ///
    /// # Errors
    ///
    /// When no controller answers, or `ctl1` is paused or cut off.
    pub fn token(&self, user: &str, lifespan: u64) -> Result<String, LabError> {
        let mut argv = vec![
            "scontrol".to_owned(),
            "token".to_owned(),
            format!("username={user}"),
        ];
        if lifespan > 0 {
            argv.push(format!("lifespan={lifespan}"));
        }
        let text = self.controllers[0].exec(argv).check()?.text();
        Ok(text.trim_start_matches("SLURM_JWT=").to_owned())
    }

    /// The key that the controllers verify tokens with. Where they trust an
    /// [identity provider](Builder::identity_provider), they do not have it.
    pub fn jwt_key(&self) -> &[u8] {
        &self.jwt_key
    }

    /// A token with these claims, signed with the controllers' key but not by them. See [`jwt::sign`].
    pub fn sign(&self, claims: &Value) -> String {
        jwt::sign(&self.jwt_key, claims)
    }

    /// The bytes of `/etc/slurm/NAME` on `ctl1`.
    ///
    /// # Errors
    ///
    /// When there is no such file, or `ctl1` is paused.
    pub fn controller_file(&self, name: &str) -> Result<Vec<u8>, LabError> {
        self.controllers[0].get(&format!("/etc/slurm/{name}"))
    }

    /// Writes `/etc/slurm/NAME` on every controller; executable, if it starts like a script. What the
    /// controllers serve changes with the next [`reconfigure`](Self::reconfigure).
    ///
    /// # Errors
    ///
    /// When a controller is paused.
    pub fn write_controller_file(&self, name: &str, bytes: &[u8]) -> Result<(), LabError> {
        let mode = if bytes.starts_with(b"#!") {
            0o755
        } else {
            0o644
        };
        self.controllers.iter().try_for_each(|controller| {
            controller.put(&format!("/etc/slurm/{name}"), bytes, mode, "root")
        })
    }

    /// Makes the daemons read their configuration anew (`scontrol reconfigure`).
    ///
    /// # Errors
    ///
    /// When no controller answers, or the configuration is refused.
    pub fn reconfigure(&self) -> Result<(), LabError> {
        self.controllers[0]
            .exec(["scontrol", "reconfigure"])
            .check()
            .map(drop)
    }

    /// Ends slurmctld on a controller; its host stays, so connections are refused.
    ///
    /// # Errors
    ///
    /// When it does not end.
    pub fn stop(&self, index: usize) -> Result<(), LabError> {
        self.controllers[index]
            .exec([
                "sh",
                "-c",
                include_str!("../scripts/stop.sh"),
                "stop",
                PID_FILE,
            ])
            .check()
            .map(drop)
    }

    /// Starts slurmctld on a controller where it was stopped, and returns once it listens.
    ///
    /// Where a backup has taken over, the primary asks for control back, and until it has it, nobody
    /// answers: a moment in 22.05, up to 30 s in 24.11 and 26.05, whose backup takes that long to
    /// let go. [`wait_for_answer`](Self::wait_for_answer) waits for it.
    ///
    /// # Errors
    ///
    /// [`LabError::NotUp`] when it does not start.
    pub fn start(&self, index: usize) -> Result<(), LabError> {
        self.launch(index)
    }

    /// Freezes a controller's host: connections are made, since the kernel makes them, and nothing
    /// ever comes back.
    ///
    /// Where there is a backup, that is at a moment when the heartbeat is in the state that both
    /// share. Up to 25.05 a controller removes the file before it puts the next in its place, and
    /// since 23.11 a backup that finds none stands by for as long as that lasts ("Something is wrong
    /// with your StateSaveLocation"). Frozen in between, a primary of 24.11 would never be replaced.
    ///
    /// # Errors
    ///
    /// When Docker cannot do it, the other controller is paused, or [`LabError::NotUp`] when there is
    /// no heartbeat: no controller has ever been in charge.
    pub fn pause(&self, index: usize) -> Result<(), LabError> {
        const TRIES: u32 = 50;
        for _ in 0..TRIES {
            docker(["pause", self.controllers[index].name()]).check()?;
            if self.leaves_heartbeat(index)? {
                return Ok(());
            }
            self.unpause(index)?;
        }
        Err(self.not_up(index, "it leaves no heartbeat, however often it is paused"))
    }

    /// Whether another controller than this one sees a heartbeat. Where there is no other, nobody
    /// writes one or looks for it.
    fn leaves_heartbeat(&self, index: usize) -> Result<bool, LabError> {
        let mut all = self.controllers.iter().enumerate();
        let Some((_, other)) = all.find(|&(other, _)| other != index) else {
            return Ok(true);
        };
        Ok(other.exec(["test", "-e", HEARTBEAT]).run()?.success())
    }

    /// Ends [`pause`](Self::pause).
    ///
    /// # Errors
    ///
    /// When Docker cannot do it.
    pub fn unpause(&self, index: usize) -> Result<(), LabError> {
        docker(["unpause", self.controllers[index].name()])
            .check()
            .map(drop)
    }

    /// Takes a controller's host off the network. Its address does not answer any more, and its name
    /// is not known any more.
    ///
    /// # Errors
    ///
    /// When Docker cannot do it.
    pub fn cut_off(&self, index: usize) -> Result<(), LabError> {
        self.disconnect(&self.controllers[index])
    }

    /// Ends [`cut_off`](Self::cut_off), with the same name and address.
    ///
    /// # Errors
    ///
    /// When Docker cannot do it.
    pub fn reconnect(&self, index: usize) -> Result<(), LabError> {
        self.connect(index, &self.controllers[index])
    }

    /// Has the clients meet another cluster's controller where this one's was, by the same name and at
    /// the same address, as after an upgrade. The other cluster has to end first.
    ///
    /// # Errors
    ///
    /// When Docker cannot do it.
    pub fn replace_by(&self, index: usize, other: &Self) -> Result<(), LabError> {
        self.cut_off(index)?;
        self.connect(index, &other.controllers[index])
    }

    /// Ends [`replace_by`](Self::replace_by).
    ///
    /// # Errors
    ///
    /// When Docker cannot do it.
    pub fn take_back(&self, index: usize, other: &Self) -> Result<(), LabError> {
        self.disconnect(&other.controllers[index])?;
        self.reconnect(index)
    }

    fn connect(&self, index: usize, host: &Container) -> Result<(), LabError> {
        let alias = format!("ctl{}", index + 1);
        docker([
            "network",
            "connect",
            "--alias",
            &alias,
            "--ip",
            &self.addresses[index],
        ])
        .args([self.network.as_str(), host.name()])
        .check()
        .map(drop)
    }

    fn disconnect(&self, host: &Container) -> Result<(), LabError> {
        docker(["network", "disconnect", &self.network, host.name()])
            .check()
            .map(drop)
    }

    /// Gives `ctl1` another key for tokens, and starts its slurmctld anew. Tokens of before are good
    /// no more; [`sign`](Self::sign) goes on with the old key.
    ///
    /// # Errors
    ///
    /// When slurmctld does not end, or does not start.
    pub fn rotate_jwt_key(&self) -> Result<(), LabError> {
        let owner = self.controllers[0].exec(["stat", "-c", "%U", JWT_KEY]);
        let owner = owner.check()?.text();
        let key = random::bytes::<32>()?;
        self.stop(0)?;
        self.controllers[0].put(JWT_KEY, key, 0o400, &owner)?;
        self.start(0)
    }

    /// Waits until some controller is in charge, asking from the host of the controller `from`, and
    /// returns how long that took. After [`stop`](Self::stop) of the primary it is the time until the
    /// backup has taken over.
    ///
    /// # Errors
    ///
    /// [`LabError::NotUp`], with the log of `from`, when `limit` passes without an answer.
    pub fn wait_for_answer(&self, from: usize, limit: Duration) -> Result<Duration, LabError> {
        let began = Instant::now();
        loop {
            // A question to a controller that is not in charge is repeated by sinfo for 10 s and more.
            let asked = self.controllers[from]
                .exec(["timeout", "2", "sinfo", "--noheader"])
                .limit(Duration::from_secs(20))
                .run()?;
            if asked.success() {
                return Ok(began.elapsed());
            }
            if began.elapsed() > limit {
                let what = format!(
                    "no controller answers within {} s: {asked}",
                    limit.as_secs()
                );
                return Err(self.not_up(from, &what));
            }
        }
    }

    /// The whole log of slurmctld on a controller, for diagnosis.
    ///
    /// # Errors
    ///
    /// When the controller is paused.
    pub fn controller_log(&self, index: usize) -> Result<String, LabError> {
        let bytes = self.controllers[index].get(LOG_FILE)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Starts a proxy on a controller that takes TLS and hands it to slurmctld.
    ///
    /// # Errors
    ///
    /// When the controller is paused, the certificates cannot be made, or the port is taken.
    pub fn tls_proxy(&self, options: &TlsOptions) -> Result<TlsProxy<'_>, LabError> {
        TlsProxy::start(&self.controllers, options)
    }

    /// Starts a client: a container with Slurm's commands, without slurm.conf, key or daemon.
    ///
    /// # Errors
    ///
    /// When Docker cannot start it, the straw binary cannot be read, or the cluster has no such socket
    /// as the client is to have.
    pub fn client(&self, options: &ClientOptions) -> Result<Container, LabError> {
        client::start(options, &self.surroundings())
    }

    /// Makes a client whose first process is this command, rather than an init that does nothing.
    /// It runs when it is told to.
    ///
    /// # Errors
    ///
    /// As [`client`](Self::client).
    pub fn first_process<I, S>(
        &self,
        options: &ClientOptions,
        argv: I,
    ) -> Result<FirstProcess, LabError>
    where
        I: IntoIterator<Item = S>,
        S: Into<String>,
    {
        let argv = argv.into_iter().map(Into::into).collect();
        client::create(options, &self.surroundings(), argv)
    }

    /// Builds an image from this Dockerfile alone, and returns its name. It goes with the cluster.
    ///
    /// # Errors
    ///
    /// When Docker cannot build it.
    pub fn build(&self, dockerfile: &str) -> Result<String, LabError> {
        let name = format!("straw-lab/{}:{}", self.id, random::name()?);
        docker(["build", "--quiet", "--tag", &name])
            .args(self.labels.clone())
            .args(["-"])
            .stdin(dockerfile.as_bytes().to_vec())
            .check()?;
        Ok(name)
    }

    /// What the next client needs to know.
    fn surroundings(&self) -> Surroundings<'_> {
        let number = 1 + self.clients.fetch_add(1, Ordering::Relaxed);
        Surroundings {
            name: format!("straw-lab-{}-client{number}", self.id),
            labels: &self.labels,
            network: &self.network,
            controllers: &self.controllers,
            image: &self.images.client,
            owner: self.owner(),
        }
    }
}

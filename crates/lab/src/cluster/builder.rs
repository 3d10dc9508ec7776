//! What a cluster is to be.

use crate::cluster::Cluster;
use crate::error::LabError;
use crate::identity::IdentityProvider;
use crate::image::{self, Images};
use crate::release::Release;
use crate::socket::Auth;

/// The choices for a cluster; made by [`Cluster::builder`].
#[derive(Clone, Debug)]
#[must_use = "no cluster is started before `start`"]
pub struct Builder {
    pub(super) release: Release,
    pub(super) backup: bool,
    pub(super) configless: bool,
    pub(super) include: bool,
    pub(super) prolog: bool,
    pub(super) plugstack: bool,
    pub(super) slurm_user: SlurmUser,
    pub(super) lines: Vec<String>,
    pub(super) auth: Auth,
    pub(super) jwks: Option<String>,
    pub(super) alt_parameters: Vec<String>,
    pub(super) jwt_key: Option<Vec<u8>>,
    pub(super) home: bool,
}

/// The account that slurmctld runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SlurmUser {
    Slurm,
    Root,
}

impl SlurmUser {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Slurm => "slurm",
            Self::Root => "root",
        }
    }
}

impl Builder {
    pub(super) fn new(release: Release) -> Self {
        Self {
            release,
            backup: false,
            configless: true,
            include: false,
            prolog: false,
            plugstack: false,
            slurm_user: SlurmUser::Slurm,
            lines: Vec::new(),
            auth: Auth::default(),
            jwks: None,
            alt_parameters: Vec::new(),
            jwt_key: None,
            home: false,
        }
    }

    /// Adds `ctl2`, a backup controller that takes over within a few seconds.
    pub fn backup(mut self, yes: bool) -> Self {
        self.backup = yes;
        self
    }

    /// Whether the controllers serve their configuration, as they do by default. Where they do not,
    /// the node has a copy of the files.
    pub fn configless(mut self, yes: bool) -> Self {
        self.configless = yes;
        self
    }

    /// Moves the partitions to `partitions.conf`, which `slurm.conf` then includes.
    pub fn include(mut self, yes: bool) -> Self {
        self.include = yes;
        self
    }

    /// Adds a `Prolog` with a relative path, `prolog.sh`, which the controllers send to nodes as an
    /// executable file. Slurm has this since 23.11.
    pub fn prolog(mut self, yes: bool) -> Self {
        self.prolog = yes;
        self
    }

    /// Adds `plugstack.conf`, with an optional plugin that does no harm. Debian's own file of that
    /// name is not on the hosts otherwise, so that the set that the controllers send is known.
    pub fn plugstack(mut self, yes: bool) -> Self {
        self.plugstack = yes;
        self
    }

    /// Runs slurmctld as root. By default it runs as `slurm`: Debian makes that account (uid 64030)
    /// with slurm-client in every release, so a client container has it as well.
    pub fn slurm_user_root(mut self) -> Self {
        self.slurm_user = SlurmUser::Root;
        self
    }

    /// Chooses how hosts and users show who they are; by default with munge. Tokens are good in
    /// either case.
    pub fn auth(mut self, auth: Auth) -> Self {
        self.auth = auth;
        self
    }

    /// Adds a parameter to `AuthAltParameters`, which also names the key for tokens:
    /// `disable_token_creation`, `max_token_lifespan=60`, `userclaimfield=preferred_username`.
    pub fn alt_parameter(mut self, parameter: &str) -> Self {
        self.alt_parameters.push(parameter.to_owned());
        self
    }

    /// Makes the controllers accept the tokens of an identity provider, and no others: they have no
    /// key of their own, so [`Cluster::token`] makes none. The claim `sun` names the user, or else
    /// `username`, or else that of `userclaimfield=` (see [`alt_parameter`](Self::alt_parameter)),
    /// which Slurm has since 23.02.
    pub fn identity_provider(mut self, provider: &IdentityProvider) -> Self {
        self.jwks = Some(provider.jwks().to_string());
        self
    }

    /// Gives the controllers the same key for tokens as another cluster's, so that its tokens are good
    /// here.
    pub fn jwt_key_of(mut self, other: &Cluster) -> Self {
        self.jwt_key = Some(other.jwt_key().to_vec());
        self
    }

    /// Lets the hosts share `/home`, as those of most sites do. A client that is to share it too has
    /// the [volume](crate::ClientOptions::volume) `home`.
    pub fn home(mut self, yes: bool) -> Self {
        self.home = yes;
        self
    }

    /// Adds a line to `slurm.conf`, ahead of those for the node and its partition.
    pub fn line(mut self, line: &str) -> Self {
        self.lines.push(line.to_owned());
        self
    }

    /// Starts the cluster, and returns once slurmctld answers and the node is idle. Before that, what
    /// dead processes have left in Docker is removed. Missing images are built without a word, which
    /// takes a minute: [`image::prepare`] does the same and tells.
    ///
    /// # Errors
    ///
    /// [`LabError::Unavailable`] when there is no Docker or no way to the images;
    /// [`LabError::NotInRelease`] for an option that the release does not have; and
    /// [`LabError::NotUp`], with the end of slurmctld's log, when the cluster does not come up.
    pub fn start(self) -> Result<Cluster, LabError> {
        crate::provision::available()?;
        crate::owner::sweep()?;
        let images = image::prepare(self.release, &mut |_| {})?;
        self.check(&images)?;
        super::boot::boot(self, images)
    }

    fn check(&self, images: &Images) -> Result<(), LabError> {
        let claim = |parameter: &String| parameter.starts_with("userclaimfield=");
        [
            (self.prolog, "Prolog with a relative path", "23.11"),
            (self.auth == Auth::Slurm, "auth/slurm", "23.11"),
            (
                self.alt_parameters.iter().any(claim),
                "userclaimfield",
                "23.02",
            ),
        ]
        .into_iter()
        .find(|&(wanted, _, since)| wanted && older(&images.series, since))
        .map_or(Ok(()), |(_, option, since)| {
            Err(LabError::NotInRelease {
                option,
                series: images.series.clone(),
                since,
            })
        })
    }
}

/// Whether a series came before another: both are a year and a month, so their texts compare.
pub(super) fn older(series: &str, than: &str) -> bool {
    series < than
}

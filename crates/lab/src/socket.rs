//! The sockets of the daemons that vouch for a user, and their way into a client.
//!
//! A daemon puts its socket into a named volume, which a client mounts as it would mount the host's
//! directory. It is a volume and not a directory of this machine, since Docker may run on another.

/// How the hosts of a cluster, and the users on them, show who they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Auth {
    /// `auth/munge`: a munged on every host.
    #[default]
    Munge,
    /// `auth/slurm`: Slurm's own daemons vouch for users (SACK), and no munged runs. Slurm has this
    /// since 23.11.
    Slurm,
}

impl Auth {
    /// What stands after `auth/` and `cred/` in slurm.conf.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Munge => "munge",
            Self::Slurm => "slurm",
        }
    }

    /// Where a host has its socket.
    pub(crate) fn directory(self, host: &str) -> &'static str {
        match (self, host) {
            (Self::Munge, _) => "/run/munge",
            (Self::Slurm, "node1") => "/run/slurm",
            (Self::Slurm, _) => "/run/slurmctld",
        }
    }
}

/// A directory with the socket of a daemon, which
/// [`ClientOptions::socket`](crate::ClientOptions::socket) mounts in a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Socket {
    /// `/run/munge` of the controller with this index: `munge.socket.2`, on a cluster of
    /// [`Auth::Munge`].
    Munge(usize),
    /// `/run/slurmctld` of the controller with this index: `sack.socket`, on a cluster of
    /// [`Auth::Slurm`].
    Slurmctld(usize),
    /// `/run/slurm` of the node: slurmd's `sack.socket`, on a cluster of [`Auth::Slurm`]. The link
    /// `conf` beside it, to what slurmd was sent, leads nowhere in a client.
    Slurmd,
}

impl Socket {
    /// The authentication that it belongs to.
    pub(crate) fn auth(self) -> Auth {
        match self {
            Self::Munge(_) => Auth::Munge,
            Self::Slurmctld(_) | Self::Slurmd => Auth::Slurm,
        }
    }

    /// The host whose it is.
    pub(crate) fn host(self) -> String {
        match self {
            Self::Munge(index) | Self::Slurmctld(index) => format!("ctl{}", index + 1),
            Self::Slurmd => "node1".to_owned(),
        }
    }

    /// The controller whose it is, or without which there is no cluster.
    pub(crate) fn controller(self) -> usize {
        match self {
            Self::Munge(index) | Self::Slurmctld(index) => index,
            Self::Slurmd => 0,
        }
    }

    /// Where its host has it, and a client usually as well.
    pub(crate) fn directory(self) -> &'static str {
        self.auth().directory(&self.host())
    }
}

/// The volume with the socket of a host of the cluster `id`.
pub(crate) fn volume(id: &str, host: &str) -> String {
    format!("straw-lab-{id}-{host}")
}

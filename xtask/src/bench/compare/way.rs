//! The ways to make a container a client: what each needs, and how a command is called in it.

use lab::Auth;

/// A way. What it needs is what a site would put into its image, and nothing else.
pub struct Way {
    pub title: &'static str,
    pub packages: &'static [&'static str],
    /// Whether straw is in the image.
    pub straw: bool,
    /// How the hosts of its cluster authenticate.
    pub auth: Auth,
    /// Whether its credential is a user's token.
    pub token: bool,
    /// What it needs of a controller's files.
    pub copies: &'static [&'static str],
    /// What it has mounted of its host, which is a member of the cluster. The lab mounts the socket, and
    /// copies the files.
    pub host: &'static [&'static str],
    /// What is run once, when the image is made.
    image: &'static str,
    /// What makes a container ready, before its first command.
    up: &'static str,
    /// What stands in front of each command.
    prefix: &'static [&'static str],
    /// Whether it has Slurm's commands.
    pub commands: bool,
}

const MUNGE_KEY: &str = "etc/munge/munge.key";

pub const WAYS: [Way; 8] = [
    Way {
        title: "straw shims",
        packages: &["slurm-client", "slurm-wlm-jwt-plugin"],
        straw: true,
        auth: Auth::Munge,
        token: true,
        copies: &[],
        host: &[],
        image: "straw shim install >/dev/null\n",
        up: "",
        prefix: &[],
        commands: true,
    },
    Way {
        title: "straw exec",
        packages: &["slurm-client", "slurm-wlm-jwt-plugin"],
        straw: true,
        auth: Auth::Munge,
        token: true,
        copies: &[],
        host: &[],
        image: "",
        up: concat!(
            include_str!("scripts/await.sh"),
            include_str!("scripts/exec.sh")
        ),
        prefix: &["env", "SLURM_CONF=/tmp/cluster/slurm.conf"],
        commands: true,
    },
    Way {
        title: "SLURM_CONF_SERVER",
        packages: &["slurm-client", "slurm-wlm-jwt-plugin"],
        straw: false,
        auth: Auth::Munge,
        token: true,
        copies: &[],
        host: &[],
        image: "",
        up: "",
        prefix: &["env", "SLURM_CONF_SERVER=ctl1,ctl2"],
        commands: true,
    },
    Way {
        title: "sackd",
        packages: &["slurm-client", "sackd"],
        straw: false,
        auth: Auth::Slurm,
        token: false,
        copies: &["etc/slurm/slurm.key"],
        host: &[],
        image: "",
        up: concat!(
            include_str!("scripts/await.sh"),
            include_str!("scripts/sackd.sh")
        ),
        prefix: &[],
        commands: true,
    },
    Way {
        title: "slurmd",
        packages: &["slurm-client", "slurmd", "munge"],
        straw: false,
        auth: Auth::Munge,
        token: false,
        copies: &[MUNGE_KEY],
        host: &[],
        image: "",
        up: concat!(
            include_str!("scripts/await.sh"),
            include_str!("scripts/munge.sh"),
            include_str!("scripts/slurmd.sh")
        ),
        prefix: &[],
        commands: true,
    },
    Way {
        title: "munge, copied files",
        packages: &["slurm-client", "munge"],
        straw: false,
        auth: Auth::Munge,
        token: false,
        copies: &[
            MUNGE_KEY,
            "etc/slurm/slurm.conf",
            "etc/slurm/cli_filter.lua",
        ],
        host: &[],
        image: "",
        up: include_str!("scripts/munge.sh"),
        prefix: &[],
        commands: true,
    },
    Way {
        title: "host's socket and files",
        packages: &["slurm-client"],
        straw: false,
        auth: Auth::Munge,
        token: false,
        copies: &["etc/slurm/slurm.conf", "etc/slurm/cli_filter.lua"],
        host: &["/run/munge", "/etc/slurm"],
        image: "",
        up: "tar -x -C /\n",
        prefix: &[],
        commands: true,
    },
    Way {
        title: "slurmrestd outside",
        packages: &["curl"],
        straw: false,
        auth: Auth::Munge,
        token: true,
        copies: &[],
        host: &[],
        image: "",
        up: "",
        prefix: &[],
        commands: false,
    },
];

/// What `sinfo` asks for, from slurmrestd; the token is on no command line.
const GET: &str = r#"printf 'X-SLURM-USER-TOKEN: %s\n' "$SLURM_JWT" |
    curl -sS --fail-with-body -H @- "$@""#;

impl Way {
    /// The shell's lines before a container of its image is started.
    pub fn image(&self) -> &'static str {
        self.image
    }

    /// The shell's lines that make a container ready.
    pub fn up(&self) -> &'static str {
        self.up
    }

    /// A question that every user may ask.
    pub fn sinfo(&self, rest: &str) -> Vec<String> {
        match self.commands {
            true => self.command(&["sinfo", "-h"]),
            false => get(&[&format!("{rest}/partitions"), &format!("{rest}/nodes")]),
        }
    }

    /// A job that is only looked at. It goes through the filters of the client, which are part of
    /// the configuration.
    pub fn sbatch(&self) -> Vec<String> {
        self.command(&["sbatch", "--test-only", "--wrap", "true"])
    }

    /// A job whose output comes back to the container.
    pub fn srun(&self) -> Vec<String> {
        self.command(&["srun", "--quiet", "true"])
    }

    /// What root alone may do: make a token of root's, and make the controllers read their
    /// configuration anew. slurmrestd makes no tokens.
    pub fn privileged(&self, rest: &str) -> Vec<Vec<String>> {
        match self.commands {
            true => vec![
                self.command(&["scontrol", "token", "username=root", "lifespan=60"]),
                self.command(&["scontrol", "reconfigure"]),
            ],
            false => vec![get(&[&format!("{rest}/reconfigure")])],
        }
    }

    fn command(&self, command: &[&str]) -> Vec<String> {
        let words = self.prefix.iter().chain(command);
        words.map(|&word| word.to_owned()).collect()
    }
}

fn get(urls: &[&str]) -> Vec<String> {
    let words = ["sh", "-c", GET, "get"].iter().chain(urls);
    words.map(|&word| word.to_owned()).collect()
}

//! The rules, in the order in which they are applied: what decides which files are read, then
//! which keys, then their values.

mod accounts;
mod controllers;
mod files;
mod flags;
mod keys;
mod plugins;
mod spank;
mod tls;

use super::work::Work;

/// A rule: what it is called, what it rests on, and what it does.
#[non_exhaustive]
pub struct Rule {
    /// Its name, which does not change.
    pub name: &'static str,
    /// The fact that it rests on, and its change, in a sentence or two. Where and how each was
    /// tried: docs/adapting.md.
    pub fact: &'static str,
    pub(super) apply: fn(&mut Work<'_>),
}

/// All rules.
pub const RULES: &[Rule] = &[
    Rule {
        name: "include",
        fact: "An Include of a file that is not there makes every command wait for 60 s and fail, \
               and so does a pattern up to 22.05, which later ones refuse at once: it is \
               commented out.",
        apply: files::include,
    },
    Rule {
        name: "empty-value",
        fact: "A key with nothing behind its `=` is an error in every release and ends every \
               command: it is commented out.",
        apply: keys::empty_value,
    },
    Rule {
        name: "unknown-key",
        fact: "A key that the container's libslurm does not know, since it is older or newer than \
               the cluster, ends every command: it is commented out, or taken out of its line.",
        apply: keys::unknown,
    },
    Rule {
        name: "removed-key",
        fact: "AccountingStorageLoc, AccountingStoreJobComment and SallocDefaultCommand are known \
               from 22.05 on only to be refused, which ends every command: the line is commented \
               out.",
        apply: keys::removed,
    },
    Rule {
        name: "plugin-dir",
        fact: "Every directory of PluginDir has to be there, or every command ends: those that \
               are not are taken out.",
        apply: plugins::directory,
    },
    Rule {
        name: "slurm-user",
        fact: "SlurmUser and SlurmdUser without an account end every command, and clients need \
               neither: the line is commented out.",
        apply: accounts::slurm_user,
    },
    Rule {
        name: "ca-owner",
        fact: "A ca_cert.pem has to be root's or SlurmUser's, and SlurmUser is root where it is \
               not set; the one that an ordinary user fetches is his, which is accepted only where \
               SlurmUser is root: another SlurmUser is commented out.",
        apply: tls::owner,
    },
    Rule {
        name: "ca-file",
        fact: "A CA's file that TLSParameters names and that is not there ends every command; \
               ca_cert.pem beside slurm.conf is found without: the parameter is taken out.",
        apply: tls::file,
    },
    Rule {
        name: "plugin",
        fact: "A plugin that is not installed ends every command (CredType, HashPlugin, \
               AccountingStorageType; TLSType, CertgenType since 25.05) or some (SelectType before 26.05): the \
               line is commented out, so that the default is used, and SelectType becomes \
               select/cons_tres. Without TLS a cluster that wants it cannot be reached, so TLSType \
               stays where a CA is given.",
        apply: plugins::missing,
    },
    Rule {
        name: "auth-plugin",
        fact: "Commands need the plugin of AuthType, or auth/jwt where a token is given. Nothing \
               can stand in for it, so it is only reported.",
        apply: plugins::authentication,
    },
    Rule {
        name: "cli-filter",
        fact: "A filter without its plugin, and cli_filter/lua without cli_filter.lua, end sbatch, \
               salloc and srun: it is taken out.",
        apply: plugins::cli_filter,
    },
    Rule {
        name: "flags",
        fact: "A word that the container's libslurm does not know in PrologFlags, DebugFlags, \
               SelectTypeParameters or TaskPluginParam ends every command; they are of no use to a \
               client, so the word is taken out. In keys that a client heeds it is only reported.",
        apply: flags::unknown,
    },
    Rule {
        name: "select-default",
        fact: "Where SelectType is not set, 22.05 takes select/linear, newer ones \
               select/cons_tres: what a newer cluster says of cores in SelectTypeParameters then \
               ends commands, so SelectType=select/cons_tres is added.",
        apply: plugins::select_default,
    },
    Rule {
        name: "namespace",
        fact: "JobContainerType and NamespaceType without Contain in PrologFlags end every \
               command: the line is commented out.",
        apply: plugins::namespace,
    },
    Rule {
        name: "controller-name",
        fact: "Commands wait for the name of any controller, the backup's too, 10 s and more: one \
               that does not resolve gets the address that answered, and a backup of which no \
               address is known is commented out.",
        apply: controllers::names,
    },
    Rule {
        name: "spank",
        fact: "A required SPANK plugin that is not there ends sbatch, salloc and srun: its line in \
               plugstack.conf is commented out.",
        apply: spank::required,
    },
    Rule {
        name: "essential",
        fact: "Without a ClusterName and a controller every command ends. straw cannot know them, \
               so it is only reported.",
        apply: keys::essential,
    },
];

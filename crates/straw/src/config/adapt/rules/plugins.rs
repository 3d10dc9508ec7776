//! Plugins: where they are, and which are not.

use super::super::Severity;
use super::super::work::{Action, Work};
use crate::config::CA_CERT;
use crate::credential::Method;

/// A key that names a plugin which commands load.
struct Loaded {
    key: &'static str,
    /// What the names of its plugins begin with.
    kind: &'static str,
    /// Whether the name may stand without that.
    short: bool,
    /// A name that needs no file.
    built_in: Option<&'static str>,
    /// The plugin that is loaded where nothing is said.
    default: Option<&'static str>,
    /// Whether that has to be said, since it is not the default of every release.
    say_default: bool,
    /// The release from which on a missing one is known or must be feared to end commands.
    since: (u16, u16),
    /// The release from which on it does not.
    until: (u16, u16),
}

/// A longer list, in bytes, is nobody's, and to look for each of its parts takes its time.
const LONGEST_LIST: usize = 64 * 1024;

/// A release that never comes.
const NEVER: (u16, u16) = (u16::MAX, 0);

/// Where a release is between one in which the lack did no harm and one in which it did, it is
/// taken to do harm.
const LOADED: [Loaded; 7] = [
    Loaded {
        key: "CredType",
        kind: "cred",
        short: true,
        built_in: None,
        default: Some("cred/munge"),
        say_default: false,
        since: (23, 2),
        until: NEVER,
    },
    // The older name of the same: crypto/munge is cred/munge.
    Loaded {
        key: "CryptoType",
        kind: "crypto",
        short: false,
        built_in: None,
        default: Some("crypto/munge"),
        say_default: false,
        since: (23, 2),
        until: NEVER,
    },
    Loaded {
        key: "HashPlugin",
        kind: "hash",
        short: true,
        built_in: None,
        default: Some("hash/k12"),
        say_default: false,
        since: (22, 5),
        until: NEVER,
    },
    Loaded {
        key: "CertgenType",
        kind: "certgen",
        short: false,
        built_in: None,
        default: Some("certgen/script"),
        say_default: false,
        since: (25, 5),
        until: NEVER,
    },
    Loaded {
        key: "AccountingStorageType",
        kind: "accounting_storage",
        short: false,
        built_in: Some("accounting_storage/none"),
        default: None,
        say_default: false,
        since: (22, 5),
        until: NEVER,
    },
    Loaded {
        key: "SelectType",
        kind: "select",
        short: false,
        built_in: None,
        default: Some(CONS_TRES),
        say_default: true,
        since: (0, 0),
        until: (26, 5),
    },
    Loaded {
        key: "TLSType",
        kind: "tls",
        short: false,
        built_in: None,
        default: None,
        say_default: false,
        since: (25, 5),
        until: NEVER,
    },
];

const NONE: &str = "none";

const CONS_TRES: &str = "select/cons_tres";

pub(super) fn directory(work: &mut Work<'_>) {
    // Where there is no Slurm, who reads the set has one elsewhere.
    if work.container.library().is_none() {
        return;
    }
    work.each("PluginDir", |work, value| {
        if value.len() > LONGEST_LIST {
            return None;
        }
        let (kept, gone): (Vec<_>, Vec<_>) = value
            .split(':')
            .partition(|directory| work.container.has_directory(directory));
        if gone.is_empty() {
            return None;
        }
        let reason = format!("no {} here", gone.join(", no "));
        Some(match kept.is_empty() {
            true => Action::CommentOut { reason },
            false => Action::Replace {
                value: kept.join(":"),
                reason,
            },
        })
    });
}

pub(super) fn missing(work: &mut Work<'_>) {
    let Some(library) = work.container.library() else {
        return;
    };
    for loaded in &LOADED {
        if library.before(loaded.since) || library.since(loaded.until) {
            continue;
        }
        let absent = |work: &Work<'_>, value: &str| {
            let there =
                loaded.built_in == Some(value) || has(work, loaded.kind, value, loaded.short);
            (!there).then(|| value.to_owned())
        };
        let Some(setting) = work.effective(loaded.key) else {
            continue;
        };
        let Some(value) = absent(work, &setting.value) else {
            continue;
        };
        if loaded.key == "TLSType" && work.has_file(CA_CERT) {
            let message = format!("the cluster wants TLS, and the plugin {value} is not here");
            let hint = "install Slurm with TLS (25.05 or later, built with s2n) in this container";
            work.find(Severity::AllFail, Some(setting.place), message, hint);
            continue;
        }
        if let Some(default) = loaded.default
            && !has(work, loaded.kind, default, false)
        {
            let message = format!(
                "the plugin {value} is not here, nor is {default}, which would stand in for it"
            );
            let hint = "install it, in the release of the Slurm here";
            work.find(Severity::AllFail, Some(setting.place), message, hint);
            continue;
        }
        work.each(loaded.key, |work, value| {
            let value = absent(work, value)?;
            let reason = format!("no plugin {value} here");
            Some(match loaded.default.filter(|_| loaded.say_default) {
                None => Action::CommentOut { reason },
                Some(default) => Action::Replace {
                    value: default.to_owned(),
                    reason,
                },
            })
        });
    }
    for key in ["SwitchType", "MpiDefault"] {
        srun_alone(work, key);
    }
}

pub(super) fn select_default(work: &mut Work<'_>) {
    let old = work
        .container
        .library()
        .is_some_and(|library| library.before((24, 11)));
    if !old || work.effective("SelectType").is_some() || !has(work, "select", CONS_TRES, false) {
        return;
    }
    let of_cons_tres = |word: &str| {
        let word = word.trim().to_ascii_uppercase();
        ["CR_CPU", "CR_CORE", "CR_SOCKET"]
            .iter()
            .any(|resource| word.starts_with(resource))
    };
    let parameters = work.value("SelectTypeParameters").unwrap_or_default();
    if parameters.split(',').any(of_cons_tres) {
        let reason = format!("SelectTypeParameters={parameters} is not for select/linear");
        work.append(&format!("SelectType={CONS_TRES}"), &reason);
    }
}

/// Reports what only srun needs, and only up to 24.11 as far as is known.
fn srun_alone(work: &mut Work<'_>, key: &str) {
    let kind = match key {
        "SwitchType" => "switch",
        _ => "mpi",
    };
    let before = work
        .container
        .library()
        .is_some_and(|library| library.before((26, 5)));
    let Some(setting) = work.effective(key).filter(|_| before) else {
        return;
    };
    let none = matches!(setting.value.as_str(), "none" | "switch/none" | "mpi/none");
    if !none && !has(work, kind, &setting.value, true) {
        let message = format!("the plugin {} is not here, which srun needs", setting.value);
        let hint = format!("install it, or leave it out with --unset {key}");
        work.find(Severity::SomeFail, Some(setting.place), message, hint);
    }
}

pub(super) fn authentication(work: &mut Work<'_>) {
    if work.container.library().is_none() {
        return;
    }
    let setting = work.effective("AuthType");
    let (value, place) = match (work.container.credential(), &setting) {
        (Some(Method::Jwt), _) => ("auth/jwt", None),
        (_, Some(setting)) => (setting.value.as_str(), Some(setting.place)),
        (_, None) => ("auth/munge", None),
    };
    if !has(work, "auth", value, true) {
        let message = format!("the plugin {value} is not here, without which every command ends");
        let hint = match value {
            "auth/jwt" => "install it (Debian: slurm-wlm-jwt-plugin)",
            _ => "install it, or use a token: then auth/jwt is used whatever AuthType says",
        };
        work.find(Severity::AllFail, place, message, hint);
    }
}

pub(super) fn cli_filter(work: &mut Work<'_>) {
    if work.container.library().is_none() {
        return;
    }
    work.each("CliFilterPlugins", |work, value| {
        if value.len() > LONGEST_LIST {
            return None;
        }
        let lua = |filter: &str| filter.trim_start_matches("cli_filter/") == "lua";
        let works = |filter: &str| {
            let none = filter.trim_start_matches("cli_filter/") == NONE;
            let script = !lua(filter) || work.has_file("cli_filter.lua");
            none || (script && has(work, "cli_filter", filter, true))
        };
        let (kept, gone): (Vec<_>, Vec<_>) = value
            .split(',')
            .map(str::trim)
            .partition(|filter| works(filter));
        let first = *gone.first()?;
        let reason = match lua(first) && has(work, "cli_filter", first, true) {
            true => "no cli_filter.lua here".to_owned(),
            false => format!("no plugin {} here", gone.join(", ")),
        };
        Some(match kept.is_empty() {
            true => Action::CommentOut { reason },
            false => Action::Replace {
                value: kept.join(","),
                reason,
            },
        })
    });
}

pub(super) fn namespace(work: &mut Work<'_>) {
    // X11 brings Contain with it.
    let contained = work.value("PrologFlags").is_some_and(|flags| {
        flags.split(',').any(|flag| {
            let flag = flag.trim();
            flag.eq_ignore_ascii_case("Contain") || flag.eq_ignore_ascii_case("X11")
        })
    });
    if contained {
        return;
    }
    for key in ["JobContainerType", "NamespaceType"] {
        work.each(key, |_, value| {
            let none = value.rsplit('/').next() == Some(NONE);
            (!none).then(|| Action::CommentOut {
                reason: "PrologFlags has no Contain here".to_owned(),
            })
        });
    }
}

/// Whether a plugin is installed, as far as can be known.
fn has(work: &Work<'_>, kind: &str, value: &str, short: bool) -> bool {
    let name = match value.split_once('/') {
        Some((prefix, name)) if prefix == kind => name,
        None if short => value,
        _ => return false,
    };
    let kind = match kind {
        "crypto" => "cred",
        kind => kind,
    };
    // It is a part of the other since it exists.
    let elsewhere = kind == "cred" && name == "slurm" && work.has_plugin("auth_slurm.so");
    elsewhere || work.has_plugin(&format!("{kind}_{name}.so"))
}

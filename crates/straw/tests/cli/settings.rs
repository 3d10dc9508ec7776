//! `/etc/straw.toml`, by another name.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use slurm_protocol::ProtocolVersion;

use crate::fake::Fake;
use crate::messages::golden;
use crate::straw::{Straw, token};

/// straw with this file of settings, and a token.
fn with(settings: &str, arguments: &[&str]) -> Straw {
    let straw = Straw::with_token(arguments).env("STRAW_CONFIG", "straw.toml");
    fs::write(straw.path().join("straw.toml"), settings).unwrap();
    straw
}

/// Brings about every error with settings. Returns their kinds.
pub fn errors() -> BTreeSet<String> {
    let mut kinds = BTreeSet::new();
    let mut meet = |kind: String| {
        // What is wrong here is told before `--json` counts.
        assert_eq!(kind, "");
        kinds.insert("bad-settings".to_owned());
    };
    let fetch = &["fetch"][..];
    meet(golden(
        "settings-unknown",
        with("timeuot = \"1s\"", fetch),
        &[],
    ));
    meet(golden("settings-syntax", with("timeout = 1s", fetch), &[]));
    meet(golden("settings-value", with("timeout = 1.5", fetch), &[]));
    meet(golden(
        "settings-bad",
        with("timeout = \"soon\"", fetch),
        &[],
    ));
    let missing = Straw::with_token(fetch).env("STRAW_CONFIG", "none.toml");
    meet(golden("settings-none", missing, &[]));
    let open = with("timeout = \"1s\"", fetch);
    let path = open.path().join("straw.toml");
    fs::set_permissions(path, fs::Permissions::from_mode(0o646)).unwrap();
    meet(golden("settings-writable", open, &[]));
    kinds
}

#[test]
fn settings_are_used_where_nothing_else_says_so() {
    let fake = Fake::controller(ProtocolVersion::V26_05, &[("slurm.conf", "a")]);
    let other = Fake::controller(ProtocolVersion::V26_05, &[("slurm.conf", "b")]);
    let settings = format!(
        "servers = [\"{}\"]\noutput = \"of-settings\"\nquiet = true\ntoken-file = \"none\"\n",
        fake.address
    );
    let fetched = |straw: &mut Straw, directory: &str| {
        let said = straw.done();
        let file = straw.path().join(directory).join("slurm.conf");
        (said, fs::read_to_string(file).unwrap())
    };
    // SLURM_JWT is a variable, so it wins over the file that the settings name.
    let (said, content) = fetched(&mut with(&settings, &["fetch"]), "of-settings");
    assert_eq!((said.as_str(), content.as_str()), ("", "a"));
    let server = other.address.to_string();
    let mut straw = with(&settings, &["fetch"]).env("SLURM_CONF_SERVER", &server);
    assert_eq!(fetched(&mut straw, "of-settings").1, "b");
    let mut straw = with(&settings, &["fetch"]).env("STRAW_SERVERS", &server);
    assert_eq!(fetched(&mut straw, "of-settings").1, "b");
    let mut straw = with(&settings, &["fetch", &server, "-o", "of-argument"]);
    assert_eq!(fetched(&mut straw, "of-argument").1, "b");
    let mut straw =
        with(&settings, &["fetch", "--servers", &server]).env("STRAW_OUTPUT", "of-variable");
    assert_eq!(fetched(&mut straw, "of-variable").1, "b");

    // Without a token anywhere else, that of the settings is what is used.
    let mut straw = with(&settings, &["fetch"]);
    straw.command.env_remove("SLURM_JWT");
    assert_eq!(straw.run().status.code(), Some(4));
    fs::write(straw.path().join("none"), token(60)).unwrap();
    fs::set_permissions(straw.path().join("none"), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(fetched(&mut straw, "of-settings").1, "a");
}

#[test]
fn help_needs_no_settings() {
    let mut straw = with("no TOML", &["fetch", "--help"]);
    assert!(straw.run().status.success());
}

#[test]
fn lists_of_changes_by_hand_can_be_set_too() {
    let fake = Fake::controller(
        ProtocolVersion::V26_05,
        &[("slurm.conf", "ClusterName=x\n")],
    );
    let settings = format!(
        "servers = \"{}\"\nset = [\"A=1\", \"B=2, 3\"]\nunset = \"ClusterName\"\n",
        fake.address
    );
    let mut straw = with(&settings, &["fetch", "-o", "etc"]);
    straw.done();
    let written = fs::read_to_string(straw.path().join("etc/slurm.conf")).unwrap();
    for line in [
        "\nA=1\n",
        "\nB=\"2, 3\"\n",
        "# straw: unset by hand: ClusterName=x\n",
    ] {
        assert!(written.contains(line), "{written}");
    }
}

#[test]
fn every_option_can_be_set_elsewhere() {
    fn check(command: &clap::Command) {
        for option in command.get_arguments() {
            let Some(long) = option.get_long() else {
                continue;
            };
            let variable = option.get_env().and_then(|variable| variable.to_str());
            let name = long.to_uppercase().replace('-', "_");
            assert_eq!(variable, Some(format!("STRAW_{name}").as_str()), "--{long}");
        }
        command.get_subcommands().for_each(check);
    }
    check(&straw::cli::command());
}

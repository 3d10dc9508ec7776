//! What docs/adapting.md says of it.

use super::*;

/// What makes a client command fail in at least one release, as it was measured.
const MEASURED: [&str; 31] = [
    "SlurmUser",
    "SlurmdUser",
    "PluginDir",
    "AuthType",
    "CredType",
    "SelectType",
    "CliFilterPlugins",
    "cli_filter.lua",
    "TLSType",
    "HashPlugin",
    "hash/sha3",
    "AccountingStorageType",
    "slurmdbd unreachable",
    "slurmdbd unresolvable",
    "unknown key",
    "unknown key in a node's line",
    "Include, relative",
    "Include, absolute",
    "Include, pattern",
    "plugstack.conf, required",
    "plugstack.conf, optional",
    "SlurmctldHost",
    "JobContainerType",
    "NamespaceType",
    "empty value",
    "PrologFlags",
    "DebugFlags",
    "ClusterName",
    "no SlurmctldHost",
    "SwitchType",
    "MpiDefault",
];

#[test]
fn the_documentation_names_every_rule_and_every_key() {
    let text = include_str!("../../../../../../docs/adapting.md");
    for rule in RULES {
        assert!(
            text.contains(&format!("| `{}` |", rule.name)),
            "no row for {}",
            rule.name
        );
    }
    let (_, keys) = text.split_once("## Every key").unwrap();
    for key in MEASURED {
        let row = keys
            .lines()
            .find(|line| line.starts_with(&format!("| {key} |")));
        let row = row.unwrap_or_else(|| panic!("no row for {key}"));
        let last = row.trim_end_matches('|').rsplit('|').next().unwrap().trim();
        let named = RULES
            .iter()
            .any(|rule| last.contains(&format!("`{}`", rule.name)));
        assert!(
            named || last.starts_with("none:"),
            "{key} has neither rule nor reason: {last}"
        );
    }
}

//! Plugins that are installed, or are not.

use std::fs;

use super::*;
use crate::credential::Method;

#[test]
fn plugin_directories() {
    let root = Root::new();
    assert_eq!(
        lines(&root, "PluginDir=/plugins:/gone\nPluginDir=/gone:/away\n"),
        [
            "# straw: no /gone here: PluginDir=/plugins:/gone",
            "PluginDir=/plugins",
            "# straw: no /gone, no /away here: PluginDir=/gone:/away",
        ]
    );
}

#[test]
fn a_value_is_written_as_it_has_to_be() {
    let root = Root::new();
    for place in ["plugins of ours", "a#b"] {
        root.put(&format!("{place}/x"), "");
    }
    assert_eq!(
        lines(
            &root,
            "PluginDir=\"/plugins of ours:/gone\"\nPluginDir=/a\\#b:/gone\n"
        ),
        [
            "# straw: no /gone here: PluginDir=\"/plugins of ours:/gone\"",
            "PluginDir=\"/plugins of ours\"",
            "# straw: no /gone here: PluginDir=/a\\#b:/gone",
            "PluginDir=/a\\#b",
        ]
    );
}

#[test]
fn plugins_by_release() {
    let root = Root::new();
    // Key and value, then whether it is commented out by 22.05, 24.11 and 26.05.
    let cases = [
        ("CredType=cred/gone", [false, true, true]),
        ("CredType=munge", [false, false, false]),
        ("CryptoType=crypto/gone", [false, true, true]),
        ("CryptoType=crypto/munge", [false, false, false]),
        ("HashPlugin=hash/gone", [true, true, true]),
        ("HashPlugin=k12", [false, false, false]),
        (
            "AccountingStorageType=accounting_storage/gone",
            [true, true, true],
        ),
        (
            "AccountingStorageType=accounting_storage/none",
            [false, false, false],
        ),
        ("SelectType=select/cons_res", [true, true, false]),
        ("SelectType=cons_tres", [true, true, false]),
        ("TLSType=tls/s2n", [false, false, true]),
        ("AuthType=auth/gone", [false, false, false]),
        ("SwitchType=switch/gone", [false, false, false]),
    ];
    for (line, expected) in cases {
        for (release, expected) in [(22, 5), (24, 11), (26, 5)].into_iter().zip(expected) {
            let lines = lines_in(&root.container(release), line);
            let (_, value) = line.split_once('=').unwrap();
            let mut commented = vec![format!("# straw: no plugin {value} here: {line}")];
            if line.starts_with("SelectType=") {
                commented.push("SelectType=select/cons_tres".to_owned());
            }
            match expected {
                true => assert_eq!(lines, commented, "{release:?}"),
                false => assert_eq!(lines, [line], "{release:?}"),
            }
        }
    }
}

#[test]
fn the_default_of_select_type() {
    let root = Root::new();
    let text = "SelectTypeParameters=CR_CPU";
    assert_eq!(lines(&root, text), [text]);
    let old = root.container((22, 5));
    assert_eq!(
        lines_in(&old, text),
        [
            text,
            "# straw: SelectTypeParameters=CR_CPU is not for select/linear",
            "SelectType=select/cons_tres"
        ]
    );
    let text = "SelectTypeParameters=CR_Memory";
    assert_eq!(lines_in(&old, text), [text]);
}

#[test]
fn the_default_of_select_type_goes_by_the_line_that_is_left() {
    let root = Root::new();
    let outcome = outcome(
        &root.container((22, 5)),
        &[(
            "slurm.conf",
            &format!("{HEAD}SelectTypeParameters=CR_CPU\nSelectTypeParameters=New\n"),
        )],
    );
    assert!(
        outcome
            .file("slurm.conf")
            .ends_with("\nSelectType=select/cons_tres\n")
    );
}

#[test]
fn cred_slurm_is_in_auth_slurm() {
    let root = Root::new();
    root.put("plugins/auth_slurm.so", "");
    assert_eq!(lines(&root, "CredType=cred/slurm"), ["CredType=cred/slurm"]);
}

#[test]
fn a_default_that_is_missing_too() {
    let root = Root::new();
    fs::remove_file(root.path().join("plugins/cred_munge.so")).unwrap();
    let conf = format!("{HEAD}CredType=cred/gone\n");
    let outcome = outcome(&root.container((26, 5)), &[("slurm.conf", &conf)]);
    assert_eq!(outcome.file("slurm.conf"), conf);
    assert_eq!(
        outcome.findings(),
        [
            "slurm.conf:3: the plugin cred/gone is not here, nor is cred/munge, which would stand in \
          for it; install it, in the release of the Slurm here [plugin]"
        ]
    );
}

#[test]
fn authentication() {
    let root = Root::new();
    let conf = format!("{HEAD}AuthType=auth/gone\n");
    let files: &[(&str, &str)] = &[("slurm.conf", &conf)];
    let munge = root.container((26, 5)).method(Some(Method::Munge));
    let found = outcome(&munge, files).findings();
    assert!(found[0].contains("auth/gone is not here"), "{found:?}");
    assert_eq!(outcome(&root.container((26, 5)), files).findings(), [""; 0]);
    fs::remove_file(root.path().join("plugins/auth_jwt.so")).unwrap();
    let found = outcome(&root.container((26, 5)), files).findings();
    assert!(found[0].contains("auth/jwt is not here"), "{found:?}");
}

#[test]
fn srun_is_warned_of() {
    let root = Root::new();
    let conf = format!("{HEAD}MpiDefault=pmix\nSwitchType=switch/none\n");
    let files: &[(&str, &str)] = &[("slurm.conf", &conf)];
    let found = outcome(&root.container((24, 11)), files).adapted.findings;
    assert_eq!(found.len(), 1);
    assert_eq!(
        (found[0].severity, found[0].line),
        (Severity::SomeFail, Some(3))
    );
    assert_eq!(outcome(&root.container((26, 5)), files).findings(), [""; 0]);
}

#[test]
fn filters() {
    let root = Root::new();
    root.put("plugins/cli_filter_lua.so", "");
    root.put("plugins/cli_filter_a.so", "");
    let container = root.container((26, 5));
    assert_eq!(
        lines_in(
            &container,
            "CliFilterPlugins=cli_filter/a,lua\nCliFilterPlugins=gone,none\n"
        ),
        [
            "# straw: no cli_filter.lua here: CliFilterPlugins=cli_filter/a,lua",
            "CliFilterPlugins=cli_filter/a",
            "# straw: no plugin gone here: CliFilterPlugins=gone,none",
            "CliFilterPlugins=none",
        ]
    );
    let conf = format!("{HEAD}CliFilterPlugins=cli_filter/lua\n");
    let with_script = outcome(&container, &[("slurm.conf", &conf), ("cli_filter.lua", "")]);
    assert_eq!(with_script.changes(), [""; 0]);
}

#[test]
fn namespaces() {
    let root = Root::new();
    let why = "# straw: PrologFlags has no Contain here: ";
    assert_eq!(
        lines(
            &root,
            "JobContainerType=job_container/tmpfs\nNamespaceType=namespace/none\n"
        ),
        [
            &format!("{why}JobContainerType=job_container/tmpfs"),
            "NamespaceType=namespace/none"
        ]
    );
    for flags in ["Contain", "x11,Alloc"] {
        let text = format!("NamespaceType=namespace/x\nPrologFlags={flags}");
        let untouched: Vec<_> = text.lines().collect();
        assert_eq!(lines(&root, &text), untouched);
    }
}

//! Each rule in a small container of its own making.

mod bounds;

use std::fs;
use std::path::Path;

use super::container::{Library, Table};
use super::*;
use crate::credential::Method;

const PLUGINS: &str = "/plugins";

/// A root with accounts and plugins.
struct Root(tempfile::TempDir);

impl Root {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let this = Self(root);
        this.put(
            "etc/passwd",
            "root:x:0:0::/:\nslurm:x:64030:64030::/:\nalice:x:2001:2001::/:\n",
        );
        for plugin in [
            "auth_jwt",
            "auth_munge",
            "cred_munge",
            "hash_k12",
            "select_cons_tres",
        ] {
            this.put(&format!("plugins/{plugin}.so"), "");
        }
        this
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn put(&self, path: &str, content: &str) {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// As alice, with a Slurm of this release.
    fn container(&self, release: (u16, u16)) -> Container<'_> {
        const TOP: &[&str] = &[
            "ClusterName",
            "SlurmctldHost",
            "AccountingStorageLoc",
            "SlurmUser",
            "SlurmdUser",
            "PluginDir",
            "AuthType",
            "CredType",
            "CryptoType",
            "HashPlugin",
            "SelectType",
            "AccountingStorageType",
            "TLSType",
            "TLSParameters",
            "CliFilterPlugins",
            "JobContainerType",
            "NamespaceType",
            "PrologFlags",
            "DebugFlags",
            "SelectTypeParameters",
            "TaskPluginParam",
            "PreemptMode",
            "AccountingStorageEnforce",
            "SwitchType",
            "MpiDefault",
            "NodeName",
            "PartitionName",
            "ControlMachine",
            "ControlAddr",
            "BackupController",
            "BackupAddr",
            "MailProg",
        ];
        let tables = [
            (Table::Top, TOP),
            (Table::Node, &["CPUs", "State"][..]),
            (Table::Partition, &["Nodes", "Default"][..]),
        ];
        let words = [
            "Alloc",
            "Contain",
            "X11",
            "Steps",
            "CR_CPU",
            "CR_Memory",
            "gang",
            "suspend",
        ];
        let library = Library::fake(release, &tables, &words);
        Container::at(self.path())
            .euid(2001)
            .method(Some(Method::Jwt))
            .with_library(library, PLUGINS)
    }
}

/// What a set becomes: each file's content, the changes' rules, the findings' rules.
struct Outcome {
    adapted: Adapted,
}

impl Outcome {
    fn file(&self, name: &str) -> String {
        let file = self.adapted.set.get(name).unwrap();
        String::from_utf8(file.content.clone()).unwrap()
    }

    /// The lines of slurm.conf without the two that every one here begins with.
    fn lines(&self) -> Vec<String> {
        let text = self.file("slurm.conf");
        text.lines().skip(2).map(str::to_owned).collect()
    }

    fn changes(&self) -> Vec<String> {
        self.adapted
            .changes
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    fn findings(&self) -> Vec<String> {
        self.adapted
            .findings
            .iter()
            .map(ToString::to_string)
            .collect()
    }
}

const HEAD: &str = "ClusterName=lab\nSlurmctldHost=ctl1\n";

/// Adapts, and checks that adapting again changes nothing.
fn outcome(container: &Container<'_>, files: &[(&str, &str)]) -> Outcome {
    let set = ConfigSet::of(files);
    let adapted = adapt(&set, container, &ByHand::default());
    let again = adapt(&adapted.set, container, &ByHand::default());
    assert_eq!(again.changes, [], "adapted twice");
    assert_eq!(again.set, adapted.set);
    Outcome { adapted }
}

/// Adapts these lines in a container of 26.05.
fn lines(root: &Root, text: &str) -> Vec<String> {
    lines_in(&root.container((26, 5)), text)
}

fn lines_in(container: &Container<'_>, text: &str) -> Vec<String> {
    outcome(container, &[("slurm.conf", &format!("{HEAD}{text}"))]).lines()
}

#[test]
fn what_fits_is_left_alone() {
    let root = Root::new();
    let text = "SlurmUser=slurm\nPluginDir=/plugins\nAuthType=auth/munge\nCredType = cred/munge # c\r\n\
                HashPlugin=hash/k12\nPrologFlags=alloc,CONTAIN\nNodeName=n CPUs=4\n\
                PartitionName=p Nodes=n \\\n\tDefault=YES\nAccountingStorageType=accounting_storage/none";
    let conf = format!("{HEAD}{text}");
    let outcome = outcome(
        &root.container((24, 11)),
        &[("slurm.conf", &conf), ("other", "x\n")],
    );
    assert_eq!(outcome.file("slurm.conf"), conf);
    assert_eq!(outcome.changes(), [""; 0]);
    assert_eq!(outcome.findings(), [""; 0]);
}

#[test]
fn accounts() {
    let root = Root::new();
    assert_eq!(
        lines(
            &root,
            "SlurmUser=nobody9\nslurmduser = x\nSlurmUser=slurm\nSlurmdUser=0\n"
        ),
        [
            "# straw: no account nobody9 here: SlurmUser=nobody9",
            "# straw: no account x here: slurmduser = x",
            "SlurmUser=slurm",
            "SlurmdUser=0",
        ]
    );
}

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

#[test]
fn flags() {
    let root = Root::new();
    let why = "# straw: the Slurm here does not know New";
    let conf = format!(
        "{HEAD}PrologFlags=Alloc,New,steps\nDebugFlags=New\nSelectTypeParameters=CR_CPU\n\
         PreemptMode=SUSPEND,NEW\nTaskPluginParam=autobind=threads\n"
    );
    let outcome = outcome(&root.container((26, 5)), &[("slurm.conf", &conf)]);
    assert_eq!(
        outcome.lines(),
        [
            &format!("{why}: PrologFlags=Alloc,New,steps"),
            "PrologFlags=Alloc,steps",
            &format!("{why}: DebugFlags=New"),
            "SelectTypeParameters=CR_CPU",
            "PreemptMode=SUSPEND,NEW",
            "TaskPluginParam=autobind=threads",
        ]
    );
    assert_eq!(
        outcome.findings(),
        [
            "slurm.conf:6: the Slurm here does not know NEW in PreemptMode; install the cluster's \
          release here, or leave it out with --unset PreemptMode [flags]"
        ]
    );
}

#[test]
fn unknown_keys_and_empty_values() {
    let root = Root::new();
    let text = "New=1 \\\n 2=3\nMailProg=\nNodeName=n New=1 CPUs=4 Other=2\n\
                NodeName=m CPUs=1 New=\nPartitionName=p Default=NO \\\n  CPUs=3\nOtherKey=Value\n";
    let why = "# straw: Slurm 24.11 here does not know ";
    assert_eq!(
        lines_in(&root.container((24, 11)), text),
        [
            &format!("{why}New: New=1 \\"),
            &format!("{why}New:  2=3"),
            "# straw: MailProg has no value: MailProg=",
            &format!("{why}New, Other: NodeName=n New=1 CPUs=4 Other=2"),
            "NodeName=n CPUs=4",
            "# straw: New has no value: NodeName=m CPUs=1 New=",
            "NodeName=m CPUs=1",
            &format!("{why}CPUs: PartitionName=p Default=NO \\"),
            &format!("{why}CPUs:   CPUs=3"),
            "PartitionName=p Default=NO \\",
            "",
            &format!("{why}OtherKey: OtherKey=Value"),
        ]
    );
}

#[test]
fn removed_keys() {
    let root = Root::new();
    let text = "AccountingStorageLoc=x\n";
    let mut container = root.container((24, 11));
    assert_eq!(
        lines_in(&container, text),
        ["# straw: the Slurm here refuses it, since it was removed: AccountingStorageLoc=x"]
    );
    container = root.container((21, 8));
    assert_eq!(lines_in(&container, text), ["AccountingStorageLoc=x"]);
}

#[test]
fn includes() {
    let root = Root::new();
    root.put("etc/site.conf", "");
    let conf = format!(
        "{HEAD}Include there.conf\ninclude gone.conf\nInclude /etc/site.conf\nInclude /etc/gone\n\
         Include *.conf\nInclude ../x\nInclude %c.conf\nInclude %c-gone.conf\n"
    );
    let files: &[(&str, &str)] = &[
        ("slurm.conf", &conf),
        (
            "there.conf",
            "Include sub/a.conf\nSlurmUser=gone\nInclude gone.conf\n",
        ),
        ("sub/a.conf", "Include there.conf\nNew=1\n"),
        ("lab.conf", "Include lab.conf\nSlurmUser=slurm"),
    ];
    let outcome = outcome(&root.container((26, 5)), files);
    assert_eq!(
        outcome.lines(),
        [
            "Include there.conf",
            "# straw: the controller sent no gone.conf: include gone.conf",
            "Include /etc/site.conf",
            "# straw: there is no /etc/gone here: Include /etc/gone",
            "# straw: a pattern is not expanded by Slurm's commands: Include *.conf",
            "# straw: the controller sent no ../x: Include ../x",
            "Include %c.conf",
            "# straw: the controller sent no lab-gone.conf: Include %c-gone.conf",
        ]
    );
    assert_eq!(
        outcome.file("there.conf"),
        "Include sub/a.conf\n# straw: no account gone here: SlurmUser=gone\n\
         # straw: the controller sent no gone.conf: Include gone.conf\n"
    );
    assert_eq!(
        outcome.file("sub/a.conf"),
        "Include there.conf\n# straw: Slurm 26.05 here does not know New: New=1\n"
    );
    let change = outcome.adapted.changes.last().unwrap();
    assert_eq!(
        (change.file.as_str(), change.line, change.rule),
        ("there.conf", Some(2), "slurm-user")
    );
}

fn reached(host: &str, address: &str) -> Reached {
    Reached {
        host: host.to_owned(),
        address: address.parse().unwrap(),
    }
}

#[test]
fn names_of_controllers() {
    let root = Root::new();
    let resolves = |host: &str| host.starts_with("good");
    let adapted = |text: &str, controllers: &[Reached]| {
        let container = root
            .container((26, 5))
            .resolver(&resolves)
            .reached(controllers.iter().cloned());
        let conf = format!("ClusterName=lab\nNodeName=n\n{text}\n");
        let outcome = outcome(&container, &[("slurm.conf", &conf)]);
        let mut lines = outcome.lines();
        lines.retain(|line| !line.starts_with('#'));
        (lines.join(" "), outcome.findings().len())
    };
    let one = [reached("ctl1", "198.18.0.1")];
    let two = [
        reached("ctl2.site", "198.18.0.2"),
        reached("ctl1", "fe80::1"),
    ];
    let cases: [(&str, &[Reached], &str, usize); 10] = [
        ("SlurmctldHost=good", &one, "SlurmctldHost=good", 0),
        (
            "SlurmctldHost=bad(good)",
            &one,
            "SlurmctldHost=bad(good)",
            0,
        ),
        (
            "SlurmctldHost=bad(10.0.0.1)",
            &[],
            "SlurmctldHost=bad(10.0.0.1)",
            0,
        ),
        (
            "SlurmctldHost=ctl1",
            &one,
            "SlurmctldHost=ctl1(198.18.0.1)",
            0,
        ),
        // Under another name.
        (
            "SlurmctldHost=head(bad)",
            &one,
            "SlurmctldHost=head(198.18.0.1)",
            0,
        ),
        ("SlurmctldHost=ctl1", &[], "SlurmctldHost=ctl1", 1),
        (
            "SlurmctldHost=ctl1\nSlurmctldHost=ctl2",
            &two,
            "SlurmctldHost=ctl1(fe80::1) SlurmctldHost=ctl2(198.18.0.2)",
            0,
        ),
        // A backup that nobody can find.
        (
            "SlurmctldHost=ctl0\nSlurmctldHost=ctl1",
            &one,
            "SlurmctldHost=ctl1(198.18.0.1)",
            0,
        ),
        (
            "SlurmctldHost=good\nSlurmctldHost=ctl2",
            &one,
            "SlurmctldHost=good",
            0,
        ),
        (
            "ControlMachine=head\nBackupController=other",
            &one,
            "ControlMachine=head ControlAddr=198.18.0.1",
            0,
        ),
    ];
    for (text, controllers, expected, findings) in cases {
        assert_eq!(
            adapted(text, controllers),
            (expected.to_owned(), findings),
            "{text}"
        );
    }
}

#[test]
fn a_name_of_the_cluster_that_is_empty_does_not_count() {
    let root = Root::new();
    let files = [
        (
            "slurm.conf",
            "ClusterName=lab\nSlurmctldHost=ctl1\nClusterName=\n",
        ),
        ("plugstack.conf", "Include %c.conf\n"),
        ("lab.conf", "required gone.so\n"),
    ];
    let outcome = outcome(&root.container((26, 5)), &files);
    assert_eq!(outcome.changes().len(), 2);
}

#[test]
fn spank_plugins() {
    let root = Root::new();
    root.put("plugins/here.so", "");
    root.put("opt/x.so", "");
    let plugstack = "required here.so a=b\nrequired  gone.so a=b\noptional gone.so\n\
                     required /opt/x.so\nrequired /opt/y.so\ninclude more.conf\ninclude /etc/z/*\n";
    let files: &[(&str, &str)] = &[
        ("slurm.conf", HEAD),
        ("plugstack.conf", plugstack),
        ("more.conf", "required gone.so\n"),
    ];
    let outcome = outcome(&root.container((26, 5)), files);
    assert_eq!(
        outcome.file("plugstack.conf"),
        "required here.so a=b\n# straw: no gone.so here: required  gone.so a=b\noptional gone.so\n\
         required /opt/x.so\n# straw: no /opt/y.so here: required /opt/y.so\ninclude more.conf\n\
         include /etc/z/*\n"
    );
    assert_eq!(
        outcome.file("more.conf"),
        "# straw: no gone.so here: required gone.so\n"
    );
}

#[test]
fn the_ca() {
    let root = Root::new();
    root.put("etc/ca.pem", "");
    let conf = format!("{HEAD}SlurmUser=slurm\nTLSParameters=ca_cert_file=/gone,other\n");
    let files: &[(&str, &str)] = &[("slurm.conf", &conf), ("ca_cert.pem", "PEM")];
    let alice = outcome(&root.container((26, 5)), files);
    assert_eq!(
        alice.lines(),
        [
            "# straw: ca_cert.pem is not slurm's: SlurmUser=slurm",
            "# straw: no /gone here, and ca_cert.pem is beside slurm.conf: \
             TLSParameters=ca_cert_file=/gone,other",
            "TLSParameters=other",
        ]
    );
    let container = root.container((26, 5)).euid(0);
    assert_eq!(outcome(&container, files).changes().len(), 1);
    let conf = format!("{HEAD}SlurmUser=alice\nTLSParameters=ca_cert_file=/etc/ca.pem\n");
    let files: &[(&str, &str)] = &[("slurm.conf", &conf), ("ca_cert.pem", "PEM")];
    assert_eq!(outcome(&root.container((26, 5)), files).changes(), [""; 0]);
    // Without a CA nothing says that there is TLS.
    let conf = format!("{HEAD}SlurmUser=slurm\nTLSParameters=ca_cert_file=/gone\n");
    let outcome = outcome(&root.container((26, 5)), &[("slurm.conf", &conf)]);
    assert_eq!((outcome.changes().len(), outcome.findings().len()), (0, 0));
}

#[test]
fn tls_is_not_taken_from_a_cluster_that_wants_it() {
    let root = Root::new();
    let conf = format!("{HEAD}TLSType=tls/s2n\n");
    let files: &[(&str, &str)] = &[("slurm.conf", &conf), ("ca_cert.pem", "PEM")];
    let outcome = outcome(&root.container((26, 5)), files);
    assert_eq!(outcome.file("slurm.conf"), conf);
    assert!(outcome.findings()[0].contains("wants TLS"));
}

#[test]
fn a_container_without_slurm() {
    let root = Root::new();
    let container = Container::at(root.path()).euid(2001);
    let conf = format!(
        "{HEAD}New=1\nCredType=cred/gone\nDebugFlags=New\nSlurmUser=gone\nPluginDir=/gone\n"
    );
    let plugstack = "required x.so\nrequired /gone/y.so\n";
    let files: &[(&str, &str)] = &[("slurm.conf", &conf), ("plugstack.conf", plugstack)];
    let outcome = outcome(&container, files);
    assert_eq!(outcome.changes().len(), 1, "{:?}", outcome.changes());
    assert_eq!(outcome.findings().len(), 1);
    assert_eq!(outcome.adapted.findings[0].severity, Severity::Note);
}

#[test]
fn what_is_essential() {
    let root = Root::new();
    let outcome = outcome(&root.container((26, 5)), &[("slurm.conf", "MailProg=x\n")]);
    assert_eq!(outcome.findings().len(), 2);
}

#[test]
fn by_hand() {
    let root = Root::new();
    let set = |text: &str| ByHand::parse_set(text).unwrap();
    let by_hand = ByHand {
        set: vec![
            set("MailProg=/bin/true # no"),
            set("slurmctldhost = a(10.0.0.1)"),
            set("SlurmctldHost=b(10.0.0.2)"),
            set("NodeName=x CPUs=1"),
            set("DebugFlags=Steps"),
            set("debugflags=Steps"),
        ],
        unset: vec![ByHand::parse_unset("prologFlags").unwrap()],
    };
    let conf = format!("{HEAD}MailProg=/x\nPrologFlags=Alloc\nMailProg=/y\nNodeName=y");
    let container = root.container((26, 5));
    let adapted = adapt(
        &ConfigSet::of(&[("slurm.conf", &conf)]),
        &container,
        &by_hand,
    );
    let text = String::from_utf8(adapted.set.get("slurm.conf").unwrap().content.clone()).unwrap();
    assert_eq!(
        text,
        "ClusterName=lab\n# straw: set by hand: SlurmctldHost=ctl1\nMailProg=/x\n\
         # straw: unset by hand: PrologFlags=Alloc\n# straw: set by hand: MailProg=/y\n\
         MailProg=\"/bin/true \\# no\"\nNodeName=y\n\
         # straw: set by hand\nslurmctldhost=a(10.0.0.1)\n\
         # straw: set by hand\nslurmctldhost=b(10.0.0.2)\n\
         # straw: set by hand\nNodeName=x CPUs=1\n# straw: set by hand\nDebugFlags=Steps\n"
    );
    let again = only_by_hand(&adapted.set, &by_hand);
    assert_eq!(again.changes, []);
}

#[test]
fn what_cannot_be_set() {
    let error = |text: &str| ByHand::parse_set(text).unwrap_err().to_string();
    assert_eq!(error("x"), "`x` is not KEY=VALUE");
    assert_eq!(error("a b=1"), "`a b` is no key of slurm.conf");
    assert!(error("a=").starts_with("a cannot have this value: it is empty"));
    assert!(error("a=b\nc").contains("control character"));
    assert!(error("a=b\\").contains("backslash"));
    for text in ["a=b \"c", "a=\"b c", "a=\"b\"c", "NodeName=n A=\"b\" c"] {
        assert!(error(text).contains("because of its quotes"), "{text}");
    }
    assert!(error("NodeName=n1 CPUs").contains("more than KEY=VALUE"));
    let empty = ByHand::parse_set("a=\"\"").unwrap();
    assert_eq!(empty, ("a".to_owned(), String::new()));
    let quoted = ByHand::parse_set("a=\"b c\"").unwrap();
    assert_eq!(quoted, ("a".to_owned(), "b c".to_owned()));
    assert!(ByHand::parse_unset("").is_err());
}

#[test]
fn nothing_is_handed_on_that_a_terminal_would_obey() {
    let root = Root::new();
    let conf = format!("{HEAD}SlurmUser=a\x1b[2J\nSlurmctldHost=b\x1b[2J\nAuthType=\x1b[2J\n");
    let resolves = |_: &str| false;
    let container = root.container((26, 5)).method(None).resolver(&resolves);
    let outcome = outcome(&container, &[("slurm.conf", &conf)]);
    let said = [outcome.changes(), outcome.findings()].concat();
    assert!(said.len() >= 4, "{said:?}");
    assert!(said.iter().all(|line| !line.contains('\x1b')), "{said:?}");
}

#[test]
fn one_line_each() {
    let root = Root::new();
    let conf = format!("{HEAD}SlurmUser=gone\nPluginDir=/plugins:/gone\n");
    let set = ConfigSet::of(&[("slurm.conf", &conf)]);
    let by_hand = ByHand {
        set: vec![ByHand::parse_set("MailProg=/x").unwrap()],
        unset: Vec::new(),
    };
    let adapted = adapt(&set, &root.container((26, 5)), &by_hand);
    let lines: Vec<_> = adapted.changes.iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "slurm.conf:4: `PluginDir=/plugins:/gone` becomes `PluginDir=/plugins`: no /gone here \
             [plugin-dir]",
            "slurm.conf:3: `SlurmUser=gone` is commented out: no account gone here [slurm-user]",
            "slurm.conf: `MailProg=/x` is added: set by hand [set]",
        ]
    );
    assert_eq!(
        serde_json::to_value(&adapted.changes[1]).unwrap(),
        serde_json::json!({
            "rule": "slurm-user", "file": "slurm.conf", "line": 3, "before": "SlurmUser=gone",
            "after": null, "reason": "no account gone here",
        })
    );
}

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
    let text = include_str!("../../../../../docs/adapting.md");
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

//! Files that the controller sent, or did not.

use super::*;

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

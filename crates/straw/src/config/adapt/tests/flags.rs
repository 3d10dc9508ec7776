//! Words that the Slurm here does not know.

use super::*;

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

//! Keys that the Slurm here does not know, or refuses; and those that it cannot do without.

use super::*;

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
fn what_is_essential() {
    let root = Root::new();
    let outcome = outcome(&root.container((26, 5)), &[("slurm.conf", "MailProg=x\n")]);
    assert_eq!(outcome.findings().len(), 2);
}

//! `--set` and `--unset`.

use super::*;

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

//! Names of controllers that do not resolve here.

use super::*;

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

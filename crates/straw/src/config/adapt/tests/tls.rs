//! The CA, and a cluster that wants TLS.

use super::*;

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

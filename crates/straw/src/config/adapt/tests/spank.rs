//! SPANK plugins.

use super::*;

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

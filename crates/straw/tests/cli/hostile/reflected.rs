//! A controller that knows the token, since it was sent it, and gives it back wherever it can.

use super::{said, serving, with_slurm_conf};
use crate::fake::{Fake, message};
use crate::straw::{Straw, token};

#[test]
fn a_token_that_comes_back_is_not_said() {
    let token = token(3600);
    let parts: Vec<_> = token.split('.').collect();
    let padded = format!("{}{token}", "x".repeat(150));
    let long = format!("\x01{}{token}\n{token}", "x".repeat(100));
    let conf = |line: &str| {
        let mut files = with_slurm_conf(&[]);
        let text = line.replace("TOKEN", &token);
        files[0].1.extend(format!("{text}\n").into_bytes());
        files
    };
    let named = |name: &str| with_slurm_conf(&[(name.as_bytes(), b"")]);
    let sets = [
        named(&token),
        named(&format!("/{token}")),
        named(&format!("a/../{token}")),
        named(&padded),
        named(&long),
        vec![
            (token.clone().into_bytes(), b"1".to_vec()),
            (token.clone().into_bytes(), b"2".to_vec()),
        ],
        conf("Include TOKEN"),
        conf("Include /TOKEN/x"),
        conf("SlurmUser=TOKEN"),
        conf("SlurmctldHost=TOKEN"),
        conf("ClusterName=TOKEN\nInclude %c"),
        conf("TOKEN="),
        conf("PluginDir=/TOKEN"),
        // Where a message has room for a piece of it only.
        conf(&format!("Include {}TOKEN", "x".repeat(150))),
        conf(&format!("SlurmUser={}TOKEN", "x".repeat(60))),
    ];
    for files in sets {
        let fake = serving(files);
        let server = fake.address.to_string();
        for more in [
            &["-vvv"][..],
            &["-vvv", "--json"],
            &["-vvv", "--adapt"],
            &["-vvv", "--explain"],
            &["--explain", "--json"],
            &["-vvv", "--log-format", "json", "--adapt"],
            &["--stdout", "nothing"],
        ] {
            let mut arguments = vec!["fetch", &server, "-o", "etc"];
            if more[0] == "--stdout" {
                arguments.truncate(2);
            }
            arguments.extend(more);
            let output = Straw::new(&arguments).env("SLURM_JWT", &token).run();
            let said = said(&output);
            for part in &parts {
                assert!(
                    !said.contains(part),
                    "{more:?}: {}",
                    said.replace(part, "PART")
                );
            }
        }
        for doctor in [&["doctor"][..], &["doctor", "--json"]] {
            let mut straw = Straw::new(doctor)
                .env("SLURM_JWT", &token)
                .env("STRAW_STORE", "store")
                .env("STRAW_SERVERS", &server);
            let said = said(&straw.run());
            for part in &parts {
                assert!(!said.contains(part), "{}", said.replace(part, "PART"));
            }
        }
    }
    // In the place of an answer.
    for reply in [0_u16, 2016, 5040, 8001, 8002, 65535] {
        let body = [&[0, 0, 0, 200][..], token.as_bytes()].concat();
        let fake = Fake::answers(move |version| message(version, reply, &body));
        let server = fake.address.to_string();
        for command in [&["fetch"][..], &["token", "renew", "--write", "token"]] {
            let arguments: Vec<_> = command.iter().copied().chain([&*server, "-vvv"]).collect();
            let output = Straw::new(&arguments).env("SLURM_JWT", &token).run();
            assert_eq!(output.status.code(), Some(8));
            let said = said(&output);
            for part in &parts {
                assert!(!said.contains(part), "{}", said.replace(part, "PART"));
            }
        }
    }
}

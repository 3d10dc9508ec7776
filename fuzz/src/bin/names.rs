//! Names of files that a controller sends, sets of them, and addresses that a person writes.

#![no_main]

use std::path::{Component, Path};

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use straw::config::{ConfigSet, FileName};
use straw::endpoint::Endpoint;
use straw_fuzz::{File, is_harmless, reply};

#[derive(Arbitrary, Debug)]
enum Input {
    Name(Vec<u8>),
    Set(Vec<File>),
    Endpoints(String),
}

libfuzzer_sys::fuzz_target!(|input: Input| match input {
    Input::Name(name) => match FileName::parse(&name) {
        Ok(name) => stays_inside(&name),
        Err(error) => assert!(is_harmless(&error.to_string()), "{error:?}"),
    },
    Input::Set(files) => match ConfigSet::new(reply(&files)) {
        Ok(set) => check(&set, &files),
        Err(error) => assert!(is_harmless(&error.to_string()), "{error:?}"),
    },
    Input::Endpoints(text) => endpoints(&text),
});

fn stays_inside(name: &FileName) {
    let base = Path::new("/etc/slurm");
    let path = base.join(name.as_str());
    let below = path.strip_prefix(base).expect("it is below");
    let mut components = Vec::new();
    for component in below.components() {
        match component {
            Component::Normal(part) => components.push(part.to_str().expect("UTF-8")),
            other => panic!("{other:?} in {name}"),
        }
    }
    assert!(!components.is_empty());
    for part in &components {
        assert!(!part.starts_with(['.', '-']) && is_harmless(part) && part.len() < 256);
    }
    assert_eq!(components.join("/"), name.as_str());
    let (directories, last) = name.split();
    assert!(directories.chain([last]).eq(components.iter().copied()));
    assert_eq!(FileName::parse(name.as_str().as_bytes()).as_ref(), Ok(name));
}

fn check(set: &ConfigSet, files: &[File]) {
    assert!(
        set.get("slurm.conf")
            .is_some_and(|file| !file.content.is_empty())
    );
    assert!(set.get("ca_cert.pem").is_none());
    for (name, file) in set.files() {
        stays_inside(name);
        assert!(
            files
                .iter()
                .any(|sent| sent.exists && sent.content == file.content)
        );
        for (other, _) in set.files() {
            let below = Path::new(other.as_str()).starts_with(name.as_str());
            assert!(name == other || !below, "{other} is below {name}");
        }
    }
}

fn endpoints(text: &str) {
    let list = match Endpoint::parse_list([text]) {
        Ok(list) => list,
        Err(error) => {
            assert!(is_harmless(&error.to_string()), "{error:?}");
            return;
        }
    };
    for one in &list {
        assert!(one.port != 0 && !one.host.is_empty());
        assert!(
            !one.host.contains(|c: char| c == ',' || c.is_whitespace()),
            "{one:?}"
        );
        // The dots at the end of a name are not shown.
        if one.host.ends_with('.') {
            continue;
        }
        let shown = one.to_string();
        assert_eq!(
            Endpoint::parse_list([shown.as_str()]).as_deref(),
            Ok(&[one.clone()][..])
        );
    }
}

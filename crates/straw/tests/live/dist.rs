//! What is given to others, installed as they would do it, in a fresh container, and used.
//!
//! `STRAW_DIST` names the directory that `cargo xtask dist` makes; `cargo xtask test` sets it.

use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use lab::artefact::{Loaded, machine};
use lab::{ClientOptions, Cluster, Container};
use libtest_mimic::Failed;

use crate::clusters::{Clusters, expect, holds, same};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Where the artefacts are put in a container.
const PLACE: &str = "/tmp/dist";

/// Where the artefacts are.
pub fn directory() -> Option<PathBuf> {
    std::env::var_os("STRAW_DIST").map(Into::into)
}

/// The tarball, below /usr/local: the program, a page for each command, and completion.
pub fn tarball(clusters: &Clusters) -> Result<(), Failed> {
    let machine = machine(clusters.release, &mut |line| eprintln!("{line}"))?;
    let cluster = clusters.shared()?;
    let client = fresh(&cluster, &machine)?;
    let name = put(&client, ".tar.gz")?;
    let unpack = [
        "tar",
        "xzf",
        &*name,
        "--strip-components=1",
        "-C",
        "/usr/local",
    ];
    client.exec(unpack).workdir(PLACE).check()?;
    fetches(&cluster, &client, "/usr/local/bin/straw")?;

    for (page, part) in [
        ("straw", "EXIT STATUS"),
        ("straw-token-renew", "--if-under"),
    ] {
        let shown = client.exec(["man", page]).env("MANWIDTH", "100").check()?;
        holds(&shown.text(), &[part])?;
    }
    let found = client.exec(["apropos", "straw"]).run()?.text();
    holds(&found, &["straw (1)", "straw-exec (1)"]).or_else(|_| {
        // The index is made by a timer or a hook, none of which is here.
        client.exec(["mandb", "--quiet"]).check()?;
        let found = client.exec(["apropos", "straw"]).check()?.text();
        holds(&found, &["straw (1)", "straw-exec (1)"])
    })?;

    // What somebody types at a terminal, with the tabulator.
    let rc = "/usr/share/bash-completion/bash_completion";
    let shell = format!("bash --noprofile --rcfile {rc} -i");
    let typed = client
        .exec(["script", "--quiet", "--command", &shell, "/dev/null"])
        .stdin("straw rele\t\nstraw token rene\t--help\nexit\n");
    holds(
        &typed.check()?.text(),
        &["straw releases", "20.11", "Usage: straw token renew"],
    )
}

/// The package: apt installs it and takes it away again, with all that it brought.
pub fn package(clusters: &Clusters) -> Result<(), Failed> {
    let cluster = clusters.shared()?;
    let client = fresh(&cluster, &cluster.images().debian)?;
    let name = put(&client, ".deb")?;
    let apt = |argument: &[&str]| {
        let apt = ["apt-get", "-y", "--quiet"].iter().chain(argument).copied();
        client.exec(apt).workdir(PLACE).check()
    };
    apt(&["install", &format!("./{name}")])?;
    fetches(&cluster, &client, "/usr/bin/straw")?;
    let changed = client.exec(["dpkg", "--verify", "straw"]).check()?;
    same("what is not as its sum says", changed.text().as_str(), "")?;
    let files = client.exec(["dpkg", "-L", "straw"]).check()?.text();
    holds(
        &files,
        &[
            "/usr/share/man/man1/straw.1.gz",
            "/usr/share/man/man1/straw-shim-install.1.gz",
            "/usr/share/bash-completion/completions/straw",
            "/usr/share/zsh/vendor-completions/_straw",
            "/usr/share/fish/vendor_completions.d/straw.fish",
            "/usr/share/doc/straw/copyright",
        ],
    )?;
    apt(&["remove", "straw"])?;
    let left = r#"while read -r file; do [ -d "$file" ] || [ ! -e "$file" ] || echo "$file"; done;
        find / -xdev -name '*straw*' -not -path '/tmp/dist*' -not -path '/proc/*'"#;
    let left = client.exec(["sh", "-c", left]).stdin(files).check()?.text();
    same("what is left", left.as_str(), "")
}

/// The wheel: pip installs it, and takes it away again.
pub fn wheel(clusters: &Clusters) -> Result<(), Failed> {
    let machine = machine(clusters.release, &mut |line| eprintln!("{line}"))?;
    let cluster = clusters.shared()?;
    let client = fresh(&cluster, &machine)?;
    let name = put(&client, ".whl")?;
    let pip = |arguments: &[&str]| {
        let pip = ["/opt/venv/bin/pip"].iter().chain(arguments).copied();
        client.exec(pip).workdir(PLACE).check()
    };
    // It needs nothing else.
    pip(&["install", "--no-index", &name])?;
    fetches(&cluster, &client, "/opt/venv/bin/straw")?;
    let shown = pip(&["show", "--files", "--verbose", "straw"])?.text();
    let version = format!("Version: {VERSION}");
    holds(
        &shown,
        &[&version, "bin/straw", "LICENSE-MIT", "MIT OR Apache-2.0"],
    )?;
    pip(&["uninstall", "--yes", "straw"])?;
    let left = client
        .exec(["find", "/opt/venv", "-iname", "*straw*"])
        .check()?;
    same("what is left", left.text().as_str(), "")
}

/// The image: it runs, others copy from it, and there is one file in it.
pub fn image(clusters: &Clusters) -> Result<(), Failed> {
    load()?;
    let cluster = clusters.shared()?;
    let token = cluster.token("alice", 600)?;
    let options = ClientOptions::default()
        .image(&format!("straw:{VERSION}"))
        .env("SLURM_JWT", &token);
    let run = cluster.first_process(&options, ["fetch", "ctl1", "--stdout", "slurm.conf"])?;
    let fetched = expect(0, run.run("")?)?;
    same(
        "slurm.conf",
        fetched.stdout,
        cluster.controller_file("slurm.conf")?,
    )?;

    let debian = &cluster.images().debian;
    let copied = cluster.build(&format!(
        "FROM {debian}\n\
         COPY --from=straw /straw /usr/local/bin/straw\n\
         COPY --from=straw / /image/\n",
    ))?;
    let client = fresh(&cluster, &copied)?;
    put(&client, ".oci.tar")?;
    let all = client.exec([
        "find",
        "/image",
        "-mindepth",
        "1",
        "-printf",
        "%P %m %U:%G\n",
    ]);
    same("the image", all.check()?.text().as_str(), "straw 755 0:0")?;
    fetches(&cluster, &client, "/usr/local/bin/straw")
}

/// The images `straw` and `straw:VERSION`, from the first [`load`] to [`unload`].
static LOADED: Mutex<Option<Loaded>> = Mutex::new(None);

/// Makes sure that Docker has the image `straw`.
pub fn load() -> Result<(), Failed> {
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if loaded.is_none() {
        let names = [VERSION, "latest"].map(|tag| format!("straw:{tag}"));
        *loaded = Some(Loaded::from(&find(".oci.tar")?, &names)?);
    }
    Ok(())
}

/// Leaves Docker as it was.
pub fn unload() {
    drop(LOADED.lock().unwrap_or_else(PoisonError::into_inner).take());
}

/// A container in the cluster's network, in which nobody has put straw.
fn fresh(cluster: &Cluster, image: &str) -> Result<Container, Failed> {
    Ok(cluster.client(&ClientOptions::default().image(image))?)
}

/// The artefact whose name ends so.
fn find(end: &str) -> Result<PathBuf, Failed> {
    let directory = directory().ok_or("STRAW_DIST is not set")?;
    let mut found = Vec::new();
    for entry in fs::read_dir(&directory)? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(end) {
            found.push(path);
        }
    }
    match <[PathBuf; 1]>::try_from(found) {
        Ok([path]) => Ok(path),
        Err(found) => Err(format!("one *{end} expected: {found:?}").into()),
    }
}

/// Puts an artefact into a container, verifies it as somebody who has fetched it would, and returns
/// its name.
fn put(client: &Container, end: &str) -> Result<String, Failed> {
    let path = find(end)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let sums = fs::read(path.with_file_name("SHA256SUMS"))?;
    client.put(&format!("{PLACE}/{name}"), fs::read(&path)?, 0o644, "root")?;
    client.put(&format!("{PLACE}/SHA256SUMS"), sums, 0o644, "root")?;
    let verify = [
        "sha256sum",
        "--check",
        "--strict",
        "--ignore-missing",
        "SHA256SUMS",
    ];
    let verified = client.exec(verify).workdir(PLACE).check()?.text();
    same("verified", verified, format!("{name}: OK"))?;
    Ok(name.into_owned())
}

/// Fails unless straw is this program, of this version, and fetches what the controller has.
fn fetches(cluster: &Cluster, client: &Container, program: &str) -> Result<(), Failed> {
    let version = client.exec([program, "--version"]).check()?.text();
    same("version", version, format!("straw {VERSION}"))?;
    let token = cluster.token("alice", 600)?;
    let fetch = [program, "fetch", "ctl1", "-o", "/tmp/dist/slurm"];
    let fetch = client.exec(fetch).env("SLURM_JWT", &token);
    expect(0, fetch.run()?)?;
    same(
        "slurm.conf",
        client.get("/tmp/dist/slurm/slurm.conf")?,
        cluster.controller_file("slurm.conf")?,
    )
}

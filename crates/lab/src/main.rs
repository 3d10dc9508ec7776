//! A cluster for use by hand: `cargo run -p lab -- up 26.05 --backup`.

#![forbid(unsafe_code)]

use std::io::{self, Read};
use std::process::ExitCode;
use std::time::Instant;

use lab::{Builder, Cluster, Release, image, provision};

const USAGE: &str =
    "usage: lab up RELEASE [--backup] [--no-configless] [--include] [--prolog] [--plugstack]
                      [--auth-slurm]
       lab images
       lab sweep

up      start a cluster of release 22.05, 24.11 or 26.05, and remove it on Ctrl-C or at the end of
        standard input
images  build the images of every release
sweep   remove what dead processes have left in Docker";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args.as_slice() {
        ["up", release, options @ ..] => up(release, options),
        ["images"] => images(),
        ["sweep"] => lab::sweep().map_err(Into::into),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn tell(line: &str) {
    eprintln!("{line}");
}

fn images() -> Result<()> {
    provision::docker(&mut tell)?;
    for (release, images) in image::prepare_all(&Release::ALL, &mut tell)? {
        println!(
            "{release}: {} {} {}",
            images.package, images.client, images.controller
        );
    }
    Ok(())
}

fn up(release: &str, options: &[&str]) -> Result<()> {
    let release: Release = release.parse()?;
    let builder = options
        .iter()
        .try_fold(Cluster::builder(release), |builder, option| {
            choose(builder, option)
        })?;
    provision::docker(&mut tell)?;
    image::prepare(release, &mut tell)?;

    let began = Instant::now();
    let cluster = builder.start()?;
    let client = cluster.client(&lab::ClientOptions::default())?;
    eprintln!(
        "Slurm {} is up after {:.1} s",
        cluster.version(),
        began.elapsed().as_secs_f64()
    );
    for index in 0..cluster.controllers() {
        let name = cluster.controller(index).name();
        println!(
            "docker exec -it {name} bash    # {}",
            cluster.controller_ip(index)
        );
    }
    println!("docker exec -it {} bash", cluster.node().name());
    println!(
        "docker exec -it -u alice {} bash    # a client",
        client.name()
    );
    println!(
        "export SLURM_CONF_SERVER=ctl1 SLURM_JWT={}",
        cluster.token("alice", 86_400)?
    );

    // Ctrl-C ends this process as it is, and the cluster's keeper removes the rest.
    eprintln!("Ctrl-C or the end of the input removes it.");
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn choose(builder: Builder, option: &str) -> Result<Builder> {
    Ok(match option {
        "--backup" => builder.backup(true),
        "--no-configless" => builder.configless(false),
        "--include" => builder.include(true),
        "--prolog" => builder.prolog(true),
        "--plugstack" => builder.plugstack(true),
        "--auth-slurm" => builder.auth(lab::Auth::Slurm),
        other => return Err(format!("unknown option {other}\n{USAGE}").into()),
    })
}

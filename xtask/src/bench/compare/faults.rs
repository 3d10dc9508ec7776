//! What goes wrong, tried in each way at the same time.

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lab::image::Packaged;
use lab::{Cluster, Container, LabError};
use serde_json::json;

use super::way::{WAYS, Way};
use super::world::{Lab, Seen, Special, World, join};
use crate::Result;
use crate::bench::table::{Row, seconds, telling_line};

/// How often a straw refreshes where it is measured when a change is seen.
pub const REFRESH: &str = "5s";

/// How long a change is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long a backup may take to be in charge.
const TAKEOVER: Duration = Duration::from_secs(60);

/// A fault, and what was seen of it in each way that it can happen to.
pub struct Fault {
    name: &'static str,
    seen: Vec<Option<Seen>>,
}

impl Fault {
    pub fn row(&self) -> Row {
        Row::new(
            self.name,
            self.seen.iter().map(|seen| match seen {
                None => "–".to_owned(),
                Some(seen) => match seen.status {
                    0 if seen.seconds < 2.0 => "works".to_owned(),
                    0 => format!("works, {}", seconds(seen.seconds)),
                    124 => format!("goes on trying after {}", seconds(seen.seconds)),
                    _ => format!("**fails**, {}", seconds(seen.seconds)),
                },
            }),
        )
    }

    /// Adds what was said where it failed to the messages of other faults. What a way has said
    /// before it does not say again.
    pub fn messages(&self, all: &mut Vec<Message>) {
        let mut new: Vec<Message> = Vec::new();
        for (way, seen) in WAYS.iter().zip(&self.seen) {
            let Some(seen) = seen.as_ref().filter(|seen| seen.status != 0) else {
                continue;
            };
            let text = telling_line(&seen.said);
            let said =
                |message: &Message| message.text == text && message.ways.contains(&way.title);
            if all.iter().any(said) {
                continue;
            }
            match new.iter_mut().find(|message| message.text == text) {
                Some(message) => message.ways.push(way.title),
                None => new.push(Message {
                    fault: self.name,
                    text,
                    ways: vec![way.title],
                }),
            }
        }
        all.append(&mut new);
    }
}

/// What was said in a fault, and the ways in which it was.
pub struct Message {
    pub fault: &'static str,
    pub text: String,
    pub ways: Vec<&'static str>,
}

/// Everything that can go wrong: the row of a change, and the faults.
pub struct Trials {
    pub change: Row,
    pub faults: Vec<Fault>,
}

/// Tries it all. The clusters are of no use afterwards.
pub fn try_all(world: &World, older: &[Packaged], tell: &mut dyn FnMut(&str)) -> Result<Trials> {
    let plain = Special::default();
    let sinfo = |way: &Way, special: &Special<'_>| {
        let seen = world.fresh(way, special, &way.sinfo(&world.rest));
        seen.map(Some)
    };
    let slurms = |way: &Way, special: &Special<'_>| match way.commands {
        true => sinfo(way, special),
        false => Ok(None),
    };
    let mut faults = Vec::new();
    let mut add = |name, seen| faults.push(Fault { name, seen });

    tell("a change of the configuration");
    let change = change(world)?;

    tell("an expired token");
    // A round time ago, so that all say the same.
    const AGO: u64 = 3 * 86_400 + 3600 + 1800;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let expired = world
        .munge
        .sign(&json!({"sun": "alice", "iat": now - AGO - 1800, "exp": now - AGO}));
    add(
        "a token that has expired",
        each(|_, way| match way.token {
            true => sinfo(
                way,
                &Special {
                    token: Some(&expired),
                    ..Special::default()
                },
            ),
            false => Ok(None),
        })?,
    );

    tell("a container without the account slurm");
    let before = "userdel slurm";
    add(
        "no account `slurm` in the container",
        each(|_, way| {
            slurms(
                way,
                &Special {
                    before,
                    ..Special::default()
                },
            )
        })?,
    );

    tell("a PluginDir that only the hosts have");
    for host in world.clusters().into_iter().flat_map(hosts) {
        host.exec(["mkdir", "-p", "/opt/site/slurm"]).check()?;
    }
    configured(
        world,
        "PluginDir=/usr/lib/x86_64-linux-gnu/slurm-wlm:/opt/site/slurm",
        || {
            add(
                "a `PluginDir` that only the hosts have",
                each(|_, way| slurms(way, &plain))?,
            );
            Ok(())
        },
    )?;

    tell("a filter that only the hosts have");
    configured(
        world,
        "CliFilterPlugins=cli_filter/lua,cli_filter/site",
        || {
            let sbatch = |way: &Way| match way.commands {
                true => world.fresh(way, &plain, &way.sbatch()).map(Some),
                false => Ok(None),
            };
            add(
                "a `cli_filter` that only the hosts have (`sbatch`)",
                each(|_, way| sbatch(way))?,
            );
            Ok(())
        },
    )?;

    tell("a client of an older release");
    configured(world, "UrlParserType=url_parser/internal", || {
        let seen = each(|index, way| {
            let image = Some(older[index].name.as_str());
            slurms(
                way,
                &Special {
                    image,
                    ..Special::default()
                },
            )
        })?;
        add("a client of 24.11, and a key of 26.05", seen);
        Ok(())
    })?;

    // From here on containers are also there before, with what they have been told until then.
    let warm = each(|_, way| {
        let container = world.container(way, &plain)?;
        let up = world.up(way, &container)?;
        let seen = world.run(&container, &way.sinfo(&world.rest))?;
        match (up.status, seen.status) {
            (0, 0) => Ok(container),
            _ => Err(LabError::Command {
                command: way.title.to_owned(),
                status: seen.status,
                stderr: seen.said,
            }),
        }
    })?;
    let in_warm = || each(|index, way| world.run(&warm[index], &way.sinfo(&world.rest)).map(Some));
    let in_fresh = || each(|_, way| sinfo(way, &plain));

    tell("srun");
    let srun = |index: usize, way: &Way| match way.commands {
        true => world.run(&warm[index], &way.srun()).map(Some),
        false => Ok(None),
    };
    add("`srun`, a job on a node", each(srun)?);

    tell("slurmctld of the primary down, the backup in charge");
    world.on_both(|cluster| {
        cluster.stop(0)?;
        cluster.wait_for_answer(1, TAKEOVER).map(drop)
    })?;
    add(
        "primary's slurmctld down, with a backup; running container",
        in_warm()?,
    );
    add(
        "primary's slurmctld down, with a backup; new container",
        in_fresh()?,
    );

    tell("no slurmctld at all");
    world.on_both(|cluster| cluster.stop(1))?;
    add("no slurmctld; running container", in_warm()?);
    add("no slurmctld; new container", in_fresh()?);

    tell("the primary's host frozen, the backup in charge");
    world.on_both(|cluster| {
        cluster.start(0)?;
        cluster.wait_for_answer(0, TAKEOVER)?;
        cluster.start(1)?;
        freeze(cluster)
    })?;
    add(
        "primary's host frozen, with a backup; running container",
        in_warm()?,
    );
    add(
        "primary's host frozen, with a backup; new container",
        in_fresh()?,
    );

    tell("the primary's host off the network, the backup in charge");
    world.on_both(|cluster| cluster.cut_off(0))?;
    add(
        "primary's host off, with a backup; running container",
        in_warm()?,
    );
    add(
        "primary's host off, with a backup; new container",
        in_fresh()?,
    );

    Ok(Trials { change, faults })
}

/// Does the same in every way at once: most of it is waiting.
fn each<T: Send>(act: impl Fn(usize, &Way) -> Lab<T> + Sync) -> Lab<Vec<T>> {
    thread::scope(|scope| {
        let act = &act;
        let all: Vec<_> = WAYS
            .iter()
            .enumerate()
            .map(|(index, way)| scope.spawn(move || act(index, way)))
            .collect();
        all.into_iter().map(join).collect()
    })
}

/// Freezes the primary, and waits until the backup says that it is in charge: a command that was asked
/// would wait for the primary first.
fn freeze(cluster: &Cluster) -> Lab<()> {
    let takeovers = || -> Lab<usize> {
        let log = cluster.controller_log(1)?;
        Ok(log.matches("Running as primary controller").count())
    };
    let before = takeovers()?;
    cluster.pause(0)?;
    let give_up = Instant::now() + TAKEOVER;
    while takeovers()? == before {
        if Instant::now() > give_up {
            return Err(LabError::NotUp {
                what: "the backup does not take over from a frozen primary".to_owned(),
                log: cluster.controller_log(1)?,
            });
        }
        thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

fn hosts(cluster: &Cluster) -> Vec<&Container> {
    let controllers = (0..cluster.controllers()).map(|index| cluster.controller(index));
    controllers.chain([cluster.node()]).collect()
}

/// Does something while the controllers' slurm.conf has this line, in place of one with its key.
fn configured(world: &World, line: &str, act: impl FnOnce() -> Result) -> Result {
    let with = |cluster: &Cluster, line: &str| -> Lab<Vec<u8>> {
        let before = cluster.controller_file("slurm.conf")?;
        let key = line.split('=').next().unwrap_or(line);
        let text = String::from_utf8_lossy(&before);
        let others = text.lines().filter(|other| !other.starts_with(key));
        let lines: Vec<&str> = [line].into_iter().chain(others).collect();
        cluster.write_controller_file("slurm.conf", (lines.join("\n") + "\n").as_bytes())?;
        cluster.reconfigure()?;
        Ok(before)
    };
    let [munge, slurm] = world.clusters();
    let before = (with(munge, line)?, with(slurm, line)?);
    act()?;
    for (cluster, conf) in [(munge, before.0), (slurm, before.1)] {
        cluster.write_controller_file("slurm.conf", &conf)?;
        cluster.reconfigure()?;
    }
    Ok(())
}

/// How long after `scontrol reconfigure` a command in a running container acts on it.
fn change(world: &World) -> Result<Row> {
    let containers = each(|_, way| {
        let special = Special {
            refresh: Some(REFRESH),
            ..Special::default()
        };
        let container = world.container(way, &special)?;
        if way.commands {
            world.up(way, &container)?;
            world.run(&container, &way.sbatch())?;
        }
        Ok(container)
    })?;
    world.filter("2")?;
    let changed = Instant::now();
    let cells = each(|index, way| {
        if !way.commands {
            return Ok("–".to_owned());
        }
        if !way.host.is_empty() {
            return Ok("when its host's files change".to_owned());
        }
        for asked in 1.. {
            let seen = world.run(&containers[index], &way.sbatch())?;
            let after = changed.elapsed();
            if seen.said.contains("filter 2") {
                let time = seconds(after.as_secs_f64());
                return Ok(match asked {
                    _ if way.straw => format!("after {time}, refreshing every {REFRESH}"),
                    1 => "by the next command".to_owned(),
                    _ => format!("after {time}"),
                });
            }
            if after > PATIENCE {
                break;
            }
        }
        Ok(format!("**not** within {} s", PATIENCE.as_secs()))
    })?;
    for (way, container) in WAYS.iter().zip(&containers) {
        world.forget(way, container)?;
    }
    Ok(Row::new("a change at the controller is seen", cells))
}

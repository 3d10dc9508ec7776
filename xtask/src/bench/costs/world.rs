//! A real controller, and a client container from which commands are measured.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lab::{ClientNetwork, ClientOptions, Cluster, Container, Release};
use serde_json::Value;

use crate::Result;
use crate::bench::sdiag::{self, Count};
use crate::binary;

/// The longest that a command in the container may take, with all its runs.
const LIMIT: Duration = Duration::from_secs(300);

/// Whose token it is, and who runs the commands.
const USER: &str = "alice";

/// What is brought into the container.
pub struct Tools {
    pub straw: PathBuf,
    measure: Vec<u8>,
    pub floor: Vec<u8>,
    /// Parts of valgrind, where this machine has it.
    valgrind: Vec<(&'static str, Vec<u8>)>,
}

impl Tools {
    /// Builds them, straw as it is given to others.
    pub fn build() -> Result<Self> {
        let straw = match std::env::var_os("STRAW_BIN") {
            Some(binary) => binary.into(),
            None => binary::straw()?,
        };
        Ok(Self {
            straw,
            measure: fs::read(binary::build("lab", "measure")?)?,
            floor: fs::read(binary::build("lab", "floor")?)?,
            valgrind: valgrind().unwrap_or_default(),
        })
    }
}

/// What counts instructions: static programs but for one, which wants nothing but a glibc.
fn valgrind() -> Option<Vec<(&'static str, Vec<u8>)>> {
    let machine = match std::env::consts::ARCH {
        "x86_64" => "callgrind-amd64-linux",
        _ => "callgrind-arm64-linux",
    };
    let directory = Path::new("/usr/libexec/valgrind");
    // Debian has a script in front of it, which is for a debug server.
    let program = fs::read("/usr/bin/valgrind.bin").or_else(|_| fs::read("/usr/bin/valgrind"));
    let mut files = vec![("valgrind", program.ok()?)];
    for name in [machine, "default.supp"] {
        files.push((name, fs::read(directory.join(name)).ok()?));
    }
    Some(files)
}

/// A cluster, and a client of it with a network of its own. What the client writes into `/bench` is in
/// memory, so that no disk is measured.
pub struct World {
    pub cluster: Cluster,
    pub client: Container,
    /// The controller's, with its port.
    pub address: String,
    pub token: String,
    counts: bool,
}

impl World {
    pub fn new(release: Release, tools: &Tools) -> Result<Self> {
        let cluster = Cluster::builder(release).start()?;
        let options = ClientOptions::default()
            .straw(&tools.straw)
            .network(ClientNetwork::Cluster)
            .tmpfs("/bench:size=4g,mode=1777")
            // Copies of the image's, on the disk itself. Otherwise Docker's way to stack file systems
            // is measured with each library that a command opens; with fuse-overlayfs that is most
            // of its time, and a thousand at once are refused.
            .volume("bin", "/usr/bin", false)
            .volume("lib", "/usr/lib", false)
            .volume("local", "/usr/local/bin", false)
            .volume("etc", "/etc", false)
            // To count the descriptors of a straw, which lets nobody else look.
            .option("--cap-add=SYS_PTRACE");
        let client = cluster.client(&options)?;
        client.put("/usr/local/bin/measure", &*tools.measure, 0o755, "root")?;
        client.put("/usr/local/bin/floor", &*tools.floor, 0o755, "root")?;
        for (name, bytes) in &tools.valgrind {
            client.put(&format!("/opt/valgrind/{name}"), &**bytes, 0o755, "root")?;
        }
        let ip = cluster.controller_ip(0);
        // No name server is measured either.
        let script = "echo \"$0 ctl1\" >>/etc/hosts";
        client.exec(["sh", "-c", script, ip]).check()?;
        client.exec(["straw", "shim", "install", "sinfo"]).check()?;
        Ok(Self {
            address: format!("{ip}:6817"),
            token: cluster.token(USER, 86_400)?,
            counts: !tools.valgrind.is_empty(),
            cluster,
            client,
        })
    }

    /// What `measure` says, a value a line.
    fn measure(&self, words: &[&str]) -> Result<Vec<Value>> {
        let output = self
            .client
            .exec(["measure"].iter().chain(words).copied())
            .user(USER)
            .env("SLURM_JWT", &self.token)
            .limit(LIMIT)
            .check()?;
        let lines = output.text();
        let values = lines.lines().map(serde_json::from_str);
        Ok(values.collect::<std::result::Result<_, _>>()?)
    }

    /// Commands in turn, so many times.
    pub fn runs(&self, runs: usize, lines: &[&str]) -> Result<Vec<Times>> {
        let runs = runs.to_string();
        let lines = lines.join(" --and ");
        let mut words = vec!["runs", &runs];
        words.extend(lines.split_whitespace());
        let times = self.measure(&words)?;
        times.iter().map(Times::read).collect()
    }

    /// One run of a command, as the kernel saw it.
    pub fn trace(&self, line: &str) -> Result<Trace> {
        let mut words = vec!["trace"];
        words.extend(line.split_whitespace());
        let values = self.measure(&words)?;
        Trace::read(values.first().ok_or("measure said nothing")?)
    }

    /// How many instructions of its own one run of a command takes, where they can be counted.
    pub fn instructions(&self, line: &str) -> Result<Option<u64>> {
        if !self.counts {
            return Ok(None);
        }
        let line = line.replace("{run}", "counted");
        let is_variable = |word: &&str| word.contains('=') && !word.starts_with('-');
        let words: Vec<&str> = line.split_whitespace().collect();
        let (variables, command) =
            words.split_at(words.iter().take_while(|word| is_variable(word)).count());
        let tool = [
            "/opt/valgrind/valgrind",
            "--tool=callgrind",
            "--callgrind-out-file=/dev/null",
        ];
        let mut exec = self
            .client
            .exec(tool.iter().chain(command).copied())
            .user(USER)
            .env("SLURM_JWT", &self.token)
            .env("VALGRIND_LIB", "/opt/valgrind");
        for (name, value) in variables.iter().filter_map(|word| word.split_once('=')) {
            exec = exec.env(name, value);
        }
        let said = exec.check()?.error_text();
        // A line for each of its processes.
        let counts = said.lines().filter_map(|line| {
            line.split_once("Collected : ")?
                .1
                .trim()
                .parse::<u64>()
                .ok()
        });
        Ok(Some(counts.sum()).filter(|&sum| sum > 0))
    }

    /// So many of a command at once.
    pub fn storm(&self, count: usize, seconds: u64, line: &str) -> Result<Value> {
        let (count, seconds) = (count.to_string(), seconds.to_string());
        let mut words = vec!["storm", &count, &seconds];
        words.extend(line.split_whitespace());
        let mut values = self.measure(&words)?;
        values.pop().ok_or_else(|| "measure said nothing".into())
    }

    /// What the controller counts meanwhile.
    pub fn counted<T>(&self, what: impl FnOnce() -> Result<T>) -> Result<(T, Vec<Count>)> {
        let controller = self.cluster.controller(0);
        controller.exec(["sdiag", "--reset"]).check()?;
        let value = what()?;
        let text = controller.exec(["sdiag"]).check()?.text();
        Ok((value, sdiag::of_commands(&text)))
    }

    /// Empties what was written, and starts from nothing.
    pub fn clean(&self) -> Result {
        let script = "rm -rf /bench/* /tmp/straw-*";
        self.client.exec(["sh", "-c", script]).check()?;
        Ok(())
    }

    /// Records what a fetch says to the controller, and what the floor is to do in its place.
    pub fn record(&self) -> Result<Floor> {
        let script = "rm -rf /bench/record /bench/recorded";
        self.client.exec(["sh", "-c", script]).check()?;
        let line = format!(
            "record 127.0.0.1:6817 {} /bench/record /bench/recorded \
             straw -q fetch 127.0.0.1 -o /bench/recorded",
            self.address
        );
        let words: Vec<&str> = line.split_whitespace().collect();
        let values = self.measure(&words)?;
        let value = values.first().ok_or("nothing was recorded")?;
        let pieces = value["pieces"].as_str().ok_or("no pieces")?.to_owned();
        Ok(Floor {
            address: self.address.clone(),
            exchanges: value["exchanges"].as_u64().ok_or("no exchanges")?,
            bytes: pieces
                .split(',')
                .filter_map(|piece| piece.rsplit(':').next()?.parse::<u64>().ok())
                .sum(),
            pieces,
        })
    }
}

/// What was recorded.
pub struct Floor {
    address: String,
    pieces: String,
    pub exchanges: u64,
    /// Those of the files.
    pub bytes: u64,
}

impl Floor {
    /// All that straw said, or only what it said last.
    pub fn line(&self, all: bool) -> String {
        let first = if all { 1 } else { self.exchanges };
        let requests: String = (first..=self.exchanges)
            .map(|number| format!(" /bench/record/{number}.request"))
            .collect();
        let Self {
            address, pieces, ..
        } = self;
        format!("floor {address} /bench/floor-{{run}} {pieces}{requests}")
    }
}

/// What runs of a command took, in milliseconds: medians, and the quartiles around one.
#[derive(Clone, Copy)]
pub struct Times {
    pub wall: f64,
    pub low: f64,
    pub high: f64,
    pub cpu: f64,
    /// More than the first command of the same round, wall and CPU.
    pub more: f64,
    pub more_cpu: f64,
}

impl Times {
    fn read(value: &Value) -> Result<Self> {
        let number = |name| number(value, name);
        Ok(Self {
            wall: number("wall_ms")?,
            low: number("wall_low_ms")?,
            high: number("wall_high_ms")?,
            cpu: number("cpu_ms")?,
            more: number("more_ms")?,
            more_cpu: number("more_cpu_ms")?,
        })
    }

    /// The median, and between which times half of the runs were.
    pub fn spread(&self) -> String {
        format!(
            "{} ms ({}–{})",
            digits(self.wall),
            digits(self.low),
            digits(self.high)
        )
    }
}

/// What the kernel saw of a run.
pub struct Trace {
    pub calls: u64,
    pub threads: u64,
    pub processes: u64,
    pub peak_kib: u64,
    pub connections: u64,
    pub sent: u64,
    pub received: u64,
}

impl Trace {
    fn read(value: &Value) -> Result<Self> {
        let number = |name| number(value, name).map(|number| number as u64);
        Ok(Self {
            calls: number("calls")?,
            threads: number("threads")?,
            processes: number("processes")?,
            peak_kib: number("peak_kib")?,
            connections: number("connections")?,
            sent: number("sent")?,
            received: number("received")?,
        })
    }

    pub fn peak_mib(&self) -> f64 {
        self.peak_kib as f64 / 1024.0
    }
}

fn number(value: &Value, name: &str) -> Result<f64> {
    let number = value[name].as_f64();
    number.ok_or_else(|| format!("no {name} in {value}").into())
}

/// A number with as many digits as it is worth.
pub fn digits(number: f64) -> String {
    match number.abs() {
        small if small < 9.95 => format!("{number:.1}"),
        _ => format!("{number:.0}"),
    }
}

/// Types of messages and how many there were, without those that no command sends.
pub fn messages(counts: &[Count]) -> String {
    let counts: BTreeMap<&str, u64> = counts
        .iter()
        .map(|of| (of.name.as_str(), of.count))
        .collect();
    let told: Vec<String> = counts
        .iter()
        .map(|(name, count)| format!("{count} {name}"))
        .collect();
    match told.is_empty() {
        true => "none".to_owned(),
        false => told.join(", "),
    }
}

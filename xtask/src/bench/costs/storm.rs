//! A thousand at once, from one machine to one controller.

use std::collections::BTreeMap;

use serde_json::Value;

use super::aim::Aim;
use super::world::{World, messages};
use crate::Result;
use crate::bench::sdiag::Count;
use crate::bench::table::{Row, telling_line};

const COUNT: usize = 1000;

/// The longest that one may take.
const SECONDS: u64 = 120;

/// What came of one.
struct Storm {
    name: &'static str,
    told: Value,
    counts: Vec<Count>,
}

pub struct Storms(Vec<Storm>);

pub const HEAD: [&str; 6] = [
    "good",
    "first after",
    "median after",
    "last after",
    "messages, as sdiag counts them",
    "slurmctld's time for a REQUEST_CONFIG",
];

pub fn measure(world: &World) -> Result<Storms> {
    let mut storms = Vec::new();
    for (name, line) in [
        (
            "straw fetch --wait 60s, version unknown",
            "straw -q fetch ctl1 --wait 60s -o /bench/storm-{run}",
        ),
        (
            "sinfo, configless",
            "SLURM_CONF_SERVER=ctl1 /usr/bin/sinfo -h",
        ),
    ] {
        world.clean()?;
        // What they are made of is in memory, as it is on a machine that does this all day.
        world.runs(3, &[line])?;
        let (told, counts) = world.counted(|| world.storm(COUNT, SECONDS, line))?;
        storms.push(Storm { name, told, counts });
    }
    world.clean()?;
    Ok(Storms(storms))
}

impl Storms {
    pub fn rows(&self) -> Vec<Row> {
        self.0.iter().map(Storm::row).collect()
    }

    /// What those said that did not do what they should.
    pub fn failures(&self) -> String {
        let lines: Vec<String> = self.0.iter().filter_map(Storm::failures).collect();
        match lines.is_empty() {
            true => "None failed.".to_owned(),
            false => lines.join("\n"),
        }
    }

    pub fn aim(&self) -> Aim {
        let failed = COUNT as u64 - self.0[0].good();
        Aim::at_most(
            "failures of 1,000 cold fetches at once",
            0.0,
            failed as f64,
            "",
        )
    }
}

impl Storm {
    fn good(&self) -> u64 {
        self.told["good"].as_u64().unwrap_or_default()
    }

    fn row(&self) -> Row {
        let after = |name: &str| match self.told[name].as_f64() {
            Some(seconds) => format!("{seconds:.2} s"),
            None => "–".to_owned(),
        };
        let config = self.counts.iter().find(|of| of.name == "REQUEST_CONFIG");
        Row::new(
            self.name,
            [
                format!("{} of {COUNT}", self.good()),
                after("first_s"),
                after("median_s"),
                after("last_s"),
                messages(&self.counts),
                config.map_or_else(|| "–".to_owned(), |of| format!("{} µs", of.average)),
            ],
        )
    }

    fn failures(&self) -> Option<String> {
        let mut lines: BTreeMap<String, u64> = BTreeMap::new();
        for failure in self.told["failures"].as_array()? {
            let said = telling_line(failure["said"].as_str().unwrap_or_default());
            let how = match failure["status"].as_i64() {
                Some(status) => format!("status {status}"),
                None => format!("not over after {SECONDS} s"),
            };
            let count = failure["count"].as_u64().unwrap_or_default();
            *lines.entry(format!("{how}, {said}")).or_default() += count;
        }
        let mut said: Vec<(u64, String)> = lines
            .into_iter()
            .map(|(line, count)| (count, line))
            .collect();
        said.sort_by(|one, other| other.cmp(one));
        let said: Vec<String> = said
            .into_iter()
            .take(5)
            .map(|(count, line)| format!("{count} × {line}"))
            .collect();
        (!said.is_empty()).then(|| format!("- {}: {}", self.name, said.join("; ")))
    }
}

//! The page: what stands in `page.md`, with a run's tables in their places.

use std::collections::BTreeMap;

use super::aim::Aim;
use crate::bench::facts::Facts;
use crate::bench::table::{Row, table};

pub struct Page {
    pub facts: Facts,
    pub load_after: String,
    pub minutes: f64,
    pub version: String,
    pub older_version: String,
    pub aims: Vec<Aim>,
    /// What was run for the tables of a fetch.
    pub lines: String,
    /// What was said in storms.
    pub failures: String,
    /// Bytes of memory for a byte of a large set: straw's, and the floor's.
    pub memory: [f64; 2],
    pub tables: BTreeMap<&'static str, String>,
}

impl Page {
    pub fn text(&self) -> String {
        let aims: Vec<Row> = self.aims.iter().map(row).collect();
        let met = self.aims.iter().filter(|aim| aim.met).count();
        let [straw, floor] = self.memory.map(|bytes| format!("{bytes:.1}"));
        let mut places = BTreeMap::from([
            ("date", self.facts.date.clone()),
            ("commit", self.facts.commit.clone()),
            ("machine", self.facts.machine.clone()),
            ("load", self.facts.load.clone()),
            ("load_after", self.load_after.clone()),
            ("minutes", format!("{:.0}", self.minutes)),
            ("version", self.version.clone()),
            ("older_version", self.older_version.clone()),
            ("met", met.to_string()),
            ("count", self.aims.len().to_string()),
            ("aims", table(&["aim", "this run", ""], &aims)),
            ("lines", self.lines.clone()),
            ("failures", self.failures.clone()),
            ("memory", straw),
            ("floor_memory", floor),
        ]);
        places.extend(
            self.tables
                .iter()
                .map(|(&name, table)| (name, table.clone())),
        );
        let mut text = include_str!("page.md").to_owned();
        for (name, value) in places {
            text = text.replace(&format!("{{{{{name}}}}}"), value.trim_end());
        }
        text
    }
}

fn row(aim: &Aim) -> Row {
    let cells = [aim.aim.clone(), aim.got.clone(), aim.verdict().to_owned()];
    Row::new(&aim.what, cells)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_in_the_page_is_filled() {
        let names = [
            "cold",
            "older",
            "shim",
            "artefacts",
            "sizes",
            "nodes",
            "storms",
            "watches",
        ];
        let text = Page {
            facts: Facts::example(),
            load_after: "0.2".to_owned(),
            minutes: 4.2,
            version: "26.05.5".to_owned(),
            older_version: "22.05.8".to_owned(),
            aims: vec![
                Aim::at_most("a time", 2.0, 1.94, " ms"),
                Aim::at_most("another", 2.0, 3.0, " ms"),
            ],
            lines: "- `straw fetch -o /bench/{run}`".to_owned(),
            failures: "None failed.".to_owned(),
            memory: [2.0, 1.0],
            tables: names.map(|name| (name, format!("|{name}|"))).into(),
        }
        .text();
        for name in names {
            assert!(text.contains(&format!("|{name}|")), "{text}");
        }
        assert!(
            text.contains("| a time | at most 2 ms | 1.94 ms | met |"),
            "{text}"
        );
        assert!(
            text.contains("| another | at most 2 ms | 3 ms | **missed** |"),
            "{text}"
        );
        assert!(text.contains("1 of 2 were met"), "{text}");
        assert!(!text.contains("{{"), "{text}");
    }
}

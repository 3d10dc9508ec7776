//! How large straw is.

use std::fs;

use super::aim::Aim;
use super::world::Tools;
use crate::Result;
use crate::bench::table::Row;
use crate::dist;

pub struct Artefacts {
    binary: usize,
    image: usize,
    floor: usize,
}

pub const HEAD: [&str; 2] = ["bytes", "MiB"];

pub fn measure(tools: &Tools) -> Result<Artefacts> {
    Ok(Artefacts {
        binary: fs::read(&tools.straw)?.len(),
        image: dist::image(&tools.straw)?.bytes.len(),
        floor: tools.floor.len(),
    })
}

impl Artefacts {
    pub fn rows(&self) -> Vec<Row> {
        let row = |name: &str, bytes: usize| {
            let cells = [bytes.to_string(), format!("{:.2}", mib(bytes))];
            Row::new(name, cells)
        };
        vec![
            row("the binary, static", self.binary),
            row(
                "the image, as an archive with a compressed layer",
                self.image,
            ),
            row(
                "the floor, static: Rust's library, and a page of code",
                self.floor,
            ),
        ]
    }

    pub fn aims(&self) -> Vec<Aim> {
        let aim = |what, bytes| Aim::at_most(what, 4.0, mib(bytes), " MiB");
        vec![
            aim("the size of the binary", self.binary),
            aim("the size of the image", self.image),
        ]
    }
}

fn mib(bytes: usize) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

//! What straw is to keep to, and whether it did in a run.

/// An aim, in words, and what came out.
pub struct Aim {
    pub what: String,
    pub aim: String,
    pub got: String,
    pub met: bool,
}

impl Aim {
    /// A figure that is not to be above another.
    pub fn at_most(what: &str, most: f64, got: f64, unit: &str) -> Self {
        // What is compared is what is shown, so that the page does not contradict itself.
        let got = (got * 100.0).round() / 100.0;
        let show = |figure: f64| match figure.fract() == 0.0 {
            true => format!("{figure:.0}{unit}"),
            false => format!("{figure:.2}{unit}"),
        };
        Self {
            what: what.to_owned(),
            aim: format!("at most {}", show(most)),
            got: show(got),
            met: got <= most,
        }
    }

    pub fn verdict(&self) -> &'static str {
        match self.met {
            true => "met",
            false => "**missed**",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_is_on_the_figure_that_is_shown() {
        for (got, shown, verdict) in [
            (1.994, "1.99 ms", "met"),
            (2.0, "2 ms", "met"),
            (2.004, "2 ms", "met"),
            (2.006, "2.01 ms", "**missed**"),
            (f64::NAN, "NaN ms", "**missed**"),
        ] {
            let aim = Aim::at_most("a time", 2.0, got, " ms");
            assert_eq!((aim.got.as_str(), aim.verdict()), (shown, verdict));
        }
    }
}

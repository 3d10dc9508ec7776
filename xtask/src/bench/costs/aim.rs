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

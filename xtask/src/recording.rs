//! What was to be seen at a terminal, as a picture that plays: SVG, with nothing in it but text and
//! the times at which it appears.
//!
//! Where nothing plays (a printed page, a reader who wants no motion) all of it is there at once.

use std::fmt::Write as _;

/// A line is as long as this, in characters; longer ones are broken, at a space where there is one.
const COLUMNS: usize = 96;

/// The size of a character, in pixels, as the usual fonts have it at 14 pixels.
const CHARACTER: f64 = 8.43;
const LINE: usize = 19;

/// What is around the text: the frame, and the bar at its top.
const MARGIN: usize = 20;
const BAR: usize = 34;

/// Seconds until a command is there, until its output follows, and for each line of that to be read.
const BEFORE: f64 = 0.5;
const TYPED: f64 = 0.7;
const READ: f64 = 0.15;

/// Something that was to be seen.
#[derive(Debug)]
pub enum Scene {
    /// Words about what comes next.
    Words(String),
    /// A command, and what it wrote.
    Command {
        prompt: String,
        command: String,
        output: String,
    },
}

/// All that was to be seen.
#[derive(Debug, Default)]
pub struct Recording(Vec<Scene>);

impl Recording {
    pub fn add(&mut self, scene: Scene) {
        self.0.push(scene);
    }

    /// The picture. The version is that of the cluster's Slurm.
    pub fn to_svg(&self, version: &str) -> String {
        let mut screen = Screen::default();
        for scene in &self.0 {
            screen.row += usize::from(screen.row > 0);
            screen.time += BEFORE;
            match scene {
                Scene::Words(words) => {
                    screen.put("words", &format!("# {}", words.replace('\n', "\n# ")));
                }
                Scene::Command {
                    prompt,
                    command,
                    output,
                } => {
                    let line = format!("{prompt} {command}");
                    screen.put_typed(prompt.chars().count(), &line);
                    screen.time += TYPED;
                    screen.put("", output.trim_end());
                    screen.time += READ * output.lines().count() as f64;
                }
            }
        }
        let width = (COLUMNS as f64 * CHARACTER).ceil() as usize + 2 * MARGIN;
        let height = BAR + screen.row * LINE + MARGIN;
        let text = screen.text;
        format!(
            r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" aria-labelledby="title what">
<title id="title">straw in a container beside a cluster of Slurm {version}</title>
<desc id="what">Recorded from a real run by `cargo xtask demo --record`; only the pauses are made up.</desc>
<style>
text {{ font: 14px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; fill: #d7dde5; white-space: pre }}
.words {{ fill: #8fa0b3 }}
.prompt {{ fill: #4ecba5 }}
.typed {{ fill: #ffffff; font-weight: 600 }}
g {{ animation: wait backwards }}
@keyframes wait {{ from, to {{ visibility: hidden }} }}
@media (prefers-reduced-motion: reduce) {{ g {{ animation: none }} }}
</style>
<rect width="{width}" height="{height}" rx="9" fill="#10161d"/>
<circle cx="22" cy="18" r="5.5" fill="#e5645a"/><circle cx="40" cy="18" r="5.5" fill="#e8b64c"/><circle cx="58" cy="18" r="5.5" fill="#58b368"/>
{text}</svg>
"##
        )
    }
}

/// Where the next line goes, and when.
#[derive(Default)]
struct Screen {
    text: String,
    row: usize,
    time: f64,
}

impl Screen {
    /// Puts lines of one kind.
    fn put(&mut self, class: &str, text: &str) {
        if text.is_empty() {
            return;
        }
        self.begin();
        for line in text.lines().flat_map(broken) {
            let line = escaped(&line);
            self.line(&format!("<tspan class=\"{class}\">{line}</tspan>"));
        }
        self.text.push_str("</g>\n");
    }

    /// Puts a line with a prompt of this length.
    fn put_typed(&mut self, prompt: usize, text: &str) {
        self.begin();
        for (at, line) in broken(text).into_iter().enumerate() {
            let prompt = if at == 0 { prompt } else { 0 };
            let before: String = line.chars().take(prompt).collect();
            let after: String = line.chars().skip(prompt).collect();
            let (before, after) = (escaped(&before), escaped(&after));
            self.line(&format!(
                "<tspan class=\"prompt\">{before}</tspan><tspan class=\"typed\">{after}</tspan>"
            ));
        }
        self.text.push_str("</g>\n");
    }

    /// What follows appears together.
    fn begin(&mut self) {
        let _ = writeln!(
            self.text,
            "<g style=\"animation-duration: {:.2}s\">",
            self.time
        );
    }

    fn line(&mut self, spans: &str) {
        self.row += 1;
        let y = BAR + self.row * LINE - 4;
        let _ = writeln!(
            self.text,
            "<text x=\"{MARGIN}\" y=\"{y}\" xml:space=\"preserve\">{spans}</text>"
        );
    }
}

/// A line in rows that fit.
fn broken(line: &str) -> Vec<String> {
    let mut rows = vec![String::new()];
    for word in line.split_inclusive(' ') {
        let mut word: Vec<char> = word.chars().collect();
        loop {
            let row = rows.last_mut().map_or(0, |row| row.chars().count());
            if row + word.len() > COLUMNS && row > 0 {
                rows.push(String::new());
                continue;
            }
            let rest = word.split_off(word.len().min(COLUMNS));
            rows.last_mut()
                .into_iter()
                .for_each(|row| row.extend(&word));
            if rest.is_empty() {
                break;
            }
            word = rest;
        }
    }
    rows
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_there_in_its_order() {
        let mut recording = Recording::default();
        recording.add(Scene::Words("First:".to_owned()));
        recording.add(Scene::Command {
            prompt: "alice@client $".to_owned(),
            command: "echo '<&>'".to_owned(),
            output: format!("<&>\n\n{} y\n", "x".repeat(COLUMNS + 2)),
        });
        let svg = recording.to_svg("26.05.5");
        let places = [
            "Slurm 26.05.5",
            "animation-duration: 0.50s",
            "# First:",
            "animation-duration: 1.00s",
            "alice@client $</tspan><tspan class=\"typed\"> echo '&lt;&amp;>'",
            "animation-duration: 1.70s",
            ">&lt;&amp;></tspan>",
            &"x".repeat(COLUMNS),
            ">xx y</tspan>",
        ];
        let mut from = 0;
        for place in places {
            let at = svg[from..].find(place);
            from += at.unwrap_or_else(|| panic!("no {place} after {from} in {svg}"));
        }
    }
}

//! Lines over sizes, both axes logarithmic, as a picture that is readable on light and dark pages.

use std::fmt::Write as _;

/// A panel: what is up, and lines.
pub struct Panel {
    pub title: &'static str,
    pub series: Vec<Series>,
}

/// A line.
pub struct Series {
    pub name: &'static str,
    pub points: Vec<(f64, f64)>,
}

const WIDTH: f64 = 440.0;
const HEIGHT: f64 = 330.0;

/// Around the lines: left, right, above, below.
const AROUND: [f64; 4] = [58.0, 34.0, 64.0, 46.0];

/// What a line looks like, so that they can be told apart without colours, too.
const LOOKS: [(&str, &str); 3] = [("ours", ""), ("floor", "2 4"), ("peer", "9 5")];

/// The picture, with what stands below its axes.
pub fn svg(title: &str, below: &str, panels: &[Panel]) -> String {
    let width = WIDTH * panels.len() as f64;
    let mut text = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" width="{width}" height="{HEIGHT}" role="img" aria-labelledby="title">
  <title id="title">{title}</title>
  <style>
    :root {{ --page: #ffffff; --line: #d0d7de; --text: #1f2328; --dim: #57606a; --ours: #0b7a5c; --floor: #8250df; --peer: #b35900 }}
    @media (prefers-color-scheme: dark) {{
      :root {{ --page: #0d1117; --line: #30363d; --text: #e6edf3; --dim: #9aa4af; --ours: #4ecba5; --floor: #bc8cff; --peer: #ffa657 }}
    }}
    text {{ font: 13px system-ui, "Segoe UI", "DejaVu Sans", Helvetica, Arial, sans-serif; fill: var(--dim) }}
    .head {{ fill: var(--text); font-weight: 600 }}
    .end {{ text-anchor: end }}
    .middle {{ text-anchor: middle }}
    .grid {{ stroke: var(--line) }}
    .page {{ fill: var(--page); stroke: var(--line) }}
    .series {{ fill: none; stroke-width: 2 }}
    .ours {{ stroke: var(--ours) }}
    .floor {{ stroke: var(--floor) }}
    .peer {{ stroke: var(--peer) }}
  </style>
  <rect class="page" x=".5" y=".5" width="{:.0}" height="{:.0}" rx="10"/>
"##,
        width - 1.0,
        HEIGHT - 1.0,
    );
    for (at, panel) in panels.iter().enumerate() {
        let _never_fails = writeln!(
            text,
            r#"  <g transform="translate({} 0)">"#,
            at as f64 * WIDTH
        );
        draw(&mut text, panel, below);
        text += "  </g>\n";
    }
    text + "</svg>\n"
}

fn draw(text: &mut String, panel: &Panel, below: &str) {
    let [left, right, above, under] = AROUND;
    let all = || panel.series.iter().flat_map(|series| &series.points);
    let across = Axis::of(all().map(|point| point.0), left, WIDTH - right);
    let up = Axis::of(all().map(|point| point.1), HEIGHT - under, above);
    let mut line = |line: String| {
        text.push_str("    ");
        text.push_str(&line);
        text.push('\n');
    };
    line(format!(
        r#"<text class="head" x="{left}" y="26">{}</text>"#,
        panel.title
    ));
    let (bottom, end) = (HEIGHT - under, WIDTH - right);
    for decade in across.decades() {
        let x = across.place(decade);
        line(format!(
            r#"<path class="grid" d="M{x:.1} {above}V{bottom}"/><text class="middle" x="{x:.1}" y="{}">{}</text>"#,
            bottom + 17.0,
            size(decade)
        ));
    }
    for decade in up.decades() {
        let y = up.place(decade);
        line(format!(
            r#"<path class="grid" d="M{left} {y:.1}H{end}"/><text class="end" x="{}" y="{:.1}">{decade}</text>"#,
            left - 6.0,
            y + 4.5
        ));
    }
    line(format!(
        r#"<text class="middle" x="{:.0}" y="{:.0}">{below}</text>"#,
        (left + end) / 2.0,
        HEIGHT - 11.0
    ));
    let mut key = left;
    for (series, (class, dashes)) in panel.series.iter().zip(LOOKS) {
        let way: Vec<String> = series
            .points
            .iter()
            .map(|&(x, y)| format!("{:.1} {:.1}", across.place(x), up.place(y)))
            .collect();
        let way = way.join("L");
        line(format!(
            r#"<path class="series {class}" stroke-dasharray="{dashes}" d="M{way}"/>"#
        ));
        line(format!(
            r#"<path class="series {class}" stroke-dasharray="{dashes}" d="M{key} 46h24"/><text x="{}" y="50.5">{}</text>"#,
            key + 30.0,
            series.name
        ));
        key += 52.0 + 6.8 * series.name.len() as f64;
    }
}

/// An axis, from decade to decade.
struct Axis {
    least: f64,
    most: f64,
    from: f64,
    to: f64,
}

impl Axis {
    fn of(figures: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        // What is nothing has no place on it.
        let (least, most) = figures
            .filter(|figure| *figure > 0.0)
            .map(f64::log10)
            .fold((f64::MAX, f64::MIN), |(least, most), figure| {
                (least.min(figure), most.max(figure))
            });
        let (least, most) = (least.floor(), most.ceil());
        Self {
            least,
            most: most.max(least + 1.0),
            from,
            to,
        }
    }

    fn place(&self, figure: f64) -> f64 {
        let part = (figure.log10() - self.least) / (self.most - self.least);
        self.from + part.clamp(0.0, 1.0) * (self.to - self.from)
    }

    fn decades(&self) -> impl Iterator<Item = f64> {
        let count = (self.most - self.least) as i32;
        let least = self.least as i32;
        (0..=count).map(move |at| 10_f64.powi(least + at))
    }
}

fn size(bytes: f64) -> String {
    match bytes {
        small if small < 1e3 => format!("{small} B"),
        medium if medium < 1e6 => format!("{} kB", medium / 1e3),
        large => format!("{} MB", large / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_reaches_from_decade_to_decade() {
        let axis = Axis::of([2.0, 0.0, 700.0].into_iter(), 0.0, 300.0);
        assert_eq!(
            axis.decades().collect::<Vec<_>>(),
            [1.0, 10.0, 100.0, 1000.0]
        );
        assert!((axis.place(10.0) - 100.0).abs() < 1e-9);
        assert!((axis.place(1000.0) - 300.0).abs() < 1e-9);
        // One figure alone makes an axis, too.
        let one = Axis::of([10.0].into_iter(), 0.0, 300.0);
        assert_eq!(one.decades().count(), 2);
    }

    #[test]
    fn a_picture_has_a_line_for_each_series() {
        let series = |name, high| Series {
            name,
            points: vec![(1e3, high), (5e7, high * 100.0)],
        };
        let panel = |title| Panel {
            title,
            series: vec![series("straw", 2.0), series("the floor", 1.0)],
        };
        let svg = svg("sizes", "bytes", &[panel("wall"), panel("memory")]);
        assert_eq!(svg.matches("<g ").count(), 2, "{svg}");
        // The line, and that in the key.
        assert_eq!(svg.matches(r#"class="series ours""#).count(), 4, "{svg}");
        assert!(svg.contains(">100 MB<"), "{svg}");
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }
}

//! The tables of a page, and how figures and messages are written in them.

use std::fmt::Write;

/// A row: what was looked at, and a cell for each column.
pub struct Row {
    pub name: String,
    pub cells: Vec<String>,
}

impl Row {
    pub fn new(name: impl Into<String>, cells: impl IntoIterator<Item = String>) -> Self {
        Self {
            name: name.into(),
            cells: cells.into_iter().collect(),
        }
    }
}

/// A table in Markdown. Neighbours who say the same each keep their cell, so that a column can be
/// read by itself.
pub fn table(head: &[&str], rows: &[Row]) -> String {
    let mut text = String::new();
    line(&mut text, "", head.iter().copied());
    text += "|---|";
    text += &"---|".repeat(head.len());
    text.push('\n');
    for row in rows {
        line(&mut text, &row.name, row.cells.iter().map(String::as_str));
    }
    text
}

fn line<'a>(text: &mut String, name: &str, cells: impl Iterator<Item = &'a str>) {
    text.push_str("| ");
    text.push_str(&cell(name));
    text.push_str(" |");
    for content in cells {
        let _never_fails = write!(text, " {} |", cell(content));
    }
    text.push('\n');
}

/// What would end a cell or a line is not there.
fn cell(content: &str) -> String {
    content.replace('\n', " ").replace('|', "\\|")
}

/// A time as a reader wants it: no more digits than the measurement has.
pub fn seconds(seconds: f64) -> String {
    match seconds {
        short if short < 0.095 => format!("{:.0} ms", short * 1000.0),
        medium if medium < 9.95 => format!("{medium:.1} s"),
        long => format!("{long:.0} s"),
    }
}

/// The line of what a command said that says most: the first that is an error, or the first of all.
/// The time and the program in front of it are left out.
pub fn telling_line(said: &str) -> String {
    let lines = || said.lines().map(str::trim).filter(|line| !line.is_empty());
    let error = |line: &str| line.find("error: ").or_else(|| line.find("fatal: "));
    let telling = lines().find_map(|line| Some(&line[error(line)?..]));
    let telling = telling.or_else(|| lines().next());
    let telling = telling.unwrap_or("nothing at all");
    let mut short: String = telling.chars().take(150).collect();
    if short.len() < telling.len() {
        short.push('…');
    }
    format!("`{short}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_cell_for_each_way() {
        let rows = [Row::new("ports", ["none".to_owned(), "a|b\nc".to_owned()])];
        assert_eq!(
            table(&["one", "two"], &rows),
            "|  | one | two |\n|---|---|---|\n| ports | none | a\\|b c |\n"
        );
    }

    #[test]
    fn times_have_as_many_digits_as_they_are_worth() {
        let shown = [0.0042, 0.0949, 0.123, 9.94, 9.96, 30.2].map(seconds);
        assert_eq!(shown, ["4 ms", "95 ms", "0.1 s", "9.9 s", "10 s", "30 s"]);
    }

    #[test]
    fn a_message_is_its_first_error_without_time_and_program() {
        assert_eq!(telling_line(""), "`nothing at all`");
        assert_eq!(
            telling_line("[2026-11-23T08:20:06.650] fatal: no\n"),
            "`fatal: no`"
        );
        assert_eq!(
            telling_line("Terminated\n\nsinfo: error: [no] time\n"),
            "`error: [no] time`"
        );
        assert_eq!(telling_line("curl: (22) no\n"), "`curl: (22) no`");
        assert!(telling_line(&"x".repeat(300)).ends_with("x…`"));
    }
}

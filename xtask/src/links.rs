//! Links between the Markdown files of the repository: each leads to a file that is there, and to
//! a heading in it. Pages that are named in the code are there, too.
//!
//! Pages of the book (`docs/`) lead to pages of the book, since nothing else is in it, and each of
//! them stands in its summary: mdBook leaves out what does not.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use crate::Result;
use crate::run::root;

/// Where the book's pages are.
pub const BOOK: &str = "docs";

/// Looks at every link of every file.
pub fn check() -> Result {
    let root = root();
    let read = |path: &Path| fs::read_to_string(root.join(path));
    let is_there = |path: &Path| root.join(path).exists();
    let mut pages = BTreeMap::new();
    for path in files(&root, "md")? {
        let text = read(&path)?;
        pages.insert(path, Page::read(&text));
    }
    let mut faults = faults(&pages, is_there);
    for path in files(&root, "rs")? {
        let text = read(&path)?;
        let gone = named(&text).into_iter().filter(|page| !is_there(page));
        faults.extend(gone.map(|page| format!("{}: no {}", path.display(), page.display())));
    }
    match faults.is_empty() {
        true => Ok(()),
        false => Err(format!("links that lead nowhere:\n{}", faults.join("\n")).into()),
    }
}

/// The pages that a text names: `docs/guide.md`.
fn named(text: &str) -> Vec<PathBuf> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '/' | '.');
    let words = text
        .split(|c| !is_name(c))
        .map(|word| word.trim_end_matches('.'));
    let pages = words.filter_map(|word| word.find("docs/").map(|at| &word[at..]));
    pages
        .filter(|page| page.ends_with(".md"))
        .map(PathBuf::from)
        .collect()
}

/// The files of a kind below a directory, relative to it. What xtask itself has is left out: pages
/// to be filled in, and the examples of the tests below.
fn files(root: &Path, kind: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut directories = vec![PathBuf::new()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(root.join(&directory))? {
            let entry = entry?;
            let name = entry.file_name();
            let path = directory.join(&name);
            let hidden = name.as_encoded_bytes().starts_with(b".");
            if entry.file_type()?.is_dir() {
                if !hidden && name != "target" && name != "xtask" {
                    directories.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == kind) {
                found.push(path);
            }
        }
    }
    Ok(found)
}

/// What leads away from a page, and what can be led to in it.
#[derive(Debug, Default)]
struct Page {
    links: Vec<String>,
    anchors: BTreeSet<String>,
}

impl Page {
    fn read(text: &str) -> Self {
        let mut page = Self::default();
        let mut heading: Option<String> = None;
        for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
            match event {
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => {
                    let title = heading.take().unwrap_or_default();
                    page.add_anchor(&title);
                }
                Event::Text(text) | Event::Code(text) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&text);
                    }
                }
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    page.links.push(dest_url.into_string());
                }
                Event::Html(html) | Event::InlineHtml(html) => {
                    for attribute in ["src=\"", "srcset=\"", "href=\""] {
                        let values = html.split(attribute).skip(1);
                        let values = values.filter_map(|rest| rest.split('"').next());
                        page.links.extend(values.map(str::to_owned));
                    }
                }
                _ => {}
            }
        }
        page
    }

    /// The name of a heading, as git hosts and mdBook make it.
    fn add_anchor(&mut self, title: &str) {
        let kept = title.to_lowercase();
        let kept = kept
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | ' '));
        let name: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        let mut anchor = name.clone();
        let mut again = 0;
        while !self.anchors.insert(anchor) {
            again += 1;
            anchor = format!("{name}-{again}");
        }
    }
}

/// The links that lead nowhere, each with its file.
fn faults(pages: &BTreeMap<PathBuf, Page>, is_there: impl Fn(&Path) -> bool) -> Vec<String> {
    let mut faults = Vec::new();
    let summary = Path::new(BOOK).join("SUMMARY.md");
    let mut listed = BTreeSet::from([summary.clone()]);
    for (path, page) in pages {
        for link in &page.links {
            let mut fault = |what: &str| faults.push(format!("{}: {link}: {what}", path.display()));
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = match link.split_once('#') {
                Some((file, anchor)) => (file, Some(anchor)),
                None => (link.as_str(), None),
            };
            let Some(target) = resolve(path, file) else {
                fault("it leads out of the repository");
                continue;
            };
            if !is_there(&target) {
                fault("there is no such file");
                continue;
            }
            if path.starts_with(BOOK) && !target.starts_with(BOOK) {
                fault("it leads out of the book");
            }
            if let Some(anchor) = anchor
                && !pages
                    .get(&target)
                    .is_some_and(|page| page.anchors.contains(anchor))
            {
                fault("there is no such heading");
            }
            if *path == summary {
                listed.insert(target);
            }
        }
    }
    let unlisted = pages
        .keys()
        .filter(|path| path.starts_with(BOOK) && !listed.contains(*path));
    faults.extend(unlisted.map(|path| format!("{}: the summary does not list it", path.display())));
    faults
}

/// The file that a link names, relative to the root; its own file where it names none.
fn resolve(from: &Path, link: &str) -> Option<PathBuf> {
    if link.is_empty() {
        return Some(from.to_owned());
    }
    let mut target = from.parent()?.to_owned();
    for component in Path::new(link).components() {
        match component {
            Component::Normal(name) => target.push(name),
            Component::CurDir => {}
            Component::ParentDir if target.pop() => {}
            _ => return None,
        }
    }
    Some(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_found_in_code() {
        let text =
            "//! (docs/a.md, section 2), `../../docs/b/c.md`. See docs/d.md.\n// docs/ e.md docs/x";
        let found = ["docs/a.md", "docs/b/c.md", "docs/d.md"].map(PathBuf::from);
        assert_eq!(named(text), found);
    }

    #[test]
    fn a_link_that_leads_nowhere_is_found() {
        let page = |text: &str| Page::read(text);
        let pages = BTreeMap::from([
            ("README.md".into(), page("[a](docs/a.md#two-words)")),
            ("docs/SUMMARY.md".into(), page("[a](a.md)")),
            (
                "docs/a.md".into(),
                page(
                    "# Two `words`\n\n# Two words\n\n[well](#two-words-1) [c](https://c/#c) \
                     ![p](p.svg) [no](no.md)\n[no](#no), [out](../README.md) [far](../../x)\n\n\
                     <img src=\"none.svg\">\n\n```\n[code](code.md)\n```\n",
                ),
            ),
            ("docs/b.md".into(), page("")),
        ]);
        let there = ["README.md", "docs/a.md", "docs/b.md", "docs/p.svg"];
        let faults = faults(&pages, |path| {
            there.iter().any(|name| path == Path::new(name))
        });
        let expected = [
            "docs/a.md: no.md: there is no such file",
            "docs/a.md: #no: there is no such heading",
            "docs/a.md: ../README.md: it leads out of the book",
            "docs/a.md: ../../x: it leads out of the repository",
            "docs/a.md: none.svg: there is no such file",
            "docs/b.md: the summary does not list it",
        ];
        assert_eq!(faults, expected);
    }
}

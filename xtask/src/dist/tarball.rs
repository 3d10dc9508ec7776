//! A tar archive to be unpacked below `/usr/local`, or wherever somebody likes.

use super::Artefact;
use super::content::Content;
use super::pack::{Directories, File, gzip, tar};
use crate::Result;

pub fn make(content: &Content) -> Result<Artefact> {
    let top = content.release.stem();
    let mut files = vec![
        File::executable(format!("{top}/bin/straw"), &*content.binary),
        File::new(format!("{top}/share/doc/straw/README.md"), &*content.readme),
        File::new(
            format!("{top}/share/doc/straw/CHANGELOG.md"),
            &*content.changelog,
        ),
        File::new(format!("{top}/share/doc/straw/LICENSE-MIT"), &*content.mit),
        File::new(
            format!("{top}/share/doc/straw/LICENSE-APACHE"),
            &*content.apache,
        ),
    ];
    let notices = format!("{top}/share/doc/straw/THIRD-PARTY.txt");
    files.push(File::new(notices, &*content.notices));
    files.extend(content.completions(&top, "site-functions"));
    for (name, page) in &content.man {
        files.push(File::new(format!("{top}/share/man/man1/{name}"), &**page));
    }
    let archive = tar(&files, content.release.time, Directories::Named)?;
    Ok(Artefact {
        name: format!("{top}.tar.gz"),
        bytes: gzip(&archive)?,
    })
}

//! What a command and a controller say to one another: a relay between them, which keeps it.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::json;

use crate::Result;
use crate::line::Line;

/// Writes `1.request`, `1.reply`, `2.request` and so on into the directory, which only its owner may
/// look into: there is a token in a request.
///
/// Prints how many exchanges there were, and where the bytes of the files that the command wrote stand in
/// the last reply.
pub fn run(
    listen: SocketAddr,
    controller: SocketAddr,
    directory: &Path,
    files: &Path,
    line: &Line,
) -> Result {
    fs::create_dir_all(directory)?;
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    fs::set_permissions(directory, private)?;
    let listener = TcpListener::bind(listen)?;
    let mut child = line.command(1).spawn()?;
    let (ended, at_end) = (Arc::new(AtomicBool::new(false)), listener.local_addr()?);
    let waiting = thread::spawn({
        let ended = Arc::clone(&ended);
        move || {
            let status = child.wait();
            ended.store(true, Ordering::SeqCst);
            // Whoever waits for connections has to hear of it.
            drop(TcpStream::connect(at_end));
            status
        }
    });
    let mut exchanges = 0;
    let mut last = Vec::new();
    for number in 1.. {
        let (client, _) = listener.accept()?;
        if ended.load(Ordering::SeqCst) {
            break;
        }
        let controller = TcpStream::connect(controller)?;
        let (to, from) = (controller.try_clone()?, client.try_clone()?);
        let request = thread::spawn(move || pass_on(from, to));
        let reply = pass_on(controller, client);
        fs::write(directory.join(format!("{number}.reply")), &reply)?;
        let request = request.join().map_err(|_| "the relay came to an end")?;
        fs::write(directory.join(format!("{number}.request")), request)?;
        (exchanges, last) = (number, reply);
    }
    let status = waiting.join().map_err(|_| "nobody waited")??;
    if !status.success() {
        return Err(format!("{}: {status}", line.program()).into());
    }
    // The length in front is no part of what it tells the length of.
    let pieces = pieces(last.get(4..).unwrap_or_default(), files)?;
    println!("{}", json!({"exchanges": exchanges, "pieces": pieces}));
    Ok(())
}

/// Where the files are in a reply: `slurm.conf:36:1024,cgroup.conf:1100:80`.
fn pieces(reply: &[u8], files: &Path) -> Result<String> {
    let mut pieces = Vec::new();
    for file in fs::read_dir(files)? {
        let file = file?;
        let name = file.file_name().to_string_lossy().into_owned();
        // What straw keeps for itself.
        if name.starts_with('.') {
            continue;
        }
        let bytes = fs::read(file.path())?;
        let offset = reply
            .windows(bytes.len().max(1))
            .position(|window| window == bytes)
            .ok_or_else(|| format!("{name} is not in the reply"))?;
        pieces.push(format!("{name}:{offset}:{}", bytes.len()));
    }
    pieces.sort();
    Ok(pieces.join(","))
}

/// Passes on what comes, until no more does, and returns it.
fn pass_on(mut from: TcpStream, mut to: TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    let mut piece = vec![0; 1 << 16];
    loop {
        let count = match from.read(&mut piece) {
            Ok(0) | Err(_) => break,
            Ok(count) => count,
        };
        all.extend_from_slice(&piece[..count]);
        if to.write_all(&piece[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
    all
}

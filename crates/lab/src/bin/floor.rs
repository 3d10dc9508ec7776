//! The least that a fetch can cost: bytes that were recorded go out, replies come in, and pieces of the
//! last one go into files.
//!
//! ```text
//! floor 172.17.0.2:6817 /tmp/out slurm.conf:36:1024,cgroup.conf:1100:80 1.request 2.request
//! ```
//!
//! It checks nothing, knows nothing of Slurm, and leaves half a file behind if it is interrupted.

#![forbid(unsafe_code)]

use std::error::Error;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [address, directory, pieces, requests @ ..] = words.as_slice() else {
        return Err("usage: floor ADDRESS DIRECTORY NAME:OFFSET:LENGTH,... REQUEST...".into());
    };
    let address: SocketAddr = address.parse()?;
    let mut reply = Vec::new();
    for request in requests {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.write_all(&fs::read(request)?)?;
        let mut length = [0; 4];
        // One up to 24.05 closes, where it does not speak the version.
        if stream.read_exact(&mut length).is_err() {
            continue;
        }
        reply = vec![0; u32::from_be_bytes(length).try_into()?];
        stream.read_exact(&mut reply)?;
    }
    let directory = Path::new(directory);
    fs::create_dir_all(directory)?;
    for piece in pieces.split(',') {
        let mut parts = piece.rsplitn(3, ':');
        let mut next = || parts.next().ok_or("a piece is NAME:OFFSET:LENGTH");
        let (length, offset, name): (usize, usize, _) =
            (next()?.parse()?, next()?.parse()?, next()?);
        let bytes = reply.get(offset..offset + length);
        fs::write(directory.join(name), bytes.ok_or("a short reply")?)?;
    }
    Ok(())
}

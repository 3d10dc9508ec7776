//! Takes apart a reply of a slurmctld, as it was captured: length prefix, header, body.
//!
//! ```text
//! decode <reply.bin
//! ```

use std::error::Error;
use std::io::{self, Read as _, Write as _};

use slurm_protocol::{MAX_FRAME, Message, Prefix, Reply, prefix};

fn main() -> Result<(), Box<dyn Error>> {
    let mut bytes = Vec::new();
    io::stdin().read_to_end(&mut bytes)?;
    let (length, frame) = bytes.split_first_chunk().ok_or("it is too short")?;
    let Prefix::Frame(length) = prefix(*length, MAX_FRAME)? else {
        return Err("it is HTTP".into());
    };
    let frame = frame.get(..length).ok_or("it breaks off")?;
    let reply = Reply::decode(frame)?;

    let mut stdout = io::stdout();
    writeln!(stdout, "version  {}", reply.header.version)?;
    writeln!(stdout, "message  {}", reply.header.message_type)?;
    if let Some(plugin) = reply.auth {
        writeln!(stdout, "signed   {plugin}")?;
    }
    writeln!(stdout, "body     {} bytes", reply.body.len())?;
    match reply.message()? {
        Message::Config(config) | Message::Reconfigure(config) => {
            for file in config.files.iter().filter(|file| file.exists) {
                let (size, name) = (file.content.len(), file.name.escape_ascii());
                writeln!(stdout, "{size:8} {name}")?;
            }
        }
        Message::ReturnCode(code) => writeln!(stdout, "code     {code}")?,
        // It is not shown: it may still be good.
        Message::AuthToken(_) => writeln!(stdout, "a token")?,
        _ => {}
    }
    Ok(())
}

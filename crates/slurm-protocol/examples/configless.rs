//! Fetches a cluster's configuration with this crate and `std::net`.
//!
//! ```text
//! SLURM_JWT=eyJ… configless 198.18.0.2:6817              lists the files
//! SLURM_JWT=eyJ… configless 198.18.0.2:6817 slurm.conf   prints one of them
//! ```
//!
//! The token is in the variable, and never an argument, which everyone on the machine can see.

use std::env;
use std::error::Error;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use slurm_protocol::{
    Answer, Attempt, ConfigFlags, Credential, Message, Negotiation, Outcome, Prefix, Reply,
    RequestConfig, RequestPing, Step, encode_request, prefix,
};

/// A longer reply, in bytes, is not read.
const LONGEST: usize = 64 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let usage = "give a controller's address and port, and perhaps a file's name";
    let controller = arguments.next().ok_or(usage)?.parse()?;
    let wanted = arguments.next();
    // The error of `var` could show what the variable holds.
    let token = env::var("SLURM_JWT").map_err(|_| "SLURM_JWT holds no token")?;

    let Message::Config(config) = fetch(controller, token.trim())? else {
        return Err("it sent something else than its configuration".into());
    };
    let mut files = config.files.iter().filter(|file| file.exists);
    let mut stdout = io::stdout();
    match wanted {
        Some(name) => {
            let file = files.find(|file| file.name == name.as_bytes());
            stdout.write_all(&file.ok_or("it sent no such file")?.content)?;
        }
        // The names come from the peer: a terminal could obey them.
        None => files.try_for_each(|file| {
            let (size, name) = (file.content.len(), file.name.escape_ascii());
            writeln!(stdout, "{size:8} {name}")
        })?,
    }
    Ok(())
}

/// Asks at the versions that the negotiation says, until there is an answer to the request.
fn fetch(controller: SocketAddr, token: &str) -> Result<Message, Box<dyn Error>> {
    let username = None;
    let credential = Credential::Jwt { token, username };
    let request = RequestConfig::new(ConfigFlags::CLIENT);
    let mut negotiation = Negotiation::unknown();
    loop {
        let (bytes, patience) = match negotiation.attempt() {
            // A controller that refuses a probe does so at once. Who takes longer may want TLS,
            // and must not see the token.
            Attempt::Probe(version) => (encode_request(&RequestPing, version, None)?, 2),
            Attempt::Request(version) => {
                (encode_request(&request, version, Some(&credential))?, 10)
            }
        };
        let (answer, message) = exchange(controller, &bytes, Duration::from_secs(patience))?;
        let Step::Done(outcome) = negotiation.answer(answer) else {
            continue;
        };
        return match (outcome, message) {
            (Outcome::Answered, Some(Message::ReturnCode(code))) => Err(code.to_string().into()),
            (Outcome::Answered, Some(message)) => Ok(message),
            (Outcome::Refused { .. }, _) => Err("it refused the token".into()),
            (Outcome::TlsRequired { .. }, _) => Err("it wants TLS".into()),
            (Outcome::NoCommonVersion { controller }, _) => {
                Err(format!("it speaks {controller} and accepts nothing that this does").into())
            }
            (Outcome::Http, _) => Err("it speaks HTTP".into()),
            _ => Err("it said nothing: it refused the token, or is no slurmctld".into()),
        };
    }
}

/// One request and its reply, over a connection of their own.
fn exchange(
    controller: SocketAddr,
    request: &[u8],
    patience: Duration,
) -> Result<(Answer, Option<Message>), Box<dyn Error>> {
    let mut stream = TcpStream::connect_timeout(&controller, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    stream.write_all(request)?;

    let mut length = [0; 4];
    match stream.read_exact(&mut length) {
        Ok(()) => {}
        Err(error) if closed(&error) => return Ok((Answer::Closed, None)),
        Err(error) => return Err(error.into()),
    }
    let Prefix::Frame(length) = prefix(length, LONGEST)? else {
        return Ok((Answer::Http, None));
    };
    let mut frame = vec![0; length];
    stream.read_exact(&mut frame)?;

    let reply = Reply::decode(&frame)?;
    let version = reply.header.version;
    let message = reply.message()?;
    let answer = match message {
        Message::ReturnCode(code) => Answer::ReturnCode { version, code },
        _ => Answer::Message { version },
    };
    Ok((answer, Some(message)))
}

fn closed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset
    )
}

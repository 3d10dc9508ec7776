//! A peer on loopback that does what no real slurmctld can be made to do.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use slurm_protocol::{Errno, ProtocolVersion};

/// What the peer does with one connection, after it has read the request.
#[derive(Clone)]
pub enum Act {
    /// Sends these bytes and closes.
    Send(Vec<u8>),
    /// Closes.
    Close,
    /// Keeps the connection open and says nothing.
    Hold,
    /// Sends these bytes one by one, a tenth of a second apart.
    Drip(Vec<u8>),
}

/// A request as it came.
pub struct Seen {
    pub version: ProtocolVersion,
    pub has_credential: bool,
    pub bytes: Vec<u8>,
}

pub struct Fake {
    pub address: SocketAddr,
    requests: Receiver<Seen>,
}

impl Fake {
    /// A peer that answers each request as `act` says.
    pub fn start(act: impl Fn(&Seen) -> Act + Send + 'static) -> Self {
        Self::listen(TcpListener::bind("127.0.0.1:0").unwrap(), act)
    }

    /// The same at another address.
    pub fn listen(listener: TcpListener, act: impl Fn(&Seen) -> Act + Send + 'static) -> Self {
        let address = listener.local_addr().unwrap();
        let (sender, requests) = channel();
        std::thread::spawn(move || {
            let mut held = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let Some(seen) = read(&mut stream) else {
                    continue;
                };
                match act(&seen) {
                    Act::Send(bytes) => drop(stream.write_all(&bytes)),
                    Act::Close => {}
                    Act::Hold => held.push(stream),
                    Act::Drip(bytes) => {
                        for byte in bytes {
                            std::thread::sleep(Duration::from_millis(100));
                            if stream.write_all(&[byte]).is_err() {
                                break;
                            }
                        }
                    }
                }
                if sender.send(seen).is_err() {
                    return;
                }
            }
        });
        Self { address, requests }
    }

    /// A controller of this version that gives out these files to whoever has a credential. Those
    /// up to 24.05 answer nothing else.
    pub fn controller(own: ProtocolVersion, files: &'static [(&str, &str)]) -> Self {
        Self::start(move |seen| {
            let accepted = own.accepted_by_controller().contains(&seen.version);
            let speaks_up = own >= ProtocolVersion::V24_11;
            match (accepted, seen.has_credential) {
                (true, true) => Act::Send(config(seen.version, files)),
                (true, false) if speaks_up => Act::Send(refusal(seen.version)),
                (false, _) if speaks_up => Act::Send(refusal(own)),
                _ => Act::Close,
            }
        })
    }

    /// A controller that accepts any version and answers the real request with this.
    pub fn answers(reply: impl Fn(ProtocolVersion) -> Vec<u8> + Send + 'static) -> Self {
        Self::start(move |seen| {
            Act::Send(if seen.has_credential {
                reply(seen.version)
            } else {
                refusal(seen.version)
            })
        })
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Seen> {
        self.requests.try_iter().collect()
    }
}

fn read(stream: &mut TcpStream) -> Option<Seen> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let mut frame = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut frame).ok()?;
    Some(Seen {
        version: ProtocolVersion(u16::from_be_bytes([frame[0], frame[1]])),
        has_credential: frame[3] & 0x40 == 0,
        bytes: [&length[..], &frame].concat(),
    })
}

/// A whole message without an authentication section.
pub fn message(version: ProtocolVersion, message_type: u16, body: &[u8]) -> Vec<u8> {
    let mut frame = version.0.to_be_bytes().to_vec();
    frame.extend([0, 0x40]);
    if version < ProtocolVersion::V22_05 {
        frame.extend([0, 0]);
    }
    frame.extend(message_type.to_be_bytes());
    frame.extend((body.len() as u32).to_be_bytes());
    frame.extend([0; 6]);
    frame.extend(body);
    [&(frame.len() as u32).to_be_bytes()[..], &frame].concat()
}

pub fn return_code(version: ProtocolVersion, code: u32) -> Vec<u8> {
    message(version, 8001, &code.to_be_bytes())
}

/// RESPONSE_AUTH_TOKEN with this token.
pub fn token(version: ProtocolVersion, token: &str) -> Vec<u8> {
    let mut body = Vec::new();
    push(&mut body, token.as_bytes());
    message(version, 5040, &body)
}

/// A text as it is packed: its length, with the zero behind it.
fn push(body: &mut Vec<u8>, text: &[u8]) {
    body.extend((text.len() as u32 + 1).to_be_bytes());
    body.extend(text);
    body.push(0);
}

fn refusal(version: ProtocolVersion) -> Vec<u8> {
    return_code(version, Errno::SLURM_PROTOCOL_AUTHENTICATION_ERROR.0)
}

/// RESPONSE_CONFIG with these files; `*` behind a name makes it executable.
pub fn config(version: ProtocolVersion, files: &[(impl AsRef<[u8]>, impl AsRef<[u8]>)]) -> Vec<u8> {
    let mut body = (files.len() as u32).to_be_bytes().to_vec();
    for (name, content) in files {
        let (name, content) = (name.as_ref(), content.as_ref());
        let stem = name.strip_suffix(b"*");
        body.push(1);
        if version >= ProtocolVersion::V23_11 {
            body.push(stem.is_some().into());
        }
        for text in [stem.unwrap_or(name), content] {
            push(&mut body, text);
        }
    }
    body.extend([0; 4]);
    message(version, 2016, &body)
}

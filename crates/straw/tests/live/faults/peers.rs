//! Peers that are no slurmctld, or one gone mad: alone, and as the first of two.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use libtest_mimic::Failed;
use rustix::net::sockopt::set_socket_linger;

use super::run::{Ended, limited};
use super::side_by_side;
use super::site::{Place, Site, Worker};
use super::wire::Verdict;
use crate::clusters::{Clusters, same};

/// The longest that straw may take over both controllers.
const TIMEOUT: Duration = Duration::from_secs(3);

/// For what a loaded machine adds.
const SLACK: Duration = Duration::from_secs(10);

/// What a peer does once it has a request: what it sends at once, and then.
#[derive(Clone, Copy)]
struct Peer {
    name: &'static str,
    says: &'static [u8],
    then: Then,
    /// How straw ends that has no other controller.
    alone: (u8, &'static str),
}

#[derive(Clone, Copy)]
enum Then {
    /// It closes the connection.
    Close,
    Reset,
    /// It keeps it open.
    Hold,
    /// A byte a second.
    Drip,
    /// Without an end, and as fast as it can.
    Flood,
}

/// The header of a RESPONSE_CONFIG at version 43 with so much in it that the whole is 64 MiB long,
/// which is just what straw reads at most.
const LARGEST: &[u8] = b"\x04\0\0\0\x2b\0\0\x40\x07\xe0\x03\xff\xff\xf0\0\0\0\0\0\0";

const PEERS: &[Peer] = &[
    Peer {
        name: "silent",
        says: b"",
        then: Then::Hold,
        alone: (3, "no-answer"),
    },
    Peer {
        name: "a byte a second",
        says: b"",
        then: Then::Drip,
        alone: (3, "reply-broken-off"),
    },
    Peer {
        name: "4 GiB announced",
        says: b"\xff\xff\xff\xff",
        then: Then::Hold,
        alone: (5, "not-slurmctld"),
    },
    Peer {
        name: "1 GiB announced",
        says: b"\x40\0\0\0",
        then: Then::Hold,
        alone: (8, "reply-too-large"),
    },
    Peer {
        name: "64 MiB announced",
        says: b"\x04\0\0\0",
        then: Then::Hold,
        alone: (3, "reply-broken-off"),
    },
    Peer {
        name: "without an end",
        says: LARGEST,
        then: Then::Flood,
        alone: (8, "reply-malformed"),
    },
    Peer {
        name: "a web server",
        says: b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
        then: Then::Close,
        alone: (5, "http-answer"),
    },
    Peer {
        name: "SSH",
        says: b"SSH-2.0-OpenSSH_10.0\r\n",
        then: Then::Hold,
        alone: (5, "not-slurmctld"),
    },
    Peer {
        name: "TLS",
        says: b"\x15\x03\x03\0\x02\x02\x28",
        then: Then::Close,
        alone: (7, "tls-answer"),
    },
    Peer {
        name: "closes",
        says: b"",
        then: Then::Close,
        alone: (4, "closed-silently"),
    },
    Peer {
        name: "resets",
        says: b"",
        then: Then::Reset,
        alone: (4, "closed-silently"),
    },
];

/// Each of them, by straws that run at the same time.
pub fn each(clusters: &Clusters) -> Result<(), Failed> {
    let (site, workers) = Site::start(clusters, PEERS.len())?;
    let pairs: Vec<_> = PEERS.iter().zip(&workers).collect();
    side_by_side(&pairs, |(peer, worker)| met(&site, worker, **peer))?;
    little_memory(&site.token)
}

fn met(site: &Site, worker: &Worker, peer: Peer) -> Result<(), Failed> {
    let address = peer.start()?.to_string();
    let timeout = format!("--timeout={}s", TIMEOUT.as_secs());
    let both = format!("{address},{}", worker.proxy.address);
    let (code, kind) = peer.alone;
    let alone = Verdict::Fails(code, kind);
    let new = Verdict::Has(site.new.clone());
    for place in [Place::Flat, Place::OtherStore] {
        for (servers, verdict) in [(&address, &alone), (&both, &new)] {
            worker.restore(place)?;
            let told = |error: Failed| {
                let why = error.message().unwrap_or_default();
                Failed::from(format!("{}, {place:?}, {servers}: {why}", peer.name))
            };
            let ended = worker.run_with(place, servers, &[&timeout]);
            let ended = ended.map_err(told)?;
            let judged = worker.judge(place, &ended, std::slice::from_ref(verdict));
            judged.map_err(told)?;
            if ended.took > TIMEOUT + SLACK {
                return Err(told(format!("{ended:?}").into()));
            }
        }
    }
    Ok(())
}

/// What was announced and did not come takes no room.
fn little_memory(token: &str) -> Result<(), Failed> {
    let announces = PEERS.iter().find(|peer| peer.name == "64 MiB announced");
    let address = announces.ok_or("64 MiB announced")?.start()?.to_string();
    let mut shell = limited(token, "-v 32768");
    shell.args(["fetch", &address, "--timeout=1s", "--stdout=slurm.conf"]);
    let ended = Ended::of(&mut shell)?;
    same(
        "exit code",
        (ended.code, ended.stderr.contains("of 67108864 bytes")),
        (3, true),
    )
}

impl Peer {
    /// Has it listen until the test ends.
    fn start(self) -> Result<SocketAddr, Failed> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || self.serve(stream));
            }
        });
        Ok(address)
    }

    /// Until the other side has enough of it.
    fn serve(self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut request = [0; 4096];
        if stream.read(&mut request)? == 0 {
            return Ok(());
        }
        stream.write_all(self.says)?;
        match self.then {
            Then::Close => Ok(()),
            Then::Reset => Ok(set_socket_linger(&stream, Some(Duration::ZERO))?),
            Then::Hold => {
                while stream.read(&mut request)? > 0 {}
                Ok(())
            }
            // The length first, which is one that a reply could have.
            Then::Drip => {
                for byte in b"\0\0\x03\xe8\x2b\0\0\x40".iter().chain(&[0; 1000]) {
                    stream.write_all(&[*byte])?;
                    thread::sleep(Duration::from_secs(1));
                }
                Ok(())
            }
            Then::Flood => loop {
                stream.write_all(&[0; 65536])?;
            },
        }
    }
}

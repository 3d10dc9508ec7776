//! A proxy on loopback in front of a real slurmctld, which does harm to what it passes on.
//!
//! It takes one message at a time, as the protocol has it: a whole request, then a whole reply. So
//! each fault is at the byte that was asked for.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_linger;

/// Longer than a controller waits for the rest of a message.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is done to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No more of it comes, and the connection is closed.
    Cut,
    /// No more of it comes, and the connection is reset on both sides.
    Reset,
    /// The rest of it comes after a pause.
    Delay(Duration),
    /// These bits of the byte are the other way round.
    Flip(u8),
}

/// Which message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Request,
    Reply,
}

/// A fault in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Injury {
    pub way: Way,
    /// How many bytes pass unharmed; of the message's length only what is left of it counts.
    pub at: usize,
    pub fault: Fault,
}

impl Injury {
    /// The same at a place that the message has.
    fn within(self, message: &[u8]) -> Self {
        let places = match self.fault {
            Fault::Flip(_) => message.len(),
            _ => message.len() + 1,
        };
        Self {
            at: self.at % places.max(1),
            ..self
        }
    }

    /// Whether the message comes all the same, as it is.
    pub fn spares(self, message: &[u8]) -> bool {
        match self.fault {
            Fault::Delay(_) => true,
            Fault::Flip(_) => false,
            Fault::Cut | Fault::Reset => self.at >= message.len(),
        }
    }
}

/// What went through one connection.
#[derive(Clone, Default)]
pub struct Passed {
    /// What came from straw.
    pub request: Vec<u8>,
    /// What came from the controller.
    pub reply: Vec<u8>,
    /// What was done, with the place where.
    pub injury: Option<Injury>,
    /// When the request had come.
    pub began: Option<Instant>,
    /// How long the controller took, as far as it got.
    took: Duration,
}

impl Passed {
    /// Whether the controller has sent a RESPONSE_CONFIG.
    pub fn is_set(&self) -> bool {
        // Up to 21.08 two bytes stand before the type.
        let at = match self.reply.get(4) {
            Some(0x24..0x26) => 10,
            Some(0x26..0x30) => 8,
            // Some flags of a request have a controller answer with other headers.
            _ => return false,
        };
        self.reply.get(at..at + 2) == Some(&2016_u16.to_be_bytes())
    }
}

impl fmt::Debug for Passed {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (request, reply) = (&self.request, &self.reply);
        write!(
            f,
            "{} bytes at version {:?} and {} back after {:?}, {:?}",
            request.len(),
            request.get(4),
            reply.len(),
            self.took,
            self.injury
        )
    }
}

/// What is to become of the connections of one run of straw, and what became of them.
#[derive(Default)]
struct Run {
    plan: Vec<Option<Injury>>,
    passed: Vec<Passed>,
}

pub struct Proxy {
    pub address: SocketAddr,
    run: Arc<Mutex<Arc<Mutex<Run>>>>,
    /// From whom there were connections, in their order.
    accepted: Mutex<Receiver<SocketAddr>>,
}

impl Proxy {
    /// In front of this controller, until the test ends.
    pub fn start(controller: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let run = Arc::<Mutex<Arc<Mutex<Run>>>>::default();
        let runs = Arc::clone(&run);
        let (sender, accepted) = channel();
        thread::spawn(move || {
            while let Ok((client, from)) = listener.accept() {
                let run = Arc::clone(&lock(&runs));
                if sender.send(from).is_err() {
                    return;
                }
                thread::spawn(move || {
                    let Ok(request) = message(&client) else {
                        return;
                    };
                    // What goes wrong with one side shows on the other, as it does without a proxy.
                    let _ = pass(&client, controller, request, &run);
                });
            }
        });
        let accepted = Mutex::new(accepted);
        Ok(Self {
            address,
            run,
            accepted,
        })
    }

    /// From now on the first connection meets the first of these, and so on; those after them
    /// meet nothing. Connections of before are not counted, even if nobody has seen them yet.
    pub fn arm(&self, plan: Vec<Option<Injury>>) -> io::Result<()> {
        let last = TcpStream::connect(self.address)?.local_addr()?;
        let accepted = lock(&self.accepted);
        while accepted.recv().map_err(io::Error::other)? != last {}
        let passed = Vec::new();
        *lock(&self.run) = Arc::new(Mutex::new(Run { plan, passed }));
        Ok(())
    }

    /// What has come to pass since.
    pub fn passed(&self) -> Vec<Passed> {
        lock(&lock(&self.run)).passed.clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One message, with its length.
fn message(mut from: &TcpStream) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; 4];
    from.read_exact(&mut bytes)?;
    let length = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    bytes.resize(4 + length as usize, 0);
    from.read_exact(&mut bytes[4..])?;
    Ok(bytes)
}

fn pass(
    client: &TcpStream,
    controller: SocketAddr,
    request: Vec<u8>,
    run: &Mutex<Run>,
) -> io::Result<()> {
    client.set_nodelay(true)?;
    let (index, planned) = {
        let mut run = lock(run);
        let index = run.passed.len();
        run.passed.push(Passed {
            request: request.clone(),
            began: Some(Instant::now()),
            ..Passed::default()
        });
        (index, run.plan.get(index).copied().flatten())
    };
    let injure = |way: Way, message: &[u8]| {
        let injury = planned.filter(|planned| planned.way == way)?;
        let injury = injury.within(message);
        lock(run).passed[index].injury = Some(injury);
        Some(injury)
    };

    let mut server = TcpStream::connect_timeout(&controller, PATIENCE)?;
    server.set_nodelay(true)?;
    server.set_read_timeout(Some(PATIENCE))?;
    let injury = injure(Way::Request, &request);
    match send(&server, request, injury)? {
        Some(Fault::Cut) => server.shutdown(Shutdown::Write)?,
        Some(Fault::Reset) => {
            reset(&server)?;
            return reset(client);
        }
        _ => {}
    }
    let sent = Instant::now();
    let mut reply = Vec::new();
    // What came before an error has come.
    let _ = server.read_to_end(&mut reply);
    {
        let passed = &mut lock(run).passed[index];
        passed.reply.clone_from(&reply);
        passed.took = sent.elapsed();
    }
    let injury = injure(Way::Reply, &reply);
    if send(client, reply, injury)? == Some(Fault::Reset) {
        return reset(client);
    }
    Ok(())
}

/// Sends a message, as far as it gets. Returns the fault that there was.
fn send(
    mut to: &TcpStream,
    mut message: Vec<u8>,
    injury: Option<Injury>,
) -> io::Result<Option<Fault>> {
    let Some(Injury { at, fault, .. }) = injury else {
        to.write_all(&message)?;
        return Ok(None);
    };
    match fault {
        Fault::Cut | Fault::Reset => message.truncate(at),
        Fault::Delay(pause) => {
            let rest = message.split_off(at);
            to.write_all(&message)?;
            thread::sleep(pause);
            message = rest;
        }
        Fault::Flip(bits) => {
            if let Some(byte) = message.get_mut(at) {
                *byte ^= bits;
            }
        }
    }
    to.write_all(&message)?;
    Ok(Some(fault))
}

/// Has the connection end with a reset when it is closed, which is soon.
fn reset(stream: &TcpStream) -> io::Result<()> {
    Ok(set_socket_linger(stream, Some(Duration::ZERO))?)
}

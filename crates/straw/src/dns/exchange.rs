//! One question to one server, by UDP, and by TCP where the answer does not fit.
//!
//! There is no EDNS: what straw asks for fits in 512 bytes nearly always, TCP is there for the rest, and it spares
//! the second question to servers and firewalls that know no EDNS.

use std::io::{self, Error, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use simple_dns::{
    CLASS, Name, OPCODE, Packet, PacketFlag, QCLASS, QTYPE, Question, ResourceRecord, TYPE,
};

use super::error::ResponseCode;

const HEADER: usize = 12;

/// More than any server sends by UDP unless asked to.
const DATAGRAM: usize = 4096;

/// A reply that belongs to the question.
pub(super) struct Reply {
    pub(super) code: ResponseCode,
    pub(super) answers: Vec<ResourceRecord<'static>>,
    truncated: bool,
}

/// Asks `server` for the records of type `kind` that `name` has, and waits until `deadline`.
///
/// # Errors
/// `TimedOut` where nothing came that belongs to the question; anything else where the server cannot be reached or
/// breaks the protocol, and need not be waited for.
pub(super) fn exchange(
    server: SocketAddr,
    name: &Name<'_>,
    kind: TYPE,
    tcp: bool,
    deadline: Instant,
) -> io::Result<Reply> {
    let id = fastrand::u16(..);
    #[cfg(fuzzing)]
    if true {
        return super::fuzz::exchange(&Asked { id, name, kind });
    }
    let mut query = Packet::new_query(id);
    query.set_flags(PacketFlag::RECURSION_DESIRED);
    let (qtype, qclass) = (QTYPE::TYPE(kind), QCLASS::CLASS(CLASS::IN));
    query
        .questions
        .push(Question::new(name.clone(), qtype, qclass, false));
    let query_bytes = query.build_bytes_vec().map_err(Error::other)?;

    let asked = Asked { id, name, kind };
    let reply = match tcp {
        true => by_tcp(server, &query_bytes, &asked, deadline),
        false => by_udp(server, &query_bytes, &asked, deadline).and_then(|reply| match reply {
            reply if reply.truncated => by_tcp(server, &query_bytes, &asked, deadline),
            reply => Ok(reply),
        }),
    };
    // Linux says WouldBlock where SO_RCVTIMEO runs out.
    reply.map_err(|error| match error.kind() {
        ErrorKind::WouldBlock => ErrorKind::TimedOut.into(),
        _ => error,
    })
}

/// What a reply must repeat to be taken for one.
pub(super) struct Asked<'a> {
    id: u16,
    name: &'a Name<'a>,
    kind: TYPE,
}

/// The socket is a new one each time, so the port is the kernel's random choice, and connected, so the kernel drops
/// what others send and passes on an ICMP "port unreachable" as `ConnectionRefused`.
fn by_udp(
    server: SocketAddr,
    query: &[u8],
    asked: &Asked<'_>,
    deadline: Instant,
) -> io::Result<Reply> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
    socket.connect(server)?;
    socket.send(query)?;

    let mut buffer = [0; DATAGRAM];
    loop {
        socket.set_read_timeout(Some(left(deadline)?))?;
        let length = match socket.recv(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            result => result?,
        };
        // Late answers to nobody's question, forgeries and garbage: wait for the right one.
        match buffer
            .get_mut(..length)
            .and_then(|message| asked.reply(message))
        {
            Some(reply) => return Ok(reply),
            None => log::debug!("{server}: {length} bytes that answer no question of ours"),
        }
    }
}

/// Each message has its length in front, 2 bytes (RFC 1035, section 4.2.2).
fn by_tcp(
    server: SocketAddr,
    query: &[u8],
    asked: &Asked<'_>,
    deadline: Instant,
) -> io::Result<Reply> {
    let mut stream = TcpStream::connect_timeout(&server, left(deadline)?)?;
    let length = u16::try_from(query.len()).map_err(Error::other)?;
    stream.set_write_timeout(Some(left(deadline)?))?;
    stream.write_all(&[&length.to_be_bytes(), query].concat())?;

    let mut length = [0; 2];
    read_full(&mut stream, &mut length, deadline)?;
    let mut message = vec![0; u16::from_be_bytes(length).into()];
    read_full(&mut stream, &mut message, deadline)?;
    match asked.reply(&mut message) {
        Some(reply) if !reply.truncated => Ok(reply),
        _ => Err(ErrorKind::InvalidData.into()),
    }
}

fn read_full(stream: &mut TcpStream, mut buffer: &mut [u8], deadline: Instant) -> io::Result<()> {
    while !buffer.is_empty() {
        stream.set_read_timeout(Some(left(deadline)?))?;
        match stream.read(buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => buffer = buffer.get_mut(count..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The time until `deadline`, which is never zero: sockets take zero for "no limit".
fn left(deadline: Instant) -> io::Result<Duration> {
    match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(ErrorKind::TimedOut.into()),
        left => Ok(left),
    }
}

impl Asked<'_> {
    #[cfg(fuzzing)]
    pub(super) fn id(&self) -> u16 {
        self.id
    }

    /// Reads a message, if it is one and it answers this question.
    pub(super) fn reply(&self, message: &mut [u8]) -> Option<Reply> {
        let header = message.get_mut(..HEADER)?;
        let code = ResponseCode(header[3] & 0x0f);
        let truncated = header[2] & 0x02 != 0;
        // Only the answers matter. With the counts of the other sections at zero they are not read, and what is
        // strange in them does no harm. A truncated message may end in the middle of an answer.
        header[8..12].fill(0);
        if truncated {
            header[6..8].fill(0);
        }

        let packet = Packet::parse(message).ok()?;
        let matches = match packet.questions.as_slice() {
            [question] => {
                question.qname == *self.name
                    && question.qtype == QTYPE::TYPE(self.kind)
                    && question.qclass == QCLASS::CLASS(CLASS::IN)
            }
            // Some servers do not repeat a question that they will not answer.
            [] => !matches!(code, ResponseCode::NOERROR | ResponseCode::NXDOMAIN),
            _ => false,
        };
        let is_reply = packet.id() == self.id
            && packet.has_flags(PacketFlag::RESPONSE)
            && packet.opcode() == OPCODE::StandardQuery;
        (matches && is_reply).then(|| Reply {
            code,
            answers: packet
                .answers
                .into_iter()
                .map(ResourceRecord::into_owned)
                .collect(),
            truncated,
        })
    }
}

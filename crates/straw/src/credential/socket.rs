//! A local daemon's socket: one request, one reply, by a deadline.

use std::fs;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use secrecy::zeroize::Zeroizing;
use slurm_protocol::DecodeError;

use super::error::{CredentialError, Service, SocketError};
use crate::transport::remaining;

/// The longest that a daemon may take to make a credential. It takes about a millisecond.
const PATIENCE: Duration = Duration::from_secs(5);

/// Looks whether there is a socket.
pub(super) fn find(service: Service, path: &Path) -> Result<(), CredentialError> {
    let fail = |error| fail(service, path, error);
    match fs::metadata(path) {
        Ok(metadata) if metadata.file_type().is_socket() => Ok(()),
        Ok(_) => Err(fail(SocketError::NotASocket)),
        Err(error) => Err(fail(SocketError::Unreachable(error))),
    }
}

/// Whether nobody listens on a socket.
pub(super) fn is_dead(path: &Path) -> bool {
    let connect = || -> io::Result<()> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let fd = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        Ok(connect(&fd, &SocketAddrUnix::new(path)?)?)
    };
    connect().is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

/// An error of this service at this place.
pub(super) fn fail(service: Service, path: &Path, error: SocketError) -> CredentialError {
    CredentialError::Socket {
        service,
        path: path.to_owned(),
        error,
    }
}

/// A connection to a local daemon, whose every read and write ends at the deadline.
pub(super) struct Connection {
    service: Service,
    path: PathBuf,
    stream: UnixStream,
    deadline: Instant,
}

impl Connection {
    /// Connects. A daemon that has too much to do is waited for until `deadline`, or for some
    /// seconds, whichever is shorter.
    pub(super) fn open(
        service: Service,
        path: &Path,
        deadline: Instant,
    ) -> Result<Self, CredentialError> {
        let deadline = deadline.min(Instant::now() + PATIENCE);
        let open = || -> io::Result<UnixStream> {
            let address = SocketAddrUnix::new(path)?;
            let flags = SocketFlags::CLOEXEC;
            let fd = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
            // What bounds sending bounds connecting as well.
            set_socket_timeout(&fd, Timeout::Send, Some(remaining(deadline)?))?;
            connect(&fd, &address)?;
            Ok(UnixStream::from(fd))
        };
        match open() {
            Ok(stream) => Ok(Self {
                service,
                path: path.to_owned(),
                stream,
                deadline,
            }),
            Err(error) if is_timeout(&error) => Err(fail(service, path, SocketError::Silence)),
            Err(error) => Err(fail(service, path, SocketError::Unreachable(error))),
        }
    }

    #[cfg(fuzzing)]
    pub(super) fn over(service: Service, stream: UnixStream, deadline: Instant) -> Self {
        let path = PathBuf::from("/run/socket");
        Self {
            service,
            path,
            stream,
            deadline,
        }
    }

    /// Sends a request.
    pub(super) fn send(&mut self, request: &[u8]) -> Result<(), CredentialError> {
        let sent = remaining(self.deadline)
            .and_then(|left| self.stream.set_write_timeout(Some(left)))
            .and_then(|()| self.stream.write_all(request));
        sent.map_err(|error| self.failed(&error))
    }

    /// Reads so many bytes.
    pub(super) fn receive(&mut self, length: usize) -> Result<Zeroizing<Vec<u8>>, CredentialError> {
        let mut bytes = Zeroizing::new(vec![0; length]);
        let mut had = 0;
        while had < length {
            let read = remaining(self.deadline)
                .and_then(|left| self.stream.set_read_timeout(Some(left)))
                .and_then(|()| self.stream.read(&mut bytes[had..]));
            match read {
                Ok(0) => return Err(self.fail(SocketError::Closed)),
                Ok(count) => had += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(&error)),
            }
        }
        Ok(bytes)
    }

    /// A credential as text, of which nothing else is made than ASCII that can be seen.
    pub(super) fn text(&self, credential: &[u8]) -> Result<Zeroizing<String>, CredentialError> {
        match str::from_utf8(credential) {
            Ok(text) if text.bytes().all(|byte| byte.is_ascii_graphic()) => {
                Ok(Zeroizing::new(text.to_owned()))
            }
            _ => Err(self.fail(SocketError::NotText)),
        }
    }

    /// An error about what the daemon said.
    pub(super) fn malformed(&self, error: DecodeError) -> CredentialError {
        self.fail(SocketError::Malformed(error))
    }

    pub(super) fn fail(&self, error: SocketError) -> CredentialError {
        fail(self.service, &self.path, error)
    }

    fn failed(&self, error: &io::Error) -> CredentialError {
        self.fail(if is_timeout(error) {
            SocketError::Silence
        } else {
            SocketError::Closed
        })
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

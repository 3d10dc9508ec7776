//! Lookups with answers that a fuzzer makes up.

use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::exchange::{Asked, Reply};
use super::{ResolveError, Resolver};

thread_local! {
    /// The next one last.
    static ANSWERS: RefCell<Vec<Answer>> = const { RefCell::new(Vec::new()) };
}

/// What comes back from a name server.
#[derive(Debug)]
pub struct Answer {
    /// The message.
    pub bytes: Vec<u8>,
    /// Whether it has the number of the question that it answers.
    pub ours: bool,
}

/// Looks a name up, or a service, and gets these answers, one a question.
///
/// # Errors
///
/// [`ResolveError`].
pub fn lookup(
    files: [&[u8]; 2],
    host_name: &str,
    name: &str,
    service: bool,
    mut answers: Vec<Answer>,
) -> Result<Vec<(String, IpAddr)>, ResolveError> {
    let [hosts, resolv_conf] = files;
    answers.reverse();
    ANSWERS.set(answers);
    let resolver = Resolver::new(hosts, resolv_conf, host_name);
    // Nothing is waited for; the time is for the sums that are done with it.
    let deadline = Instant::now() + Duration::from_secs(60);
    if !service {
        let addresses = resolver.addresses(name, deadline)?;
        return Ok(addresses
            .into_iter()
            .map(|ip| (String::new(), ip))
            .collect());
    }
    let records = resolver.srv(name, deadline)?;
    let unknown = IpAddr::from([0; 4]);
    Ok(records
        .targets
        .iter()
        .map(|target| (target.absolute(), unknown))
        .collect())
}

/// The next answer, as it is read. What belongs to no question is waited for in vain.
pub(super) fn exchange(asked: &Asked<'_>) -> io::Result<Reply> {
    let Some(mut answer) = ANSWERS.with_borrow_mut(Vec::pop) else {
        return Err(ErrorKind::ConnectionRefused.into());
    };
    if let (true, Some(id)) = (answer.ours, answer.bytes.get_mut(..2)) {
        id.copy_from_slice(&asked.id().to_be_bytes());
    }
    let reply = asked.reply(&mut answer.bytes);
    reply.ok_or_else(|| ErrorKind::TimedOut.into())
}

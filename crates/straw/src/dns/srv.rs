//! SRV records: where a service is, and in which order to try its hosts (RFC 2782; docs/protocol.md, section 12).

use std::cmp::Reverse;

use simple_dns::rdata::RData;

use super::{ResolveError, valid_name};

/// The SRV records of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SrvRecords {
    /// The full name that has the records, such as `_slurmctld._tcp.example.org`.
    pub name: String,
    /// The hosts in the order in which to try them; never empty.
    pub targets: Vec<SrvTarget>,
}

/// A host that offers a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SrvTarget {
    /// The host's full name, without the trailing dot.
    pub host: String,
    /// The port of the service on this host.
    pub port: u16,
    /// Lower is tried first.
    pub priority: u16,
    /// The share of the first tries among equal priorities.
    pub weight: u16,
}

impl SrvTarget {
    /// The host's name with the trailing dot: then the search list is left alone, as the target of an SRV record
    /// demands.
    pub fn absolute(&self) -> String {
        format!("{}.", self.host)
    }
}

/// The SRV record as it came; the target may be anything yet.
pub(super) fn pick(data: &RData<'_>) -> Option<SrvTarget> {
    let RData::SRV(srv) = data else { return None };
    Some(SrvTarget {
        host: srv.target.to_string(),
        port: srv.port,
        priority: srv.priority,
        weight: srv.weight,
    })
}

/// The records whose target can be a host; `name` has them.
pub(super) fn usable(records: Vec<SrvTarget>, name: &str) -> Result<Vec<SrvTarget>, ResolveError> {
    // The root, ".", has no labels, hence no text.
    let (absent, mut targets): (Vec<_>, Vec<_>) = records
        .into_iter()
        .partition(|target| target.host.is_empty());
    targets.retain(|target| {
        let valid = valid_name(&target.host).is_some() && target.port != 0;
        if !valid {
            log::debug!("{name}: {:?} is no host", target.host);
        }
        valid
    });
    match (targets.is_empty(), absent.is_empty()) {
        (false, _) => Ok(targets),
        (true, false) => Err(ResolveError::SrvNotAvailable { name: name.into() }),
        (true, true) => Err(ResolveError::SrvUnusable { name: name.into() }),
    }
}

/// Priority ascending; among equals, each place is drawn with chances in proportion to the weights.
pub(super) fn in_order(mut targets: Vec<SrvTarget>, rng: &mut fastrand::Rng) -> Vec<SrvTarget> {
    // Drawing from the end of the list; those of weight 0 stand where only a draw of 0 finds them.
    rng.shuffle(&mut targets);
    targets.sort_by_key(|target| (Reverse(target.priority), target.weight != 0));
    let mut ordered = Vec::with_capacity(targets.len());
    while let Some(priority) = targets.last().map(|target| target.priority) {
        let first = targets.partition_point(|target| target.priority > priority);
        let equals = &targets[first..];
        let total: u64 = equals.iter().map(|target| u64::from(target.weight)).sum();
        let drawn = rng.u64(..=total);
        let mut sum = 0;
        let place = equals.iter().position(|target| {
            sum += u64::from(target.weight);
            sum >= drawn
        });
        ordered.push(targets.remove(first + place.unwrap_or(0)));
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(host: &str, priority: u16, weight: u16) -> SrvTarget {
        SrvTarget {
            host: host.into(),
            port: 6817,
            priority,
            weight,
        }
    }

    #[test]
    fn priorities_ascend() {
        let mut rng = fastrand::Rng::with_seed(1);
        let targets = vec![
            target("c", 20, 0),
            target("a", 0, 1),
            target("d", 65535, 65535),
            target("b", 10, 60000),
        ];
        for _ in 0..100 {
            let hosts: Vec<_> = in_order(targets.clone(), &mut rng)
                .into_iter()
                .map(|target| target.host)
                .collect();
            assert_eq!(hosts, ["a", "b", "c", "d"]);
        }
    }

    #[test]
    fn weights_are_shares_of_the_first_place() {
        let mut rng = fastrand::Rng::with_seed(1);
        let targets = vec![
            target("three", 1, 300),
            target("one", 1, 100),
            target("zero", 1, 0),
        ];
        let mut firsts = [0; 3];
        for _ in 0..4000 {
            let ordered = in_order(targets.clone(), &mut rng);
            assert_eq!(ordered.len(), 3);
            let place = targets.iter().position(|target| *target == ordered[0]);
            firsts[place.unwrap()] += 1;
        }
        assert!((2800..3200).contains(&firsts[0]), "{firsts:?}");
        assert!((800..1200).contains(&firsts[1]), "{firsts:?}");
        assert!(firsts[2] < 50, "{firsts:?}");
    }

    #[test]
    fn without_weights_the_order_is_any() {
        let mut rng = fastrand::Rng::with_seed(1);
        let targets = vec![target("a", 1, 0), target("b", 1, 0)];
        let firsts = (0..1000).filter(|_| in_order(targets.clone(), &mut rng)[0].host == "a");
        assert!((400..600).contains(&firsts.count()));
    }

    #[test]
    fn targets_that_are_no_hosts() {
        let usable = |hosts: &[&str]| {
            let records = hosts.iter().map(|host| target(host, 0, 0)).collect();
            usable(records, "_x._tcp.org").map(|targets| targets.len())
        };
        let name = "_x._tcp.org".to_owned();
        assert_eq!(usable(&["a", "", "b\\.c", "d e"]), Ok(1));
        assert_eq!(
            usable(&[""]),
            Err(ResolveError::SrvNotAvailable { name: name.clone() })
        );
        assert_eq!(
            usable(&["\u{1b}[2J"]),
            Err(ResolveError::SrvUnusable { name })
        );
    }
}

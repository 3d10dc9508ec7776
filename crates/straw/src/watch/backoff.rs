//! How long to wait after a failure, and after the next.

use std::time::Duration;

/// The first pause is up to three times this.
const SHORTEST: Duration = Duration::from_secs(1);

/// What a pause grows to at the least, and at the most.
const LONGEST: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(300));

/// Pauses between attempts that fail: each is drawn anew, between the shortest and three times the last
/// one, so that they grow, and those of many who fail together spread.
pub(super) struct Backoff {
    last: Duration,
    longest: Duration,
}

impl Backoff {
    /// For something that is tried every `interval` as long as it does not fail.
    pub(super) fn new(interval: Duration) -> Self {
        Self {
            last: SHORTEST,
            longest: interval.clamp(LONGEST.0, LONGEST.1),
        }
    }

    /// The pause after one more failure.
    pub(super) fn next(&mut self) -> Duration {
        let above = (self.last * 3).saturating_sub(SHORTEST);
        self.last = (SHORTEST + above.mul_f64(fastrand::f64())).min(self.longest);
        self.last
    }

    /// It did not fail.
    pub(super) fn reset(&mut self) {
        self.last = SHORTEST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_bound_and_start_anew() {
        for (interval, longest) in [(5, 30), (100, 100), (3600, 300)] {
            let mut backoff = Backoff::new(Duration::from_secs(interval));
            let longest = Duration::from_secs(longest);
            let pauses: Vec<_> = (0..1000).map(|_| backoff.next()).collect();
            assert!(pauses[0] <= SHORTEST * 3);
            assert!(
                pauses
                    .iter()
                    .all(|pause| (SHORTEST..=longest).contains(pause))
            );
            assert!(pauses.contains(&longest));
            backoff.reset();
            assert!(backoff.next() <= SHORTEST * 3);
        }
    }

    /// Two hundred who fail in the same moment, and go on failing for half a minute.
    #[test]
    fn those_of_many_spread() {
        let first_after = |outage: f64| {
            let mut backoff = Backoff::new(Duration::from_secs(300));
            let mut at = 0.0;
            while at < outage {
                at += backoff.next().as_secs_f64();
            }
            at - outage
        };
        let mut seconds = [0; 400];
        for _ in 0..200 {
            seconds[first_after(30.0) as usize] += 1;
        }
        let busiest = seconds.iter().max().unwrap();
        assert!(*busiest <= 60, "{busiest} of 200 in one second");
    }
}

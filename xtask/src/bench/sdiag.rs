//! What a controller counts: the messages by type in what `sdiag` prints.

/// A type of message, and how many of it there were.
#[derive(Debug, PartialEq, Eq)]
pub struct Count {
    pub name: String,
    pub count: u64,
    /// How long slurmctld took for one, in microseconds.
    pub average: u64,
}

/// Messages that are not a command's: sdiag's own, and those of nodes and controllers.
const OTHERS: [&str; 6] = [
    "REQUEST_STATS",
    "REQUEST_NODE_REG",
    "MESSAGE_NODE_REG",
    "REQUEST_PING",
    "REQUEST_CONTROL",
    "REQUEST_TRIGGER_PULL",
];

/// The messages that commands sent.
pub fn of_commands(sdiag: &str) -> Vec<Count> {
    sdiag
        .lines()
        .skip_while(|line| !line.contains("statistics by message type"))
        .skip(1)
        .take_while(|line| !line.trim().is_empty())
        .filter_map(|line| {
            let name = line.split_whitespace().next()?;
            let number = |of: &str| {
                let number = line.split_once(of)?.1.split_whitespace().next()?;
                number.parse().ok()
            };
            (!OTHERS.iter().any(|other| name.starts_with(other))).then_some(Count {
                name: name.to_owned(),
                count: number("count:")?,
                average: number("ave_time:")?,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_commands_are_told_from_others() {
        let text = "\
Server thread count:  1

Remote Procedure Call statistics by message type
\tREQUEST_CONTROL_STATUS                  ( 2053) count:65     ave_time:129    total_time:8438
\tREQUEST_CONFIG                          ( 2015) count:20     ave_time:339    total_time:339
\tREQUEST_PARTITION_INFO                  ( 2009) count:100    ave_time:334    total_time:334

Remote Procedure Call statistics by user
\tslurm           (   64030) count:66     ave_time:130    total_time:8620
";
        let seen: Vec<_> = of_commands(text)
            .into_iter()
            .map(|of| (of.name, of.count, of.average))
            .collect();
        let expected = [
            ("REQUEST_CONFIG", 20, 339),
            ("REQUEST_PARTITION_INFO", 100, 334),
        ];
        let expected = expected.map(|(name, count, average)| (name.to_owned(), count, average));
        assert_eq!(seen, expected);
        assert_eq!(of_commands("nothing of the kind"), []);
    }
}

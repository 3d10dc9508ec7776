//! Negotiation against what controllers of every release answer (docs/protocol.md, section 6).

use slurm_protocol::{
    Answer, Attempt, Errno, Negotiation, Outcome, ProtocolVersion, Release, Step,
};

/// What a controller answers to a real request with a good credential, by the version of the
/// client: `ok`, closed, an error with the controller's own version, or HTTP. The last column
/// stands for every later version. Those of 27.05 and later are how the releases before them
/// would go on.
const TABLE: &str = "
    controller  35 36 37 38 39 40 41 42 43 44 45 46 47
    20.11       ok ok C  C  C  C  C  C  C  C  C  C  C
    21.08       ok ok ok C  C  C  C  C  C  C  C  C  C
    22.05       C  ok ok ok C  C  C  C  C  C  C  C  C
    23.02       C  C  ok ok ok C  C  C  C  C  C  C  C
    23.11       C  C  C  ok ok ok C  C  C  C  C  C  C
    24.05       C  C  C  C  ok ok ok C  C  C  C  C  C
    24.11       R  R  R  R  ok ok ok ok R  R  R  R  R
    25.05       R  R  R  R  R  ok ok ok ok R  R  R  R
    25.11       H  H  H  H  H  H  ok ok ok ok H  H  H
    25.11-off   R  R  R  R  R  R  ok ok ok ok R  R  R
    26.05       H  H  H  H  H  H  H  ok ok ok ok H  H
    26.05-off   C  C  C  C  C  C  C  ok ok ok ok C  C
    26.11       H  H  H  H  H  H  H  H  ok ok ok ok H
    26.11-off   C  C  C  C  C  C  C  C  ok ok ok ok C
    27.05       H  H  H  H  H  H  H  H  H  ok ok ok ok
    27.05-off   C  C  C  C  C  C  C  C  C  ok ok ok ok
    28.05       H  H  H  H  H  H  H  H  H  H  H  ok ok
    28.05-off   C  C  C  C  C  C  C  C  C  C  C  ok ok
    28.11       H  H  H  H  H  H  H  H  H  H  H  H  ok
    28.11-off   C  C  C  C  C  C  C  C  C  C  C  C  ok
    28.11-R     R  R  R  R  R  R  R  R  R  R  R  R  ok
    27.11-R     R  R  R  R  R  R  R  R  R  R  ok ok ok
";

struct Controller {
    name: &'static str,
    cells: Vec<&'static str>,
    wants_tls: bool,
    good_credential: bool,
}

impl Controller {
    fn all() -> Vec<Self> {
        let mut lines = TABLE.trim().lines();
        assert_eq!(lines.next().unwrap().split_whitespace().count(), 14);
        lines
            .map(|line| {
                let mut cells: Vec<_> = line.split_whitespace().collect();
                let name = cells.remove(0);
                assert_eq!(cells.len(), 13, "{name}");
                Self {
                    name,
                    cells,
                    wants_tls: false,
                    good_credential: true,
                }
            })
            .collect()
    }

    fn named(name: &str) -> Self {
        let mut all = Self::all();
        let at = all.iter().position(|c| c.name == name).expect(name);
        all.swap_remove(at)
    }

    /// Its own version, by its name: two releases a year since 24.05.
    fn version(&self) -> ProtocolVersion {
        match self.name[..5].parse::<Release>() {
            Ok(release) => release.version(),
            Err(_) => {
                let year: u8 = self.name[..2].parse().unwrap();
                let half = u8::from(&self.name[3..5] == "11");
                ProtocolVersion::from_index(41 + 2 * (year - 24) + half)
            }
        }
    }

    fn cell(&self, version: ProtocolVersion) -> &'static str {
        self.cells[usize::from(version.index() - 35).min(12)]
    }

    fn answer(&self, attempt: Attempt) -> Answer {
        let version = attempt.version();
        let refusal = |version| Answer::ReturnCode {
            version,
            code: Errno::SLURM_PROTOCOL_AUTHENTICATION_ERROR,
        };
        let speaks_up = self.version() >= ProtocolVersion::V24_11;
        match (self.cell(version), attempt) {
            ("C", _) => Answer::Closed,
            ("H", _) => Answer::Http,
            ("R", _) => refusal(self.version()),
            ("ok", _) if self.wants_tls => Answer::ReturnCode {
                version: self.version(),
                code: Errno::ESLURM_TLS_REQUIRED,
            },
            ("ok", Attempt::Request(_)) if self.good_credential => Answer::Message { version },
            ("ok", _) if speaks_up => refusal(version),
            ("ok", _) => Answer::Closed,
            (cell, _) => panic!("what is {cell}?"),
        }
    }
}

struct Course {
    attempts: Vec<Attempt>,
    outcome: Outcome,
}

impl Course {
    fn of(controller: &Controller, mut negotiation: Negotiation) -> Self {
        let mut attempts = vec![negotiation.attempt()];
        loop {
            let attempt = negotiation.attempt();
            match negotiation.answer(controller.answer(attempt)) {
                Step::Send(next) => {
                    assert_eq!(next, negotiation.attempt());
                    attempts.push(next);
                    assert!(attempts.len() < 20, "{}: no end", controller.name);
                }
                Step::Done(outcome) => return Self { attempts, outcome },
            }
        }
    }

    fn last_version(&self) -> ProtocolVersion {
        self.attempts.last().unwrap().version()
    }
}

#[test]
fn every_release_is_found_in_as_few_exchanges_as_promised() {
    for controller in Controller::all() {
        let course = Course::of(&controller, Negotiation::unknown());
        let name = controller.name;
        let expected = match name {
            "20.11" => (5, 36),
            "21.08" => (4, 37),
            "22.05" | "23.02" => (3, 38),
            "23.11" | "24.05" => (2, 40),
            "24.11" => (2, 42),
            "25.05" | "25.11" | "25.11-off" | "26.05" | "26.05-off" | "26.11" | "26.11-off" => {
                (2, 43)
            }
            // Newer than we know, met at the newest version that we know.
            "27.05" | "28.05" => (3, 46),
            "27.05-off" | "28.05-off" => (7, 46),
            "27.11-R" => (2, 46),
            // Newer still: nothing in common.
            "28.11" => {
                assert_eq!(course.outcome, Outcome::Http);
                continue;
            }
            "28.11-off" => {
                assert_eq!(course.outcome, Outcome::Silent);
                continue;
            }
            "28.11-R" => {
                let controller = controller.version();
                assert_eq!(course.outcome, Outcome::NoCommonVersion { controller });
                continue;
            }
            other => panic!("{other} is not expected anywhere"),
        };
        assert_eq!(course.outcome, Outcome::Answered, "{name}");
        assert_eq!(
            (course.attempts.len(), course.last_version().index()),
            expected,
            "{name}: {:?}",
            course.attempts
        );
    }
}

#[test]
fn a_credential_goes_only_to_what_answered_as_a_slurmctld_or_up_the_ladder() {
    for mut controller in Controller::all() {
        for good_credential in [true, false] {
            controller.good_credential = good_credential;
            let mut negotiation = Negotiation::unknown();
            let mut answered = false;
            loop {
                let attempt = negotiation.attempt();
                if let Attempt::Request(version) = attempt {
                    let on_the_ladder = version <= ProtocolVersion::V23_11;
                    assert!(
                        answered || on_the_ladder,
                        "{}: {attempt:?} before any answer",
                        controller.name
                    );
                }
                let answer = controller.answer(attempt);
                answered |= matches!(answer, Answer::ReturnCode { .. });
                if let Step::Done(_) = negotiation.answer(answer) {
                    break;
                }
            }
        }
    }
}

#[test]
fn versions_without_the_credential_are_left_out() {
    let oldest = ProtocolVersion::V23_11;
    for controller in Controller::all() {
        let course = Course::of(&controller, Negotiation::unknown().since(oldest));
        let name = controller.name;
        assert!(
            course
                .attempts
                .iter()
                .all(|attempt| attempt.version() >= oldest),
            "{name}: {:?}",
            course.attempts
        );
        let whole = Course::of(&controller, Negotiation::unknown());
        if whole.last_version() >= oldest {
            let mut expected = whole.attempts.clone();
            expected.retain(|attempt| attempt.version() >= oldest);
            assert_eq!(course.attempts, expected, "{name}");
        } else {
            assert_eq!(course.outcome, Outcome::Silent, "{name}");
        }
    }
}

#[test]
fn a_web_server_is_never_sent_a_credential() {
    let mut negotiation = Negotiation::unknown();
    assert_eq!(
        negotiation.answer(Answer::Http),
        Step::Send(Attempt::Probe(ProtocolVersion::NEWEST))
    );
    assert_eq!(negotiation.answer(Answer::Http), Step::Done(Outcome::Http));
}

#[test]
fn a_refused_credential_is_told_from_a_version_where_the_controller_tells() {
    for mut controller in Controller::all() {
        controller.good_credential = false;
        let course = Course::of(&controller, Negotiation::unknown());
        let name = controller.name;
        let expected = match name {
            "28.11" => Outcome::Http,
            "28.11-off" => Outcome::Silent,
            "28.11-R" => Outcome::NoCommonVersion {
                controller: controller.version(),
            },
            _ if controller.version() < ProtocolVersion::V24_11 => Outcome::Silent,
            _ => Outcome::Refused { silently: false },
        };
        assert_eq!(course.outcome, expected, "{name}");
        assert!(course.attempts.len() <= 7, "{name}: {:?}", course.attempts);
    }
}

#[test]
fn a_credential_can_be_refused_in_silence_after_the_probe() {
    // 26.05 without auth/jwt. It is probed again, to tell it from one that was restarted, and asked
    // again, in case that the connection was lost.
    let version = ProtocolVersion::V25_05;
    let refusal = Answer::ReturnCode {
        version,
        code: Errno::SLURM_PROTOCOL_AUTHENTICATION_ERROR,
    };
    for last in [refusal, Answer::Closed] {
        let mut negotiation = Negotiation::unknown();
        negotiation.answer(refusal);
        assert_eq!(
            negotiation.answer(Answer::Closed),
            Step::Send(Attempt::Probe(version))
        );
        let refused = Step::Done(Outcome::Refused { silently: true });
        if last != Answer::Closed {
            let request = Step::Send(Attempt::Request(version));
            assert_eq!(negotiation.answer(last), request);
        }
        assert_eq!(negotiation.answer(Answer::Closed), refused);
    }
}

#[test]
fn a_connection_that_is_lost_is_not_taken_for_an_answer() {
    for controller in Controller::all() {
        // Those that close what they do not like say nothing to go by.
        let ours = ProtocolVersion::V24_11..=ProtocolVersion::NEWEST;
        let says_so = ours.contains(&controller.version());
        let undisturbed = Course::of(&controller, Negotiation::unknown());
        if !says_so || controller.cells.contains(&"C") || undisturbed.outcome != Outcome::Answered {
            continue;
        }
        for lost in 0..undisturbed.attempts.len() {
            let mut negotiation = Negotiation::unknown();
            for at in 0.. {
                let answer = match at == lost {
                    true => Answer::Closed,
                    false => controller.answer(negotiation.attempt()),
                };
                if let Step::Done(outcome) = negotiation.answer(answer) {
                    assert_eq!(outcome, Outcome::Answered, "{}: {lost}", controller.name);
                    break;
                }
                assert!(at < 9, "{}: {lost}", controller.name);
            }
        }
    }
}

#[test]
fn tls_is_found_out_without_a_credential() {
    for name in ["25.11", "26.05", "26.11", "27.05"] {
        let mut controller = Controller::named(name);
        controller.wants_tls = true;
        let course = Course::of(&controller, Negotiation::unknown());
        let version = controller.version();
        assert_eq!(
            course.outcome,
            Outcome::TlsRequired {
                controller: version
            },
            "{name}"
        );
        assert!(
            course
                .attempts
                .iter()
                .all(|attempt| matches!(attempt, Attempt::Probe(_))),
            "{name}: {:?}",
            course.attempts
        );
    }
}

#[test]
fn a_pinned_version_is_the_only_one_tried() {
    for controller in Controller::all() {
        for release in Release::ALL {
            let version = release.version();
            let course = Course::of(&controller, Negotiation::pinned(version));
            assert_eq!(course.attempts, [Attempt::Request(version)]);
            let expected = match controller.cell(version) {
                "ok" => Outcome::Answered,
                "C" => Outcome::Silent,
                "H" => Outcome::Http,
                _ => Outcome::NoCommonVersion {
                    controller: controller.version(),
                },
            };
            assert_eq!(course.outcome, expected, "{} at {release}", controller.name);
        }
    }
}

#[test]
fn a_known_version_takes_one_exchange_and_is_given_up_when_it_no_longer_holds() {
    for controller in Controller::all() {
        let unknown = Course::of(&controller, Negotiation::unknown());
        for release in Release::ALL {
            let version = release.version();
            let course = Course::of(&controller, Negotiation::known(version));
            let name = controller.name;
            if controller.cell(version) == "ok" {
                assert_eq!(course.attempts, [Attempt::Request(version)], "{name}");
                assert_eq!(course.outcome, Outcome::Answered);
            } else {
                // A version that is no longer accepted costs one exchange, and changes nothing.
                assert_eq!(course.outcome, unknown.outcome, "{name} from {release}");
                assert!(
                    course.attempts.len() <= 1 + unknown.attempts.len(),
                    "{name}"
                );
            }
        }
    }
}

#[test]
fn other_error_numbers_are_answers() {
    for code in [
        Errno::ESLURM_USER_ID_MISSING,
        Errno::ESLURM_CONFIGLESS_DISABLED,
        Errno::ESLURM_IN_STANDBY_USE_BACKUP,
        Errno::SLURMCTLD_COMMUNICATIONS_BACKOFF,
        Errno(4711),
    ] {
        let version = ProtocolVersion::V23_11;
        let mut negotiation = Negotiation::pinned(version);
        assert_eq!(
            negotiation.answer(Answer::ReturnCode { version, code }),
            Step::Done(Outcome::Answered)
        );
        // Rate limiting can meet a probe too: the controller speaks the version.
        let version = ProtocolVersion::V25_05;
        assert_eq!(
            Negotiation::unknown().answer(Answer::ReturnCode { version, code }),
            Step::Send(Attempt::Request(version))
        );
    }
}

#[test]
fn a_controller_that_changes_its_mind_does_not_keep_us_for_ever() {
    let refusal = |index| Answer::ReturnCode {
        version: ProtocolVersion::from_index(index),
        code: Errno::SLURM_PROTOCOL_AUTHENTICATION_ERROR,
    };
    let mut negotiation = Negotiation::unknown();
    negotiation.answer(refusal(42));
    let controller = ProtocolVersion::from_index(44);
    assert_eq!(
        negotiation.answer(refusal(44)),
        Step::Done(Outcome::NoCommonVersion { controller })
    );
    for nonsense in [0, 1, 35, 255] {
        let controller = ProtocolVersion::from_index(nonsense);
        assert_eq!(
            Negotiation::unknown().answer(refusal(nonsense)),
            Step::Done(Outcome::NoCommonVersion { controller })
        );
    }
}

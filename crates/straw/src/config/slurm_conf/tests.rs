use proptest::prelude::*;

use super::*;

/// The pairs of each statement that has any, and includes.
fn read(text: &str) -> Vec<String> {
    let conf = Conf::parse(text.as_bytes());
    let show = |statement: &Statement<'_>| {
        let line = statement.line().unwrap();
        match statement.kind() {
            Kind::Nothing => None,
            Kind::Include(file) => Some(format!("{line} <{}>", String::from_utf8_lossy(file))),
            Kind::Other => Some(format!("{line} ?")),
            Kind::Pairs(_) => {
                let pairs: Vec<_> = statement
                    .pairs()
                    .map(|pair| format!("{}={}", pair.key_text(), pair.value_text()))
                    .collect();
                Some(format!("{line} {}", pairs.join("|")))
            }
        }
    };
    conf.statements().iter().filter_map(show).collect()
}

#[test]
fn the_syntax() {
    let cases: [(&str, &[&str]); 22] = [
        ("", &[]),
        ("# A=1\n \t\n\n", &[]),
        ("A=1\nb = 2\n", &["1 A=1", "2 b=2"]),
        ("A\t=\t1", &["1 A=1"]),
        ("A=1 # B=2\n", &["1 A=1"]),
        (r"A=x\#y", &["1 A=x#y"]),
        ("A=\"x y\" B=\"\"", &["1 A=x y|B="]),
        ("A=\"x # y\"", &["1 A=\"x"]),
        ("A=1\r\nB=2\r\n", &["1 A=1", "2 B=2"]),
        // A backslash joins, with white space behind it, in a key, and before a comment.
        (
            "N=a \\\n  C=1 \\ \t\n D=2\nE=3",
            &["1 N=a|C=1|D=2", "4 E=3"],
        ),
        ("Ke\\\ny=1", &["1 Key=1"]),
        ("A=1 \\ # c\nB=2", &["1 A=1|B=2"]),
        ("A=1 \\\r\nB=2", &["1 A=1|B=2"]),
        // Not where it is in a comment.
        ("A=1 # c \\\nB=2", &["1 A=1", "2 B=2"]),
        ("# c \\\nB=2", &["2 B=2"]),
        ("A=1 \\\n# c\nB=2", &["1 A=1", "3 B=2"]),
        ("A=1 \\", &["1 A=1"]),
        ("A+=1", &["1 A=1"]),
        ("A=", &["1 A="]),
        ("A= B=1", &["1 A=B=1"]),
        (
            "Include a.conf # c\n include\t/b\nInclude a b\nInclude=a\nIncludea",
            &["1 <a.conf>", "2 </b>", "3 ?", "4 Include=a", "5 ?"],
        ),
        ("two words\n=1\noptional x.so a=b", &["1 ?", "2 ?", "3 ?"]),
    ];
    for (text, expected) in cases {
        assert_eq!(read(text), expected, "{text:?}");
    }
}

fn first<'a>(conf: &'a Conf<'_>, index: usize) -> Pair<'a> {
    conf.statements()[index].pairs().next().unwrap()
}

#[test]
fn nothing_and_two_quotes_are_different() {
    let conf = Conf::parse(b"A=\nB=\"\"\n");
    assert!(first(&conf, 0).is_empty());
    assert!(!first(&conf, 1).is_empty());
}

fn edited(text: &str, edit: impl Fn(&mut Conf<'_>) -> Edit) -> String {
    let mut conf = Conf::parse(text.as_bytes());
    edit(&mut conf);
    String::from_utf8(conf.to_bytes()).unwrap()
}

#[test]
fn edits() {
    assert_eq!(
        edited("A=1\n B = 2 # c\r\nC=3", |conf| conf.comment_out(1, "no b")),
        "A=1\n# straw: no b:  B = 2 # c\r\nC=3"
    );
    assert_eq!(
        edited("N=a \\\n  B=2\nC=3\n", |conf| conf.comment_out(0, "x")),
        "# straw: x: N=a \\\n# straw: x:   B=2\nC=3\n"
    );
    assert_eq!(
        edited(" B = 2 # c\r\n", |conf| conf.replace(0, 0, "3", "x")),
        "# straw: x:  B = 2 # c\r\n B = 3 # c\r\n"
    );
    assert_eq!(
        edited("B=\"2 3\"", |conf| conf.replace(0, 0, "4", "x")),
        "# straw: x: B=\"2 3\"\nB=4"
    );
    assert_eq!(
        edited("N=a \\\n\tB=2 C=3\\\n4 D=5\n", |conf| conf.remove(
            0,
            &[2],
            "x"
        )),
        "# straw: x: N=a \\\n# straw: x: \tB=2 C=3\\\n# straw: x: 4 D=5\nN=a \\\n\tB=2 D=5\n"
    );
    assert_eq!(
        edited("N=a  B=2\n", |conf| conf.remove(0, &[0], "x")),
        "# straw: x: N=a  B=2\nB=2\n"
    );
    assert_eq!(
        edited("N=a\n", |conf| conf.remove(0, &[0], "x")),
        "# straw: x: N=a\n"
    );
    assert_eq!(
        edited("A=1", |conf| conf.append(b"B=2", "x")),
        "A=1\n# straw: x\nB=2\n"
    );
    assert_eq!(
        edited("A=1 \\\n", |conf| conf.append(b"B=2", "x")),
        "A=1 \\\n\n# straw: x\nB=2\n"
    );
}

#[test]
fn what_cannot_be_written_as_it_was_meant_is_a_comment() {
    let one_line = |text: &str, value: &str| {
        let after = edited(text, |conf| conf.replace(0, 0, value, "x"));
        after.replace(&format!("# straw: x: {text}"), "")
    };
    assert_eq!(one_line("A=1\n", "x#y z"), "A=\"x\\#y z\"\n");
    assert_eq!(one_line("A=1\n", ""), "A=\"\"\n");
    // It would end at its own quote, go on to that of the next, or take the next line with it.
    assert_eq!(one_line("A=1\n", "x\" y"), "");
    assert_eq!(one_line("A=1 B=\"2\"\n", "\"x"), "");
    assert_eq!(one_line("A=1\n", "x\\"), "");
    assert_eq!(one_line("A=1\n", "\n"), "");
}

#[test]
fn the_first_pairs_can_go_together() {
    assert_eq!(
        edited("A=1 B=2 C=3\n", |conf| conf.remove(0, &[0, 1], "x")),
        "# straw: x: A=1 B=2 C=3\n C=3\n"
    );
}

#[test]
fn the_original_is_kept_once() {
    let text = edited("N=a B=2 C=3\n", |conf| {
        conf.remove(0, &[1], "no B");
        conf.remove(0, &[1], "no C")
    });
    assert_eq!(text, "# straw: no B: N=a B=2 C=3\n# straw: no C\nN=a\n");
}

#[test]
fn a_reason_stays_in_its_comment() {
    let text = edited("A=1\n", |conf| conf.comment_out(0, "not\nhere\x1b[2J"));
    assert_eq!(text, "# straw: not\\nhere\\u{1b}[2J: A=1\n");
}

/// Bytes that Slurm's syntax is made of, and others.
fn any_conf() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"\n".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"\\".to_vec()),
        Just(b"\\\n".to_vec()),
        Just(b"#".to_vec()),
        Just(b"\"".to_vec()),
        Just(b" ".to_vec()),
        Just(b"=".to_vec()),
        Just(b"Key=value".to_vec()),
        Just(b"Include x".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..4),
    ];
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

/// What each statement says, comments left out.
fn said(conf: &Conf<'_>) -> Vec<(Kind, Vec<u8>)> {
    conf.statements()
        .iter()
        .filter(|statement| *statement.kind() != Kind::Nothing)
        .map(|statement| {
            let pairs = statement.pairs();
            let pairs = pairs.flat_map(|pair| [pair.key(), pair.value()]);
            let kind = match statement.kind() {
                Kind::Pairs(_) => Kind::Pairs(Vec::new()),
                kind => kind.clone(),
            };
            (kind, pairs.collect::<Vec<_>>().join(&0))
        })
        .collect()
}

proptest! {
    #[test]
    fn reading_and_writing_changes_nothing(bytes in any_conf()) {
        prop_assert_eq!(Conf::parse(&bytes).to_bytes(), bytes);
    }

    #[test]
    fn arbitrary_bytes_survive(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(Conf::parse(&bytes).to_bytes(), bytes);
    }

    /// What is written after an edit is read as what was meant, and all else is as it was.
    #[test]
    fn a_comment_takes_away_its_statement_alone(bytes in any_conf(), which in any::<prop::sample::Index>()) {
        let mut conf = Conf::parse(&bytes);
        prop_assume!(!conf.statements().is_empty());
        let index = which.index(conf.statements().len());
        conf.comment_out(index, "why");
        let bytes = conf.to_bytes();
        let again = Conf::parse(&bytes);
        prop_assert_eq!(said(&again), said(&conf));
    }

    #[test]
    fn a_new_value_is_read_back(bytes in any_conf(), which in any::<prop::sample::Index>()) {
        let mut conf = Conf::parse(&bytes);
        let with_pairs: Vec<_> = (0..conf.statements().len())
            .flat_map(|index| (0..conf.statements()[index].pairs().count()).map(move |pair| (index, pair)))
            .collect();
        prop_assume!(!with_pairs.is_empty());
        let (index, pair) = with_pairs[which.index(with_pairs.len())];
        conf.replace(index, pair, "new", "why");
        // Or it is a comment, where what stands behind would become a part of it.
        match conf.statements()[index].pairs().nth(pair) {
            Some(new) => prop_assert_eq!(new.value(), b"new"),
            None => prop_assert_eq!(conf.statements()[index].kind(), &Kind::Nothing),
        }
        let bytes = conf.to_bytes();
        let again = Conf::parse(&bytes);
        prop_assert_eq!(said(&again), said(&conf));
    }

    #[test]
    fn an_added_line_is_read_back(bytes in any_conf()) {
        let mut conf = Conf::parse(&bytes);
        conf.append(b"Added=1", "why");
        let bytes = conf.to_bytes();
        let again = Conf::parse(&bytes);
        prop_assert_eq!(said(&again), said(&conf));
        prop_assert!(first(&again, again.statements().len() - 1).is("added"));
    }
}

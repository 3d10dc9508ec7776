//! Decoders against bytes that nobody sane would send: an error, never a panic.

use proptest::prelude::*;
use slurm_protocol::{
    DecodeErrorKind, MAX_FRAME, MUNGED_HEADER, Message, MessageType, MungedReply, Prefix,
    ProtocolVersion, Reply, munged_reply_length, prefix, sack_reply, sack_reply_length,
};

/// A frame whose header is right for its version and whose body is whatever it is.
fn frame(version: ProtocolVersion, message_type: MessageType, body: &[u8]) -> Vec<u8> {
    let mut frame = version.0.to_be_bytes().to_vec();
    frame.extend(0x0040_u16.to_be_bytes());
    if version < ProtocolVersion::V22_05 {
        frame.extend([0, 0]);
    }
    frame.extend(message_type.0.to_be_bytes());
    frame.extend((body.len() as u32).to_be_bytes());
    frame.extend([0; 6]);
    frame.extend(body);
    frame
}

fn versions() -> impl Strategy<Value = ProtocolVersion> {
    // And some that nobody knows yet.
    let newest = ProtocolVersion::NEWEST.index();
    (ProtocolVersion::OLDEST.index()..=newest + 4).prop_map(ProtocolVersion::from_index)
}

fn message_types() -> impl Strategy<Value = MessageType> {
    prop::sample::select(vec![
        MessageType::RESPONSE_CONFIG,
        MessageType::REQUEST_RECONFIGURE_SACKD,
        MessageType::RESPONSE_AUTH_TOKEN,
        MessageType::RESPONSE_SLURM_RC,
        MessageType::RESPONSE_SLURM_RC_MSG,
        MessageType(4711),
    ])
}

/// Bytes that often look like the small numbers, lengths and strings of a body.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        4 => (0_u32..40).prop_map(|n| n.to_be_bytes().to_vec()),
        1 => any::<u32>().prop_map(|n| n.to_be_bytes().to_vec()),
        2 => Just(b"\0\0\0\x03ab\0".to_vec()),
        2 => any::<bool>().prop_map(|b| vec![u8::from(b)]),
        1 => prop::collection::vec(any::<u8>(), 0..9),
    ];
    prop::collection::vec(word, 0..40).prop_map(|words| words.concat())
}

/// The bytes of content that a message holds, which cannot be more than came in.
fn held(message: &Message) -> usize {
    match message {
        Message::Config(config) | Message::Reconfigure(config) => config
            .files
            .iter()
            .map(|file| file.name.len() + file.content.len())
            .sum(),
        Message::AuthToken(token) => token.token.as_ref().map_or(0, Vec::len),
        _ => 0,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn any_prefix(bytes in any::<[u8; 4]>(), limit in any::<usize>()) {
        if let Ok(Prefix::Frame(length)) = prefix(bytes, limit) {
            prop_assert!(length <= limit && length <= MAX_FRAME);
        }
    }

    #[test]
    fn any_reply_of_munged(
        header in any::<[u8; MUNGED_HEADER]>(), body in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let _ = munged_reply_length(&header);
        if let Ok(MungedReply::Credential(credential)) = MungedReply::decode(&body) {
            prop_assert!(!credential.is_empty() && credential.len() <= body.len());
        }
    }

    #[test]
    fn any_reply_of_a_sack_socket(
        first in any::<[u8; 4]>(), body in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        if let Ok(length) = sack_reply_length(first) {
            prop_assert!((2..=65536).contains(&length));
        }
        let _ = sack_reply(&body);
    }

    #[test]
    fn any_frame(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(reply) = Reply::decode(&bytes) {
            let _ = reply.message();
        }
    }

    #[test]
    fn any_authentication_section(
        version in versions(), plugin in 99_u32..106, section in body(), rc in any::<[u8; 4]>(),
    ) {
        let mut bytes = frame(version, MessageType::RESPONSE_SLURM_RC, &rc);
        bytes[3] = 0; // there is a section
        let at = bytes.len() - rc.len();
        bytes.splice(at..at, plugin.to_be_bytes().into_iter().chain(section));
        // What of a plugin we do not know stands between header and body does not matter.
        let decoded = Reply::decode(&bytes);
        if !(101..=103).contains(&plugin) {
            prop_assert_eq!(decoded.as_ref().map(|reply| reply.body), Ok(&rc[..]));
        }
    }

    #[test]
    fn any_body(version in versions(), message_type in message_types(), body in body()) {
        let bytes = frame(version, message_type, &body);
        let reply = Reply::decode(&bytes).expect("the header is right");
        match reply.message() {
            Ok(message) => prop_assert!(held(&message) <= body.len()),
            Err(error) => prop_assert!(error.offset <= bytes.len(), "{}", error),
        }
    }

    /// A reply cut short anywhere is an error that says what was missing.
    #[test]
    fn a_reply_cut_short(version in versions(), cut in 0_usize..60) {
        let body = match version {
            ProtocolVersion::V20_11 => vec![0; 48],
            _ => b"\0\0\0\0\0\0\0\0".to_vec(),
        };
        let whole = frame(version, MessageType::RESPONSE_CONFIG, &body);
        prop_assert!(Reply::decode(&whole).and_then(|reply| reply.message()).is_ok());
        if cut < whole.len() {
            let kind = Reply::decode(&whole[..cut]).unwrap_err().kind;
            prop_assert!(matches!(kind, DecodeErrorKind::Truncated { .. }), "{:?}", kind);
        }
    }
}

#[test]
fn a_list_that_claims_millions_of_files_allocates_none() {
    let body = [&0x00ff_ffff_u32.to_be_bytes()[..], &[0; 100]].concat();
    let bytes = frame(ProtocolVersion::V26_05, MessageType::RESPONSE_CONFIG, &body);
    let error = Reply::decode(&bytes).unwrap().message().unwrap_err();
    assert_eq!(
        error.to_string(),
        "RESPONSE_CONFIG: `files` at byte 16: a list of at most 10 items expected, \
         16777215 claimed"
    );
}

#[test]
fn a_list_of_very_many_files_is_refused() {
    let entry = [1, 0, 0, 0, 0, 2, b'a', 0, 0, 0, 0, 0];
    let body = |count: u32| {
        let entries = entry.repeat(count as usize);
        [&count.to_be_bytes()[..], &entries, &[0; 4]].concat()
    };
    let read = |count| {
        let bytes = frame(
            ProtocolVersion::V26_05,
            MessageType::RESPONSE_CONFIG,
            &body(count),
        );
        Reply::decode(&bytes)
            .unwrap()
            .message()
            .map(|message| held(&message))
    };
    assert_eq!(read(4000), Ok(4000));
    assert!(matches!(
        read(5000).unwrap_err().kind,
        DecodeErrorKind::Count { count: 5000, most } if most <= 4096
    ));
}

#[test]
fn a_reply_without_a_list_is_not_an_empty_one() {
    let body = [0xff, 0xff, 0xff, 0xfe, 0, 0, 0, 0];
    let bytes = frame(ProtocolVersion::V26_05, MessageType::RESPONSE_CONFIG, &body);
    let error = Reply::decode(&bytes).unwrap().message().unwrap_err();
    assert_eq!(
        error.to_string(),
        "RESPONSE_CONFIG: `files` at byte 16: a list expected, and there is none"
    );
}

#[test]
fn what_is_forwarded_or_too_old_is_refused() {
    let with = |at: usize, byte: u8| {
        let mut bytes = frame(
            ProtocolVersion::V26_05,
            MessageType::RESPONSE_SLURM_RC,
            &[0; 4],
        );
        bytes[at] = byte;
        Reply::decode(&bytes).unwrap_err().to_string()
    };
    assert_eq!(
        with(11, 1),
        "header: `forward_count` at byte 10: 0 expected, 1 found"
    );
    assert_eq!(
        with(13, 2),
        "header: `ret_count` at byte 12: 0 expected, 2 found"
    );
    assert_eq!(
        with(0, 35),
        "header: `version` at byte 0: at least 9216 (protocol version 36) expected, 8960 found"
    );
    assert_eq!(
        with(15, 10),
        "header: `orig_addr.address` at byte 16: an address of 16 bytes expected, 0 found"
    );
}

#[test]
fn sockets_that_speak_something_else_are_refused() {
    let header = |at: usize, byte: u8| {
        let mut header = [0, 0x60, 0x6d, 0x4b, 4, 3, 0, 0, 0, 0, 9];
        header[at] = byte;
        munged_reply_length(&header).map_err(|error| error.to_string())
    };
    assert_eq!(header(6, 1), Ok(9));
    for (at, field) in [
        (0, "`magic`"),
        (4, "`version`"),
        (5, "`type`"),
        (7, "`length`"),
    ] {
        let error = header(at, 9).unwrap_err();
        assert!(error.contains(field), "{error}");
    }
    let nothing = MungedReply::decode(&[0; 6]).unwrap_err();
    assert_eq!(nothing.field, "data_len");
    let more = MungedReply::decode(b"\0\0\0\0\0\x02a\0b").unwrap_err();
    assert_eq!(more.field, "end");
    assert!(sack_reply_length([0, 0, 0, 1]).is_err());
    assert!(sack_reply_length([0, 1, 0, 1]).is_err());
    assert!(sack_reply(b"abc").is_err());
    assert_eq!(sack_reply(b"abc\0"), Ok(&b"abc"[..]));
}

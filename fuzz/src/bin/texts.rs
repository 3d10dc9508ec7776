//! Texts that are shown, with tokens in them and with what a terminal would obey; and tokens as they
//! are looked into.

#![no_main]

use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use straw::credential::TokenSource;
use straw::fuzzing::{find_token, is_token, safe};
use straw_fuzz::is_harmless;

#[derive(Arbitrary, Debug)]
enum Piece {
    Text(String),
    /// Letters and digits, as they stand in tokens.
    Word(Vec<u8>),
    Token {
        header: Json,
        claims: Json,
        signature: Vec<u8>,
    },
}

#[derive(Arbitrary, Debug)]
enum Json {
    Empty,
    User(String),
    Numbers { exp: u64, iat: f64 },
    Algorithm(String),
    Raw(Vec<u8>),
}

#[derive(Arbitrary, Debug)]
struct Input {
    pieces: Vec<Piece>,
    now: u32,
}

impl Json {
    fn text(&self) -> Vec<u8> {
        use serde_json::json;
        let value = match self {
            Self::Empty => json!({}),
            Self::User(user) => json!({ "sun": user, "sub": user }),
            Self::Numbers { exp, iat } => json!({ "exp": exp, "iat": iat }),
            Self::Algorithm(name) => json!({ "alg": name, "kid": name }),
            Self::Raw(bytes) => return bytes.clone(),
        };
        value.to_string().into_bytes()
    }

    fn is_object(&self) -> bool {
        serde_json::from_slice::<serde_json::Map<_, _>>(&self.text()).is_ok()
    }
}

libfuzzer_sys::fuzz_target!(|input: Input| {
    let mut text = String::new();
    let mut tokens = Vec::new();
    for piece in &input.pieces {
        match piece {
            Piece::Text(piece) => text.push_str(piece),
            Piece::Word(bytes) => text.push_str(&URL_SAFE_NO_PAD.encode(bytes)),
            Piece::Token {
                header,
                claims,
                signature,
            } => {
                let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
                let token = [part(&header.text()), part(&claims.text()), part(signature)].join(".");
                text.push_str(&token);
                if header.is_object() && claims.is_object() {
                    assert!(is_token(&token));
                    look_into(&token, input.now);
                    // Only one with an object that begins without white space is found within a word.
                    if token.starts_with("ey") {
                        tokens.push(token);
                    }
                }
            }
        }
    }
    let shown = safe(&text);
    assert!(is_harmless(&shown), "{shown:?}");
    assert_eq!(find_token(&shown), None, "{shown:?}");
    assert_eq!(safe(&shown), shown);
    for token in tokens {
        assert!(!shown.contains(&token), "{shown:?}");
    }
    look_into(&text, input.now);
});

/// What is said of a token is harmless, and is not the token.
fn look_into(text: &str, now: u32) {
    let now = UNIX_EPOCH + Duration::from_secs(now.into());
    let source = TokenSource::Variable(text.into());
    let said = match source.load(now, Duration::ZERO) {
        Ok(token) => {
            let claims = token.claims();
            let _ = (claims.expiry(), claims.life(), claims.left(now));
            assert!(claims.check("here", now).is_ok());
            format!("{claims}")
        }
        Err(error) => error.to_string(),
    };
    assert!(is_harmless(&safe(&said)), "{said:?}");
    assert!(!is_token(text) || !said.contains(text.trim()), "{said:?}");
}

//! Where a credential comes from. A token (a JWT) so far; each further kind is a file here.

pub mod jwt;

pub use jwt::{Claims, CredentialError, Token, TokenSource};

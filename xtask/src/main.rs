//! straw
fn main() {}

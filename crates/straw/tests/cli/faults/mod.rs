//! What is left after straw was killed, or a system call of it failed: each one of them, in turn. (Where
//! the `tracer` does not know the machine's registers, those of `killed` and `failing` are ignored.)

mod failing;
mod file_systems;
mod killed;
mod kinds;
mod place;
mod tracer;

//! The program as its users meet it: every message, and what it does to a directory. The
//! controllers are fakes on loopback; what real ones do is tested in `live`.

mod clocks;
mod credentials;
mod doctor;
mod exec;
mod fake;
mod faults;
mod fetch;
mod hostile;
mod log_format;
mod messages;
mod reference;
mod settings;
mod straw;
mod supervise;
mod terminal;
mod tls;
mod watch;

//! The broker as a process, over real sockets: the command line, clients, malformed input, back-pressure.
//!
//! Every test starts a broker of its own on a free port, and ends it.

mod blocked;
mod command_line;
mod config_file;
mod configuration;
mod conformance;
mod consuming;
mod definitions;
mod dribble;
mod durable;
mod heartbeat;
mod malformed;
mod manual;
mod memory;
mod patterns;
mod proxy;
mod publishing;
mod recording;
mod service_manager;
mod shutdown;
mod slow_reader;
mod sockets;
#[allow(dead_code, reason = "shared with the tests of other parts, which use all of it")]
mod support;
mod time;
mod tls;
mod unauthenticated;
mod unix_socket;
mod watching;

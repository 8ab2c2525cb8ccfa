//! The seam: a broker is something one can connect to, a connection is bytes in and bytes out.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// What a read found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// At least one byte was appended.
    Bytes,
    /// Nothing has arrived before the deadline.
    Nothing,
    /// The peer closed the connection, and everything it said before has been read.
    Closed,
}

/// One connection to the broker, from the client's side.
pub trait Transport {
    /// Sends all the bytes. A connection the peer has closed swallows them: the next read tells.
    fn write(&mut self, bytes: &[u8]);

    /// Appends what has arrived to `into`, waiting for the first byte until the deadline. An in-process broker has said everything
    /// when `write` returns, so it never waits.
    fn read(&mut self, into: &mut Vec<u8>, deadline: Instant) -> Arrival;

    /// Ends the connection without any farewell, as a crashed client would.
    fn abandon(&mut self);
}

/// Something that accepts connections.
pub trait Broker {
    fn connect(&self) -> Box<dyn Transport>;

    /// True if everything the broker will ever say in answer to a write, on any connection, is readable when the write returns.
    /// The runner then needs no synchronising round trips, and leaves out the scenarios that need a clock or real sockets.
    fn answers_at_once(&self) -> bool {
        false
    }

    /// Called before each scenario; an in-process broker may start afresh.
    fn reset(&self) {}

    /// Lets time pass; a broker without a clock of its own is told so instead.
    fn wait(&self, milliseconds: u64) {
        thread::sleep(Duration::from_millis(milliseconds));
    }

    /// Whether `ctl` does anything.
    fn takes_ctl(&self) -> bool {
        false
    }

    /// Does what `rabbitmqctl` does with these words. An error is what it says when it fails.
    fn ctl(&self, words: &[String]) -> Result<(), String> {
        Err(format!("nobody to ask: {}", words.join(" ")))
    }
}

/// A broker reached over TCP.
pub struct Tcp {
    address: SocketAddr,
    /// The command that takes `rabbitmqctl`'s words, and its first arguments. Empty if there is none.
    ctl: Vec<String>,
}

impl Tcp {
    /// From `amqp://user:password@host:port` or `host:port`; the transcripts name their users themselves, so those are left out.
    /// `ctl` is the command for an administrator, split at spaces; possibly empty.
    pub fn new(url: &str, ctl: &str) -> Result<Tcp, String> {
        let ctl = ctl.split_whitespace().map(str::to_owned).collect();
        let rest = url.strip_prefix("amqp://").unwrap_or(url);
        let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
        let host = host.split('/').next().unwrap_or(host);
        host.to_socket_addrs()
            .map_err(|error| format!("{host}: {error}"))?
            .next()
            .map(|address| Tcp { address, ctl })
            .ok_or_else(|| format!("{host}: no address"))
    }
}

impl Broker for Tcp {
    fn connect(&self) -> Box<dyn Transport> {
        let stream = TcpStream::connect_timeout(&self.address, Duration::from_secs(5)).ok();
        if let Some(stream) = &stream {
            let _ = stream.set_nodelay(true);
            let _ = stream.set_write_timeout(Some(Duration::from_secs(5)));
        }
        Box::new(Socket { stream })
    }

    fn takes_ctl(&self) -> bool {
        !self.ctl.is_empty()
    }

    fn ctl(&self, words: &[String]) -> Result<(), String> {
        let (program, arguments) = self.ctl.split_first().ok_or("LEVERET_SCENARIOS_CTL is not set")?;
        let output = Command::new(program).args(arguments).args(words).output().map_err(|error| format!("{program}: {error}"))?;
        if output.status.success() {
            return Ok(());
        }
        let said = [output.stdout, output.stderr].concat();
        Err(format!("{}: {}\n{}", words.join(" "), output.status, String::from_utf8_lossy(&said).trim_end()))
    }
}

struct Socket {
    stream: Option<TcpStream>,
}

impl Transport for Socket {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(stream) = &mut self.stream {
            let _ = stream.write_all(bytes);
        }
    }

    fn read(&mut self, into: &mut Vec<u8>, deadline: Instant) -> Arrival {
        let Some(stream) = &mut self.stream else {
            return Arrival::Closed;
        };
        // A zero time-out would mean "for ever".
        let patience = deadline.saturating_duration_since(Instant::now()).max(Duration::from_micros(1));
        let _ = stream.set_read_timeout(Some(patience));
        let mut chunk = [0; 64 * 1024];
        match stream.read(&mut chunk) {
            Ok(0) => Arrival::Closed,
            Ok(count) => {
                into.extend(chunk.iter().take(count));
                Arrival::Bytes
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => Arrival::Nothing,
                _ => Arrival::Closed,
            },
        }
    }

    fn abandon(&mut self) {
        self.stream = None;
    }
}

//! The seam: a broker is something one can connect to, a connection is bytes in and bytes out.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::transcript::text::quote;

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

    /// How long an answer may take before it counts as none.
    fn patience(&self) -> Duration {
        Duration::from_secs(3)
    }

    /// Whether it is there at all, and speaks AMQP 0-9-1; asked before everything, and when something has gone wrong.
    ///
    /// # Errors
    /// What it does instead.
    fn check(&self) -> Result<(), String> {
        Ok(())
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
#[derive(Debug)]
pub struct Tcp {
    /// As it was named, and all that the name stands for.
    host: String,
    addresses: Vec<SocketAddr>,
    /// The command that takes `rabbitmqctl`'s words, and its first arguments. Empty if there is none.
    ctl: Vec<String>,
    patience: Duration,
}

impl Tcp {
    /// From `amqp://user:password@host:port` or `host:port`; the transcripts name their users themselves, so those are left out.
    /// `ctl` is the command for an administrator, split at spaces; possibly empty.
    ///
    /// # Errors
    /// Why the host has no address.
    pub fn new(url: &str, ctl: &str) -> Result<Tcp, String> {
        let ctl = ctl.split_whitespace().map(str::to_owned).collect();
        let rest = url.strip_prefix("amqp://").unwrap_or(url);
        let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
        let host = host.split('/').next().unwrap_or(host);
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()));
        let host = if has_port { host.to_owned() } else { format!("{host}:5672") };
        let addresses: Vec<_> = host.to_socket_addrs().map_err(|error| format!("cannot find {host}: {error}"))?.collect();
        if addresses.is_empty() {
            return Err(format!("cannot find {host}: it has no address"));
        }
        Ok(Tcp { host, addresses, ctl, patience: Duration::from_secs(3) })
    }

    /// Waits that long for answers, instead of three seconds.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Tcp {
        Tcp { patience, ..self }
    }

    fn open(&self) -> io::Result<TcpStream> {
        let mut outcome = Err(io::Error::other("no address"));
        for address in &self.addresses {
            outcome = TcpStream::connect_timeout(address, self.patience.max(Duration::from_secs(1)));
            if let Ok(stream) = &outcome {
                stream.set_nodelay(true)?;
                stream.set_write_timeout(Some(Duration::from_secs(5)))?;
                break;
            }
        }
        outcome
    }
}

impl Broker for Tcp {
    fn connect(&self) -> Box<dyn Transport> {
        Box::new(Socket { stream: self.open().ok() })
    }

    fn patience(&self) -> Duration {
        self.patience
    }

    fn check(&self) -> Result<(), String> {
        let host = &self.host;
        let stream = self.open().map_err(|error| format!("cannot connect to {host}: {error}"))?;
        let mut socket = Socket { stream: Some(stream) };
        socket.write(b"AMQP\x00\x00\x09\x01");
        let deadline = Instant::now() + self.patience;
        let mut said = Vec::new();
        loop {
            match (socket.read(&mut said, deadline), said.as_slice()) {
                // The beginning of a method frame with connection.start.
                (_, [1, 0, 0, _, _, _, _, 0, 10, 0, 10, ..]) => return Ok(()),
                (_, [b'A', b'M', b'Q', b'P', a, b, c, d, ..]) => {
                    return Err(format!("{host} does not speak AMQP 0-9-1: it offers the protocol header AMQP {a} {b} {c} {d}"));
                }
                (Arrival::Bytes, bytes) if bytes.len() < 11 => {}
                (Arrival::Closed, []) => return Err(format!("{host} closes the connection instead of answering the protocol header")),
                (Arrival::Nothing, []) => {
                    let seconds = self.patience.as_secs_f32();
                    return Err(format!("{host} takes the connection, but has not answered the protocol header within {seconds} s"));
                }
                (_, bytes) => {
                    let shown = &bytes[..bytes.len().min(40)];
                    return Err(format!("{host} does not speak AMQP: it answered {}", quote(shown)));
                }
            }
        }
    }

    fn takes_ctl(&self) -> bool {
        !self.ctl.is_empty()
    }

    fn ctl(&self, words: &[String]) -> Result<(), String> {
        let (program, arguments) = self.ctl.split_first().ok_or("there is no command for an administrator")?;
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

//! The broker that is played against, and a connection to it.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::sync::mpsc::Sender;
use std::thread;
use std::time::{Duration, Instant};

use percent_encoding::percent_decode_str;

use super::script::{Assemblies, Opening, Said};
use crate::recording::frames::{Frames, Piece};
use crate::transcript::codec::{Argument, Arguments, encode_header, encode_method, frame};
use crate::transcript::schema::Method;

const DEFAULT_FRAME_MAX: usize = 131_072;

/// Where to play, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    host: String,
    user: Vec<u8>,
    password: Vec<u8>,
    /// Instead of the recorded one.
    vhost: Option<Vec<u8>>,
}

/// What a connection hears.
#[derive(Debug)]
pub(super) enum Incoming {
    Said(Said),
    Closed,
}

impl Target {
    /// `amqp://[user:password@]host[:port][/vhost]`
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        if url.starts_with("amqps://") {
            return Err("recordings are played over plain TCP: amqp://".to_owned());
        }
        let rest = url.strip_prefix("amqp://").ok_or("it begins with amqp://")?;
        let (place, vhost) = match rest.split_once('/') {
            Some((place, vhost)) => (place, Some(percent_decode_str(vhost).collect())),
            None => (rest, None),
        };
        let (login, host) = place.rsplit_once('@').unwrap_or(("guest:guest", place));
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        if host.is_empty() {
            return Err("there is no host in it".to_owned());
        }
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()));
        let host = if has_port { host.to_owned() } else { format!("{host}:5672") };
        Ok(Self { host, user: percent_decode_str(user).collect(), password: percent_decode_str(password).collect(), vhost })
    }

    fn connect(&self, patience: Duration) -> Result<TcpStream, String> {
        let failed = |error: io::Error| format!("cannot connect to {}: {error}", self.host);
        let mut outcome = Err(io::Error::other("no address"));
        for address in self.host.to_socket_addrs().map_err(failed)? {
            outcome = TcpStream::connect_timeout(&address, patience);
            if outcome.is_ok() {
                break;
            }
        }
        let stream = outcome.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        Ok(stream)
    }

    /// # Errors
    /// Why nobody can be opened there.
    pub(super) fn check(&self, patience: Duration) -> Result<(), String> {
        self.connect(patience).map(drop)
    }
}

/// An open connection. Dropped, it ends without a word.
#[derive(Debug)]
pub(super) struct Session {
    stream: TcpStream,
    frame_max: usize,
}

impl Session {
    /// Connects, shakes hands, and from then on tells what it hears.
    ///
    /// # Errors
    /// Why it is not open.
    pub(super) fn open(
        target: &Target,
        opening: &Opening,
        number: u64,
        tell: &Sender<(u64, Incoming)>,
        patience: Duration,
    ) -> Result<Self, String> {
        let stream = target.connect(patience)?;
        let mut session = Self { stream, frame_max: 4096 };
        let mut hearing = Hearing::of(&session)?;
        session.write(b"AMQP\x00\x00\x09\x01");
        hearing.wait_for("connection.start", patience)?;
        let mut response = vec![0];
        response.extend_from_slice(&target.user);
        response.push(0);
        response.extend_from_slice(&target.password);
        session.say(
            "connection.start-ok",
            &[
                ("client_properties", Argument::Table(opening.client_properties.clone())),
                ("mechanism", Argument::String(b"PLAIN".to_vec())),
                ("response", Argument::String(response)),
                ("locale", Argument::String(b"en_US".to_vec())),
            ],
        );
        let tune = hearing.wait_for("connection.tune", patience)?.arguments;
        let frame_max = match (tune.number("frame_max"), opening.frame_max) {
            (0, chosen) | (chosen, 0) => chosen,
            (offered, chosen) => offered.min(chosen),
        };
        let channel_max = tune.number("channel_max");
        session.say("connection.tune-ok", &[("channel_max", Argument::Number(channel_max)), ("frame_max", Argument::Number(frame_max))]);
        let vhost = target.vhost.clone().unwrap_or_else(|| opening.vhost.clone());
        session.say("connection.open", &[("vhost", Argument::String(vhost))]);
        hearing.wait_for("connection.open-ok", patience)?;
        session.frame_max = usize::try_from(frame_max).ok().filter(|bytes| *bytes > 0).unwrap_or(DEFAULT_FRAME_MAX);
        let tell = tell.clone();
        thread::spawn(move || hearing.tell(number, &tell));
        Ok(session)
    }

    fn say(&mut self, name: &str, arguments: &[(&str, Argument)]) {
        let Some(method) = Method::by_name(name) else { return };
        let mut all = Arguments::default();
        for (name, argument) in arguments {
            all.replace(name, argument.clone());
        }
        self.send(0, method, &all);
    }

    /// A method with its content, if it has one.
    pub(super) fn send(&mut self, channel: u16, method: &'static Method, arguments: &Arguments) {
        let mut bytes = frame(1, channel, &encode_method(method, arguments));
        if method.has_content() {
            let body = arguments.string("body");
            bytes.extend(frame(2, channel, &encode_header(60, body.len() as u64, arguments)));
            for part in body.chunks(self.frame_max - 8) {
                bytes.extend(frame(3, channel, part));
            }
        }
        self.write(&bytes);
    }

    /// Says what has to be said when the broker ends the connection.
    pub(super) fn answer(&mut self, said: &Said) {
        if said.name() == "connection.close" {
            self.say("connection.close-ok", &[]);
        }
    }

    pub(super) fn close_ok(&mut self, channel: u16) {
        if let Some(method) = Method::by_name("channel.close-ok") {
            self.send(channel, method, &Arguments::default());
        }
    }

    /// Who listens notices when the broker is gone.
    fn write(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// The other half: what the broker says.
struct Hearing {
    stream: TcpStream,
    frames: Frames,
    methods: Assemblies,
    /// Read, and not asked for yet.
    heard: VecDeque<Said>,
}

impl Hearing {
    fn of(session: &Session) -> Result<Self, String> {
        let stream = session.stream.try_clone().map_err(|error| error.to_string())?;
        Ok(Self { stream, frames: Frames::default(), methods: Assemblies::default(), heard: VecDeque::new() })
    }

    /// Reads once; the end is an error.
    fn read(&mut self) -> Result<(), String> {
        let mut bytes = vec![0; 64 * 1024];
        let length = match self.stream.read(&mut bytes) {
            Ok(0) => return Err("the broker has closed the connection".to_owned()),
            Ok(length) => length,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => return Ok(()),
            Err(error) => return Err(error.to_string()),
        };
        for piece in self.frames.feed(&bytes[..length]) {
            match piece {
                Piece::Frame { kind, channel, payload } => self.heard.extend(self.methods.frame(kind, channel, &payload)),
                Piece::ProtocolHeader(_) | Piece::Garbage(_) => return Err("the broker does not speak AMQP 0-9-1".to_owned()),
            }
        }
        Ok(())
    }

    fn wait_for(&mut self, name: &str, patience: Duration) -> Result<Said, String> {
        let end = Instant::now() + patience;
        loop {
            match self.heard.pop_front() {
                Some(said) if said.name() == name => return Ok(said),
                Some(said) => return Err(said.print()),
                None => {}
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(format!("no {name} within {} s", patience.as_secs_f32()));
            }
            self.stream.set_read_timeout(Some(left)).map_err(|error| error.to_string())?;
            self.read()?;
        }
    }

    fn tell(mut self, number: u64, tell: &Sender<(u64, Incoming)>) {
        let _ = self.stream.set_read_timeout(None);
        loop {
            let is_over = self.heard.is_empty() && self.read().is_err();
            for said in self.heard.drain(..) {
                if tell.send((number, Incoming::Said(said))).is_err() {
                    return;
                }
            }
            if is_over {
                let _ = tell.send((number, Incoming::Closed));
                return;
            }
        }
    }
}

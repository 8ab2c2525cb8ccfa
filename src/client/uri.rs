//! `amqp:` and `amqps:` URIs as RabbitMQ's shovels and federation links take them.
//!
//! `amqp://user:password@host:port/vhost?parameters`, everything percent-encoded. Without a path the virtual host is the default
//! one, `/`; with the path `/` it has no name. Without a host the node itself is meant. Parameters that nobody knows count for
//! nothing.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::error::Error;
use super::options::Options;
use crate::amqp::{AMQPValue, FieldTable, table};

const DEFAULT_VHOST: &str = "/";
const PORT: u16 = 5672;
const TLS_PORT: u16 = 5671;
/// What the default user of RabbitMQ is called, and its password.
const GUEST: &str = "guest";
/// In milliseconds.
const CONNECTION_TIMEOUT_MS: u64 = 60_000;

/// Where to connect, and how. `Debug` and `Display` show no user, password or parameters.
#[derive(Clone, PartialEq, Eq)]
pub struct Uri {
    /// `None`: without TLS.
    pub tls: Option<Tls>,
    /// `None`: the node itself, without a login unless there is a user.
    pub host: Option<String>,
    pub port: u16,
    /// `None`: [`Uri::options`] logs in as guest.
    pub user: Option<String>,
    pub password: Option<String>,
    pub vhost: String,
    /// Names as in the URI: `plain`, `amqplain`, `external`; the first that is offered counts.
    pub mechanisms: Vec<String>,
    pub channel_max: Option<u16>,
    /// Bytes.
    pub frame_max: Option<u32>,
    /// Seconds; 0 is off.
    pub heartbeat_s: Option<u16>,
    /// How long opening the connection may take, in milliseconds.
    pub connection_timeout_ms: u64,
}

/// How to speak TLS.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// Certificates of authorities, ours, and its key: files in PEM.
    pub cacertfile: Option<PathBuf>,
    pub certfile: Option<PathBuf>,
    pub keyfile: Option<PathBuf>,
    /// Whether the server's certificate is checked; `None` leaves it to the node.
    pub verify_peer: Option<bool>,
    pub fail_if_no_peer_cert: Option<bool>,
    /// Of the key.
    pub password: Option<String>,
    /// `None`: the host.
    pub server_name_indication: Option<ServerName>,
    /// How many authorities may be between the server's certificate and one that is trusted.
    pub depth: Option<u8>,
    /// `customize_hostname_check=https`: names with wildcards match as in HTTPS.
    pub hostname_check_https: bool,
}

/// Whom the server is said to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerName {
    Disabled,
    Named(String),
}

/// What is wrong with a URI, in words that show nothing of it but the part that is wrong, and never user or password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid(String);

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Invalid {}

fn invalid<T>(text: impl Into<String>) -> Result<T, Invalid> {
    Err(Invalid(text.into()))
}

/// A URI cut at its delimiters; nothing is decoded.
struct Cut<'a> {
    user_info: Option<&'a str>,
    host: &'a str,
    port: Option<&'a str>,
    path: &'a str,
    query: &'a str,
}

impl<'a> Cut<'a> {
    fn read(rest: &'a str) -> Result<Self, Invalid> {
        let Some(rest) = rest.strip_prefix("//") else { return invalid("a URI needs // after its scheme") };
        let (authority, rest) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (user_info, address) = match authority.split_once('@') {
            Some((user_info, address)) => (Some(user_info).filter(|user_info| !user_info.is_empty()), address),
            None => (None, authority),
        };
        let (host, port) = match address.strip_prefix('[') {
            // An IPv6 address.
            Some(address) => match address.split_once(']') {
                Some((host, "")) => (host, None),
                Some((host, port)) if port.starts_with(':') => (host, Some(&port[1..])),
                _ => return invalid("no ] or no port after an address in brackets"),
            },
            None => address.split_once(':').map_or((address, None), |(host, port)| (host, Some(port))),
        };
        Ok(Self { user_info, host, port, path, query })
    }

    /// The values of a parameter, as they are.
    fn all(&self, name: &str) -> impl Iterator<Item = &'a str> {
        self.query.split('&').filter_map(|pair| pair.split_once('=')).filter(move |(key, _)| *key == name).map(|(_, value)| value)
    }

    fn value(&self, name: &str) -> Option<&'a str> {
        self.all(name).next()
    }

    /// A number; `None` where it is not given.
    fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>, Invalid> {
        let parsed = self.value(name).map(|value| value.parse().map_err(|_| Invalid(format!("{name} is not a number in its range"))));
        parsed.transpose()
    }

    fn decoded(&self, name: &str) -> Result<Option<String>, Invalid> {
        self.value(name).map(decode).transpose()
    }

    fn path(&self, name: &str) -> Result<Option<PathBuf>, Invalid> {
        Ok(self.decoded(name)?.map(PathBuf::from))
    }
}

/// Takes `%41` for `A`, in UTF-8.
fn decode(text: &str) -> Result<String, Invalid> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = rest.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        let Some(decoded) = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) else {
            return invalid("a % without two hexadecimal digits after it");
        };
        bytes.push(decoded);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).or_else(|_| invalid("percent-encoding that is no UTF-8"))
}

impl FromStr for Uri {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let Some((scheme, rest)) = text.split_once(':') else { return invalid("a URI without a scheme") };
        let has_tls = match scheme.to_ascii_lowercase().as_str() {
            "amqp" => false,
            "amqps" => true,
            _ => return invalid("the scheme is neither amqp nor amqps"),
        };
        let cut = Cut::read(rest)?;
        let host = if cut.host.is_empty() { None } else { Some(decode(cut.host)?) };
        let port = match cut.port {
            None => None,
            Some(_) if host.is_none() => return invalid("a port without a host"),
            Some(port) => match port.parse::<u16>() {
                Ok(port) if port > 0 => Some(port),
                _ => return invalid("the port is not a number from 1 to 65535"),
            },
        };
        if has_tls && host.is_none() {
            return invalid("TLS without a host");
        }
        let vhost = match cut.path.strip_prefix('/') {
            None => DEFAULT_VHOST.to_owned(),
            Some(name) if name.contains('/') => return invalid("a / in the name of a virtual host is to be written %2f"),
            Some(name) => decode(name)?,
        };
        let mut user_info = cut.user_info.into_iter().flat_map(|user_info| user_info.split(':'));
        let (user, password) = (user_info.next().map(decode).transpose()?, user_info.next().map(decode).transpose()?);
        for name in ["username", "virtual_host", "host", "port", "ssl_options", "auth_mechanisms", "client_properties"] {
            if cut.value(name).is_some() {
                return invalid(format!("{name} cannot be a parameter"));
            }
        }
        Ok(Self {
            tls: if has_tls { Some(tls(&cut)?) } else { None },
            host,
            port: port.unwrap_or(if has_tls { TLS_PORT } else { PORT }),
            user,
            password,
            vhost,
            mechanisms: mechanisms(&cut)?,
            channel_max: cut.number("channel_max")?,
            frame_max: cut.number("frame_max")?,
            heartbeat_s: cut.number("heartbeat")?,
            connection_timeout_ms: cut.number("connection_timeout")?.unwrap_or(CONNECTION_TIMEOUT_MS),
        })
    }
}

fn mechanisms(cut: &Cut<'_>) -> Result<Vec<String>, Invalid> {
    let asked: Vec<&str> = cut.all("auth_mechanism").map(|name| name.strip_prefix("amqp_auth_mechanisms:").unwrap_or(name)).collect();
    if asked.is_empty() {
        return Ok(vec!["plain".to_owned(), "amqplain".to_owned()]);
    }
    match asked.iter().find(|name| !matches!(**name, "plain" | "amqplain" | "external")) {
        Some(unknown) => invalid(format!("the auth_mechanism {unknown} is unknown")),
        None => Ok(asked.into_iter().map(ToOwned::to_owned).collect()),
    }
}

fn tls(cut: &Cut<'_>) -> Result<Tls, Invalid> {
    let is_true = |name: &str, yes: &str, no: &str| match cut.decoded(name)?.as_deref() {
        None => Ok(None),
        Some(value) if value == yes => Ok(Some(true)),
        Some(value) if value == no => Ok(Some(false)),
        Some(_) => invalid(format!("{name} is neither {yes} nor {no}")),
    };
    Ok(Tls {
        cacertfile: cut.path("cacertfile")?,
        certfile: cut.path("certfile")?,
        keyfile: cut.path("keyfile")?,
        verify_peer: is_true("verify", "verify_peer", "verify_none")?,
        fail_if_no_peer_cert: is_true("fail_if_no_peer_cert", "true", "false")?,
        password: cut.decoded("password")?,
        server_name_indication: cut.decoded("server_name_indication")?.map(|name| match name.as_str() {
            "disable" => ServerName::Disabled,
            _ => ServerName::Named(name),
        }),
        depth: cut.number("depth")?,
        hostname_check_https: match cut.decoded("customize_hostname_check")?.as_deref() {
            None => false,
            Some("https") => true,
            Some(_) => return invalid("customize_hostname_check can only be https"),
        },
    })
}

impl Uri {
    /// What a connection to it is opened with: its first mechanism, and guest's login where there is no user.
    ///
    /// # Errors
    /// When it names a mechanism that is not spoken here.
    pub fn options(&self) -> Result<Options, Error> {
        let (user, password) = (self.user.as_deref().unwrap_or(GUEST), self.password.as_deref().unwrap_or(GUEST));
        let options = match self.mechanisms.first().map_or("plain", String::as_str) {
            "plain" => Options::plain(user, password, &self.vhost),
            "amqplain" => Options::with_mechanism("AMQPLAIN", amqplain(user, password), &self.vhost),
            "external" => Options::with_mechanism("EXTERNAL", Vec::new(), &self.vhost),
            other => return Err(Error::Refused(format!("the auth_mechanism {other} is unknown"))),
        };
        Ok(Options {
            channel_max: self.channel_max.unwrap_or(options.channel_max),
            frame_max: self.frame_max.unwrap_or(options.frame_max),
            heartbeat_s: self.heartbeat_s.unwrap_or(options.heartbeat_s),
            ..options
        })
    }
}

/// A table without its length.
fn amqplain(user: &str, password: &str) -> Vec<u8> {
    let mut login = FieldTable::default();
    login.insert("LOGIN".into(), AMQPValue::LongString(user.into()));
    login.insert("PASSWORD".into(), AMQPValue::LongString(password.into()));
    table::encode(&login).split_off(4)
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.tls.is_some() { "amqps://" } else { "amqp://" })?;
        if let Some(host) = &self.host {
            if host.contains(':') { write!(f, "[{host}]:{}", self.port)? } else { write!(f, "{host}:{}", self.port)? }
        }
        if self.vhost == DEFAULT_VHOST {
            return Ok(());
        }
        f.write_str("/")?;
        for byte in self.vhost.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => write!(f, "{}", char::from(byte))?,
                _ => write!(f, "%{byte:02x}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Uri({self})")
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("cacertfile", &self.cacertfile)
            .field("certfile", &self.certfile)
            .field("keyfile", &self.keyfile)
            .field("verify_peer", &self.verify_peer)
            .field("server_name_indication", &self.server_name_indication)
            .field("depth", &self.depth)
            .finish_non_exhaustive()
    }
}

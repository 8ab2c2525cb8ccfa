//! The negotiation of a connection, up to the virtual host that it opens (behaviour §1).
//!
//! ```text
//!   protocol header ─▶ start ─▶ start-ok ─▶ tune ─▶ tune-ok, open ─▶ opened
//! ```
//! Where RabbitMQ closes silently, connection.close says why.

use core::net::SocketAddr;
use std::sync::Arc;

use super::identity::{Authority, Identity};
use super::users::{Refused, credentials};
use super::vhosts::Vhost;
use super::{Node, Tune};
use crate::amqp::{AMQPClass, AMQPValue, Command, FieldTable, Output, connection, frame};
use crate::broker::{Capabilities, Error, Opened, Origin, Rights, Ssl, Verdict};

/// How many connections there are; the one at hand does not count yet.
pub trait Connections {
    fn of_vhost(&self, vhost: &str) -> u64;
    fn of_user(&self, user: &str) -> u64;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Starting,
    Authenticating,
    Tuning,
    Opening,
    Authorising,
}

impl State {
    /// As RabbitMQ's texts call it.
    fn name(self) -> &'static str {
        match self {
            Self::Starting | Self::Authenticating => "starting",
            Self::Tuning => "tuning",
            Self::Opening | Self::Authorising => "opening",
        }
    }
}

/// One connection's negotiation.
#[derive(Debug)]
pub struct Handshake {
    state: State,
    peer: Peer,
    identity: Option<Identity>,
    /// Who is to be asked about.
    asked: Option<String>,
    /// Who has tried to log in, and whether it was let in, until somebody has counted it.
    attempt: Option<Attempt>,
    capabilities: Capabilities,
    connection_name: Option<String>,
    mechanism: String,
    client_properties: FieldTable,
    tuned: Tune,
}

/// Somebody has tried to log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Who it says it is; empty where it says nothing that can be understood.
    pub user: String,
    pub succeeded: bool,
}

/// A user that the node itself connects for, after it has made sure who it is.
#[derive(Clone, Debug)]
pub struct Trusted {
    pub identity: Identity,
    /// Whatever is permitted to a user of this name.
    pub may_everything: bool,
}

/// Who wants to connect.
#[derive(Clone, Debug)]
pub struct Peer {
    pub address: SocketAddr,
    /// Our end of the connection.
    pub local: SocketAddr,
    /// How many connections the node has beside this one.
    pub other_connections: usize,
    pub trusted: Option<Trusted>,
    /// What TLS has agreed on, over TLS.
    pub ssl: Option<Box<Ssl>>,
    /// The user that the client's certificate names, for EXTERNAL.
    pub certificate_user: Option<String>,
}

/// What a command of the handshake leads to.
#[derive(Debug)]
pub enum Step {
    Continue,
    /// Who this is has to be found out; [`Handshake::authenticated`] goes on then.
    Authenticate {
        name: String,
        /// `None` where a certificate speaks for the name.
        password: Option<Vec<u8>>,
    },
    /// Whether the user may open this virtual host has to be found out; [`Handshake::authorised`] goes on then.
    Authorise {
        identity: Identity,
        vhost: Arc<str>,
    },
    /// Everything is agreed; the broker of this virtual host answers with open-ok.
    Open {
        vhost: Arc<str>,
        opened: Opened,
        identity: Identity,
        heartbeat_s: u16,
        connection_name: Option<String>,
    },
    /// The output says why; close once it is sent.
    Close {
        /// The same for the log.
        why: String,
    },
}

impl Handshake {
    /// Looks at the protocol header: the negotiation with connection.start in the output or, for anything that is
    /// not AMQP 0-9-1, the header to answer with before closing (behaviour C1, V3, V5).
    ///
    /// # Errors
    /// The eight bytes to send.
    pub fn begin(node: &Node, header: [u8; 8], peer: Peer, out: &mut Output) -> Result<Self, [u8; 8]> {
        let profile = &node.settings.profile;
        let accepted = match header {
            frame::PROTOCOL_HEADER => true,
            // 0-9, which is close enough.
            [b'A', b'M', b'Q', b'P', 1, 1, 0, 9] => true,
            [b'A', b'M', b'Q', b'P', 1, 1, 8, 0] => profile.accepts_0_8,
            _ => false,
        };
        if !accepted {
            let is_newer_0_9 = matches!(header, [b'A', b'M', b'Q', b'P', 0, 0, minor, _] if minor >= 9);
            let answer_0_9_1 = profile.always_answers_0_9_1 || is_newer_0_9;
            return Err(if answer_0_9_1 { frame::PROTOCOL_HEADER } else { *b"AMQP\x03\x01\x00\x00" });
        }
        let start = connection::Start {
            version_major: 0,
            version_minor: 9,
            server_properties: server_properties(profile.version, node.cluster_name()),
            mechanisms: mechanisms(node, peer.ssl.is_some()).into(),
            locales: "en_US".into(),
        };
        out.method(0, &AMQPClass::Connection(connection::AMQPMethod::Start(start)));
        Ok(Self {
            state: State::Starting,
            peer,
            identity: None,
            asked: None,
            attempt: None,
            capabilities: Capabilities::default(),
            connection_name: None,
            mechanism: String::new(),
            client_properties: FieldTable::default(),
            tuned: node.tune,
        })
    }

    /// Handles one command before the virtual host is open.
    pub fn command(&mut self, node: &Node, others: &dyn Connections, command: Command, out: &mut Output) -> Step {
        use connection::AMQPMethod as M;
        let (method, class_method) = match command {
            Command::Method(0, method) => (method.class, method.class_method),
            Command::Fault(fault) => return refuse(&fault.into(), (0, 0), out),
            _ => return refuse(&Error::unexpected_method(self.state.name()), (0, 0), out),
        };
        let AMQPClass::Connection(method) = method else {
            return refuse(&Error::unexpected_method(self.state.name()), class_method, out);
        };
        let result = match (self.state, method) {
            (State::Starting, M::StartOk(start_ok)) => self.start_ok(node, &start_ok, out),
            (State::Tuning, M::TuneOk(tune_ok)) => self.tune_ok(node, &tune_ok),
            (State::Opening, M::Open(open)) => self.open(node, others, open.virtual_host.as_str(), None),
            (state, _) => Err(Error::unexpected_method(state.name())),
        };
        result.unwrap_or_else(|error| refuse(&error, class_method, out))
    }

    /// The virtual host that this command wants to open, and for whom.
    #[must_use]
    pub fn opens<'a>(&'a self, command: &'a Command) -> Option<(&'a str, &'a Arc<str>)> {
        match (self.state, command) {
            (State::Opening, Command::Method(0, method)) => match &method.class {
                AMQPClass::Connection(connection::AMQPMethod::Open(open)) => {
                    Some((open.virtual_host.as_str(), &self.identity.as_ref()?.user.name))
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// An attempt to log in; once for each.
    pub fn take_attempt(&mut self) -> Option<Attempt> {
        self.attempt.take()
    }

    fn start_ok(&mut self, node: &Node, start_ok: &connection::StartOk, out: &mut Output) -> Result<Step, Error> {
        self.read_client_properties(&start_ok.client_properties);
        let mechanism = start_ok.mechanism.as_str();
        mechanism.clone_into(&mut self.mechanism);
        let offered = mechanisms(node, self.peer.ssl.is_some());
        let known = offered.split(' ').any(|offered| offered == mechanism);
        let response = start_ok.response.as_bytes();
        let from_loopback = self.peer.address.ip().is_loopback();
        if self.peer.trusted.is_none() && known && node.asks_others() {
            let asked = match (credentials(mechanism, response), &self.peer.certificate_user) {
                (Some(given), _) => {
                    let (name, password) = given.map_err(|_| Error::malformed_response(mechanism))?;
                    Some((name.to_owned(), Some(password.to_owned())))
                }
                (None, Some(name)) if mechanism == "EXTERNAL" => Some((name.clone(), None)),
                (None, _) => None,
            };
            if let Some((name, password)) = asked {
                // Nothing is expected meanwhile.
                self.state = State::Authenticating;
                self.asked = Some(name.clone());
                return Ok(Step::Authenticate { name, password });
            }
        }
        let outcome = match (&self.peer.trusted, mechanism) {
            (Some(trusted), _) => Some(Ok(trusted.identity.clone())),
            (None, "EXTERNAL") => {
                let user = node.vouched_for(self.peer.certificate_user.as_deref(), from_loopback);
                Some(user.map(Identity::of_node)).filter(|_| known)
            }
            (None, _) => node.authenticate(mechanism, response, from_loopback).map(|user| user.map(Identity::of_node)).filter(|_| known),
        };
        self.attempt = outcome.as_ref().map(|outcome| {
            let said = || match (mechanism, credentials(mechanism, response)) {
                ("EXTERNAL", _) => self.peer.certificate_user.clone(),
                (_, Some(Ok((name, _)))) => Some(name.to_owned()),
                _ => None,
            };
            let user = outcome.as_ref().ok().map(|identity| identity.user.name.to_string());
            Attempt { user: user.or_else(said).unwrap_or_default(), succeeded: outcome.is_ok() }
        });
        match outcome {
            Some(Ok(identity)) => Ok(self.let_in(node, identity, out)),
            Some(Err(Refused::Login)) => Err(Error::login_refused(mechanism)),
            Some(Err(Refused::Malformed)) => Err(Error::malformed_response(mechanism)),
            None => Err(Error::unknown_mechanism(mechanism, &offered)),
        }
    }

    /// The answer to [`Step::Authenticate`]: who it is, if anybody.
    pub fn authenticated(&mut self, node: &Node, identity: Option<Identity>, out: &mut Output) -> Step {
        let from_loopback = self.peer.address.ip().is_loopback();
        let asked = self.asked.take().unwrap_or_default();
        let identity = identity.filter(|identity| node.may_come_from(&identity.user, from_loopback));
        let user = identity.as_ref().map_or(asked, |identity| identity.user.name.to_string());
        self.attempt = Some(Attempt { user, succeeded: identity.is_some() });
        match identity {
            Some(identity) => self.let_in(node, identity, out),
            None => refuse(&Error::login_refused(&self.mechanism), (10, 11), out),
        }
    }

    /// The answer to [`Step::Authorise`].
    pub fn authorised(&mut self, node: &Node, others: &dyn Connections, vhost: &str, verdict: Verdict, out: &mut Output) -> Step {
        self.open(node, others, vhost, Some(verdict)).unwrap_or_else(|error| refuse(&error, (10, 40), out))
    }

    fn let_in(&mut self, node: &Node, identity: Identity, out: &mut Output) -> Step {
        self.identity = Some(identity);
        let Tune { channel_max, frame_max, heartbeat_s, .. } = node.tune;
        let tune = connection::Tune { channel_max, frame_max, heartbeat: heartbeat_s };
        out.method(0, &AMQPClass::Connection(connection::AMQPMethod::Tune(tune)));
        self.state = State::Tuning;
        Step::Continue
    }

    fn read_client_properties(&mut self, properties: &FieldTable) {
        if let Some(AMQPValue::FieldTable(capabilities)) = properties.inner().get("capabilities") {
            let has = |name: &str| capabilities.inner().get(name) == Some(&AMQPValue::Boolean(true));
            self.capabilities =
                Capabilities { consumer_cancel_notify: has("consumer_cancel_notify"), connection_blocked: has("connection.blocked") };
        }
        if let Some(AMQPValue::LongString(name)) = properties.inner().get("connection_name") {
            self.connection_name = Some(String::from_utf8_lossy(name.as_bytes()).into_owned());
        }
        self.client_properties = properties.clone();
    }

    /// Behaviour V2.
    fn tune_ok(&mut self, node: &Node, tune_ok: &connection::TuneOk) -> Result<Step, Error> {
        let profile = &node.settings.profile;
        check_tuned("channel_max", tune_ok.channel_max.into(), 1, node.tune.channel_max.into())?;
        check_tuned("frame_max", tune_ok.frame_max, profile.frame_max_min, node.tune.frame_max)?;
        self.tuned.channel_max = tune_ok.channel_max;
        self.tuned.frame_max = tune_ok.frame_max;
        self.tuned.heartbeat_s = tune_ok.heartbeat;
        self.state = State::Opening;
        Ok(Step::Continue)
    }

    /// Where a service says whether the user may open the virtual host, it is asked before there is a verdict.
    fn open(&mut self, node: &Node, others: &dyn Connections, name: &str, verdict: Option<Verdict>) -> Result<Step, Error> {
        let Some(identity) = self.identity.clone() else { return Err(Error::unexpected_method("opening")) };
        let user = Arc::clone(&identity.user.name);
        let vhost = node.vhost(name).ok_or_else(|| Error::vhost_not_found(name))?;
        if self.peer.trusted.is_none() {
            self.check_limits(node, others, vhost, &user)?;
        }
        let rights = match &self.peer.trusted {
            Some(Trusted { may_everything: true, .. }) => Some(Rights { impersonator: true, ..Rights::all() }),
            _ => match (&identity.authority, verdict) {
                (Authority::Service { .. }, None) => {
                    self.state = State::Authorising;
                    return Ok(Step::Authorise { identity, vhost: Arc::clone(&vhost.name) });
                }
                (Authority::Service { .. }, Some(Verdict::Refused(more))) => return Err(Error::vhost_access_refused(name, &user, &more)),
                _ => identity.rights(node, name),
            },
        };
        let rights = rights.ok_or_else(|| Error::vhost_access_refused(name, &user, ""))?;
        let vhost = Arc::clone(&vhost.name);
        let Peer { address, local, .. } = self.peer;
        let mechanism = std::mem::take(&mut self.mechanism);
        let mut origin = Origin::new(address, local, mechanism, &self.client_properties, self.tuned.heartbeat_s);
        origin.is_own = self.peer.trusted.is_some();
        origin.ssl = self.peer.ssl.take();
        let opened = Opened {
            user,
            rights: Arc::new(rights),
            capabilities: self.capabilities,
            frame_max: self.tuned.frame_max as usize,
            channel_max: self.tuned.channel_max,
            origin: Box::new(origin),
        };
        let connection_name = self.connection_name.take();
        Ok(Step::Open { vhost, opened, identity, heartbeat_s: self.tuned.heartbeat_s, connection_name })
    }
}

impl Handshake {
    /// Behaviour C21, P8, P9. The node's own connections do not count.
    fn check_limits(&self, node: &Node, others: &dyn Connections, vhost: &Vhost, user: &str) -> Result<(), Error> {
        if let Some(limit) = node.connection_max.filter(|limit| self.peer.other_connections >= *limit) {
            return Err(Error::node_connection_limit(limit));
        }
        if let Some(limit) = vhost.limits.max_connections.filter(|limit| others.of_vhost(&vhost.name) >= *limit) {
            return Err(Error::vhost_connection_limit(&vhost.name, user, limit));
        }
        // A user that is gone since it logged in has no rights either.
        let limits = node.user(user).map(|user| user.limits).unwrap_or_default();
        match limits.max_connections.filter(|limit| others.of_user(user) >= *limit) {
            Some(limit) => Err(Error::user_connection_limit(user, limit)),
            None => Ok(()),
        }
    }
}

fn check_tuned(field: &str, value: u32, min: u32, max: u32) -> Result<(), Error> {
    let bad = |bound, limit| Err(Error { class_method: Some((10, 30)), ..Error::bad_tune(field, value, bound, limit) });
    // Where there is a limit, 0 (none) is above it.
    if max != 0 && (value == 0 || value > max) {
        return bad("higher than the maximum", max);
    }
    if value != 0 && value < min {
        return bad("lower than the minimum", min);
    }
    Ok(())
}

fn refuse(error: &Error, class_method: (u16, u16), out: &mut Output) -> Step {
    let close = crate::broker::connection_close(error, class_method);
    out.method(0, &AMQPClass::Connection(close));
    Step::Close { why: error.reply_text() }
}

/// EXTERNAL needs TLS, but not a certificate: who has none is told so by the refusal (behaviour C5).
#[must_use]
pub fn mechanisms(node: &Node, over_tls: bool) -> String {
    if !node.mechanisms.is_empty() {
        let offered = node.mechanisms.iter().map(String::as_str).filter(|name| over_tls || *name != "EXTERNAL");
        return offered.collect::<Vec<_>>().join(" ");
    }
    let anonymous = if node.settings.profile.anonymous { " ANONYMOUS" } else { "" };
    format!("PLAIN AMQPLAIN{anonymous}")
}

/// Behaviour C2: clients branch on product and version, so these are RabbitMQ's; leveret's own name is beside them.
fn server_properties(version: &str, cluster_name: &str) -> FieldTable {
    let text = |s: &str| AMQPValue::LongString(s.into());
    let mut capabilities = FieldTable::default();
    for capability in [
        "publisher_confirms",
        "exchange_exchange_bindings",
        "basic.nack",
        "consumer_cancel_notify",
        "connection.blocked",
        "consumer_priorities",
        "authentication_failure_close",
        "per_consumer_qos",
        "direct_reply_to",
    ] {
        capabilities.insert(capability.into(), AMQPValue::Boolean(true));
    }
    let mut properties = FieldTable::default();
    properties.insert("capabilities".into(), AMQPValue::FieldTable(capabilities));
    for (name, value) in [
        ("product", "RabbitMQ"),
        ("version", version),
        ("platform", "Rust"),
        ("copyright", "The leveret authors"),
        ("information", "Licensed under the Apache License 2.0"),
        ("cluster_name", cluster_name),
        ("leveret", env!("CARGO_PKG_VERSION")),
    ] {
        properties.insert(name.into(), text(value));
    }
    properties
}

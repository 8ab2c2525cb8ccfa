//! Who may do what: the permissions of queues, exchanges and topics (behaviour P6, P7), in RabbitMQ's order before all else
//! (gotcha 66), and how many channels a user may have (behaviour P9).

use std::sync::Arc;

use super::connection::Opened;
use super::error;
use super::exchange::{ExchangeId, Kind};
use super::rights::{Pattern, Rights};
use super::topology::check_not_default;
use super::{At, Broker, ConnectionId, Error};

/// What may be done to a queue or an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Permission {
    Configure,
    Write,
    Read,
}

impl Permission {
    /// As 4.x's texts call it.
    fn name(self) -> &'static str {
        match self {
            Self::Configure => "configure",
            Self::Write => "write",
            Self::Read => "read",
        }
    }

    fn pattern(self, rights: &Rights) -> &Pattern {
        match self {
            Self::Configure => &rights.configure,
            Self::Write => &rights.write,
            Self::Read => &rights.read,
        }
    }
}

/// What it is done to, by name; it need not be there.
#[derive(Clone, Copy, Debug)]
pub(super) enum Resource<'a> {
    Queue(&'a str),
    Exchange(&'a str),
}

impl<'a> Resource<'a> {
    /// The default exchange has a name where permissions are concerned (behaviour E6, gotcha 65).
    fn name(self) -> &'a str {
        match self {
            Self::Exchange("") => "amq.default",
            Self::Queue(name) | Self::Exchange(name) => name,
        }
    }

    fn rendered(self, vhost: &str) -> String {
        match self {
            Self::Queue(_) => error::queue(vhost, self.name()),
            Self::Exchange(_) => error::exchange(vhost, self.name()),
        }
    }
}

impl Broker {
    /// What the handshake of the connection that a method came from has led to.
    pub(super) fn opened(&self, id: ConnectionId) -> &Opened {
        let connection = self.connections.get(id.index()).and_then(Option::as_ref);
        &connection.expect("methods come from connections that are there").opened
    }

    pub(super) fn check_permission(&self, at: At, permission: Permission, resource: Resource<'_>) -> Result<(), Error> {
        if permission.pattern(&self.opened(at.connection).rights).allows(resource.name()) {
            return Ok(());
        }
        Err(self.access_refused(at, permission, &resource.rendered(&self.vhost)))
    }

    /// Asking whether something is there takes any one permission on it, or none, depending on the release (V9).
    pub(super) fn check_passive(&self, at: At, resource: Resource<'_>) -> Result<(), Error> {
        let rights = &self.opened(at.connection).rights;
        let any = [Permission::Configure, Permission::Write, Permission::Read];
        if !self.settings.profile.passive_declare_checked || any.iter().any(|p| p.pattern(rights).allows(resource.name())) {
            return Ok(());
        }
        Err(self.access_refused(at, Permission::Configure, &resource.rendered(&self.vhost)))
    }

    /// What is looked at before a binding is made or taken away, and before either end need be there.
    pub(super) fn check_binding(&self, at: At, source: &str, destination: Resource<'_>, key: &str) -> Result<(), Error> {
        self.check_permission(at, Permission::Write, destination)?;
        if let Resource::Exchange(name) = destination {
            check_not_default(name)?;
        }
        check_not_default(source)?;
        self.check_permission(at, Permission::Read, Resource::Exchange(source))?;
        match self.exchange_names.get(source) {
            Some(exchange) => self.check_topic(at, Permission::Read, *exchange, key.as_bytes()),
            None => Ok(()),
        }
    }

    /// Whether a routing key may be used with an exchange, which matters for those of type topic alone (behaviour P7).
    pub(super) fn check_topic(&self, at: At, permission: Permission, exchange: ExchangeId, key: &[u8]) -> Result<(), Error> {
        let exchange = &self.exchanges[exchange];
        let topics = &self.opened(at.connection).rights.topics;
        if topics.is_empty() || exchange.kind != Kind::Topic {
            return Ok(());
        }
        let Some(topic) = topics.iter().find(|topic| topic.exchange == exchange.name) else { return Ok(()) };
        let key = String::from_utf8_lossy(key);
        let pattern = if permission == Permission::Write { &topic.write } else { &topic.read };
        if pattern.allows(&key) {
            return Ok(());
        }
        let topic = error::topic(&self.vhost, &exchange.name, &key);
        Err(self.access_refused(at, permission, &topic))
    }

    fn access_refused(&self, at: At, permission: Permission, resource: &str) -> Error {
        let permission = self.settings.profile.refusals_name_permission.then_some(permission.name());
        Error::access_refused(permission, resource, &self.opened(at.connection).user)
    }

    /// Whether there may be another channel: of the node and of the connection's user, as far as this virtual host goes.
    pub(super) fn check_channel_limits(&self, id: ConnectionId) -> Result<(), Error> {
        if let Some(limit) = self.settings.channel_max_per_node
            && self.connections.iter().flatten().map(|connection| connection.channels.len()).sum::<usize>() >= limit
        {
            return Err(Error::node_channel_limit_reached(&self.settings.node_name, limit));
        }
        let opened = self.opened(id);
        let Some(limit) = opened.rights.max_channels else { return Ok(()) };
        let of_user = self.connections.iter().flatten().filter(|connection| connection.opened.user == opened.user);
        if of_user.map(|connection| connection.channels.len()).sum::<usize>() < limit {
            Ok(())
        } else {
            Err(Error::user_channel_limit_reached(&opened.user, limit))
        }
    }

    /// What a user may do changes, for its live connections too.
    pub(super) fn set_rights(&mut self, user: &str, rights: &Arc<Rights>) {
        for connection in self.connections.iter_mut().flatten() {
            if *connection.opened.user == *user {
                connection.opened.rights = Arc::clone(rights);
            }
        }
        // The routes that channels remember were checked with the rights of then.
        self.topology += 1;
    }
}

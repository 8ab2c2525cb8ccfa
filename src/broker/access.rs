//! Who may do what: the permissions of queues, exchanges and topics (behaviour P6, P7), in RabbitMQ's order before all else
//! (gotcha 66), and how many channels a user may have (behaviour P9). Where the node does not say it, a token or a service does.

use std::sync::Arc;

use super::asking::Verdict;
use super::connection::Opened;
use super::error;
use super::exchange::{ExchangeId, Kind};
use super::rights::{Pattern, Rights, Source};
use super::topology::check_not_default;
use super::{At, Broker, ConnectionId, Effects, Error};

/// What may be done to a queue or an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    Configure,
    Write,
    Read,
}

impl Permission {
    /// As RabbitMQ calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
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

/// What a permission is about; it need not be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    Queue(String),
    /// The default exchange is called `amq.default`.
    Exchange(String),
    /// A routing key of an exchange of type topic.
    Topic {
        exchange: String,
        key: String,
    },
}

impl Subject {
    fn rendered(&self, vhost: &str) -> String {
        match self {
            Self::Queue(name) => error::queue(vhost, name),
            Self::Exchange(name) => error::exchange(vhost, name),
            Self::Topic { exchange, key } => error::topic(vhost, exchange, key),
        }
    }
}

/// Something that may be allowed or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    pub permission: Permission,
    pub subject: Subject,
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

    fn subject(self) -> Subject {
        match self {
            Self::Queue(_) => Subject::Queue(self.name().to_owned()),
            Self::Exchange(_) => Subject::Exchange(self.name().to_owned()),
        }
    }
}

impl Rights {
    /// Whether something may be done to a queue or an exchange, or with a routing key where a token says so; where a service says it,
    /// nothing is known.
    #[must_use]
    pub fn allow(&self, access: &Access) -> bool {
        match (&self.source, &access.subject) {
            (Source::Node, Subject::Queue(name) | Subject::Exchange(name)) => access.permission.pattern(self).allows(name),
            (Source::Token(grants), _) => grants.allow(access),
            (Source::Node, Subject::Topic { .. }) | (Source::Service, _) => false,
        }
    }
}

impl Broker {
    /// What the handshake of the connection that a method came from has led to.
    pub(super) fn opened(&self, id: ConnectionId) -> &Opened {
        let connection = self.connections.get(id.index()).and_then(Option::as_ref);
        &connection.expect("methods come from connections that are there").opened
    }

    fn answers(&self, id: ConnectionId) -> &super::asking::Answers {
        let connection = self.connections.get(id.index()).and_then(Option::as_ref);
        &connection.expect("methods come from connections that are there").answers
    }

    pub(super) fn check_permission(&self, at: At, permission: Permission, resource: Resource<'_>) -> Result<(), Error> {
        let rights = &self.opened(at.connection).rights;
        if !matches!(rights.source, Source::Node) {
            return self.check_elsewhere(at, Access { permission, subject: resource.subject() });
        }
        if permission.pattern(rights).allows(resource.name()) {
            return Ok(());
        }
        Err(self.access_refused(at, permission, &resource.subject(), ""))
    }

    /// Whether a token grants this, or a service allows it. A service that has not been asked yet is, and the method waits.
    #[inline(never)]
    fn check_elsewhere(&self, at: At, access: Access) -> Result<(), Error> {
        let verdict = match &self.opened(at.connection).rights.source {
            Source::Node => return Ok(()),
            Source::Token(grants) if grants.allow(&access) => &Verdict::Allowed,
            Source::Token(_) => &Verdict::Refused(String::new()),
            Source::Service => match self.answers(at.connection).of(&access) {
                Some(verdict) => verdict,
                None => return Err(Error::unanswered(access)),
            },
        };
        match verdict {
            Verdict::Allowed => Ok(()),
            Verdict::Refused(more) => Err(self.access_refused(at, access.permission, &access.subject, more)),
        }
    }

    /// Whether a consumer may stay, as far as that is known.
    fn may_read(&self, at: At, queue: &str) -> bool {
        let refused = self.check_permission(at, Permission::Read, Resource::Queue(queue)).err();
        refused.is_none_or(|error| error.unanswered.is_some())
    }

    /// Consumers of queues that a connection may not read any more are cancelled (behaviour C28).
    pub(super) fn cancel_unreadable(&mut self, id: ConnectionId, effects: &mut Effects) {
        let of_connection = |consumer: &super::queue::Consumer| consumer.connection == id;
        let mine: Vec<_> = self.consumers.iter().filter(|(_, consumer)| of_connection(consumer)).map(|(id, _)| id).collect();
        for consumer in mine {
            let Some((at, queue)) = self.consumers.get(consumer).map(|c| (At { connection: id, channel: c.channel }, c.queue)) else {
                continue;
            };
            let Some(name) = self.queues.get(queue).map(|queue| Arc::clone(&queue.name)) else { continue };
            if !self.may_read(at, &name) {
                self.cancel_consumer(consumer, &name, effects);
            }
        }
    }

    /// Asking whether something is there takes any one permission on it, or none, depending on the release (V9).
    pub(super) fn check_passive(&self, at: At, resource: Resource<'_>) -> Result<(), Error> {
        if !self.settings.profile.passive_declare_checked {
            return Ok(());
        }
        let mut outcome = Ok(());
        for permission in [Permission::Read, Permission::Write, Permission::Configure] {
            outcome = self.check_permission(at, permission, resource);
            if outcome.as_ref().err().is_none_or(|error| error.unanswered.is_some()) {
                break;
            }
        }
        outcome
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
        if exchange.kind != Kind::Topic {
            return Ok(());
        }
        let subject = || Subject::Topic { exchange: exchange.name.to_string(), key: String::from_utf8_lossy(key).into_owned() };
        let rights = &self.opened(at.connection).rights;
        if !matches!(rights.source, Source::Node) {
            return self.check_elsewhere(at, Access { permission, subject: subject() });
        }
        let topics = &rights.topics;
        let Some(topic) = topics.iter().find(|topic| topic.exchange == exchange.name) else { return Ok(()) };
        let pattern = if permission == Permission::Write { &topic.write } else { &topic.read };
        if pattern.allows(&String::from_utf8_lossy(key)) {
            return Ok(());
        }
        Err(self.access_refused(at, permission, &subject(), ""))
    }

    fn access_refused(&self, at: At, permission: Permission, subject: &Subject, more: &str) -> Error {
        let permission = self.settings.profile.refusals_name_permission.then_some(permission.name());
        Error::access_refused(permission, &subject.rendered(&self.vhost), &self.opened(at.connection).user, more)
    }

    /// Whether there may be another channel: of the node and of the connection's user, in all virtual hosts.
    pub(super) fn check_channel_limits(&self, id: ConnectionId) -> Result<(), Error> {
        if let Some(limit) = self.settings.channel_max_per_node
            && self.connections.iter().flatten().map(|connection| connection.channels.len()).sum::<usize>() + self.channels_elsewhere.all
                >= limit
        {
            return Err(Error::node_channel_limit_reached(&self.settings.node_name, limit));
        }
        let opened = self.opened(id);
        let Some(limit) = opened.rights.max_channels else { return Ok(()) };
        let of_user = self.connections.iter().flatten().filter(|connection| connection.opened.user == opened.user);
        let here = of_user.map(|connection| connection.channels.len()).sum::<usize>();
        if here + self.channels_elsewhere.of(&opened.user) < limit {
            Ok(())
        } else {
            Err(Error::user_channel_limit_reached(&opened.user, limit))
        }
    }

    /// What a user may do changes, for its live connections too.
    pub(super) fn set_rights(&mut self, user: &str, rights: &Arc<Rights>) {
        for connection in self.connections.iter_mut().flatten() {
            // Whom somebody else answers for only has the name in common.
            if *connection.opened.user == *user && matches!(connection.opened.rights.source, Source::Node) {
                connection.opened.rights = Arc::clone(rights);
            }
        }
        // The routes that channels remember were checked with the rights of then.
        self.topology += 1;
    }
}

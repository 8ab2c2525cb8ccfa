//! What frames are called in rules: the methods of AMQP by name, who sends them, and what they tell about themselves.

use super::pattern::Pattern;
use super::rule::Direction;

/// Class and method id; for a frame without a method, 0 and its type.
pub(super) type Id = (u16, u16);

pub(super) const HEARTBEAT: Id = (0, 8);
pub(super) const HEADER: Id = (0, 2);
pub(super) const BODY: Id = (0, 3);
pub(super) const START_OK: Id = (10, 11);
pub(super) const OPEN: Id = (10, 40);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    Client,
    Broker,
    Both,
}
use Sent::{Both, Broker, Client};

/// What a rule may ask about a frame, beside its method: e exchange, k routing key, q queue.
const METHODS: [(&str, Id, Sent, &str); 69] = [
    ("connection.start", (10, 10), Broker, ""),
    ("connection.start-ok", START_OK, Client, ""),
    ("connection.secure", (10, 20), Broker, ""),
    ("connection.secure-ok", (10, 21), Client, ""),
    ("connection.tune", (10, 30), Broker, ""),
    ("connection.tune-ok", (10, 31), Client, ""),
    ("connection.open", OPEN, Client, ""),
    ("connection.open-ok", (10, 41), Broker, ""),
    ("connection.close", (10, 50), Both, ""),
    ("connection.close-ok", (10, 51), Both, ""),
    ("connection.blocked", (10, 60), Broker, ""),
    ("connection.unblocked", (10, 61), Broker, ""),
    ("connection.update-secret", (10, 70), Client, ""),
    ("connection.update-secret-ok", (10, 71), Broker, ""),
    ("channel.open", (20, 10), Client, ""),
    ("channel.open-ok", (20, 11), Broker, ""),
    ("channel.flow", (20, 20), Both, ""),
    ("channel.flow-ok", (20, 21), Both, ""),
    ("channel.close", (20, 40), Both, ""),
    ("channel.close-ok", (20, 41), Both, ""),
    ("access.request", (30, 10), Client, ""),
    ("access.request-ok", (30, 11), Broker, ""),
    ("exchange.declare", (40, 10), Client, "e"),
    ("exchange.declare-ok", (40, 11), Broker, ""),
    ("exchange.delete", (40, 20), Client, "e"),
    ("exchange.delete-ok", (40, 21), Broker, ""),
    ("exchange.bind", (40, 30), Client, "ek"),
    ("exchange.bind-ok", (40, 31), Broker, ""),
    ("exchange.unbind", (40, 40), Client, "ek"),
    ("exchange.unbind-ok", (40, 51), Broker, ""),
    ("queue.declare", (50, 10), Client, "q"),
    ("queue.declare-ok", (50, 11), Broker, "q"),
    ("queue.bind", (50, 20), Client, "qek"),
    ("queue.bind-ok", (50, 21), Broker, ""),
    ("queue.purge", (50, 30), Client, "q"),
    ("queue.purge-ok", (50, 31), Broker, ""),
    ("queue.delete", (50, 40), Client, "q"),
    ("queue.delete-ok", (50, 41), Broker, ""),
    ("queue.unbind", (50, 50), Client, "qek"),
    ("queue.unbind-ok", (50, 51), Broker, ""),
    ("basic.qos", (60, 10), Client, ""),
    ("basic.qos-ok", (60, 11), Broker, ""),
    ("basic.consume", (60, 20), Client, "q"),
    ("basic.consume-ok", (60, 21), Broker, ""),
    ("basic.cancel", (60, 30), Both, ""),
    ("basic.cancel-ok", (60, 31), Both, ""),
    ("basic.publish", PUBLISH, Client, "ekq"),
    ("basic.return", RETURN, Broker, "ek"),
    ("basic.deliver", DELIVER, Broker, "ekq"),
    ("basic.get", GET, Client, "q"),
    ("basic.get-ok", GET_OK, Broker, "ekq"),
    ("basic.get-empty", GET_EMPTY, Broker, "q"),
    ("basic.ack", (60, 80), Both, ""),
    ("basic.reject", (60, 90), Client, ""),
    ("basic.recover-async", (60, 100), Client, ""),
    ("basic.recover", (60, 110), Client, ""),
    ("basic.recover-ok", (60, 111), Broker, ""),
    ("basic.nack", (60, 120), Both, ""),
    ("confirm.select", (85, 10), Client, ""),
    ("confirm.select-ok", (85, 11), Broker, ""),
    ("tx.select", (90, 10), Client, ""),
    ("tx.select-ok", (90, 11), Broker, ""),
    ("tx.commit", (90, 20), Client, ""),
    ("tx.commit-ok", (90, 21), Broker, ""),
    ("tx.rollback", (90, 30), Client, ""),
    ("tx.rollback-ok", (90, 31), Broker, ""),
    ("heartbeat", HEARTBEAT, Both, ""),
    ("header", HEADER, Both, ""),
    ("body", BODY, Both, ""),
];

pub(super) use crate::amqp::method::{
    BASIC_DELIVER as DELIVER, BASIC_GET as GET, BASIC_GET_EMPTY as GET_EMPTY, BASIC_GET_OK as GET_OK, BASIC_PUBLISH as PUBLISH,
    BASIC_RETURN as RETURN,
};

/// A frame that there can be: what it is called, which way it goes, what can be asked about it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) id: Id,
    pub(super) direction: Direction,
    pub(super) tells: &'static str,
}

/// All kinds of frames, once for each way that they go.
pub(super) fn kinds() -> impl Iterator<Item = Kind> {
    METHODS.iter().flat_map(|&(name, id, sent, tells)| {
        let kind = |direction| Kind { name, id, direction, tells };
        let client = (sent != Broker).then(|| kind(Direction::In));
        client.into_iter().chain((sent != Client).then(|| kind(Direction::Out)))
    })
}

pub(super) fn name(id: Id) -> Option<&'static str> {
    METHODS.iter().find(|(_, of, ..)| *of == id).map(|(name, ..)| *name)
}

/// Whether a frame is one of those that a rule means. Those that carry a content are meant only where they are named: elsewhere
/// they go with their method.
pub(super) fn is_meant(pattern: Option<&Pattern>, id: Id) -> bool {
    let Some(name) = name(id) else { return pattern.is_none() };
    match pattern {
        None => id != HEADER && id != BODY,
        Some(pattern) if id == HEADER || id == BODY => pattern.as_str() == name,
        Some(pattern) => pattern.matches(name.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amqp::method;

    #[test]
    fn every_method_that_there_is_has_a_name() {
        for class in 0..100 {
            for id in 0..200 {
                if method::exists((class, id)) {
                    assert!(name((class, id)).is_some(), "{class}.{id}");
                }
            }
        }
    }

    #[test]
    fn contents_go_with_their_method_unless_they_are_named() {
        let any = Pattern::new("*");
        assert!(is_meant(None, PUBLISH) && is_meant(Some(&any), HEARTBEAT));
        assert!(!is_meant(None, BODY) && !is_meant(Some(&any), HEADER));
        assert!(is_meant(Some(&Pattern::new("body")), BODY));
        assert!(is_meant(Some(&Pattern::new("basic.get*")), GET_EMPTY) && !is_meant(Some(&Pattern::new("basic.get")), GET_EMPTY));
    }
}

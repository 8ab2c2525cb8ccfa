//! The judgements: after every step, and on the whole of the broker when it is asked for its snapshots.

use std::collections::BTreeSet;

use leveret::broker::Broker;

use super::super::op::id_of;
use super::{At, Mode, Model};

impl Model {
    pub(super) fn check_step(&mut self) {
        let due = &self.due;
        assert!(due.replies.is_empty(), "never heard: {:?}", due.replies);
        assert!(due.returns.is_empty(), "never returned: {:?}", due.returns);
        assert!(due.cancels.is_empty(), "never heard of the end of their queue: {:?}", due.cancels);
        for (name, queue) in &mut self.queues {
            assert!(queue.flying.is_empty(), "queue {name}: {:?}", queue.flying);
            queue.first_given_before = queue.first_given;
        }
        if !due.phases {
            for ((name, _), position) in &due.given {
                let head = self.queues.get(name).and_then(|q| q.ready.first_key_value());
                assert!(head.is_none_or(|(head, _)| head > position), "queue {name} gave away {position} past {head:?}");
            }
        }
    }

    /// Nobody was given what a consumer of higher priority could have taken.
    pub(in super::super) fn check_priorities(&self, takes: &dyn Fn(u32) -> bool) {
        for (name, served) in self.due.served.iter().filter(|_| self.due.only_arrivals) {
            for (at, tag) in self.queues.get(name).into_iter().flat_map(|q| &q.consumers) {
                let priority = self.connections[&at.0].channels[&at.1].consumers[tag].priority;
                assert!(priority <= *served || !self.could_take(*at, tag, takes), "queue {name} passes over {tag} of {at:?}");
            }
        }
    }

    fn could_take(&self, at: At, tag: &str, takes: &dyn Fn(u32) -> bool) -> bool {
        let channel = &self.connections[&at.0].channels[&at.1];
        takes(at.0) && channel.has_credit(&channel.consumers[tag])
    }

    /// Compares the broker with the model. `takes` says of a connection whether its outbox takes more;
    /// `ours` which queues the model knows of.
    pub(in super::super) fn check(&self, broker: &Broker, takes: &dyn Fn(u32) -> bool, ours: &dyn Fn(&str) -> bool) {
        let snapshots: Vec<_> = broker.queue_snapshots().into_iter().filter(|s| ours(&s.name)).collect();
        let names: Vec<&str> = snapshots.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, self.queues.keys().map(String::as_str).collect::<Vec<_>>(), "queues");
        for snapshot in &snapshots {
            let (name, queue) = (&snapshot.name, &self.queues[&snapshot.name]);
            let there: Vec<u64> = snapshot.ready_bodies.iter().map(|body| id_of(body)).collect();
            let expected: Vec<u64> = queue.ready.values().map(|copy| copy.id).collect();
            assert_eq!(there, expected, "ready messages of {name}");
            assert_eq!(snapshot.ready, expected.len(), "count of {name}");
            assert_eq!(snapshot.ready_bytes, snapshot.ready_bodies.iter().map(|b| b.len() as u64).sum::<u64>(), "bytes of {name}");
            assert_eq!(snapshot.unacked, queue.unacked, "unacked messages of {name}");
            assert_eq!(snapshot.consumers, queue.consumers.len(), "consumers of {name}");
            queue.check_conservation(name);
            if !queue.ready.is_empty() {
                for (at, tag) in &queue.consumers {
                    assert!(!self.could_take(*at, tag, takes), "queue {name} has messages, and {tag} of {at:?} could take one");
                }
            }
        }
        self.check_holders();
    }

    /// Every unacked message has one holder, and every channel holds what its broker says.
    fn check_holders(&self) {
        let mut held = BTreeSet::new();
        let all = self.connections.values().flat_map(|c| c.channels.values());
        for one in all.flat_map(super::Channel::all_held) {
            assert!(held.insert((&one.queue, one.unique, one.position)), "{one:?} has two holders");
        }
        for (name, queue) in &self.queues {
            let of_it = held.iter().filter(|(_, unique, _)| *unique == queue.unique).count();
            assert_eq!(of_it, queue.unacked, "holders of messages of {name}");
        }
    }

    pub(in super::super) fn check_channels(&self, broker: &Broker, ours: &dyn Fn(u32) -> bool) {
        let snapshots = broker.channel_snapshots().into_iter().filter(|s| ours(s.connection.0));
        let there: Vec<(At, usize)> = snapshots.map(|s| ((s.connection.0, s.channel), s.unacked)).collect();
        let channels =
            self.connections.iter().flat_map(|(id, c)| c.channels.iter().map(move |(n, channel)| ((*id, *n), channel.held.len())));
        assert_eq!(there, channels.collect::<Vec<_>>(), "channels and what they hold");
    }

    pub(in super::super) fn check_exchanges(&self, broker: &Broker, ours: &dyn Fn(&str) -> bool) {
        let there: Vec<String> = broker.exchange_names().into_iter().filter(|name| ours(name)).collect();
        let expected: Vec<String> = self.topology.names().into_iter().filter(|name| ours(name)).collect();
        assert_eq!(there, expected, "exchanges");
    }

    /// With nothing on its way any more: every publisher has heard of every publish, and who is blocked has to be.
    pub(in super::super) fn check_quiet(&self) {
        for (id, connection) in &self.connections {
            if connection.hears_blocked && !connection.ended {
                assert_eq!(connection.blocked, connection.published && self.alarm, "connection {id} is blocked");
            }
            for (number, channel) in &connection.channels {
                if let Mode::Confirm { unheard, .. } = &channel.mode {
                    assert!(unheard.is_empty(), "channel {number} of {id} never hears of {unheard:?}");
                }
            }
        }
    }
}

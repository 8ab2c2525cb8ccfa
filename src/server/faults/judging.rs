//! What the rules say of a frame, or of a connection.

use std::sync::Arc;

use tokio::time::Instant;

use super::Active;
use super::engine::{End, Engine, Lasting};
use super::frames::Named;
use super::methods::{self, Id};
use super::rule::{Action, Direction, Match, Scope, Stage, Then};
use crate::amqp::{AMQPClass, AMQPValue, Command, Confirm, Fate, Fault, Goes, connection};
use crate::broker::Error;
use crate::node::users::credentials;

/// Whose connection it is, as far as that is known.
#[derive(Clone, Debug, Default)]
pub(in crate::server) struct Who {
    /// What RabbitMQ calls the connection.
    pub(in crate::server) name: String,
    /// What the client calls it.
    pub(in crate::server) given_name: Option<String>,
    pub(in crate::server) user: Option<Arc<str>>,
    pub(in crate::server) vhost: Option<Arc<str>>,
    pub(in crate::server) mechanism: Option<String>,
}

impl Who {
    /// The client says in the handshake who it is.
    pub(super) fn learn(&mut self, payload: &[u8]) {
        let Ok(AMQPClass::Connection(method)) = crate::amqp::method::parse(payload) else { return };
        match method {
            connection::AMQPMethod::StartOk(start_ok) => {
                let mechanism = start_ok.mechanism.as_str();
                if let Some(Ok((user, _))) = credentials(mechanism, start_ok.response.as_bytes()) {
                    self.user = Some(user.into());
                }
                if let Some(AMQPValue::LongString(name)) = start_ok.client_properties.inner().get("connection_name") {
                    self.given_name = Some(String::from_utf8_lossy(name.as_bytes()).into_owned());
                }
                self.mechanism = Some(mechanism.to_owned());
            }
            connection::AMQPMethod::Open(open) => self.vhost = Some(open.virtual_host.as_str().into()),
            _ => {}
        }
    }

    fn meets(&self, asked: &Match) -> bool {
        let is = |pattern: &Option<super::Pattern>, known: Option<&str>| {
            pattern.as_ref().is_none_or(|pattern| known.is_some_and(|known| pattern.matches(known.as_bytes())))
        };
        (is(&asked.connection, Some(&self.name)) || is(&asked.connection, self.given_name.as_deref()))
            && is(&asked.user, self.user.as_deref())
            && is(&asked.vhost, self.vhost.as_deref())
    }
}

/// A frame, as rules are asked about it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen<'a> {
    pub(super) id: Id,
    pub(super) channel: u16,
    pub(super) direction: Direction,
    pub(super) named: Named<'a>,
    /// Of a delivery: its consumer has to acknowledge it.
    pub(super) is_acked: bool,
}

impl Seen<'_> {
    fn meets(&self, asked: &Match) -> bool {
        let is = |pattern: &Option<super::Pattern>, named: Option<&[u8]>| {
            pattern.as_ref().is_none_or(|pattern| named.is_some_and(|named| pattern.matches(named)))
        };
        asked.direction.is_none_or(|direction| direction == self.direction)
            && asked.channel.is_none_or(|channel| channel == self.channel)
            && methods::is_meant(asked.method.as_ref(), self.id)
            && is(&asked.exchange, self.named.exchange)
            && is(&asked.routing_key, self.named.routing_key)
            && is(&asked.queue, self.named.queue)
    }

    /// Whether the action can happen to this one.
    fn allows(&self, action: &Action) -> bool {
        action.suits(self.id)
            && match action {
                // What comes again is left alone, or it would never end.
                Action::DuplicateDelivery => self.is_acked && !self.named.redelivered,
                _ => true,
            }
    }

    /// The method that a close names, if the client is to blame for it.
    fn class_method(&self) -> Id {
        if self.direction == Direction::In && self.id.0 != 0 { self.id } else { (0, 0) }
    }
}

/// What is to be done with a frame.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    pub(super) drop: bool,
    pub(super) due: Option<Instant>,
    /// It is not looked at before this is over.
    pub(super) waits_for: Option<Lasting>,
    pub(super) duplicate: bool,
    pub(super) truncate: Option<(usize, Then)>,
    pub(super) corrupt: bool,
    pub(super) fate: Fate,
    /// This happens in its place.
    pub(super) close: Option<Fault>,
    pub(super) again: bool,
    pub(super) redelivered: bool,
    pub(super) end: Option<End>,
}

impl Verdict {
    /// Whether the frame is gone, so that no other rule has anything to say.
    pub(super) fn takes_it_away(&self) -> bool {
        self.drop || self.close.is_some() || self.end.is_some()
    }
}

impl Engine {
    pub(super) fn judge(&mut self, seen: &Seen<'_>, now: Instant) -> Verdict {
        let mut verdict = Verdict::default();
        let rules = Arc::clone(&self.rules);
        for active in rules.iter() {
            let (action, asked) = (&active.rule.action, &active.rule.matches);
            let applies = match action.scope() {
                Scope::Frame => true,
                Scope::Connection => asked.asks_about_frames(),
                Scope::Node => *asked != Match::default(),
                Scope::Handshake(stage) => seen.direction == Direction::In && answered_at(stage) == Some(seen.id),
                Scope::Disk => false,
            };
            if applies && seen.allows(action) && self.who.meets(asked) && seen.meets(asked) && active.fires() {
                self.apply(active, seen, &mut verdict, now);
                if verdict.takes_it_away() {
                    break;
                }
            }
        }
        verdict
    }

    fn apply(&mut self, active: &Arc<Active>, seen: &Seen<'_>, verdict: &mut Verdict, now: Instant) {
        let lasting = |limit: &Option<std::time::Duration>| Lasting::new(active, limit.map(|limit| now + limit));
        match &active.rule.action {
            Action::Drop => verdict.drop = true,
            Action::Delay(by) => verdict.due = verdict.due.max(Some(now + *by)),
            Action::Duplicate => verdict.duplicate = true,
            Action::Truncate { after, then } => verdict.truncate = Some((*after, *then)),
            Action::CorruptFrameEnd => verdict.corrupt = true,
            Action::StopReading { limit } => self.stops_reading = Some(lasting(limit)),
            Action::StopHeartbeats { limit } => self.stops_heartbeats = Some(lasting(limit)),
            Action::Reset => verdict.end = Some(End::Reset),
            Action::HalfClose => verdict.end = Some(End::HalfClose),
            Action::CloseConnection { code, text } => verdict.close = Some(Fault::new(*code, text, seen.class_method())),
            Action::CloseChannel { code, text } => {
                verdict.close = Some(Fault { channel: seen.channel, ..Fault::new(*code, text, seen.class_method()) });
            }
            Action::Nack { lose } => (verdict.fate.confirm, verdict.fate.route) = (Confirm::Nack, lost(*lose, verdict.fate.route)),
            Action::WithholdConfirm { lose } => {
                (verdict.fate.confirm, verdict.fate.route) = (Confirm::Nothing, lost(*lose, verdict.fate.route));
            }
            Action::ReturnUnroutable => verdict.fate.route = Goes::Unroutable,
            Action::DuplicateDelivery => verdict.again = true,
            Action::MarkRedelivered => verdict.redelivered = true,
            Action::RefuseHandshake { code, text, .. } => verdict.close = Some(Fault::new(*code, text, seen.class_method())),
            Action::StallHandshake { limit, .. } => verdict.waits_for = Some(lasting(limit)),
            Action::FailAuthentication => {
                let Error { code, text, .. } = Error::login_refused(self.who.mechanism.as_deref().unwrap_or("PLAIN"));
                verdict.close = Some(Fault::new(code, text, (0, 0)));
            }
            Action::RaiseAlarm { .. } => self.faults.raise(active),
            Action::SlowDisk { .. } | Action::FailDisk { .. } => {}
        }
    }

    /// Asks the rules that are about the connection itself, each once.
    pub(super) fn judge_connection(&mut self, now: Instant) {
        let rules = Arc::clone(&self.rules);
        let judged = self.judged;
        for active in rules.iter().filter(|active| active.id > judged) {
            let (action, asked) = (&active.rule.action, &active.rule.matches);
            if action.scope() != Scope::Connection || asked.asks_about_frames() || !self.who.meets(asked) || !active.fires() {
                continue;
            }
            match action {
                Action::StopReading { limit } => self.stops_reading = Some(Lasting::new(active, limit.map(|limit| now + limit))),
                Action::StopHeartbeats { limit } => self.stops_heartbeats = Some(Lasting::new(active, limit.map(|limit| now + limit))),
                Action::Reset => self.ends(End::Reset),
                Action::HalfClose => self.ends(End::HalfClose),
                Action::CloseConnection { code, text } => self.orders.push(Command::Fault(Fault::new(*code, text, (0, 0)))),
                _ => {}
            }
        }
        self.judged = rules.last().map_or(self.judged, |last| last.id);
    }

    /// What becomes of a connection that has only said which protocol it speaks.
    pub(super) fn judge_start(&mut self, now: Instant) -> (bool, Option<Lasting>) {
        let rules = Arc::clone(&self.rules);
        let (mut refused, mut stalled) = (false, None);
        for active in rules.iter() {
            let (action, asked) = (&active.rule.action, &active.rule.matches);
            if action.scope() != Scope::Handshake(Stage::Start) || !self.who.meets(asked) || !active.fires() {
                continue;
            }
            match action {
                Action::StallHandshake { limit, .. } => stalled = Some(Lasting::new(active, limit.map(|limit| now + limit))),
                _ => refused = true,
            }
        }
        (refused, stalled)
    }
}

/// The method that the broker answers with what it says at this stage.
fn answered_at(stage: Stage) -> Option<Id> {
    match stage {
        Stage::Start => None,
        Stage::Tune => Some(methods::START_OK),
        Stage::Open => Some(methods::OPEN),
    }
}

fn lost(lose: bool, route: Goes) -> Goes {
    if lose && route == Goes::ToQueues { Goes::Lost } else { route }
}

//! What clients have heard in a step, taken out piece by piece as the model explains it; nothing must be left.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use amq_protocol::protocol::{AMQPClass, basic};
use amq_protocol::types::{AMQPValue, FieldTable};

use super::super::op;
use super::super::wire::Event;
use super::model::{At, Channel, Consumer, Copy};
use super::spec::Kind;

#[derive(Debug, Default)]
pub(super) struct Heard {
    deliveries: BTreeMap<(At, String), VecDeque<(u64, Event)>>,
    replies: BTreeMap<At, VecDeque<Event>>,
    cancels: BTreeSet<(At, String)>,
}

impl Heard {
    /// Delivery tags count up, whatever they are for.
    pub(super) fn hear(&mut self, events: Vec<(u32, Event)>, channels: &mut BTreeMap<At, Channel>) {
        for (connection, event) in events {
            let at = (connection, event.channel);
            let mut count = |tag: u64| {
                let channel = channels.get_mut(&at).unwrap_or_else(|| panic!("{at:?} is no channel"));
                channel.last_tag += 1;
                assert_eq!(tag, channel.last_tag, "{at:?}: delivery tags");
            };
            match &event.class {
                AMQPClass::Basic(basic::AMQPMethod::Deliver(deliver)) => {
                    let tag = deliver.delivery_tag;
                    count(tag);
                    self.deliveries.entry((at, deliver.consumer_tag.to_string())).or_default().push_back((tag, event));
                }
                AMQPClass::Basic(basic::AMQPMethod::Cancel(cancel)) => {
                    assert!(self.cancels.insert((at, cancel.consumer_tag.to_string())), "{at:?} hears twice: {cancel:?}");
                }
                class => {
                    if let AMQPClass::Basic(basic::AMQPMethod::GetOk(ok)) = class {
                        count(ok.delivery_tag);
                    }
                    self.replies.entry(at).or_default().push_back(event);
                }
            }
        }
    }

    /// The next delivery that a consumer heard of, if it is the one.
    pub(super) fn take_delivery(&mut self, consumer: &Consumer, is_it: impl Fn(&Event, bool) -> bool) -> Option<(u64, Event)> {
        let heard = self.deliveries.get_mut(&(consumer.at, consumer.tag.clone()))?;
        let (_, event) = heard.front()?;
        let AMQPClass::Basic(basic::AMQPMethod::Deliver(deliver)) = &event.class else { return None };
        if is_it(event, deliver.redelivered) { heard.pop_front() } else { None }
    }

    pub(super) fn reply(&mut self, at: At) -> Event {
        let event = self.replies.get_mut(&at).and_then(VecDeque::pop_front);
        event.unwrap_or_else(|| panic!("{at:?} hears no reply"))
    }

    /// A reply without interesting fields, by its ids.
    pub(super) fn plain(&mut self, at: At, ids: (u16, u16)) {
        let event = self.reply(at);
        assert_eq!((event.class.get_amqp_class_id(), event.class.get_amqp_method_id()), ids, "{at:?} hears {event:?}");
    }

    /// The client is told that its consumer has ended.
    pub(super) fn cancel(&mut self, at: At, tag: &str) {
        assert!(self.cancels.remove(&(at, tag.to_owned())), "{at:?} hears nothing of the end of {tag}");
    }

    pub(super) fn nothing_is_left(&mut self) {
        self.deliveries.retain(|_, all| !all.is_empty());
        self.replies.retain(|_, all| !all.is_empty());
        assert!(self.deliveries.is_empty() && self.replies.is_empty() && self.cancels.is_empty(), "heard for no reason: {self:?}");
    }
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

/// x-death as this copy must have it, without what the model does not follow.
fn deaths_of(headers: &FieldTable) -> Vec<(AMQPValue, AMQPValue, AMQPValue)> {
    let Some(AMQPValue::FieldArray(deaths)) = headers.inner().get("x-death") else { return Vec::new() };
    let read = |death: &AMQPValue| {
        let AMQPValue::FieldTable(death) = death else { panic!("an entry of x-death is {death:?}") };
        let field = |name: &str| death.inner().get(name).cloned().unwrap_or(AMQPValue::Void);
        (field("queue"), field("reason"), field("count"))
    };
    deaths.as_slice().iter().map(read).collect()
}

fn address(event: &Event) -> (&str, &str) {
    match &event.class {
        AMQPClass::Basic(basic::AMQPMethod::Deliver(deliver)) => (deliver.exchange.as_str(), deliver.routing_key.as_str()),
        AMQPClass::Basic(basic::AMQPMethod::GetOk(ok)) => (ok.exchange.as_str(), ok.routing_key.as_str()),
        other => panic!("{other:?} brings no message"),
    }
}

/// Whether this brings the message as it must be here: another copy may have come on another way, or at another time.
pub(super) fn brings(event: &Event, copy: &Copy, (kind, is_old): (Kind, bool)) -> bool {
    let expiration = copy.expiration.filter(|_| copy.deaths.is_empty()).map(|ttl| ttl.to_string());
    let headers = event.properties.headers().clone().unwrap_or_default();
    let header = |name: &str| headers.inner().get(name).cloned();
    let deaths: Vec<_> =
        copy.deaths.iter().map(|death| (text(&death.queue), text(death.reason), AMQPValue::LongLongInt(death.count))).collect();
    let first = copy.first_death.as_ref().map(|(queue, reason)| (text(queue), text(reason)));
    let last = copy.deaths.first().map(|death| (text(&death.queue), text(death.reason)));
    let counted = |count: i64| (count > 0 && kind == Kind::Quorum).then_some(AMQPValue::LongLongInt(count));
    address(event) == (copy.exchange.as_str(), copy.key.as_str())
        && event.body == op::body(copy.id, copy.size)
        && event.properties.expiration().as_ref().map(ToString::to_string) == expiration
        && *event.properties.priority() == copy.priority
        && deaths_of(&headers) == deaths
        && header("x-first-death-queue").zip(header("x-first-death-reason")) == first
        && header("x-last-death-queue").zip(header("x-last-death-reason")) == last.filter(|_| !is_old)
        && header("x-delivery-count") == counted(copy.returns)
        && header("x-acquired-count") == counted(copy.returns + copy.uncounted).filter(|_| !is_old)
}

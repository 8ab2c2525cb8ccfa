//! Who declares, binds and deletes, one step after the other; and what must be there of it afterwards.

use std::collections::BTreeSet;

use crate::client::{
    BASIC_ACK, Client, EXCHANGE_DECLARE, EXCHANGE_DECLARE_OK, EXCHANGE_DELETE, EXCHANGE_DELETE_OK, Gone, Heard, QUEUE_PURGE,
    QUEUE_PURGE_OK, QUEUE_UNBIND, QUEUE_UNBIND_OK,
};
use crate::random::Random;
use crate::wire::{self, Fields};

const GET_EMPTY: wire::Id = (60, 72);
const QUEUES: usize = 8;
const EXCHANGES: usize = 3;
const KEYS: usize = 2;

/// Durable queues and exchanges, and bindings between them: exchange, queue, key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Defined {
    queues: BTreeSet<usize>,
    exchanges: BTreeSet<usize>,
    bindings: BTreeSet<(usize, usize, usize)>,
}

/// What a broker was told, and what it has answered.
#[derive(Clone, Debug, Default)]
pub(crate) struct Definitions {
    now: Defined,
    /// What was defined before a step that has no answer.
    before: Option<Defined>,
    /// Queues that do not outlive the broker.
    passing: Vec<String>,
}

impl Definitions {
    /// One step after the other until the broker is gone.
    pub(crate) fn change(&mut self, client: &mut Client, round: u32, random: &mut Random) -> Heard<()> {
        client.open_channel(1)?;
        client.open_channel(2)?;
        client.confirm_select(2)?;
        if self.before.is_some() {
            self.compare(client)?;
        }
        for (kind, bits) in [("exclusive", 2 | 4), ("transient", 0), ("auto-delete", 8)] {
            let name = format!("{kind}-{round}");
            client.call(1, wire::QUEUE_DECLARE, &Fields::new().short(0).text(&name).byte(bits).bytes(&[]), wire::QUEUE_DECLARE_OK)?;
            self.passing.push(name);
        }
        loop {
            let before = self.now.clone();
            self.before = Some(before.clone());
            self.step(client, &before, random)?;
            self.before = None;
        }
    }

    fn step(&mut self, client: &mut Client, before: &Defined, random: &mut Random) -> Heard<()> {
        let (queue, exchange, key) = (random.below(QUEUES), random.below(EXCHANGES), random.below(KEYS));
        let (queue_name, exchange_name, key_name) = (queue_name(queue), exchange_name(exchange), key_name(key));
        let named = Fields::new().short(0).text(&queue_name);
        match random.weighted(&[30, 8, 15, 4, 40, 15, 20]) {
            0 => {
                self.now.queues.insert(queue);
                let declared = client.call(1, wire::QUEUE_DECLARE, &named.byte(2).bytes(&[]), wire::QUEUE_DECLARE_OK)?;
                if !before.queues.contains(&queue) && declared.message_count() > 0 {
                    return Err(Gone::Fault(format!("{queue_name} is new and has {} messages", declared.message_count())));
                }
            }
            1 => {
                self.now.queues.remove(&queue);
                self.now.bindings.retain(|(_, bound, _)| *bound != queue);
                client.call(1, wire::QUEUE_DELETE, &named.byte(0), wire::QUEUE_DELETE_OK)?;
            }
            2 => {
                self.now.exchanges.insert(exchange);
                let fields = Fields::new().short(0).text(&exchange_name).text("direct").byte(2).bytes(&[]);
                client.call(1, EXCHANGE_DECLARE, &fields, EXCHANGE_DECLARE_OK)?;
            }
            3 => {
                self.now.exchanges.remove(&exchange);
                self.now.bindings.retain(|(bound, _, _)| *bound != exchange);
                client.call(1, EXCHANGE_DELETE, &Fields::new().short(0).text(&exchange_name).byte(0), EXCHANGE_DELETE_OK)?;
            }
            _ if !before.queues.contains(&queue) || !before.exchanges.contains(&exchange) => {}
            4 => {
                self.now.bindings.insert((exchange, queue, key));
                let fields = named.text(&exchange_name).text(&key_name).byte(0).bytes(&[]);
                client.call(1, wire::QUEUE_BIND, &fields, wire::QUEUE_BIND_OK)?;
            }
            5 => {
                self.now.bindings.remove(&(exchange, queue, key));
                client.call(1, QUEUE_UNBIND, &named.text(&exchange_name).text(&key_name).bytes(&[]), QUEUE_UNBIND_OK)?;
            }
            _ => publish(client, "", &queue_name, b"of a queue that may be deleted")?,
        }
        Ok(())
    }

    /// Nobody else is there: what the broker has is what it was told.
    pub(crate) fn check(&mut self, client: &mut Client) -> Heard<()> {
        client.open_channel(1)?;
        client.open_channel(2)?;
        client.confirm_select(2)?;
        self.compare(client)
    }

    fn compare(&mut self, client: &mut Client) -> Heard<()> {
        for name in std::mem::take(&mut self.passing) {
            if exists(client, wire::QUEUE_DECLARE, &Fields::new().short(0).text(&name).byte(1).bytes(&[]), wire::QUEUE_DECLARE_OK)? {
                return Err(Gone::Fault(format!("{name} outlived the broker")));
            }
        }
        let found = observe(client)?;
        let before = self.before.clone();
        if found != self.now && before.as_ref() != Some(&found) {
            let told = format!("defined is {found:?}, and should be {:?}", self.now);
            return Err(Gone::Fault(before.map_or(told.clone(), |before| format!("{told}\nor {before:?}"))));
        }
        self.now = found;
        self.before = None;
        Ok(())
    }
}

fn queue_name(queue: usize) -> String {
    format!("defined-{queue}")
}

fn exchange_name(exchange: usize) -> String {
    format!("defined-x-{exchange}")
}

fn key_name(key: usize) -> String {
    format!("key-{key}")
}

/// Persistent, on channel 2, and confirmed.
fn publish(client: &mut Client, exchange: &str, key: &str, body: &[u8]) -> Heard<()> {
    client.publish(2, exchange, key, &Fields::new().short(1 << 12).byte(2).0, body);
    match client.event()?.id {
        BASIC_ACK => Ok(()),
        id => Err(Gone::Fault(format!("{id:?} instead of a confirm"))),
    }
}

/// A passive declare on channel 1, which is open again afterwards.
fn exists(client: &mut Client, method: wire::Id, fields: &Fields, reply: wire::Id) -> Heard<bool> {
    match client.call(1, method, fields, reply) {
        Ok(_) => Ok(true),
        Err(Gone::Channel(404, _)) => {
            client.open_channel(1)?;
            Ok(false)
        }
        Err(gone) => Err(gone),
    }
}

fn observe(client: &mut Client) -> Heard<Defined> {
    let mut found = Defined::default();
    for queue in 0..QUEUES {
        let fields = Fields::new().short(0).text(&queue_name(queue)).byte(1).bytes(&[]);
        if exists(client, wire::QUEUE_DECLARE, &fields, wire::QUEUE_DECLARE_OK)? {
            found.queues.insert(queue);
            client.call(1, QUEUE_PURGE, &Fields::new().short(0).text(&queue_name(queue)).byte(0), QUEUE_PURGE_OK)?;
        }
    }
    for exchange in 0..EXCHANGES {
        let fields = Fields::new().short(0).text(&exchange_name(exchange)).text("direct").byte(1).bytes(&[]);
        if exists(client, EXCHANGE_DECLARE, &fields, EXCHANGE_DECLARE_OK)? {
            found.exchanges.insert(exchange);
            for key in 0..KEYS {
                publish(client, &exchange_name(exchange), &key_name(key), format!("{exchange} {key}").as_bytes())?;
            }
        }
    }
    // Where those messages have come is what is bound.
    for queue in found.queues.clone() {
        loop {
            client.method(1, wire::GET, &Fields::new().short(0).text(&queue_name(queue)).byte(1));
            let event = client.event()?;
            if event.id == GET_EMPTY {
                break;
            }
            let text = String::from_utf8_lossy(&event.body).into_owned();
            let numbers = text.split_once(' ').and_then(|(x, key)| Some((x.parse().ok()?, key.parse().ok()?)));
            let Some((exchange, key)) = numbers else {
                return Err(Gone::Fault(format!("{}: {text:?} came back after a purge", queue_name(queue))));
            };
            if !found.bindings.insert((exchange, queue, key)) {
                return Err(Gone::Fault(format!("{}: a message came twice over one binding", queue_name(queue))));
            }
        }
    }
    Ok(found)
}

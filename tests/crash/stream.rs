//! The stream: what was confirmed keeps its offset for good.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use crate::client::{BASIC_ACK, Client, Event, Gone, Heard};
use crate::message::Id;
use crate::publishing::{Outcome, Sent};
use crate::random::Random;
use crate::topology::STREAM;
use crate::wire::{self, Fields};

/// What is in the stream, message by message, as far as that is known.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    /// By offset, from 0 on; read when nobody published and everything was on the disk.
    known: Vec<Id>,
    confirmed: HashSet<Id>,
}

impl Stream {
    pub(crate) fn publish(&mut self, sent: &Sent) {
        for (seq, outcome) in (0..).zip(&sent.outcomes) {
            if *outcome == Outcome::Confirmed {
                self.confirmed.insert(Id { publisher: sent.publisher, seq });
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    /// What a reader saw from some offset on, while others published.
    pub(crate) fn check(&self, read: &[(u64, Id)]) -> Result<(), String> {
        for (offset, id) in read {
            let known = usize::try_from(*offset).ok().and_then(|offset| self.known.get(offset));
            if known.is_some_and(|known| known != id) {
                return Err(format!("stream: {id} at offset {offset}, where {known:?} was"));
            }
        }
        Ok(())
    }

    /// Everything that is in the stream now, up to a message that was just confirmed.
    pub(crate) fn settle(&mut self, read: &[(u64, Id)]) -> Result<(), String> {
        self.check(read)?;
        let mut last: HashMap<u32, u32> = HashMap::new();
        for (expected, (offset, id)) in (0..).zip(read) {
            if *offset != expected {
                return Err(format!("stream: offset {offset} where {expected} is due"));
            }
            if let Some(before) = last.insert(id.publisher, id.seq)
                && before >= id.seq
            {
                return Err(format!("stream: {id} came after {before}"));
            }
        }
        let there: HashSet<Id> = read.iter().map(|(_, id)| *id).collect();
        let mut lost: Vec<Id> = self.confirmed.difference(&there).copied().collect();
        lost.sort();
        if let Some(first) = lost.first() {
            return Err(format!("stream: {} messages are lost, the first is {first}", lost.len()));
        }
        if read.len() < self.known.len() {
            return Err(format!("stream: {} messages, {} were there before", read.len(), self.known.len()));
        }
        self.known = read.iter().map(|(_, id)| *id).collect();
        Ok(())
    }
}

/// The offset that a stream adds to the headers of what it delivers.
fn offset(event: &Event) -> Heard<u64> {
    let name = b"x-stream-offset";
    let at = event.properties.windows(name.len()).position(|window| window == name);
    let value = at.and_then(|at| event.properties[at + name.len() + 1..].first_chunk::<8>());
    value.map(|value| u64::from_be_bytes(*value)).ok_or_else(|| Gone::Fault("stream: a delivery without an offset".to_owned()))
}

fn consume_from(client: &mut Client, offset: u64) -> Heard<()> {
    client.prefetch(1, 200)?;
    client.consume(1, STREAM, &Fields::new().text("x-stream-offset").byte(b'l').longlong(offset).0)
}

fn read_one(client: &mut Client, event: &Event, read: &mut Vec<(u64, Id)>) -> Heard<Id> {
    let id = Id::of(&event.body).map_err(|fault| Gone::Fault(format!("stream: {fault}")))?;
    let offset = offset(event)?;
    if let Some((before, _)) = read.last()
        && offset != before + 1
    {
        return Err(Gone::Fault(format!("stream: offset {offset} after {before}")));
    }
    read.push((offset, id));
    client.ack(1, event.deliver().1, false);
    Ok(id)
}

/// Reads from somewhere in what is known until the broker is gone.
pub(crate) fn reading(client: &mut Client, known: usize, read: &mut Vec<(u64, Id)>, random: &mut Random) -> Heard<()> {
    client.open_channel(1)?;
    let first = random.below(known + 1) as u64;
    consume_from(client, first)?;
    loop {
        let Some(event) = client.event_within(Duration::from_millis(50))? else { continue };
        if event.id != wire::DELIVER {
            return Err(Gone::Fault(format!("a reader heard {:?}", event.id)));
        }
        read_one(client, &event, read)?;
        if read[0].0 != first {
            return Err(Gone::Fault(format!("stream: asked for offset {first}, got {}", read[0].0)));
        }
    }
}

/// Publishes one message more and reads everything from the beginning up to it.
pub(crate) fn read_all(client: &mut Client, last: &mut Sent) -> Heard<Vec<(u64, Id)>> {
    client.open_channel(1)?;
    client.open_channel(2)?;
    client.confirm_select(2)?;
    last.publish(client, 2);
    let confirm = client.event()?;
    if confirm.id != BASIC_ACK {
        return Err(Gone::Fault(format!("stream: {:?} instead of a confirm", confirm.id)));
    }
    last.confirm(confirm.tag(), &mut 0)?;
    let last = Id { publisher: last.publisher, seq: 0 };
    consume_from(client, 0)?;
    let mut read = Vec::new();
    loop {
        let event = client.event()?;
        if event.id == wire::DELIVER && read_one(client, &event, &mut read)? == last {
            return Ok(read);
        }
    }
}

//! Who consumes: with acknowledgements in every order, some of them known to be on the disk; or moving messages on in transactions.

use std::time::Duration;

use crate::client::{BASIC_ACK, Client, Event, Gone, Heard, TX_COMMIT, TX_COMMIT_OK, TX_SELECT, TX_SELECT_OK};
use crate::message::Id;
use crate::publishing::Sent;
use crate::random::Random;
use crate::topology::{MOVED_TO, QUEUES};
use crate::wire::{self, Fields};

/// How a message ends in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Acked,
    /// It goes on to another queue: as a dead letter, or in a transaction.
    Moved,
}

/// What a consumer saw and did, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Received {
        id: Id,
        redelivered: bool,
    },
    Requeued(Id),
    Ended {
        id: Id,
        how: End,
        /// Something later on the same connection was answered that waits for the disk.
        synced: bool,
    },
}

#[derive(Debug)]
pub(crate) struct Consumed {
    /// Index in [`QUEUES`].
    pub(crate) queue: usize,
    pub(crate) told: Vec<Told>,
}

impl Consumed {
    pub(crate) fn new(queue: usize) -> Self {
        Self { queue, told: Vec::new() }
    }

    /// Judges a delivery by itself and notes it.
    pub(crate) fn receive(&mut self, event: &Event) -> Heard<(u64, Id)> {
        let queue = &QUEUES[self.queue];
        let id = Id::of(&event.body).map_err(|fault| Gone::Fault(format!("{}: {fault}", queue.name)))?;
        let (_, tag, redelivered) = event.deliver();
        if queue.exact && event.properties != id.properties(false) && event.properties != id.properties(true) {
            return Err(Gone::Fault(format!("{}: {id} has other properties than it was published with", queue.name)));
        }
        self.told.push(Told::Received { id, redelivered });
        Ok((tag, id))
    }

    /// What was told up to here is on the disk.
    pub(crate) fn sync(&mut self, up_to: usize) {
        for told in &mut self.told[..up_to] {
            if let Told::Ended { synced, .. } = told {
                *synced = true;
            }
        }
    }
}

/// How a consumer treats what it gets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Habit {
    pub(crate) prefetch: u16,
    /// Messages it keeps before it begins to settle.
    pub(crate) hold: usize,
    /// Of a hundred that are settled.
    pub(crate) rejects: usize,
    /// Of a hundred that came for the first time.
    pub(crate) requeues: usize,
    /// Endings between two proofs that they are on the disk.
    pub(crate) mark_every: usize,
}

struct Consumer<'a> {
    client: &'a mut Client,
    consumed: &'a mut Consumed,
    habit: Habit,
    /// Not settled: delivery tag, message, whether it came before.
    held: Vec<(u64, Id, bool)>,
    /// Persistent messages with confirms on the same connection: what comes before them is on the disk when they are.
    marks: &'a mut Sent,
    answered: usize,
    /// What had been told at each mark.
    told_at: Vec<usize>,
    ended: usize,
}

/// Consumes until the broker is gone.
pub(crate) fn with_acks(client: &mut Client, consumed: &mut Consumed, marks: &mut Sent, habit: Habit, random: &mut Random) -> Heard<()> {
    client.open_channel(1)?;
    client.open_channel(2)?;
    client.confirm_select(2)?;
    client.prefetch(1, habit.prefetch)?;
    client.consume(1, QUEUES[consumed.queue].name, &[])?;
    let mut consumer = Consumer { client, consumed, habit, held: Vec::new(), marks, answered: 0, told_at: Vec::new(), ended: 0 };
    loop {
        consumer.step(random)?;
    }
}

impl Consumer<'_> {
    fn step(&mut self, random: &mut Random) -> Heard<()> {
        let event = self.client.event_within(Duration::from_millis(20))?;
        let is_idle = event.is_none();
        match event {
            None => {}
            Some(event) if event.id == wire::DELIVER => {
                let (tag, id) = self.consumed.receive(&event)?;
                self.held.push((tag, id, event.deliver().2));
            }
            Some(event) if event.id == BASIC_ACK => {
                self.marks.confirm(event.tag(), &mut self.answered)?;
                if let Some(last) = self.answered.checked_sub(1) {
                    self.consumed.sync(self.told_at[last]);
                }
            }
            Some(event) => return Err(Gone::Fault(format!("a consumer heard {:?}", event.id))),
        }
        if self.held.len() > self.habit.hold || (is_idle && !self.held.is_empty()) {
            self.settle(random);
        }
        Ok(())
    }

    fn settle(&mut self, random: &mut Random) {
        let at = if random.percent(70) { 0 } else { random.below(self.held.len()) };
        let (tag, id, redelivered) = self.held[at];
        if !redelivered && random.percent(self.habit.requeues) {
            self.held.remove(at);
            self.client.reject(1, tag, true);
            self.consumed.told.push(Told::Requeued(id));
        } else if random.percent(self.habit.rejects) {
            self.held.remove(at);
            self.client.reject(1, tag, false);
            self.consumed.told.push(Told::Ended { id, how: End::Moved, synced: false });
            self.ended += 1;
        } else {
            let is_multiple = random.percent(10);
            self.client.ack(1, tag, is_multiple);
            let consumed = &mut *self.consumed;
            self.held.retain(|(other, id, _)| {
                let is_acked = *other == tag || is_multiple && *other < tag;
                if is_acked {
                    consumed.told.push(Told::Ended { id: *id, how: End::Acked, synced: false });
                }
                !is_acked
            });
            self.ended += 1;
        }
        if self.ended >= self.habit.mark_every {
            self.ended = 0;
            self.told_at.push(self.consumed.told.len());
            self.marks.publish(self.client, 2);
        }
    }
}

/// Moves messages on to another queue, a few in each transaction, until the broker is gone.
pub(crate) fn moving(client: &mut Client, consumed: &mut Consumed, random: &mut Random) -> Heard<()> {
    client.open_channel(1)?;
    client.call(1, TX_SELECT, &Fields::new(), TX_SELECT_OK)?;
    client.prefetch(1, 50)?;
    client.consume(1, QUEUES[consumed.queue].name, &[])?;
    loop {
        let most = 1 + random.below(20);
        let mut moved = 0;
        while moved < most {
            let Some(event) = client.event_within(Duration::from_millis(20))? else { break };
            if event.id != wire::DELIVER {
                return Err(Gone::Fault(format!("a mover heard {:?}", event.id)));
            }
            let (tag, id) = consumed.receive(&event)?;
            client.publish(1, "", QUEUES[MOVED_TO].name, &event.properties, &event.body);
            client.ack(1, tag, false);
            consumed.told.push(Told::Ended { id, how: End::Moved, synced: false });
            moved += 1;
        }
        if moved > 0 {
            client.call(1, TX_COMMIT, &Fields::new(), TX_COMMIT_OK)?;
            consumed.sync(consumed.told.len());
        }
    }
}

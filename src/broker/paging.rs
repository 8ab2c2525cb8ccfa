//! What of a queue is in memory: the head, and what a storage does not have yet. Between them there may be any number of
//! messages that are on disk alone. The core asks for those it needs next ([`Load`]) and goes on when it gets them.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use super::access::Access;
use super::durable::Numbered;
use super::exchange::ExchangeId;
use super::queue::level::{Keeps, Leaving};
use super::queue::stream::Stream;
use super::queue::{ConsumerId, Entry, Queue, QueueId};
use super::record::Stored;
use super::{Action, At, Broker, ConnectionId, Effects, Timestamp};
use crate::amqp::Command;

/// By how much less of a queue is kept in memory while all messages together take more than `PLENTY` bytes.
const SMALLER: u64 = 16;
const PLENTY: u64 = 48 * 1024 * 1024;
/// Bytes of memory that are given to the disk at a time when memory is short.
const SPILLED: u64 = 8 * 1024 * 1024;

/// Bytes of messages that are loaded at a time before anybody is served.
pub(super) const PORTION: usize = 4 * 1024 * 1024;

/// Messages that the core needs from a storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    /// The number of the queue.
    pub queue: u64,
    pub level: u8,
    /// Positions.
    pub first: u64,
    pub last: u64,
    /// Bytes of messages, about; at least one message is wanted.
    pub max_bytes: usize,
    pub purpose: Purpose,
}

/// Who needs them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A queue, at its head.
    Head,
    /// A reader of a stream.
    Reader(ConsumerId),
    /// After a restart: messages that came back to a quorum queue go before all others, in this order.
    Returned(Vec<u64>),
    /// After a restart: everything, as the owner keeps it all in memory.
    All,
    /// After a restart as another release: a priority that the queue knows no more.
    OtherLevel,
}

/// The answer to a [`Load`].
#[derive(Debug)]
pub struct Loaded {
    pub load: Load,
    /// In order, from `load.first` on; as many as there was room for.
    pub messages: Vec<Stored>,
    /// Nothing is left behind these up to `load.last`.
    pub complete: bool,
}

/// Transient messages that are given to a storage to save memory.
#[derive(Debug)]
pub struct Spill {
    /// The number of the queue.
    pub queue: u64,
    pub level: u8,
    /// In order.
    pub messages: Vec<Stored>,
}

/// Messages of a [`Spill`] that are needed no more: those below this position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unneeded {
    /// The number of the queue.
    pub queue: u64,
    pub level: u8,
    pub below: u64,
}

/// The position behind all that has been loaded.
fn behind(load: &Load, messages: &[Stored], complete: bool) -> u64 {
    let last = messages.last().map(|last| last.position).filter(|_| !complete);
    last.unwrap_or(load.last).saturating_add(1)
}

fn stored(entry: &Entry) -> Stored {
    Stored {
        level: entry.priority,
        position: entry.position,
        at: entry.expires.0,
        redelivered: entry.redelivered,
        returns: entry.returns,
        uncounted: entry.uncounted_returns,
        // Of its own, or the account of memory would never see the last holder go.
        message: entry.message.copied(),
    }
}

/// A connection that waits for something, with all that it has sent since.
#[derive(Debug)]
pub(super) struct Stalled {
    pub(super) waits: Waits,
    pub(super) waiting: VecDeque<Command>,
}

#[derive(Debug)]
pub(super) enum Waits {
    /// Its basic.get needs what is on the disk.
    ForDisk {
        queue: QueueId,
        /// Its name; the queue may be gone by the time.
        name: Arc<str>,
        at: At,
        no_ack: bool,
    },
    /// Somebody is asked whether it may do what this command needs, or for a new secret.
    ForAnswer { number: u64, asked: Option<(Access, Command)> },
}

/// What is known of the messages of a queue since a restart.
#[derive(Debug, Default)]
pub(super) struct Before {
    /// Those below this position may have been delivered.
    pub(super) delivered: u64,
    /// In a quorum queue: messages that are loaded before all others.
    pub(super) returned: BTreeSet<u64>,
}

impl Broker {
    /// What has been asked for since this was last called.
    pub fn take_loads(&mut self) -> Vec<Load> {
        std::mem::take(&mut self.loads)
    }

    /// Whether all that has been asked for was taken.
    #[must_use]
    pub fn loads_are_taken(&self) -> bool {
        self.loads.is_empty()
    }

    fn window(&self) -> u64 {
        let window = self.settings.page_window;
        if self.memory > PLENTY { window / SMALLER } else { window }
    }

    /// Takes the head of a queue, and sees to it that what is behind it comes in time. `None` as well when the head is on disk.
    pub(super) fn take_head(&mut self, id: QueueId) -> Option<Entry> {
        let queue = self.queues.get_mut(id)?;
        let entry = queue.ready.pop();
        if queue.ready.is_paged() {
            self.want_head(id);
        }
        entry
    }

    /// Asks for all that is on disk alone, a portion of each level at a time.
    pub(super) fn want_all(&mut self, id: QueueId) {
        let queue = &mut self.queues[id];
        while let Some((level, first, last)) = queue.ready.wants_load(u64::MAX, usize::MAX) {
            self.loads.push(Load { queue: queue.number, level, first, last, max_bytes: PORTION, purpose: Purpose::All });
        }
    }

    /// Asks for what is behind the head, if that is short.
    pub(super) fn want_head(&mut self, id: QueueId) {
        let half = self.window() / 2;
        let Some(queue) = self.queues.get_mut(id) else { return };
        if let Some((level, first, last)) = queue.ready.wants_load(half, 2) {
            let max_bytes = usize::try_from(half).unwrap_or(usize::MAX);
            self.loads.push(Load { queue: queue.number, level, first, last, max_bytes, purpose: Purpose::Head });
            self.note_unneeded(id);
        }
    }

    /// What was given to the disk and has come back, or ended, need not stay there.
    pub(super) fn note_unneeded(&mut self, id: QueueId) {
        let queue = &mut self.queues[id];
        if queue.number != 0 && queue.ready.has_spilled() {
            let number = queue.number;
            let unneeded = queue.ready.unneeded().into_iter();
            self.unneeded.extend(unneeded.map(|(level, below)| Unneeded { queue: number, level, below }));
        }
    }

    /// A storage has everything that was written down of these queues up to these positions.
    pub(super) fn stored(&mut self, queues: &[(u64, u64)]) {
        for (number, up_to) in queues {
            let Some(&Numbered::Queue(id)) = self.numbered.get(number) else { continue };
            let window = self.window();
            let Some(queue) = self.queues.get_mut(id) else { continue };
            if let Some(stream) = &mut queue.stream {
                let memory = &mut self.memory;
                stream.page_out(*up_to, window, |message| *memory -= Stream::MEMORY + message.freed());
                continue;
            }
            // What a queue knows its messages by has to stay.
            if queue.deduplication.is_some() {
                continue;
            }
            queue.stored = *up_to;
            self.page_out(id);
        }
    }

    /// Lets go of what of a queue is on disk and not near its head.
    fn page_out(&mut self, id: QueueId) {
        let window = self.window();
        let queue = &mut self.queues[id];
        let leaving = Leaving { stored: queue.stored, window, keeps: queue.kept() };
        let memory = &mut self.memory;
        queue.ready.page_out(leaving, |entry| *memory -= entry.freed());
        self.want_head(id);
    }

    /// Memory is short: gives transient messages to the disk, the longest queues' first.
    pub(super) fn spill_transient(&mut self) {
        if !self.log.is_enabled() {
            return;
        }
        let window = self.window();
        let spills = |queue: &Queue| queue.deduplication.is_none() && queue.stream.is_none() && queue.kept() != Keeps::Everything;
        let mut ids: Vec<QueueId> = self.queues.iter().filter(|(_, queue)| spills(queue)).map(|(id, _)| id).collect();
        ids.sort_by_key(|id| std::cmp::Reverse(self.queues[*id].ready.len()));
        let mut room = SPILLED;
        for id in ids {
            let queue = &mut self.queues[id];
            if room == 0 || queue.ready.is_empty() {
                return;
            }
            let by_level = queue.ready.spill(window, queue.kept(), &mut room);
            if by_level.is_empty() {
                continue;
            }
            if queue.number == 0 {
                let number = self.new_number(Numbered::Queue(id));
                self.queues[id].number = number;
            }
            let queue = self.queues[id].number;
            self.queues[id].counters.disk_writes += by_level.iter().map(|(_, entries)| entries.len() as u64).sum::<u64>();
            for (level, entries) in by_level {
                self.spills.push(Spill { queue, level, messages: entries.iter().map(stored).collect() });
            }
        }
    }

    /// What was given to the disk is there, up to this position.
    pub(super) fn spilled(&mut self, number: u64, level: u8, up_to: u64) {
        if let Some(&Numbered::Queue(id)) = self.numbered.get(&number) {
            self.queues[id].ready.set_spilled(level, up_to + 1);
            self.page_out(id);
        }
    }

    /// Whether [`Broker::take_spills`] would give any.
    #[must_use]
    pub fn has_spills(&self) -> bool {
        !self.spills.is_empty()
    }

    /// Transient messages to be given to the disk since this was last called.
    pub fn take_spills(&mut self) -> Vec<Spill> {
        std::mem::take(&mut self.spills)
    }

    /// Which of them are needed no more, since this was last called.
    pub fn take_unneeded(&mut self) -> Vec<Unneeded> {
        std::mem::take(&mut self.unneeded)
    }

    pub(super) fn loaded(&mut self, loaded: Loaded, effects: &mut Effects) {
        match self.numbered.get(&loaded.load.queue) {
            Some(&Numbered::Queue(id)) => {
                self.queues[id].counters.disk_reads += loaded.messages.len() as u64;
                match loaded.load.purpose {
                    Purpose::Head | Purpose::All => self.head_loaded(id, loaded, effects),
                    Purpose::Reader(reader) => self.page_loaded(reader, loaded, effects),
                    Purpose::Returned(_) => self.returned_loaded(id, loaded),
                    Purpose::OtherLevel => self.level_loaded(id, loaded),
                }
            }
            Some(&Numbered::Exchange(id)) => self.delayed_loaded(id, loaded),
            None => {}
        }
    }

    /// The entry of a message that was read back.
    fn restored(&mut self, id: QueueId, stored: Stored) -> Entry {
        let before = self.queues[id].extra.as_ref().and_then(|extra| extra.before.as_ref());
        let redelivered = stored.redelivered || before.is_some_and(|before| stored.position < before.delivered);
        self.memory += Entry::MEMORY + stored.message.memory() as u64;
        Entry {
            position: stored.position,
            expires: Timestamp(stored.at),
            returns: stored.returns,
            uncounted_returns: stored.uncounted,
            priority: stored.level,
            redelivered,
            message: stored.message,
        }
    }

    fn head_loaded(&mut self, id: QueueId, loaded: Loaded, effects: &mut Effects) {
        let Loaded { load, messages, complete } = loaded;
        if !self.queues[id].ready.awaits(load.level, load.first) {
            return;
        }
        let next = behind(&load, &messages, complete);
        let mut entries = Vec::with_capacity(messages.len());
        for stored in messages {
            let before = self.queues[id].extra.as_ref().and_then(|extra| extra.before.as_ref());
            // It went before the others.
            if before.is_some_and(|before| before.returned.contains(&stored.position)) {
                continue;
            }
            let entry = self.restored(id, stored);
            if let Some(deduplication) = &mut self.queues[id].deduplication {
                deduplication.change(&mut self.memory, |seen| seen.remember(entry.message.properties(), self.now));
            }
            entries.push(entry);
        }
        self.queues[id].ready.loaded(load.level, entries, next);
        if load.purpose == Purpose::All {
            self.want_all(id);
        }
        self.drop_overflow(id);
        self.want_head(id);
        self.pump(id, effects);
        self.go_on_with_gets(id, effects);
    }

    fn returned_loaded(&mut self, id: QueueId, loaded: Loaded) {
        let Purpose::Returned(order) = &loaded.load.purpose else { return };
        let mut messages = loaded.messages;
        let place = |stored: &Stored| order.iter().position(|position| *position == stored.position);
        messages.sort_by_key(place);
        for stored in messages {
            let entry = Entry { redelivered: true, ..self.restored(id, stored) };
            self.queues[id].ready.requeue(entry);
        }
        self.settle_head(id);
    }

    /// Messages of a priority that the queue knows no more become new ones of the highest that it knows.
    fn level_loaded(&mut self, id: QueueId, loaded: Loaded) {
        let Loaded { load, messages, complete } = loaded;
        let next = behind(&load, &messages, complete);
        for stored in messages {
            let entry = self.restored(id, stored);
            self.write_end(id, &entry);
            let queue = &mut self.queues[id];
            let before = entry.position;
            let entry = Entry { priority: queue.ready.max_priority(), ..queue.ready.at_tail(entry) };
            if let Some(journal) = &mut self.journal {
                journal.moved(id, before, entry.position);
            }
            self.log.next_message();
            Self::write_enqueue(&mut self.log, queue, &entry);
            queue.ready.push(entry);
        }
        if !complete {
            self.loads.push(Load { first: next, ..load });
        }
    }

    /// A get finds the head of its queue on disk: it waits, and so does all else that the connection sends.
    pub(super) fn stall(&mut self, at: At, queue: QueueId, no_ack: bool, effects: &mut Effects) {
        self.want_head(queue);
        let name = Arc::clone(&self.queues[queue].name);
        let Some(connection) = self.connection(at.connection) else { return };
        let waits = Waits::ForDisk { queue, name, at, no_ack };
        connection.stalled = Some(Box::new(Stalled { waits, waiting: VecDeque::new() }));
        self.stalled.push(at.connection);
        effects.actions.push(Action::PauseReading(at.connection));
    }

    /// Gets that waited for this queue, or for one that is gone by now, go on.
    pub(super) fn go_on_with_gets(&mut self, queue: QueueId, effects: &mut Effects) {
        for id in std::mem::take(&mut self.stalled) {
            let Some(connection) = self.connection(id) else { continue };
            let waits = |stalled: &mut Box<Stalled>| matches!(stalled.waits, Waits::ForDisk { queue: waited, .. } if waited == queue);
            let stalled = connection.stalled.take_if(waits).map(|stalled| *stalled);
            let Some(Stalled { waits: Waits::ForDisk { queue, name, at, no_ack }, waiting }) = stalled else {
                if connection.stalled.as_ref().is_some_and(|stalled| matches!(stalled.waits, Waits::ForDisk { .. })) {
                    self.stalled.push(id);
                }
                continue;
            };
            self.resume_reading(id, effects);
            self.resume_get(at, (queue, &name), no_ack, effects);
            self.finish(effects);
            self.go_on_with(id, waiting, effects);
        }
    }

    pub(super) fn resume_reading(&mut self, id: ConnectionId, effects: &mut Effects) {
        if self.connection(id).is_some_and(|connection| !connection.is_blocked()) {
            effects.actions.push(Action::ResumeReading(id));
        }
    }

    /// Handles what a connection has sent while it waited; what comes behind something that has to wait again waits, too.
    #[inline(never)]
    pub(super) fn go_on_with(&mut self, id: ConnectionId, mut waiting: VecDeque<Command>, effects: &mut Effects) {
        while let Some(command) = waiting.pop_front() {
            if let Some(again) = self.connection(id).and_then(|connection| connection.stalled.as_mut()) {
                again.waiting.push_back(command);
                again.waiting.append(&mut waiting);
                break;
            }
            self.command(id, command, effects);
            self.finish(effects);
        }
        self.send_confirms(effects);
    }

    fn delayed_loaded(&mut self, id: ExchangeId, loaded: Loaded) {
        let Loaded { load, messages, complete } = loaded;
        let next = behind(&load, &messages, complete);
        for stored in messages {
            self.memory += stored.message.memory() as u64;
            self.keep_delayed(id, stored.position, Timestamp(stored.at), stored.message);
        }
        if !complete {
            self.loads.push(Load { first: next, ..load });
        }
    }
}

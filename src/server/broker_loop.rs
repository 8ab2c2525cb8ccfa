//! The loop of one virtual host: owns its broker, handles what connections have submitted, hands out what comes of it.
//!
//! The loop is a role and not a task: whoever has submitted something takes the role if it is free, handles all that
//! waits, and flushes. One publish thus goes from socket to socket on one thread, with no hand-over; under contention
//! batches gather in the inbox and are handled together. Nobody ever waits for the role.
//!
//! Invariant: what is in the inbox is handled by whoever holds the role, or by whoever gave it up last: it looks
//! again after giving it up.

mod handing_out;
mod standing;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::Shell;
use super::channels::Channels;
use super::clock::Clock;
use super::inbox::{Administration, Asked, Inbox, Question, Submission, Watch};
use super::journal::Journal;
use super::outbox::{Shared, spare_buffer};
use super::storage::Storage;
use super::time::Time;
use crate::amqp::Command;
use crate::broker::{Alarms, Answer, Broker, ConnectionId, Effects, Input, Loaded, Opened};

pub(super) use standing::Standing;

/// Bytes in the inbox above which connections stop reading (TCP then holds the publishers back).
const INBOX_HIGH: usize = 4 * 1024 * 1024;
/// How often a task goes on with the role before it leaves the rest to another one.
const ROUNDS: usize = 16;

/// What only the holder of the role touches.
#[derive(Debug)]
struct State {
    broker: Broker,
    effects: Effects,
    connections: Vec<Option<Arc<Shared>>>,
    taken: VecDeque<Submission>,
    keeper: Option<Keeper>,
    /// What has been asked of the disk and has not come.
    loading: usize,
    /// Who is to be told when this round is safe.
    told: Vec<oneshot::Sender<()>>,
    /// Who looks at the broker after each round.
    watches: Vec<Watch>,
    /// Rounds so far.
    round: u64,
    /// Bytes of the messages of this virtual host, as the node knows them.
    memory: u64,
    /// How often a channel had been opened or closed when the node was told how many there are.
    channel_changes: u64,
}

/// Where a loop brings what has to survive.
#[derive(Clone, Debug)]
pub(super) struct Keeper {
    pub(super) storage: Arc<Storage>,
    /// The number of the virtual host there.
    pub(super) vhost: u32,
}

#[derive(Debug)]
pub(super) struct BrokerLoop {
    vhost: Arc<str>,
    number: Option<u32>,
    outbox_low: usize,
    inbox: Mutex<Inbox>,
    state: Mutex<State>,
    /// Told when the inbox has room again.
    room: Notify,
    clock: Clock,
    time: Arc<Time>,
    /// Where what happens to messages is told.
    journal: Option<Arc<Journal>>,
    shell: OnceLock<Weak<Shell>>,
    storage: Option<Arc<Storage>>,
    /// What was written down in rounds up to this one is safe.
    safe: AtomicU64,
}

impl BrokerLoop {
    pub(super) fn new(mut broker: Broker, keeper: Option<Keeper>, time: &Arc<Time>, journal: Option<Arc<Journal>>) -> Self {
        if let Some(journal) = &journal {
            journal.attach(&mut broker);
        }
        let storage = keeper.as_ref().map(|keeper| Arc::clone(&keeper.storage));
        let number = keeper.as_ref().map(|keeper| keeper.vhost);
        let effects = Effects::default();
        let state = State {
            effects,
            connections: Vec::new(),
            taken: VecDeque::new(),
            broker,
            keeper,
            loading: 0,
            told: Vec::new(),
            watches: Vec::new(),
            round: 0,
            memory: 0,
            channel_changes: 0,
        };
        Self {
            storage,
            number,
            safe: AtomicU64::new(0),
            vhost: state.broker.vhost().into(),
            outbox_low: state.broker.outbox_high() / 2,
            inbox: Mutex::default(),
            state: Mutex::new(state),
            room: Notify::new(),
            clock: Clock::default(),
            time: Arc::clone(time),
            journal,
            shell: OnceLock::new(),
        }
    }

    /// From now on the node hears when memory in use has changed, and of traced messages where it wants to.
    pub(super) fn watch_memory(&self, shell: &Arc<Shell>) {
        let _ = self.shell.set(Arc::downgrade(shell));
        shell.tracing.iter().for_each(|_| self.state.lock().broker.keep_spans());
    }

    pub(super) fn vhost(&self) -> &str {
        &self.vhost
    }

    /// What the virtual host is called in the storage.
    pub(super) fn number(&self) -> Option<u32> {
        self.number
    }

    pub(super) fn connected(self: &Arc<Self>, shared: Arc<Shared>, opened: Opened) -> ConnectionId {
        let mut inbox = self.inbox.lock();
        let id = inbox.new_connection();
        inbox.urgent.push_back(Submission::Connected(id, shared, opened));
        drop(inbox);
        self.drive();
        id
    }

    /// Submits what a connection has read, decoded from this many bytes.
    pub(super) fn received(self: &Arc<Self>, connection: ConnectionId, commands: Vec<Command>, bytes: usize) {
        self.inbox.lock().push_received(connection, commands, bytes);
        self.drive();
    }

    pub(super) fn publishing(self: &Arc<Self>, connection: ConnectionId) {
        self.inbox.lock().urgent.push_back(Submission::Publishing(connection));
        self.drive();
    }

    /// What was asked for a connection is known.
    pub(super) fn answered(self: &Arc<Self>, connection: ConnectionId, number: u64, answer: Answer) {
        self.inbox.lock().urgent.push_back(Submission::Answered(connection, number, answer));
        self.drive();
    }

    pub(super) fn flushed(self: &Arc<Self>, connection: ConnectionId, pending: usize) {
        self.inbox.lock().urgent.push_back(Submission::Flushed(connection, pending));
        self.drive();
    }

    pub(super) fn disconnected(self: &Arc<Self>, connection: ConnectionId) {
        self.inbox.lock().push_behind(connection, Submission::Disconnected(connection));
        self.drive();
    }

    /// The same for who is not to do the loop's work.
    pub(super) fn flushed_elsewhere(self: &Arc<Self>, connection: ConnectionId, pending: usize) {
        self.inbox.lock().urgent.push_back(Submission::Flushed(connection, pending));
        let next = Arc::clone(self);
        tokio::spawn(async move { next.drive() });
    }

    pub(super) fn stored(self: &Arc<Self>, queues: Vec<(u64, u64)>) {
        self.inbox.lock().urgent.push_back(Submission::Stored(queues));
        self.drive();
    }

    pub(super) fn loaded(self: &Arc<Self>, loaded: Loaded) {
        self.inbox.lock().urgent.push_back(Submission::Loaded(loaded));
        self.drive();
    }

    /// Memory is short: transient messages are to be put on the disk.
    pub(super) fn spill_transient(self: &Arc<Self>) {
        self.inbox.lock().urgent.push_back(Submission::SpillTransient);
    }

    pub(super) fn spilled(self: &Arc<Self>, queue: u64, level: u8, up_to: u64) {
        self.inbox.lock().urgent.push_back(Submission::Spilled { queue, level, up_to });
        self.drive();
    }

    /// To be followed by [`BrokerLoop::poke`].
    pub(super) fn push_alarms(&self, alarms: Alarms) {
        self.inbox.lock().urgent.push_back(Submission::Alarms(alarms));
    }

    /// Lets time pass, and writes down what has not been yet.
    pub(super) fn tick(self: &Arc<Self>) {
        self.inbox.lock().urgent.push_back(Submission::Tick);
        self.drive();
    }

    /// Handles what waits.
    pub(super) fn poke(self: &Arc<Self>) {
        self.drive();
    }

    pub(super) fn administer(self: &Arc<Self>, administration: Administration) {
        self.inbox.lock().urgent.push_back(Submission::Administer(administration));
        self.drive();
    }

    /// Has something done, or found out, between all else that happens; returns what came of it. Whatever somebody has been told by
    /// now has happened before.
    pub(super) async fn ask<T: Send + 'static>(self: &Arc<Self>, question: impl FnOnce(&mut Asked<'_>) -> T + Send + 'static) -> T {
        let (tell, told) = oneshot::channel();
        let question = Question(Box::new(move |asked| drop(tell.send(question(asked)))));
        self.inbox.lock().urgent.push_back(Submission::Ask(question));
        self.drive();
        told.await.expect("loops answer for as long as there is a runtime")
    }

    /// Looks after whatever happens, until there is an answer. `None` when the node ends before that.
    pub(super) async fn until<T: Send + 'static>(
        self: &Arc<Self>,
        mut question: impl FnMut(&mut Asked<'_>) -> Option<T> + Send + 'static,
    ) -> Option<T> {
        let (tell, told) = oneshot::channel();
        let mut tell = Some(tell);
        let watch = Watch(Box::new(move |asked| {
            // Nobody waits any more.
            if tell.as_ref().is_none_or(oneshot::Sender::is_closed) {
                return true;
            }
            let Some(answer) = question(asked) else { return false };
            let _ = tell.take().map(|tell| tell.send(answer));
            true
        }));
        self.inbox.lock().urgent.push_back(Submission::Watch(watch));
        self.drive();
        told.await.ok()
    }

    /// The time has been moved.
    pub(super) fn time_moved(&self) {
        self.clock.moved();
    }

    /// Returns when all that was written down by now would survive; at once where nothing is kept. `false` when the node stops
    /// before that.
    pub(super) async fn safe(self: &Arc<Self>) -> bool {
        let (tell, told) = oneshot::channel();
        self.inbox.lock().urgent.push_back(Submission::Safe(tell));
        self.drive();
        told.await.is_ok()
    }

    /// Has the channels of this virtual host counted with those of the others.
    pub(super) async fn note_channels(self: &Arc<Self>) {
        let Some(shell) = self.shell.get().and_then(Weak::upgrade) else { return };
        let vhost = Arc::clone(&self.vhost);
        self.ask(move |asked| shell.channels.note(&vhost, asked.broker())).await;
    }

    pub(super) fn shutdown(self: &Arc<Self>, reason: &'static str) {
        self.inbox.lock().urgent.push_back(Submission::Shutdown(reason));
        self.drive();
    }

    pub(super) fn has_room(&self) -> bool {
        self.inbox.lock().bytes < INBOX_HIGH && self.storage.as_ref().is_none_or(|storage| storage.has_room())
    }

    /// What was written down up to this round is safe.
    pub(super) fn set_safe(&self, round: u64) {
        self.safe.store(round, Ordering::Release);
    }

    /// There may be room again.
    pub(super) fn made_room(&self) {
        self.room.notify_waiters();
    }

    /// Returns once the inbox has room.
    pub(super) async fn room(&self) {
        loop {
            let told = self.room.notified();
            if self.has_room() {
                return;
            }
            told.await;
        }
    }

    pub(super) fn outbox_low(&self) -> usize {
        self.outbox_low
    }

    /// Lets time pass in the broker whenever it has a deadline. Runs for as long as the node does.
    pub(super) async fn keep_time(self: Arc<Self>) {
        loop {
            self.clock.deadline(&self.time).await;
            self.tick();
        }
    }

    /// Nothing happens in the virtual host for as long as what this returns lives.
    pub(super) fn stand_still(&self) -> Standing<'_> {
        Standing { broker_loop: self, state: self.state.lock() }
    }

    /// Takes the role, if it is free, until nothing waits.
    fn drive(self: &Arc<Self>) {
        let mut to_flush = Vec::new();
        for _ in 0..ROUNDS {
            // Whoever holds the role looks into the inbox again after giving it up, so nothing is missed here.
            let Some(mut state) = self.state.try_lock() else { return };
            if !self.take(&mut state) {
                drop(state);
                // Something may have come since by someone who found the role taken.
                if self.is_idle() {
                    return;
                }
                continue;
            }
            let shell = self.shell.get().and_then(Weak::upgrade);
            let limited = shell.as_deref().map(|shell| &shell.channels).filter(|channels| channels.are_limited());
            let freed = self.handle_taken(&mut state, limited, &mut to_flush);
            if let Some(shell) = &shell {
                // In the order of the rounds: what shrinks has grown before.
                let memory = state.broker.memory();
                let before = std::mem::replace(&mut state.memory, memory);
                shell.queued.fetch_add(memory.wrapping_sub(before), Ordering::Relaxed);
                self.ask_others(&mut state, shell);
                shell.tracing.iter().for_each(|tracing| tracing.push(&self.vhost, state.broker.take_spans()));
            }
            drop(state);
            self.settle_inbox(freed);
            for (connection, shared) in to_flush.drain(..) {
                let flushed = shared.flush(self.outbox_low);
                if flushed.report.is_some() {
                    self.inbox.lock().urgent.push_back(Submission::Flushed(connection, flushed.pending));
                }
            }
            if let Some(shell) = shell {
                shell.check_memory();
            }
        }
        // Long enough: this task has a socket of its own to read. Another one goes on.
        let next = Arc::clone(self);
        tokio::spawn(async move { next.drive() });
    }

    /// Has others asked what the broker does not know.
    fn ask_others(self: &Arc<Self>, state: &mut State, shell: &Arc<Shell>) {
        for enquiry in state.effects.enquiries.drain(..) {
            if let Some(Some(shared)) = state.connections.get(enquiry.connection.index()) {
                shell.tasks.spawn(Arc::clone(shell).answer(Arc::clone(self), Arc::clone(shared), enquiry));
            }
        }
    }

    /// Takes what is next out of the inbox; `false` when there is nothing.
    fn take(&self, state: &mut State) -> bool {
        let mut inbox = self.inbox.lock();
        inbox.take(&mut state.taken);
        !state.taken.is_empty()
    }

    fn is_idle(&self) -> bool {
        self.inbox.lock().is_empty()
    }

    fn settle_inbox(&self, freed: Freed) {
        let mut inbox = self.inbox.lock();
        let was_full = inbox.bytes >= INBOX_HIGH;
        inbox.bytes -= freed.bytes;
        inbox.free.extend(freed.connections);
        let has_room = inbox.bytes < INBOX_HIGH;
        drop(inbox);
        if was_full && has_room {
            self.room.notify_waiters();
        }
    }

    /// What has happened to messages is in the journal from now on.
    fn note_events(&self, state: &mut State) {
        if let Some(journal) = &self.journal {
            journal.take(&self.vhost, &mut state.broker);
        }
    }

    fn handle_taken(&self, state: &mut State, limited: Option<&Channels>, to_flush: &mut Vec<(ConnectionId, Arc<Shared>)>) -> Freed {
        let now = self.time.now();
        let mut freed = Freed::default();
        while let Some(buffer) = spare_buffer() {
            if !state.effects.give_buffer(buffer) {
                break;
            }
        }
        let mut taken = std::mem::take(&mut state.taken);
        state.round += 1;
        state.broker.begin_round(state.round, self.safe.load(Ordering::Acquire));
        state.broker.set_span_time(crate::telemetry::now);
        for submission in taken.drain(..) {
            let State { broker, effects, connections, told, watches, loading, .. } = &mut *state;
            match submission {
                Submission::Connected(id, shared, opened) => {
                    if id.index() >= connections.len() {
                        connections.resize(id.index() + 1, None);
                    }
                    connections[id.index()] = Some(shared);
                    broker.handle(now, Input::Connected(id, opened), effects);
                }
                Submission::Received { connection, mut commands, bytes } => {
                    let opening = limited.and_then(|channels| channels.opening(&self.vhost, &commands));
                    if let Some(opening) = &opening {
                        broker.handle(now, Input::ChannelsElsewhere(opening.beside()), effects);
                    }
                    broker.handle(now, Input::Received(connection, &mut commands), effects);
                    opening.into_iter().for_each(|opening| opening.note(broker));
                    freed.bytes += bytes;
                    super::connection::keep_commands(commands);
                }
                Submission::Answered(connection, number, answer) => {
                    broker.handle(now, Input::Answered { connection, number, answer }, effects);
                }
                Submission::Publishing(id) => broker.handle(now, Input::Publishing(id), effects),
                Submission::Flushed(id, pending) => broker.handle(now, Input::Flushed(id, pending), effects),
                Submission::Disconnected(id) => {
                    broker.handle(now, Input::Disconnected(id), effects);
                    // After a crash on demand nobody is left who could go.
                    if let Some(place) = connections.get_mut(id.index()) {
                        *place = None;
                    }
                    freed.connections.push(id);
                }
                Submission::Stored(queues) => broker.handle(now, Input::Stored(&queues), effects),
                Submission::SpillTransient => {
                    broker.handle(now, Input::SpillTransient, effects);
                    let any = broker.has_spills();
                    if let Some(shell) = self.shell.get().and_then(Weak::upgrade) {
                        shell.spill_answered(any);
                    }
                }
                Submission::Spilled { queue, level, up_to } => broker.handle(now, Input::Spilled { queue, level, up_to }, effects),
                Submission::Loaded(loaded) => {
                    *loading = loading.saturating_sub(1);
                    broker.handle(now, Input::Loaded(loaded), effects);
                }
                Submission::Alarms(alarms) => broker.handle(now, Input::Alarms(alarms), effects),
                Submission::Administer(wanted) => broker.handle(now, wanted.input(), effects),
                Submission::Ask(Question(question)) => question(&mut Asked { broker, effects, now, connections, loading: *loading }),
                Submission::Watch(watch) => watches.push(watch),
                Submission::Safe(tell) => told.push(tell),
                Submission::Tick => broker.handle(now, Input::Tick, effects),
                Submission::Shutdown(reason) => broker.handle(now, Input::Shutdown(reason), effects),
            }
        }
        state.taken = taken;
        // Before anybody is told.
        limited.into_iter().for_each(|channels| channels.note_changes(&self.vhost, &state.broker, &mut state.channel_changes));
        self.note_events(state);
        if !state.watches.is_empty() {
            let State { broker, effects, connections, watches, loading, .. } = &mut *state;
            watches.retain_mut(|Watch(look)| !look(&mut Asked { broker, effects, now, connections, loading: *loading }));
            self.note_events(state);
        }
        state.hand_out(to_flush);
        self.clock.wake_at(state.broker.next_deadline());
        freed
    }
}

/// What handling a round has freed.
#[derive(Default)]
struct Freed {
    bytes: usize,
    connections: Vec<ConnectionId>,
}

//! A broker with its storage, and what a server does between them and sockets: in any order that threads could bring about.

use std::collections::VecDeque;
use std::sync::Arc;

use leveret::amqp::{AMQPClass, Command, Decoder, connection};
use leveret::broker::{
    Action, Broker, Capabilities, ConnectionId, Effects, Input, Load, Opened, Release, Rights, Settings, Spill, Timestamp, Unneeded,
};
use leveret::storage::{self, Batch, Disk, Log, Mover, Options, Reader, Sealed, open};

use crate::disk::SimDisk;
use crate::random::Random;
use crate::wire;

const FRAME_MAX: usize = 131_072;
const VHOST: &str = "/";

#[derive(Debug)]
struct Connection {
    decoder: Decoder,
    /// The client has written it, and nobody has read it.
    to_broker: Vec<u8>,
    /// The client may read it.
    ready: Vec<u8>,
    /// Not before this round is safe.
    barred: VecDeque<(u64, Vec<u8>)>,
    report: bool,
    closes: bool,
    paused: bool,
}

/// What a mover does beside folding.
#[derive(Debug)]
enum Work {
    Spill(Spill),
    Unneeded(Unneeded),
}

#[derive(Debug)]
pub(super) struct Shell {
    broker: Broker,
    effects: Effects,
    settings: Arc<Settings>,
    now: Timestamp,
    connections: Vec<Option<Connection>>,
    log: Log,
    mover: Mover,
    reader: Reader,
    vhost: u32,
    round: u64,
    /// What was written down up to this round is safe.
    safe: u64,
    /// Written down and not committed, with who waits for it.
    backlog: VecDeque<(Batch, u64, Vec<ConnectionId>)>,
    /// So many at its front were refused, and have to be given again.
    refused: usize,
    sealed: VecDeque<Sealed>,
    loads: VecDeque<Load>,
    work: VecDeque<Work>,
    /// What the disk would not do although nobody broke it.
    pub(super) faults: Vec<String>,
}

impl Shell {
    /// Opens what is on the disk. An error is for a disk that fails.
    pub(super) fn start(disk: &SimDisk, options: &Options, settings: &Arc<Settings>, now: Timestamp) -> Result<Self, String> {
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        let opened = open(disk, options, &[VHOST], &mut |_| {}).map_err(|error| error.to_string())?;
        let mut broker = Broker::new(VHOST, Arc::clone(settings), 1);
        broker.begin_round(1, 0);
        let left = opened.vhosts.into_iter().next().ok_or("no virtual host")?;
        let mut loads = VecDeque::new();
        opened.reader.restore(&left, &mut broker, now, |load| loads.push_back(load)).map_err(|error| error.to_string())?;
        let mut shell = Self {
            broker,
            effects: Effects::default(),
            settings: Arc::clone(settings),
            now,
            connections: Vec::new(),
            log: opened.log,
            mover: opened.mover,
            reader: opened.reader,
            vhost: left.number,
            round: 0,
            safe: 0,
            backlog: VecDeque::new(),
            refused: 0,
            sealed: VecDeque::new(),
            loads,
            work: VecDeque::new(),
            faults: Vec::new(),
        };
        shell.hand_out();
        Ok(shell)
    }

    pub(super) fn now(&self) -> Timestamp {
        self.now
    }

    fn handle(&mut self, input: Input<'_>) {
        self.broker.handle(self.now, input, &mut self.effects);
    }

    pub(super) fn connect(&mut self) -> usize {
        let free = self.connections.iter().position(Option::is_none).unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        });
        let mut decoder = Decoder::new(FRAME_MAX, FRAME_MAX, 16 * 1024 * 1024);
        let mut commands = Vec::new();
        decoder.feed(&wire::open(), &mut commands);
        let is_open = |command: &Command| matches!(command, Command::Method(0, method) if matches!(method.class, AMQPClass::Connection(connection::AMQPMethod::Open(_))));
        assert!(commands.iter().any(is_open), "a connection begins with open");
        let (to_broker, ready, barred) = (Vec::new(), Vec::new(), VecDeque::new());
        self.connections[free] = Some(Connection { decoder, to_broker, ready, barred, report: false, closes: false, paused: false });
        let capabilities = Capabilities { consumer_cancel_notify: true, connection_blocked: true };
        let frame_max = u32::try_from(FRAME_MAX).expect("a small number");
        let opened = Opened {
            user: "guest".into(),
            capabilities,
            frame_max: frame_max.try_into().expect("a frame size"),
            channel_max: 2047,
            origin: Box::default(),
            rights: Arc::new(Rights::all()),
        };
        self.handle(Input::Connected(id(free), opened));
        self.hand_out();
        free
    }

    pub(super) fn write(&mut self, connection: usize, bytes: &[u8]) {
        if let Some(Some(connection)) = self.connections.get_mut(connection) {
            connection.to_broker.extend_from_slice(bytes);
        }
    }

    /// Something to read for the client, or the end; `None` when it has to wait.
    pub(super) fn read(&mut self, at: usize, random: &mut Random) -> Option<Vec<u8>> {
        let Some(Some(connection)) = self.connections.get_mut(at) else { return Some(Vec::new()) };
        if connection.ready.is_empty() {
            return (connection.closes && connection.barred.is_empty()).then(Vec::new);
        }
        let most = connection.ready.len().min(60_000);
        let count = if random.percent(80) { most } else { 1 + random.below(most) };
        let bytes = connection.ready.drain(..count).collect();
        self.report(at);
        Some(bytes)
    }

    fn report(&mut self, at: usize) {
        let low = self.settings.outbox_high / 2;
        let Some(Some(connection)) = self.connections.get_mut(at) else { return };
        let pending = connection.pending();
        if connection.report && pending <= low {
            connection.report = false;
            self.handle(Input::Flushed(id(at), pending));
            self.hand_out();
        }
    }

    /// The socket is gone.
    pub(super) fn close(&mut self, at: usize) {
        if self.connections.get(at).is_some_and(Option::is_some) {
            self.handle(Input::Disconnected(id(at)));
            self.connections[at] = None;
            self.hand_out();
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.connections.iter().all(Option::is_none)
    }

    /// A part of what clients have written reaches the broker, from some of them in one round.
    pub(super) fn receive(&mut self, random: &mut Random) {
        for _ in 0..=random.below(3) {
            if self.connections.is_empty() {
                return;
            }
            let at = random.below(self.connections.len());
            let Some(connection) =
                self.connections[at].as_mut().filter(|connection| !connection.paused && !connection.to_broker.is_empty())
            else {
                continue;
            };
            let most = connection.to_broker.len();
            let count = if random.percent(60) { most } else { 1 + random.below(most) };
            let mut commands = Vec::new();
            connection.decoder.feed(&connection.to_broker[..count], &mut commands);
            connection.to_broker.drain(..count);
            if !commands.is_empty() {
                self.handle(Input::Received(id(at), &mut commands));
            }
        }
        self.hand_out();
    }

    /// The end of a round.
    fn hand_out(&mut self) {
        self.round += 1;
        let Self { broker, effects, connections, round, .. } = self;
        let mut waiting = Vec::new();
        effects.drain_outputs(|id, output, release| {
            let Some(Some(connection)) = connections.get_mut(id.index()) else { return };
            let barrier = match release {
                Release::WhenSafe => Some(*round),
                Release::InOrder => connection.barred.back().map(|(round, _)| *round),
                Release::AtOnce => None,
            };
            match barrier {
                Some(round) => connection.barred.push_back((round, output.to_vec())),
                None => connection.ready.extend(output.to_vec()),
            }
            if barrier.is_some() && release == Release::WhenSafe {
                waiting.push(id);
            }
            broker.set_pending(id, connection.pending());
        });
        let records = broker.records();
        if !records.is_empty() || !waiting.is_empty() {
            let (enqueued, ended_bytes) = (records.enqueued, records.ended_bytes);
            let batch = Batch { vhost: self.vhost, records: records.take(Vec::new()), enqueued, ended_bytes };
            self.backlog.push_back((batch, self.round, waiting));
        }
        self.broker.begin_round(self.round + 1, self.safe);
        self.work.extend(self.broker.take_spills().into_iter().map(Work::Spill));
        self.work.extend(self.broker.take_unneeded().into_iter().map(Work::Unneeded));
        self.loads.extend(self.broker.take_loads());
        self.effects.refusals.clear();
        let mut drained = Vec::new();
        for action in std::mem::take(&mut self.effects.actions) {
            let Some(Some(connection)) = self.connections.get_mut(action.connection().index()) else { continue };
            match action {
                Action::CloseSocket(_) | Action::CloseUnanswered(_) => connection.closes = true,
                Action::AwaitCloseOk(_) => {}
                Action::PauseReading(_) => connection.paused = true,
                Action::ResumeReading(_) => connection.paused = false,
                Action::ReportFlushed(id) => {
                    connection.report = true;
                    drained.push(id.index());
                }
            }
        }
        drained.into_iter().for_each(|at| self.report(at));
    }

    /// Writes some of what waits; what waited for it leaves.
    pub(super) fn commit(&mut self, random: &mut Random) {
        if self.backlog.is_empty() {
            return;
        }
        let count = if self.refused > 0 { self.refused } else { 1 + random.below(self.backlog.len()) };
        let written = self.backlog.iter().take(count).filter(|(batch, ..)| !batch.records.is_empty());
        let batches: Vec<Batch> = written.map(|(batch, ..)| batch.clone()).collect();
        if self.log.commit(&batches).is_err() {
            self.refused = count;
            return;
        }
        self.refused = 0;
        for (_, round, waiting) in self.backlog.drain(..count).collect::<Vec<_>>() {
            self.safe = round;
            for id in waiting {
                let Some(Some(connection)) = self.connections.get_mut(id.index()) else { continue };
                connection.unbar(round);
                self.report(id.index());
            }
        }
        self.broker.begin_round(self.round + 1, self.safe);
        self.collect_sealed();
    }

    pub(super) fn has_committed_all(&self) -> bool {
        self.backlog.is_empty()
    }

    fn collect_sealed(&mut self) {
        while let Some(sealed) = self.log.take_sealed() {
            self.sealed.push_back(sealed);
        }
    }

    pub(super) fn seal(&mut self) {
        // One that fails is tried again.
        let _ = self.log.seal();
        self.collect_sealed();
    }

    pub(super) fn fold(&mut self) {
        let Some(sealed) = self.sealed.front().copied() else { return };
        match self.mover.fold(&sealed) {
            Ok(folded) => {
                self.sealed.pop_front();
                let stored: Vec<(u64, u64)> = folded.stored.into_iter().map(|(_, queue, up_to)| (queue, up_to)).collect();
                self.handle(Input::Stored(&stored));
                self.hand_out();
            }
            Err(error) => self.failed(&error),
        }
    }

    fn failed(&mut self, error: &storage::Error) {
        if matches!(error, storage::Error::Damaged { .. }) {
            self.faults.push(error.to_string());
        }
    }

    pub(super) fn tidy(&mut self) {
        if let Err(error) = self.mover.prepare_spare().and_then(|()| self.mover.compact()) {
            self.failed(&error);
        }
    }

    pub(super) fn load(&mut self) {
        let Some(load) = self.loads.pop_front() else { return };
        match self.reader.answer(self.vhost, load) {
            Ok(loaded) => {
                self.handle(Input::Loaded(loaded));
                self.hand_out();
            }
            Err((load, error)) => {
                self.failed(&error);
                self.loads.push_back(load);
            }
        }
    }

    pub(super) fn work(&mut self) {
        match self.work.pop_front() {
            None => {}
            Some(Work::Unneeded(Unneeded { queue, level, below })) => {
                if let Some(up_to) = below.checked_sub(1) {
                    self.mover.unspill(self.vhost, queue, level, up_to);
                }
            }
            Some(Work::Spill(Spill { queue, level, messages })) => {
                let up_to = messages.last().map_or(0, |last| last.position);
                if self.mover.spill(self.vhost, queue, level, &messages).is_ok() {
                    self.handle(Input::Spilled { queue, level, up_to });
                    self.hand_out();
                }
            }
        }
    }

    pub(super) fn spill(&mut self) {
        self.handle(Input::SpillTransient);
        self.hand_out();
    }

    pub(super) fn pass(&mut self, milliseconds: u64) {
        self.now = self.now.after(milliseconds);
        self.handle(Input::Tick);
        self.hand_out();
    }

    pub(super) fn shut_down(&mut self) {
        self.handle(Input::Shutdown("broker forced connection closure with reason 'shutdown'"));
        self.hand_out();
    }

    pub(super) fn settle(&mut self) {
        self.handle(Input::Settled);
        self.hand_out();
    }

    /// What has been sent to clients may be on its way to them when the broker ends, or be lost.
    pub(super) fn cut(&mut self, random: &mut Random) {
        for connection in self.connections.iter_mut().flatten() {
            connection.closes = true;
            connection.barred.clear();
            if random.percent(50) {
                connection.ready.clear();
            }
        }
    }
}

impl Connection {
    fn pending(&self) -> usize {
        self.ready.len() + self.barred.iter().map(|(_, bytes)| bytes.len()).sum::<usize>()
    }

    fn unbar(&mut self, round: u64) {
        while self.barred.front().is_some_and(|(after, _)| *after <= round) {
            self.ready.extend(self.barred.pop_front().into_iter().flat_map(|(_, bytes)| bytes));
        }
    }
}

fn id(at: usize) -> ConnectionId {
    ConnectionId(u32::try_from(at).expect("a few connections"))
}

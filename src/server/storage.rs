//! The threads around a data directory, and how loops reach them.
//!
//! - *log* takes whatever loops have written down, writes it with one write and one sync, then lets out what waited for it;
//! - *mover* folds log files that were filled into segments, and keeps the disk tidy;
//! - *reader* reads back what loops ask for.
//!
//! A disk that fails stops nothing for good: publishers are blocked, what waits goes on waiting, and the same work is tried
//! again until it succeeds.

mod place;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, OnceLock, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use tokio::runtime::Handle;

use super::outbox::Shared;
use super::{Shell, StartError};
use crate::broker::record::Records;
use crate::broker::{Broker, ConnectionId, Load, Spill, Timestamp, Unneeded};
use crate::config::Fsync;
use crate::storage::{self, Batch, Log, Mover, Reader, RecoveredVhost, Sealed, Unsynced};

pub(super) use place::{Place, disk};

/// Bytes that may wait for the log before publishers are read no more.
const BACKLOG_HIGH: usize = 2 * 1024 * 1024;
/// Bytes that are written and synced at once, unless a single round has more: files are filled evenly, and nobody waits long.
const AT_ONCE: usize = 1024 * 1024;
/// Buffers that are kept for records to come, and how large they may be.
const SPARE_BUFFERS: usize = 4;
const SPARE_CAPACITY: usize = 1024 * 1024;
/// Log files that may wait to be folded before nothing more is written.
const UNFOLDED: usize = 1;
/// How long after a failure the disk is tried again, and how often it is said that it still fails.
const RETRY: Duration = Duration::from_secs(1);
const REMIND: Duration = Duration::from_secs(10);
/// A log that rests for this long is folded early if that gives this many bytes back.
const REST: Duration = Duration::from_millis(500);
const WORTH_FOLDING: u64 = 256 * 1024;

/// Connections whose output must not leave before a round of their loop is safe, and who else is to be told of it.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) round: u64,
    pub(super) connections: Vec<(ConnectionId, Arc<Shared>)>,
    pub(super) told: Vec<tokio::sync::oneshot::Sender<()>>,
}

#[derive(Debug, Default)]
struct Backlog {
    batches: VecDeque<(Batch, Waiting)>,
    stops: bool,
    /// The threads end as if the process did.
    dies: bool,
}

/// What of the disk fails.
#[derive(Clone, Copy, Debug)]
enum Part {
    Log = 1,
    Mover = 2,
}

#[derive(Debug)]
pub(super) struct Storage {
    /// `None` once it has been given up, for who has it next.
    place: Mutex<Option<Place>>,
    fsync: Fsync,
    backlog: Mutex<Backlog>,
    arrived: Condvar,
    /// Bytes in the backlog and in what is being written.
    unwritten: AtomicUsize,
    spare: Mutex<Vec<Vec<u8>>>,
    /// `None` once nothing is read any more.
    loads: Mutex<Option<Sender<(u32, Load)>>>,
    work: Mutex<Sender<Work>>,
    /// Log files that wait to be folded.
    unfolded: Mutex<usize>,
    folded: Condvar,
    /// Bytes that wait to be spilled.
    spilling: AtomicUsize,
    /// Parts that fail, a bit each.
    failing: Mutex<u8>,
    shell: OnceLock<Weak<Shell>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What the mover does, for a virtual host.
#[derive(Debug)]
enum Work {
    Fold(Sealed),
    Spill(u32, Spill),
    Unneeded(u32, Unneeded),
    /// The number of a virtual host is asked for.
    Number(String, tokio::sync::oneshot::Sender<Result<u32, String>>),
    Stop,
}

/// A data directory that has been opened, whose threads do not run yet.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) storage: Arc<Storage>,
    /// In the order of the virtual hosts.
    pub(super) vhosts: Vec<RecoveredVhost>,
    log: Log,
    mover: Mover,
    reader: Reader,
    requested: Receiver<(u32, Load)>,
    to_do: Receiver<Work>,
}

/// Opens a disk and recovers what is on it.
///
/// # Errors
/// A disk that is damaged.
pub(super) fn open(place: Place, fsync: Fsync, vhosts: &[Arc<str>]) -> Result<Opened, StartError> {
    let recovered = place.recover(fsync, vhosts)?;
    let (loads, requested) = channel();
    let (work, to_do) = channel();
    let storage = Arc::new(Storage {
        place: Mutex::new(Some(place)),
        fsync,
        backlog: Mutex::default(),
        arrived: Condvar::new(),
        unwritten: AtomicUsize::new(0),
        spare: Mutex::default(),
        loads: Mutex::new(Some(loads)),
        work: Mutex::new(work),
        unfolded: Mutex::new(0),
        folded: Condvar::new(),
        spilling: AtomicUsize::new(0),
        failing: Mutex::new(0),
        shell: OnceLock::new(),
        threads: Mutex::default(),
    });
    Ok(Opened::new(storage, recovered, requested, to_do))
}

impl Opened {
    fn new(storage: Arc<Storage>, recovered: storage::Opened, requested: Receiver<(u32, Load)>, to_do: Receiver<Work>) -> Self {
        let storage::Opened { vhosts, log, mover, reader, .. } = recovered;
        Self { storage, vhosts, log, mover, reader, requested, to_do }
    }

    /// Gives a virtual host what is left of it, up to what it needs before anybody is served.
    ///
    /// # Errors
    /// Definitions or messages that cannot be read.
    pub(super) fn restore(&self, left: &RecoveredVhost, broker: &mut Broker, now: Timestamp) -> Result<(), StartError> {
        let later = |load| self.storage.load(left.number, load);
        self.reader.restore(left, broker, now, later).map_err(|error| StartError(error.to_string()))
    }

    /// Runs the threads, which work for this shell.
    ///
    /// # Errors
    /// When there can be no more threads.
    pub(super) fn run(self, shell: &Arc<Shell>) -> Result<(), StartError> {
        let Self { storage, log, mover, reader, requested, to_do, .. } = self;
        let fsync = storage.fsync;
        let _ = storage.shell.set(Arc::downgrade(shell));
        let writer = Arc::clone(&storage);
        let folder = Arc::clone(&storage);
        let fetcher = Arc::clone(&storage);
        let threads = [
            spawn("log", move || writer.keep_log(log, fsync))?,
            spawn("mover", move || folder.keep_tidy(mover, &to_do))?,
            spawn("reader", move || fetcher.read_back(&reader, &requested))?,
        ];
        storage.threads.lock().extend(threads);
        Ok(())
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StartError> {
    let runtime = Handle::current();
    let work = move || {
        // Sockets are written from here, and loops go on.
        let _runtime = runtime.enter();
        work();
    };
    thread::Builder::new().name(name.to_owned()).spawn(work).map_err(|error| StartError(format!("cannot start a thread: {error}")))
}

impl Storage {
    /// Takes what a loop has written down in a round.
    pub(super) fn write(&self, vhost: u32, records: &mut Records, waiting: Waiting) {
        let spare = self.spare.lock().pop().unwrap_or_default();
        let (enqueued, ended_bytes) = (records.enqueued, records.ended_bytes);
        let batch = Batch { vhost, enqueued, ended_bytes, records: records.take(spare) };
        self.unwritten.fetch_add(batch.records.len(), Ordering::Relaxed);
        self.backlog.lock().batches.push_back((batch, waiting));
        self.arrived.notify_one();
    }

    /// Asks for messages, which come to the loop.
    pub(super) fn load(&self, vhost: u32, load: Load) {
        if let Some(loads) = &*self.loads.lock() {
            let _ = loads.send((vhost, load));
        }
    }

    /// Takes transient messages that memory has no room for.
    pub(super) fn spill(&self, vhost: u32, spill: Spill) {
        self.spilling.fetch_add(1, Ordering::Relaxed);
        let _ = self.work.lock().send(Work::Spill(vhost, spill));
    }

    pub(super) fn unneeded(&self, vhost: u32, unneeded: Unneeded) {
        let _ = self.work.lock().send(Work::Unneeded(vhost, unneeded));
    }

    /// What a virtual host is called here, now and after every restart.
    ///
    /// # Errors
    /// The disk's, for a virtual host that there never was before.
    pub(super) async fn number(&self, vhost: &str) -> Result<u32, String> {
        let (tell, told) = tokio::sync::oneshot::channel();
        let _ = self.work.lock().send(Work::Number(vhost.to_owned(), tell));
        told.await.unwrap_or_else(|_| Err("the storage has stopped".to_owned()))
    }

    /// Whether everything that was spilled is on the disk.
    pub(super) fn has_spilled(&self) -> bool {
        self.spilling.load(Ordering::Relaxed) == 0
    }

    /// Whether the log keeps up.
    pub(super) fn has_room(&self) -> bool {
        self.unwritten.load(Ordering::Relaxed) < BACKLOG_HIGH
    }

    /// Bytes that are free where the data directory is.
    pub(super) fn free_bytes(&self) -> std::io::Result<u64> {
        match &*self.place.lock() {
            Some(place) => place.disk.free_bytes(),
            None => Err(std::io::ErrorKind::NotFound.into()),
        }
    }

    /// Writes what is left, ends the threads, and gives the directory up.
    pub(super) fn stop(&self) {
        self.backlog.lock().stops = true;
        self.arrived.notify_one();
        *self.loads.lock() = None;
        for thread in std::mem::take(&mut *self.threads.lock()) {
            let _ = thread.join();
        }
        *self.place.lock() = None;
    }

    /// The process dies, as far as the disk can tell: what was not written is lost, and of what was not synced as much as is said.
    /// What is left is recovered. No loop may write meanwhile, nor before it has what is left.
    ///
    /// # Errors
    /// A disk that is damaged; nothing is written any more then.
    pub(super) fn crash(self: &Arc<Self>, unsynced: Unsynced, vhosts: &[Arc<str>]) -> Result<Opened, StartError> {
        let place = self.place.lock().clone().ok_or_else(|| StartError("the node stops".to_owned()))?;
        {
            let mut backlog = self.backlog.lock();
            backlog.dies = true;
            backlog.batches.clear();
        }
        let (loads, requested) = channel();
        let (work, to_do) = channel();
        // Who waits at the other ends of the former ones hears that nothing comes any more.
        *self.loads.lock() = Some(loads);
        *self.work.lock() = work;
        self.arrived.notify_all();
        self.folded.notify_all();
        for thread in std::mem::take(&mut *self.threads.lock()) {
            let _ = thread.join();
        }
        *self.backlog.lock() = Backlog::default();
        self.unwritten.store(0, Ordering::Relaxed);
        self.spilling.store(0, Ordering::Relaxed);
        *self.unfolded.lock() = 0;
        if let Some(disk) = &place.forgetful {
            disk.crash(unsynced);
        }
        let recovered = place.recover(self.fsync, vhosts)?;
        Ok(Opened::new(Arc::clone(self), recovered, requested, to_do))
    }

    fn stops(&self) -> bool {
        let backlog = self.backlog.lock();
        backlog.stops || backlog.dies
    }

    fn shell(&self) -> Option<Arc<Shell>> {
        self.shell.get()?.upgrade()
    }

    /// A part of the disk fails, or works again: publishers are blocked meanwhile.
    fn set_failing(&self, part: Part, fails: bool) {
        let mut failing = self.failing.lock();
        let before = *failing;
        let bit = part as u8;
        *failing = if fails { before | bit } else { before & !bit };
        let (was, is) = (before != 0, *failing != 0);
        drop(failing);
        if was != is
            && let Some(shell) = self.shell()
        {
            shell.disk_fails(is);
        }
    }

    /// Repeats what fails until it succeeds; `None` when the node stops before that.
    fn insist<T, E: std::fmt::Display>(&self, part: Part, what: &str, mut attempt: impl FnMut() -> Result<T, E>) -> Option<T> {
        let mut told: Option<Instant> = None;
        loop {
            match attempt() {
                Ok(done) => {
                    if told.is_some() {
                        tracing::info!("{what}: works again");
                        self.set_failing(part, false);
                    }
                    return Some(done);
                }
                Err(error) => {
                    if told.is_none_or(|told| told.elapsed() >= REMIND) {
                        tracing::error!("{what}: {error}; publishers are blocked, and it is tried again");
                        told = Some(Instant::now());
                    }
                    self.set_failing(part, true);
                }
            }
            if self.stops() {
                return None;
            }
            thread::sleep(RETRY);
        }
    }

    fn keep_log(&self, mut log: Log, fsync: Fsync) {
        let mut synced = Instant::now();
        let (mut batches, mut waits) = (Vec::new(), Vec::new());
        loop {
            let nap = if let Fsync::Every(interval) = fsync { interval.min(REST) } else { REST };
            let mut backlog = self.backlog.lock();
            if backlog.batches.is_empty() && !backlog.stops {
                self.arrived.wait_for(&mut backlog, nap);
            }
            if backlog.dies {
                return;
            }
            let stops = backlog.stops;
            let mut bytes = 0;
            while let Some((batch, _)) = backlog.batches.front()
                && (bytes == 0 || bytes + batch.records.len() <= AT_ONCE)
            {
                bytes += batch.records.len();
                let Some((batch, waiting)) = backlog.batches.pop_front() else { break };
                waits.push((batch.vhost, waiting));
                batches.push(batch);
            }
            drop(backlog);
            let rests = batches.is_empty();
            if !rests {
                // Who waits without having anything written waits for what was written before.
                batches.retain(|batch: &Batch| !batch.records.is_empty());
                if self.insist(Part::Log, "the log cannot be written", || log.commit(&batches)).is_none() {
                    break;
                }
                self.let_out(&mut waits);
                self.written(&mut batches);
            } else if log.holds_anything() && log.ended_bytes() >= WORTH_FOLDING {
                let _ = self.insist(Part::Log, "the log cannot be sealed", || log.seal());
            }
            let due = match fsync {
                Fsync::Every(interval) => synced.elapsed() >= interval,
                Fsync::Always | Fsync::Never => false,
            };
            if due || (stops && fsync != Fsync::Always) {
                let _ = self.insist(Part::Log, "the log cannot be synced", || log.sync());
                synced = Instant::now();
            }
            while let Some(file) = log.take_sealed() {
                self.await_folding();
                let _ = self.work.lock().send(Work::Fold(file));
            }
            if stops && rests {
                break;
            }
        }
        let _ = self.work.lock().send(Work::Stop);
    }

    /// Counts a log file that was filled, once there are not too many.
    fn await_folding(&self) {
        let mut unfolded = self.unfolded.lock();
        while *unfolded >= UNFOLDED && !self.stops() {
            self.folded.wait_for(&mut unfolded, RETRY);
        }
        *unfolded += 1;
    }

    /// What was written down is safe: who waited for it goes on.
    fn let_out(&self, waits: &mut Vec<(u32, Waiting)>) {
        let shell = self.shell();
        for (vhost, Waiting { round, connections, told }) in waits.drain(..) {
            for tell in told {
                // Who does not wait any more needs no answer.
                let _ = tell.send(());
            }
            let broker_loop = shell.as_ref().and_then(|shell| shell.loop_numbered(vhost));
            if let Some(broker_loop) = &broker_loop {
                broker_loop.set_safe(round);
            }
            for (id, shared) in connections {
                shared.unbar(round);
                let low = broker_loop.as_ref().map_or(0, |broker_loop| broker_loop.outbox_low());
                let flushed = shared.flush(low);
                if let (Some(_), Some(broker_loop)) = (flushed.report, &broker_loop) {
                    broker_loop.flushed_elsewhere(id, flushed.pending);
                }
            }
        }
    }

    fn written(&self, batches: &mut Vec<Batch>) {
        let bytes: usize = batches.iter().map(|batch| batch.records.len()).sum();
        let before = self.unwritten.fetch_sub(bytes, Ordering::Relaxed);
        let mut spare = self.spare.lock();
        for Batch { mut records, .. } in batches.drain(..) {
            if spare.len() < SPARE_BUFFERS && records.capacity() <= SPARE_CAPACITY {
                records.clear();
                spare.push(records);
            }
        }
        drop(spare);
        if before >= BACKLOG_HIGH
            && self.has_room()
            && let Some(shell) = self.shell()
        {
            shell.loops().iter().for_each(|broker_loop| broker_loop.made_room());
        }
    }

    fn keep_tidy(&self, mut mover: Mover, to_do: &Receiver<Work>) {
        let mut busy = true;
        loop {
            let work = if busy { to_do.try_recv().map_err(|_| None) } else { to_do.recv_timeout(RETRY).map_err(Some) };
            match work {
                Ok(Work::Fold(file)) => {
                    let Some(folded) = self.insist(Part::Mover, "a log file cannot be folded", || mover.fold(&file)) else { return };
                    *self.unfolded.lock() -= 1;
                    self.folded.notify_one();
                    self.moved(folded.stored);
                    busy = true;
                }
                Ok(Work::Spill(vhost, spill)) => {
                    self.spill_now(&mut mover, vhost, spill);
                    busy = true;
                }
                Ok(Work::Number(vhost, tell)) => {
                    let _ = tell.send(mover.number(&vhost).map_err(|error| error.to_string()));
                }
                Ok(Work::Unneeded(vhost, unneeded)) => {
                    if let Some(up_to) = unneeded.below.checked_sub(1) {
                        mover.unspill(vhost, unneeded.queue, unneeded.level, up_to);
                    }
                }
                Ok(Work::Stop) | Err(Some(RecvTimeoutError::Disconnected)) => return,
                // Nothing to do: tidy up, a step at a time.
                Err(None | Some(RecvTimeoutError::Timeout)) => {
                    let tidied = mover.prepare_spare().and_then(|()| mover.compact());
                    busy = tidied.as_ref().is_ok_and(|more| *more);
                    if let Err(error) = tidied {
                        tracing::error!("segments cannot be rewritten: {error}");
                    }
                }
            }
        }
    }

    fn spill_now(&self, mover: &mut Mover, vhost: u32, spill: Spill) {
        let Spill { queue, level, messages } = spill;
        let up_to = messages.last().map_or(0, |last| last.position);
        let what = "transient messages cannot be put on the disk";
        let done = self.insist(Part::Mover, what, || mover.spill(vhost, queue, level, &messages));
        self.spilling.fetch_sub(1, Ordering::Relaxed);
        if let (Some(()), Some(shell)) = (done, self.shell())
            && let Some(broker_loop) = shell.loop_numbered(vhost)
        {
            broker_loop.spilled(queue, level, up_to);
        }
    }

    fn moved(&self, stored: Vec<(u32, u64, u64)>) {
        let Some(shell) = self.shell() else { return };
        let mut stored = stored.into_iter().peekable();
        while let Some((vhost, queue, up_to)) = stored.next() {
            let mut queues = vec![(queue, up_to)];
            while let Some((_, queue, up_to)) = stored.next_if(|(next, ..)| *next == vhost) {
                queues.push((queue, up_to));
            }
            if let Some(broker_loop) = shell.loop_numbered(vhost) {
                broker_loop.stored(queues);
            }
        }
    }

    fn read_back(&self, reader: &Reader, requested: &Receiver<(u32, Load)>) {
        let mut failed: Vec<(u32, Load)> = Vec::new();
        loop {
            let next = if failed.is_empty() {
                requested.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                requested.recv_timeout(RETRY)
            };
            let (vhost, load) = match next {
                Ok(next) => next,
                Err(RecvTimeoutError::Timeout) => failed.swap_remove(0),
                Err(RecvTimeoutError::Disconnected) => return,
            };
            match reader.answer(vhost, load) {
                Ok(loaded) => {
                    let Some(shell) = self.shell() else { return };
                    if let Some(broker_loop) = shell.loop_numbered(vhost) {
                        broker_loop.loaded(loaded);
                    }
                }
                Err((load, error)) => {
                    tracing::error!(queue = load.queue, "messages cannot be read, which is tried again: {error}");
                    failed.push((vhost, load));
                }
            }
        }
    }
}

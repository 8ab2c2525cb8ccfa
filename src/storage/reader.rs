//! Reads messages of a queue back, in order, from wherever they lie.

use std::cell::OnceCell;
use std::io::ErrorKind;
use std::sync::Arc;

use parking_lot::Mutex;

use super::error::Error;
use super::files::Open;
use super::names::Name;
use super::ranges::{self, Range};
use super::segment::{self, Found, Walk};
use super::shared::Shared;
use crate::broker::record::Stored;

/// Runs that are looked at in one go.
const RUNS: usize = 16;
/// How much is read at once, whatever is asked for.
const LEAST_PORTION: usize = 16 << 10;
const MOST_PORTION: usize = 2 << 20;
/// Buffers that are kept for the next load.
const KEPT: usize = 4;
/// How often a load begins anew because segments were merged under it.
const ATTEMPTS: usize = 100;
/// Places in a run that are far enough apart to be worth remembering.
const STRIDE: u64 = 64 << 10;

/// Which messages are wanted.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub vhost: u32,
    pub queue: u64,
    pub level: u8,
    /// Only those behind this position.
    pub after: Option<u64>,
    /// Only those up to this position.
    pub up_to: u64,
    /// How many bytes, about; one message comes however long it is.
    pub max_bytes: usize,
}

#[derive(Clone, Debug)]
pub struct Reader {
    shared: Arc<Shared>,
    buffers: Arc<Mutex<Vec<Vec<u8>>>>,
}

/// A run of a segment or of a spill file.
#[derive(Debug)]
struct Source {
    name: Name,
    offset: u64,
    end: u64,
    first: u64,
    last: u64,
    gone: Option<Arc<Vec<Range>>>,
}

/// A source with the next message of it that is wanted.
struct Cursor<'a> {
    source: &'a Source,
    open: &'a Open,
    walk: Walk<'a>,
    next: Found,
    marked: u64,
}

impl Reader {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, buffers: Arc::default() }
    }

    /// The messages that are wanted and have not ended, in order.
    pub fn load(&self, request: &Load) -> Result<Vec<Stored>, Error> {
        let mut found = Vec::new();
        self.retrying(|| {
            found.clear();
            self.load_once(request, &mut found)
        })?;
        self.add_returns((request.vhost, request.queue), &mut found);
        Ok(found)
    }

    /// Those of these messages that are there, in order.
    pub fn fetch(&self, vhost: u32, queue: u64, level: u8, positions: &[u64]) -> Result<Vec<Stored>, Error> {
        let mut positions = positions.to_vec();
        positions.sort_unstable();
        positions.dedup();
        let mut found = Vec::with_capacity(positions.len());
        for position in positions {
            let request = Load { vhost, queue, level, after: position.checked_sub(1), up_to: position, max_bytes: 0 };
            let mut one = Vec::new();
            self.retrying(|| {
                one.clear();
                self.load_once(&request, &mut one)
            })?;
            found.append(&mut one);
        }
        self.add_returns((vhost, queue), &mut found);
        Ok(found)
    }

    /// A segment that was merged with others between looking it up and opening it is not there any more, but its
    /// messages are.
    fn retrying(&self, mut load: impl FnMut() -> Result<(), Error>) -> Result<(), Error> {
        for _ in 0..ATTEMPTS {
            match load() {
                Err(Error::Io { error, .. }) if error.kind() == ErrorKind::NotFound => {}
                other => return other,
            }
        }
        load()
    }

    fn load_once(&self, request: &Load, found: &mut Vec<Stored>) -> Result<(), Error> {
        let mut room = request.max_bytes;
        let mut wanted = request.after.map_or(Some(0), |after| after.checked_add(1));
        while let Some(first) = wanted.filter(|first| *first <= request.up_to) {
            let (sources, horizon) = self.sources(request, first);
            let full = self.merge(request, &sources, (first, horizon), &mut room, found)?;
            if full || horizon >= request.up_to {
                break;
            }
            wanted = horizon.checked_add(1);
        }
        Ok(())
    }

    /// The next runs that have what is wanted, by their first positions, and up to where they have all of it.
    fn sources(&self, request: &Load, first: u64) -> (Vec<Source>, u64) {
        let key = (request.vhost, request.queue);
        let mut horizon = request.up_to;
        let mut sources = Vec::new();
        let index = self.shared.index.lock();
        for (number, run) in index.runs(key, request.level, first, request.up_to).enumerate() {
            if number == RUNS {
                horizon = horizon.min(run.first.saturating_sub(1));
                break;
            }
            sources.push(Source {
                name: Name::Segment(run.segment),
                offset: run.offset,
                end: run.offset + run.length,
                first: run.first,
                last: run.last,
                gone: run.gone.clone(),
            });
        }
        let spilled = index.spilled.get(&(key, request.level)).map_or(&[][..], Vec::as_slice);
        let spilled = spilled.iter().filter(|run| run.last >= first && run.first <= request.up_to);
        for (number, run) in spilled.enumerate() {
            if number == RUNS {
                horizon = horizon.min(run.first.saturating_sub(1));
                break;
            }
            let (first, last) = (run.first, run.last);
            sources.push(Source { name: Name::Spill(run.file), offset: run.offset, end: run.offset + run.length, first, last, gone: None });
        }
        drop(index);
        sources.sort_unstable_by_key(|source| source.first);
        (sources, horizon.max(first))
    }

    /// Takes messages from these sources in the order of their positions. Returns whether that was as much as is wanted.
    fn merge(
        &self,
        request: &Load,
        sources: &[Source],
        (first, horizon): (u64, u64),
        room: &mut usize,
        found: &mut Vec<Stored>,
    ) -> Result<bool, Error> {
        let open: Vec<OnceCell<Arc<Open>>> = sources.iter().map(|_| OnceCell::new()).collect();
        let mut waiting = sources.iter().zip(&open).peekable();
        let mut cursors: Vec<Cursor<'_>> = Vec::new();
        let mut full = false;
        loop {
            let nearest = cursors.iter().enumerate().map(|(at, cursor)| (cursor.next.position, at)).min();
            let bound = nearest.map_or(horizon, |(position, _)| position.min(horizon));
            if let Some((source, cell)) = waiting.next_if(|(source, _)| source.first <= bound) {
                let file = self.shared.files.get(source.name)?;
                cursors.extend(self.cursor(source, cell.get_or_init(|| file), first, request.max_bytes)?);
                continue;
            }
            let Some((_, at)) = nearest.filter(|(position, _)| *position <= horizon) else { break };
            let cursor = &mut cursors[at];
            let next = cursor.next;
            if !found.is_empty() && next.length > *room {
                full = true;
                break;
            }
            let stored = segment::decode(cursor.walk.read(next)?, request.level);
            found.push(stored.ok_or_else(|| cursor.walk.damaged(next.offset, "this is no message"))?);
            *room = room.saturating_sub(next.length);
            if !cursor.advance(first)? {
                self.keep(cursors.swap_remove(at).walk.into_buffer());
            }
        }
        for cursor in cursors {
            cursor.open.mark(cursor.source.offset, cursor.next.position, cursor.next.offset);
            self.keep(cursor.walk.into_buffer());
        }
        Ok(full)
    }

    fn cursor<'a>(&self, source: &'a Source, open: &'a Open, first: u64, max_bytes: usize) -> Result<Option<Cursor<'a>>, Error> {
        let start = open.start(source.offset, first);
        let portion = (max_bytes + max_bytes / 8).clamp(LEAST_PORTION, MOST_PORTION);
        let buffer = self.buffers.lock().pop().unwrap_or_default();
        let walk = open.walk((start, source.end), portion, buffer);
        let mut cursor = Cursor { source, open, walk, next: Found { offset: start, position: 0, length: 0 }, marked: start };
        Ok(cursor.advance(first)?.then_some(cursor))
    }

    fn keep(&self, buffer: Vec<u8>) {
        let mut buffers = self.buffers.lock();
        if buffers.len() < KEPT && buffer.capacity() <= 2 * MOST_PORTION {
            buffers.push(buffer);
        }
    }

    /// What is known of messages that came back after they were stored.
    fn add_returns(&self, key: (u32, u64), found: &mut [Stored]) {
        let index = self.shared.index.lock();
        if !index.has_returned(key) {
            return;
        }
        for stored in found {
            if let Some(returned) = index.returned(key, stored.level, stored.position) {
                stored.redelivered = true;
                stored.returns = returned.returns;
                stored.uncounted = returned.uncounted;
            }
        }
    }
}

impl Cursor<'_> {
    /// Goes to the next message that is wanted; false when there is none.
    fn advance(&mut self, first: u64) -> Result<bool, Error> {
        while let Some(found) = self.walk.next()? {
            if found.position < self.source.first || found.position > self.source.last {
                return Err(self.walk.damaged(found.offset, "a message is not where it belongs"));
            }
            if found.offset >= self.marked + STRIDE {
                self.marked = found.offset;
                self.open.mark(self.source.offset, found.position, found.offset);
            }
            let gone = self.source.gone.as_ref().is_some_and(|gone| ranges::contains(gone, found.position));
            if found.position >= first && !gone {
                self.next = found;
                return Ok(true);
            }
        }
        Ok(false)
    }
}

//! The log: what is written ahead, one file at a time. A file that was filled is sealed, for the mover to fold.
//!
//! A failed write leaves the file usable: the same bytes go to the same place again. After a failed sync nobody knows
//! what of a file is on the disk, and asking again proves nothing: the file counts up to what was synced before, and
//! everything else is written to a new one.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::batch::{self, FILE_HEADER, FileHeader, Kind, Place};
use super::disk::{Disk, File};
use super::names::Name;
use super::{Batch, Options};

/// What is written at once when a file is filled with zeros.
const PORTION: usize = 1 << 20;
/// More than this is not kept for the next write.
const KEPT_BUFFER: usize = 4 << 20;

/// What the mover tells the log: files that it may take instead of making new ones, and how much there is to give back.
#[derive(Debug, Default)]
pub(super) struct Spares {
    files: Mutex<Vec<u64>>,
    /// Bytes of messages in segments that are alive as far as has been folded.
    live: AtomicU64,
}

impl Spares {
    pub(super) fn count(&self) -> usize {
        self.files.lock().len()
    }

    pub(super) fn add(&self, number: u64) {
        self.files.lock().push(number);
    }

    pub(super) fn set_live(&self, bytes: u64) {
        self.live.store(bytes, Ordering::Relaxed);
    }

    /// After so many bytes have ended it is time to fold: what is on the disk for nothing then is a part of what is there
    /// for something. Where next to nothing is in segments, what ends is in the log itself, and goes with it.
    fn most_ended(&self, log_bytes: u64) -> u64 {
        let live = self.live.load(Ordering::Relaxed);
        if live < log_bytes / 4 { log_bytes } else { (live / 8).clamp(log_bytes / 4, log_bytes) }
    }

    fn take(&self) -> Option<u64> {
        self.files.lock().pop()
    }
}

/// A log file that gets no more batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed {
    pub(super) number: u64,
    pub(super) end: u64,
}

/// The file that is written to.
#[derive(Debug)]
struct Current {
    number: u64,
    file: Box<dyn File>,
    /// Up to here it has what was committed; 0 before the first batch, which the header is written with.
    end: u64,
    /// Up to here it is known to be on the disk.
    synced_end: u64,
    /// The last batch before `synced_end`.
    synced: u64,
    /// Its name is on the disk too.
    named: bool,
    /// A sync failed.
    broken: bool,
    enqueued: u32,
    ended_bytes: u64,
}

#[derive(Debug)]
pub struct Log {
    disk: Arc<dyn Disk>,
    options: Options,
    spares: Arc<Spares>,
    current: Option<Current>,
    sealed: VecDeque<Sealed>,
    next_number: u64,
    /// The last one given.
    sequence: u64,
    /// The last file that counts, and where it ends.
    previous: (u64, u64),
    /// Batches of a file that could not be synced, read back from it.
    carried: Vec<(u32, Vec<u8>)>,
    buffer: Vec<u8>,
    /// Files that nobody needs.
    litter: Vec<u64>,
}

impl Log {
    pub(super) fn new(disk: Arc<dyn Disk>, options: Options, spares: Arc<Spares>, next_number: u64) -> Self {
        Self {
            disk,
            options,
            spares,
            current: None,
            sealed: VecDeque::new(),
            next_number,
            sequence: 0,
            previous: (0, 0),
            carried: Vec::new(),
            buffer: Vec::new(),
            litter: Vec::new(),
        }
    }

    /// One write and, with [`Options::sync`], one sync for all of them. On an error nothing of this call counts, and the
    /// same batches have to be given again before any others.
    pub fn commit(&mut self, batches: &[Batch]) -> io::Result<()> {
        if batches.is_empty() {
            return Ok(());
        }
        self.replace_broken()?;
        let bytes: u64 = batches.iter().map(|batch| batch::size(batch.records.len()) as u64).sum();
        if let Some(current) = &self.current
            && current.end > 0
            && (current.end + bytes > self.options.file_bytes() || self.is_full())
        {
            self.seal()?;
        }
        self.write(batches)?;
        if let Some(current) = &mut self.current {
            current.enqueued = current.enqueued.saturating_add(batches.iter().map(|batch| batch.enqueued).sum());
            current.ended_bytes += batches.iter().map(|batch| batch.ended_bytes).sum::<u64>();
            // Otherwise the next commit seals it, and says so when the sync that takes fails.
            if current.synced_end == current.end && self.is_full() {
                self.seal()?;
            }
        }
        Ok(())
    }

    /// Everything that was committed is on the disk afterwards. Not needed with [`Options::sync`].
    pub fn sync(&mut self) -> io::Result<()> {
        self.replace_broken()?;
        if !self.carried.is_empty() {
            self.write(&[])?;
        }
        let (disk, sequence) = (&self.disk, self.sequence);
        self.current.as_mut().map_or(Ok(()), |current| current.sync(disk.as_ref(), current.end, sequence))
    }

    /// A file that was filled and is for [`super::Mover::fold`], the oldest first.
    pub fn take_sealed(&mut self) -> Option<Sealed> {
        self.sealed.pop_front()
    }

    /// Seals the current file if it has anything in it.
    pub fn seal(&mut self) -> io::Result<()> {
        self.sync()?;
        if let Some(current) = self.current.take_if(|current| current.end > 0) {
            self.previous = (current.number, current.end);
            self.sealed.push_back(Sealed { number: current.number, end: current.end });
        }
        Ok(())
    }

    /// Whether sealing the current file would give anything to fold.
    #[must_use]
    pub fn holds_anything(&self) -> bool {
        self.current.as_ref().is_some_and(|current| current.end > 0) || !self.carried.is_empty()
    }

    /// Bytes of bodies that ended according to the current file, and that folding it may give back.
    #[must_use]
    pub fn ended_bytes(&self) -> u64 {
        self.current.as_ref().map_or(0, |current| current.ended_bytes)
    }

    fn is_full(&self) -> bool {
        self.current.as_ref().is_some_and(|current| {
            current.enqueued >= self.options.log_messages
                || current.ended_bytes >= self.spares.most_ended(self.options.log_bytes)
                || current.end + batch::HEADER as u64 > self.options.file_bytes()
        })
    }

    fn write(&mut self, batches: &[Batch]) -> io::Result<()> {
        if self.current.is_none() {
            self.current = Some(self.begin()?);
        }
        let Some(current) = &mut self.current else { return Ok(()) };
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        if current.end == 0 {
            let header = FileHeader { kind: Kind::Log, number: current.number, previous: self.previous };
            buffer.extend_from_slice(&header.encode());
        }
        let mut sequence = self.sequence;
        let carried = self.carried.iter().map(|(vhost, records)| (*vhost, records));
        for (vhost, records) in carried.chain(batches.iter().map(|batch| (batch.vhost, &batch.records))) {
            // Offsets in a log file have 32 bits where it is folded.
            if buffer.len() + batch::size(records.len()) + FILE_HEADER >= u32::MAX as usize {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "more than 4 GiB at once"));
            }
            sequence += 1;
            batch::append(&mut buffer, Place { file: current.number, sequence, synced: current.synced }, vhost, records);
        }
        let written = current.file.write_at(&buffer, current.end);
        let end = current.end + buffer.len() as u64;
        if buffer.capacity() <= KEPT_BUFFER {
            self.buffer = buffer;
        }
        written?;
        if self.options.sync {
            current.sync(self.disk.as_ref(), end, sequence)?;
        }
        current.end = end;
        self.sequence = sequence;
        self.carried.clear();
        Ok(())
    }

    /// A file for the next batches: one that lies ready, or a new one.
    fn begin(&mut self) -> io::Result<Current> {
        let disk = &self.disk;
        // What cannot be removed now is tried again with the next file, or by the next start.
        self.litter.retain(|number| disk.remove(&Name::Log(*number).to_string()).is_err_and(|error| error.kind() != ErrorKind::NotFound));
        let number = self.next_number;
        let name = Name::Log(number).to_string();
        let file = if let Some(spare) = self.spares.take() {
            if let Err(error) = self.disk.rename(&Name::Spare(spare).to_string(), &name) {
                self.spares.add(spare);
                return Err(error);
            }
            self.disk.open(&name)?
        } else {
            let file = self.disk.create(&name)?;
            // Writing to blocks that are there already takes one write per sync instead of several; without the room
            // for all of it, a shorter file has to do.
            if fill(file.as_ref(), self.options.file_bytes()).is_err() {
                file.set_len(0)?;
            }
            file
        };
        self.next_number += 1;
        Ok(Current { number, file, end: 0, synced_end: 0, synced: self.sequence, named: false, broken: false, enqueued: 0, ended_bytes: 0 })
    }

    /// Leaves a file behind whose sync failed. What was committed to it without being synced is read back, as far as it
    /// is still there, and goes to the next file.
    fn replace_broken(&mut self) -> io::Result<()> {
        let Some(current) = self.current.as_ref().filter(|current| current.broken) else { return Ok(()) };
        let from = current.synced_end.max(FILE_HEADER as u64);
        let mut carried = Vec::new();
        if current.end > from {
            let length = usize::try_from(current.end - from).map_err(io::Error::other)?;
            let mut bytes = vec![0; length];
            let length = current.file.read_at(&mut bytes, from)?;
            let mut at = 0;
            while let Some(found) = batch::parse(&bytes[..length], at, current.number) {
                carried.push((found.vhost, found.records.to_vec()));
                at = found.end;
            }
            self.sequence = current.synced;
        }
        self.carried.extend(carried);
        let Some(current) = self.current.take() else { return Ok(()) };
        if current.synced_end > 0 {
            self.previous = (current.number, current.synced_end);
            self.sealed.push_back(Sealed { number: current.number, end: current.synced_end });
        } else {
            // Nothing in it counts, and the next file will not name it.
            self.litter.push(current.number);
        }
        Ok(())
    }
}

impl Current {
    fn sync(&mut self, disk: &dyn Disk, end: u64, sequence: u64) -> io::Result<()> {
        if self.synced_end == end || end == 0 {
            return Ok(());
        }
        let synced = self.file.sync().and_then(|()| if self.named { Ok(()) } else { disk.sync_directory() });
        if let Err(error) = synced {
            self.broken = true;
            return Err(error);
        }
        self.named = true;
        self.synced_end = end;
        self.synced = sequence;
        Ok(())
    }
}

/// Gives a file `length` bytes of zeros.
pub(super) fn fill(file: &dyn File, length: u64) -> io::Result<()> {
    let zeros = vec![0; PORTION];
    let mut at = 0;
    while at < length {
        let portion = usize::try_from(length - at).map_or(PORTION, |left| left.min(PORTION));
        file.write_at(&zeros[..portion], at)?;
        at += portion as u64;
    }
    Ok(())
}

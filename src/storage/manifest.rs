//! The manifest: which segments count, what has ended in them, what is defined. It grows by an entry for each log file,
//! and is written anew when it has become long.
//!
//! A new manifest gets its header last: with a header it is complete, and without one the old manifest counts.

use parking_lot::Mutex;

use super::batch::{self, FILE_HEADER, FileHeader, HEADER, Kind, NoHeader, Place};
use super::disk::{Disk, File};
use super::entry::Writer;
use super::error::Error;
use super::index::Index;
use super::names::Name;
use super::state::{self, Definitions, NoEntry};
use crate::broker::record::Record;

/// Read and written at once.
const PORTION: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct Manifest {
    number: u64,
    name: String,
    file: Box<dyn File>,
    end: u64,
    sequence: u64,
    /// How long it was when it was new.
    snapshot: u64,
    /// Nothing may be appended any more, since nobody knows what of it is on the disk, or which manifest counts.
    broken: bool,
    next_number: u64,
}

impl Manifest {
    /// The first one of a directory.
    pub(super) fn create(disk: &dyn Disk) -> Result<Self, Error> {
        let name = Name::Manifest(1).to_string();
        let failed = |error| Error::io(&name, error);
        let file = disk.create(&name).map_err(failed)?;
        file.write_at(&FileHeader::new(Kind::Manifest, 1).encode(), 0).map_err(failed)?;
        file.sync().and_then(|()| disk.sync_directory()).map_err(failed)?;
        let end = FILE_HEADER as u64;
        Ok(Self { number: 1, name, file, end, sequence: 0, snapshot: end, broken: false, next_number: 2 })
    }

    /// One that is there, with all its entries; an entry at the end that is not whole is cut.
    pub(super) fn open(
        disk: &dyn Disk,
        number: u64,
        highest: u64,
        take: &mut dyn FnMut(&[u8]) -> Result<(), NoEntry>,
    ) -> Result<Self, Error> {
        let name = Name::Manifest(number).to_string();
        let failed = |error| Error::io(&name, error);
        let file = disk.open(&name).map_err(failed)?;
        let mut last = 0;
        let (end, sequence) = read(file.as_ref(), number, u64::MAX, &mut |entry| {
            last = batch::size(entry.len());
            take(entry)
        })?;
        if file.len().map_err(failed)? != end {
            file.set_len(end).map_err(failed)?;
        }
        // Whoever wrote the last entry may not have lived to see it on the disk. If that was because a sync failed, another
        // one does nothing for it, unless it is written again.
        let mut entry = vec![0; last];
        let at = end - last as u64;
        let have = file.read_at(&mut entry, at).map_err(failed)?;
        file.write_at(&entry[..have], at).and_then(|()| file.sync()).map_err(failed)?;
        Ok(Self { number, name, file, end, sequence, snapshot: end, broken: false, next_number: highest + 1 })
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Whether it should be written anew, which is not worth it below `floor` bytes.
    pub(super) fn is_long(&self, floor: u64) -> bool {
        self.end > floor && self.end > self.snapshot + self.snapshot / 2
    }

    /// The entry is on the disk afterwards.
    pub(super) fn append(&mut self, entry: &[u8]) -> Result<(), Error> {
        let mut bytes = Vec::with_capacity(batch::size(entry.len()));
        batch::append(&mut bytes, Place { file: self.number, sequence: self.sequence + 1, synced: self.sequence }, 0, entry);
        self.file.write_at(&bytes, self.end).map_err(|error| Error::io(&self.name, error))?;
        if let Err(error) = self.file.sync() {
            self.broken = true;
            return Err(Error::io(&self.name, error));
        }
        self.end += bytes.len() as u64;
        self.sequence += 1;
        Ok(())
    }

    /// Writes a manifest that says the same in fewer words, and goes on with it.
    pub(super) fn rewrite(&mut self, disk: &dyn Disk, index: &Mutex<Index>) -> Result<(), Error> {
        let mut definitions = Definitions::default();
        read(self.file.as_ref(), self.number, self.end, &mut |entry| state::apply(entry, None, Some(&mut definitions)))?;
        let mut counts = false;
        match Self::write(disk, self.next_number, index, &definitions, &mut counts) {
            Ok(new) => {
                // Left behind, it would be removed by the next start.
                let _ = disk.remove(&self.name);
                *self = new;
                Ok(())
            }
            Err(error) => {
                if counts {
                    // The old one must not say any more than the new one does, and the new one must not change.
                    self.broken = true;
                    self.next_number += 1;
                } else {
                    let _ = disk.remove(&Name::Manifest(self.next_number).to_string());
                }
                Err(error)
            }
        }
    }

    /// Writes a manifest of what is known. After an error with `counts` it may be the one that a start finds.
    pub(super) fn write(
        disk: &dyn Disk,
        number: u64,
        index: &Mutex<Index>,
        definitions: &Definitions,
        counts: &mut bool,
    ) -> Result<Self, Error> {
        let name = Name::Manifest(number).to_string();
        let failed = |error| Error::io(&name, error);
        let file = disk.create(&name).map_err(failed)?;
        let mut snapshot =
            Snapshot { file: file.as_ref(), name: &name, number, end: FILE_HEADER as u64, sequence: 0, writer: Writer::default() };
        snapshot.write(index, definitions)?;
        let (end, sequence) = (snapshot.end, snapshot.sequence);
        file.sync().map_err(failed)?;
        *counts = true;
        let header = FileHeader::new(Kind::Manifest, number).encode();
        file.write_at(&header, 0).and_then(|()| file.sync()).and_then(|()| disk.sync_directory()).map_err(failed)?;
        Ok(Self { number, name, file, end, sequence, snapshot: end, broken: false, next_number: number + 1 })
    }
}

/// A manifest that is being written.
struct Snapshot<'a> {
    file: &'a dyn File,
    name: &'a str,
    number: u64,
    end: u64,
    sequence: u64,
    writer: Writer,
}

impl Snapshot<'_> {
    fn write(&mut self, index: &Mutex<Index>, definitions: &Definitions) -> Result<(), Error> {
        for (number, vhost) in definitions.vhosts.iter().filter(|(_, vhost)| !vhost.name.is_empty()) {
            self.writer.vhost(*number, &vhost.name);
        }
        for (number, vhost) in &definitions.vhosts {
            // A number that was given is never given again, whatever became of its queue.
            self.writer.within(*number);
            self.writer.record(Record::Forget { queue: vhost.highest_queue });
            for (queue, position) in &vhost.highest {
                self.step()?;
                self.writer.within(*number);
                self.writer.highest(*queue, *position);
            }
            for (queue, below) in &vhost.delivered {
                self.step()?;
                self.writer.within(*number);
                self.writer.record(Record::Delivered { queue: *queue, below: *below });
            }
            for (key, value) in &vhost.definitions {
                self.step()?;
                self.writer.within(*number);
                self.writer.record(Record::Define { key, value });
            }
        }
        let segments: Vec<u64> = index.lock().segments.keys().copied().collect();
        for id in segments {
            let runs = index.lock().of_segment(id);
            self.writer.segment(id, &runs);
            for ((vhost, queue), level, run) in &runs {
                self.writer.within(*vhost);
                self.writer.acks(*queue, *level, run.gone());
            }
            self.step()?;
        }
        let returned = index.lock().all_returned();
        for ((vhost, queue), returned) in returned {
            self.step()?;
            self.writer.within(vhost);
            self.writer.record(Record::Returned { queue, returned });
        }
        self.writer.log_done(definitions.done);
        self.flush()
    }

    fn step(&mut self) -> Result<(), Error> {
        if self.writer.bytes.len() >= PORTION { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Error> {
        let entry = self.writer.take();
        let mut bytes = Vec::with_capacity(batch::size(entry.len()));
        batch::append(&mut bytes, Place { file: self.number, sequence: self.sequence + 1, synced: self.sequence }, 0, &entry);
        self.file.write_at(&bytes, self.end).map_err(|error| Error::io(self.name, error))?;
        self.end += bytes.len() as u64;
        self.sequence += 1;
        Ok(())
    }
}

/// Whether a manifest is complete.
pub(super) fn check_header(disk: &dyn Disk, number: u64) -> Result<Result<(), NoHeader>, Error> {
    let name = Name::Manifest(number).to_string();
    let failed = |error| Error::io(&name, error);
    let file = disk.open(&name).map_err(failed)?;
    let mut header = [0; FILE_HEADER];
    let read = file.read_at(&mut header, 0).map_err(failed)?;
    Ok(FileHeader::decode(&header[..read], Kind::Manifest, number).map(drop))
}

/// Gives all entries up to `limit` to `take`. Returns where they end, and the sequence of the last one.
pub(super) fn read(
    file: &dyn File,
    number: u64,
    limit: u64,
    take: &mut dyn FnMut(&[u8]) -> Result<(), NoEntry>,
) -> Result<(u64, u64), Error> {
    let name = Name::Manifest(number).to_string();
    let failed = |error| Error::io(&name, error);
    let limit = limit.min(file.len().map_err(failed)?);
    let mut at = FILE_HEADER as u64;
    let mut sequence = 0;
    // The bytes from `at` on, as far as they have been read.
    let mut bytes: Vec<u8> = Vec::new();
    let mut start = 0;
    while at < limit {
        let mut wanted = HEADER;
        loop {
            let have = bytes.len() - start;
            if have < wanted {
                bytes.drain(..start);
                start = 0;
                let left = usize::try_from(limit - at).unwrap_or(usize::MAX);
                let room = wanted.max(PORTION).min(left);
                bytes.resize(room.max(have), 0);
                let read = file.read_at(&mut bytes[have..], at + have as u64).map_err(failed)?;
                bytes.truncate(have + read);
            }
            match batch::announced(&bytes[start..]) {
                Some(size) if wanted == HEADER && size > HEADER => wanted = size,
                _ => break,
            }
        }
        let Some(found) = batch::parse(&bytes, start, number).filter(|found| found.sequence == sequence + 1) else {
            // It was being written, unless another one was written after it.
            let left = usize::try_from(limit - at).unwrap_or(usize::MAX);
            let mut rest = vec![0; left];
            let read = file.read_at(&mut rest, at).map_err(failed)?;
            if batch::search(&rest[..read], batch::ALIGNMENT, number).next().is_some() {
                return Err(Error::damaged(&name, at, "the checksum does not match"));
            }
            break;
        };
        let records_at = at + HEADER as u64;
        take(found.records).map_err(|none| Error::damaged(&name, records_at + none.offset as u64, none.what))?;
        sequence += 1;
        at += (found.end - start) as u64;
        start = found.end.min(bytes.len());
    }
    Ok((at, sequence))
}

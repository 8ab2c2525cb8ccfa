//! A disk in memory that does what a disk may do when nobody is looking, and fails when it is told to.
//!
//! What a power cut leaves is no more than POSIX and ext4 promise. Of what was written to a file since its last sync any sectors
//! may be there, each as some write left it; its length is one of those it has had since. Names that were made, changed or removed
//! since the last sync of the directory may be so or not. A sync that fails has written some of the pages, and what it has not
//! written no later sync writes either, for the pages count as clean from then on.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard};

use leveret::storage::{Disk, File};

use super::random::Random;

const SECTOR: usize = 512;
const PAGE: usize = 4096;

/// What a process that dies leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The kernel lives on, and with it everything that was written.
    Killed,
    PowerCut,
}

/// What gets to the disk of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Nothing,
    Everything,
    /// Any blocks, each as any of the writes left it.
    Anything,
    /// The first writes, and some blocks of one more.
    Beginning,
}

/// A write, as the sectors that it touched are afterwards; or a length.
#[derive(Clone, Debug)]
struct Change {
    /// Of the first sector, in bytes.
    at: usize,
    sectors: Vec<u8>,
    length: usize,
}

#[derive(Clone, Debug, Default)]
struct Inode {
    /// What a read sees.
    seen: Vec<u8>,
    /// What is on the disk for certain.
    durable: Vec<u8>,
    /// Since the last sync.
    changes: Vec<Change>,
    dirty: BTreeSet<usize>,
}

#[derive(Clone, Debug)]
enum Naming {
    Link(String, usize),
    Rename(String, String),
    Remove(String),
}

/// What goes wrong from now on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    /// The process ends within so many changes of the disk.
    pub(crate) end_after: Option<u64>,
    /// So many syncs from now fail, in turn with the number before that succeed.
    pub(crate) failing_syncs: u32,
    /// After a failed sync the kernel keeps the pages it could not write.
    pub(crate) keeps_pages: bool,
    /// A file's reads fail from this page on, for one page.
    pub(crate) unreadable: Option<(String, u64)>,
    /// Nothing can be changed.
    pub(crate) read_only: bool,
    /// No file can be made, renamed or removed.
    pub(crate) closed_directory: bool,
    /// Bytes that all files may have together.
    pub(crate) capacity: Option<u64>,
    /// One operation in so many fails; 0 is none.
    pub(crate) one_in: usize,
    /// Says that it has synced and has not.
    pub(crate) lies: bool,
}

impl Faults {
    /// Nothing goes wrong any more, but for the end of the process if that has come.
    pub(crate) fn heal(&mut self) {
        *self = Self { lies: self.lies, ..Self::default() };
    }
}

#[derive(Debug)]
struct State {
    random: Random,
    inodes: Vec<Inode>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    /// Since the last sync of the directory.
    namings: Vec<Naming>,
    faults: Faults,
    has_ended: bool,
    /// How often a process began; handles of an earlier one are dead.
    process: u32,
}

#[derive(Clone, Debug)]
pub(crate) struct SimDisk(Arc<Mutex<State>>);

#[derive(Debug)]
struct Handle {
    disk: SimDisk,
    inode: usize,
    process: u32,
}

fn failed<T>(kind: ErrorKind, text: &'static str) -> io::Result<T> {
    Err(io::Error::new(kind, text))
}

impl SimDisk {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            random: Random::new(seed),
            inodes: Vec::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            namings: Vec::new(),
            faults: Faults::default(),
            has_ended: false,
            process: 0,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no panic while it is held")
    }

    pub(crate) fn set_faults(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.state().faults);
    }

    /// Whether the process has met its end.
    pub(crate) fn has_ended(&self) -> bool {
        self.state().has_ended
    }

    /// Bytes of all files.
    pub(crate) fn used(&self) -> u64 {
        self.state().used()
    }

    /// A new process finds what is left. Nothing goes wrong until it is told to.
    pub(crate) fn restart(&self, end: End) {
        let mut state = self.state();
        if end == End::PowerCut {
            state.cut_power();
        }
        state.has_ended = false;
        state.process += 1;
        state.faults.heal();
    }
}

impl State {
    fn used(&self) -> u64 {
        self.names.values().map(|inode| self.inodes[*inode].seen.len() as u64).sum()
    }

    /// Something is going to be read.
    fn alive(&mut self, process: u32) -> io::Result<()> {
        if self.has_ended || process != self.process {
            return failed(ErrorKind::Other, "the process has ended");
        }
        if self.faults.one_in > 0 && self.random.below(self.faults.one_in) == 0 {
            return failed(ErrorKind::Other, "the disk failed");
        }
        Ok(())
    }

    /// Something is going to be changed. Returns whether the process ends in the middle of it.
    fn changing(&mut self, process: u32) -> io::Result<bool> {
        self.alive(process)?;
        if self.faults.read_only {
            return failed(ErrorKind::ReadOnlyFilesystem, "the disk can only be read");
        }
        if let Some(left) = &mut self.faults.end_after {
            self.has_ended = *left == 0;
            *left = left.saturating_sub(1);
        }
        Ok(self.has_ended)
    }

    /// The same for a name.
    fn naming(&mut self, process: u32) -> io::Result<bool> {
        if self.faults.closed_directory {
            return failed(ErrorKind::PermissionDenied, "the directory can only be read");
        }
        self.changing(process)
    }

    fn cut_power(&mut self) {
        // Many file systems keep the order of these, none has to.
        let in_order = self.random.percent(50);
        let kept = self.random.below(self.namings.len() + 1);
        let mut names = std::mem::take(&mut self.durable_names);
        for (at, naming) in std::mem::take(&mut self.namings).into_iter().enumerate() {
            if if in_order { at < kept } else { self.random.percent(50) } {
                naming.apply(&mut names);
            }
        }
        let manner = [Manner::Nothing, Manner::Everything, Manner::Anything, Manner::Beginning][self.random.below(4)];
        let block = if self.random.percent(50) { SECTOR } else { PAGE };
        for inode in &mut self.inodes {
            inode.survive(manner, block, &mut self.random);
        }
        self.durable_names.clone_from(&names);
        self.names = names;
    }
}

impl Naming {
    fn apply(self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Link(name, inode) => drop(names.insert(name, inode)),
            Self::Remove(name) => drop(names.remove(&name)),
            Self::Rename(from, to) => {
                if let Some(inode) = names.remove(&from) {
                    names.insert(to, inode);
                }
            }
        }
    }
}

/// With zeros where there was nothing; quickly without optimizations too, which `resize` is not.
fn set_length(bytes: &mut Vec<u8>, length: usize) {
    match length.checked_sub(bytes.len()) {
        Some(more) => bytes.extend_from_slice(&vec![0; more]),
        None => bytes.truncate(length),
    }
}

impl Inode {
    fn change(&mut self, at: usize, bytes: &[u8]) {
        let end = at + bytes.len();
        if self.seen.len() < end {
            set_length(&mut self.seen, at);
            self.seen.extend_from_slice(bytes);
        } else {
            self.seen[at..end].copy_from_slice(bytes);
        }
        self.changed(at, end);
    }

    fn changed(&mut self, at: usize, end: usize) {
        let first = at / SECTOR * SECTOR;
        let mut sectors = self.seen.get(first..end.next_multiple_of(SECTOR).min(self.seen.len())).unwrap_or_default().to_vec();
        set_length(&mut sectors, end.next_multiple_of(SECTOR) - first);
        self.dirty.extend(first / PAGE..end.div_ceil(PAGE));
        self.changes.push(Change { at: first, sectors, length: self.seen.len() });
    }

    fn set_len(&mut self, length: usize) {
        let before = self.seen.len();
        set_length(&mut self.seen, length);
        self.changed(length.min(before), length.max(before));
    }

    fn sync(&mut self) {
        set_length(&mut self.durable, self.seen.len());
        for page in std::mem::take(&mut self.dirty) {
            let (start, end) = (page * PAGE, self.seen.len().min((page + 1) * PAGE));
            if start < end {
                self.durable[start..end].copy_from_slice(&self.seen[start..end]);
            }
        }
        self.changes.clear();
    }

    /// Some of the changes get to the disk, whoever asks for it or not.
    fn write_back(&mut self, manner: Manner, block: usize, random: &mut Random) {
        let changes = std::mem::take(&mut self.changes);
        self.dirty.clear();
        let kept = match manner {
            Manner::Nothing => 0,
            Manner::Everything | Manner::Anything => changes.len(),
            Manner::Beginning => random.below(changes.len() + 1),
        };
        let mut blocks: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        let mut length = self.durable.len();
        for (number, change) in changes.iter().enumerate().take(kept) {
            (change.at / block..(change.at + change.sectors.len()).div_ceil(block))
                .for_each(|at| blocks.entry(at).or_default().push(number));
            if manner != Manner::Anything || random.percent(50) {
                length = change.length;
            }
        }
        for (at, mut touched) in blocks {
            match manner {
                // As one of the changes left it, or as it was before.
                Manner::Anything => touched.truncate(random.below(touched.len() + 1)),
                Manner::Beginning if touched.last() == Some(&(kept - 1)) && random.percent(50) => drop(touched.pop()),
                _ => {}
            }
            for number in touched {
                let Change { at: start, sectors, .. } = &changes[number];
                let from = (at * block).max(*start);
                let to = ((at + 1) * block).min(start + sectors.len());
                if self.durable.len() < to {
                    set_length(&mut self.durable, to);
                }
                self.durable[from..to].copy_from_slice(&sectors[from - start..to - start]);
            }
        }
        set_length(&mut self.durable, length);
    }

    /// The kernel drops pages that count as clean; what is read from now on is on the disk.
    fn evict(&mut self) {
        let length = self.seen.len();
        self.seen.clone_from(&self.durable);
        set_length(&mut self.seen, length);
    }

    fn survive(&mut self, manner: Manner, block: usize, random: &mut Random) {
        self.write_back(manner, block, random);
        self.seen.clone_from(&self.durable);
    }
}

impl Disk for SimDisk {
    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let mut state = self.state();
        let process = state.process;
        state.alive(process)?;
        Ok(state.names.iter().map(|(name, inode)| (name.clone(), state.inodes[*inode].seen.len() as u64)).collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        let mut state = self.state();
        let process = state.process;
        let ends = state.naming(process)?;
        let inode = match state.names.get(name) {
            Some(inode) => {
                let inode = *inode;
                state.inodes[inode].set_len(0);
                inode
            }
            None => {
                state.inodes.push(Inode::default());
                let inode = state.inodes.len() - 1;
                state.names.insert(name.to_owned(), inode);
                state.namings.push(Naming::Link(name.to_owned(), inode));
                inode
            }
        };
        if ends {
            return failed(ErrorKind::Other, "the process ends");
        }
        Ok(Box::new(Handle { disk: self.clone(), inode, process }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        let mut state = self.state();
        let process = state.process;
        state.alive(process)?;
        match state.names.get(name) {
            Some(inode) => Ok(Box::new(Handle { disk: self.clone(), inode: *inode, process: state.process })),
            None => failed(ErrorKind::NotFound, "no file has this name"),
        }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.name(from, Naming::Rename(from.to_owned(), to.to_owned()))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.name(name, Naming::Remove(name.to_owned()))
    }

    fn sync_directory(&self) -> io::Result<()> {
        let mut state = self.state();
        let process = state.process;
        let ends = state.changing(process)?;
        if state.fails_to_sync() {
            return failed(ErrorKind::Other, "the directory could not be synced");
        }
        if !state.faults.lies {
            state.durable_names = state.names.clone();
            state.namings.clear();
        }
        if ends { failed(ErrorKind::Other, "the process ends") } else { Ok(()) }
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let state = self.state();
        Ok(state.faults.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(state.used())))
    }
}

impl SimDisk {
    fn name(&self, of: &str, naming: Naming) -> io::Result<()> {
        let mut state = self.state();
        let process = state.process;
        let ends = state.naming(process)?;
        if !state.names.contains_key(of) {
            return failed(ErrorKind::NotFound, "no file has this name");
        }
        naming.clone().apply(&mut state.names);
        state.namings.push(naming);
        if ends { failed(ErrorKind::Other, "the process ends") } else { Ok(()) }
    }
}

impl State {
    fn fails_to_sync(&mut self) -> bool {
        let fails = self.faults.failing_syncs > 0;
        self.faults.failing_syncs = self.faults.failing_syncs.saturating_sub(1);
        fails
    }
}

impl File for Handle {
    fn len(&self) -> io::Result<u64> {
        let mut state = self.disk.state();
        state.alive(self.process)?;
        Ok(state.inodes[self.inode].seen.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.state();
        state.alive(self.process)?;
        let start = usize::try_from(offset).expect("a small disk");
        if let Some((name, page)) = &state.faults.unreadable
            && state.names.get(name) == Some(&self.inode)
        {
            let bad = *page..*page + PAGE as u64;
            if offset < bad.end && offset + buffer.len() as u64 > bad.start {
                return failed(ErrorKind::Other, "this page cannot be read");
            }
        }
        let Some(rest) = state.inodes[self.inode].seen.get(start..) else { return Ok(0) };
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        let ends = state.changing(self.process)?;
        let at = usize::try_from(offset).expect("a small disk");
        let growth = (at + bytes.len()).saturating_sub(state.inodes[self.inode].seen.len());
        let room = state.faults.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(state.used()));
        let lacking = usize::try_from((growth as u64).saturating_sub(room)).expect("a small disk");
        let mut count = bytes.len() - lacking.min(bytes.len());
        if ends {
            count = state.random.below(count + 1);
        }
        if count > 0 {
            state.inodes[self.inode].change(at, &bytes[..count]);
        }
        match (ends, lacking) {
            (true, _) => failed(ErrorKind::Other, "the process ends"),
            (_, 0) => Ok(()),
            _ => failed(ErrorKind::StorageFull, "the disk is full"),
        }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        let ends = state.changing(self.process)?;
        state.inodes[self.inode].set_len(usize::try_from(len).expect("a small disk"));
        if ends { failed(ErrorKind::Other, "the process ends") } else { Ok(()) }
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        let ends = state.changing(self.process)?;
        if state.fails_to_sync() {
            let State { inodes, random, faults, .. } = &mut *state;
            let inode = &mut inodes[self.inode];
            inode.write_back(Manner::Anything, PAGE, random);
            if !faults.keeps_pages && random.percent(30) {
                inode.evict();
            }
            return failed(ErrorKind::Other, "the file could not be synced");
        }
        if !state.faults.lies && !ends {
            state.inodes[self.inode].sync();
        }
        if ends { failed(ErrorKind::Other, "the process ends") } else { Ok(()) }
    }
}

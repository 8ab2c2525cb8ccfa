//! A disk that fails now and then, and forgets what was not synced when the power goes.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex};

use leveret::storage::{Disk, File, MemoryDisk};

use crate::random::Random;

const SECTOR: usize = 512;

#[derive(Clone, Debug, Default)]
struct Inode {
    now: Vec<u8>,
    synced: Vec<u8>,
    /// Sectors that a sync did not write and that no other will, since the system takes them for written.
    lost: BTreeSet<usize>,
}

impl Inode {
    fn write(&mut self, bytes: &[u8], offset: usize) {
        let end = offset + bytes.len();
        if self.now.len() < end {
            self.now.resize(end, 0);
        }
        self.now[offset..end].copy_from_slice(bytes);
        for sector in offset / SECTOR..end.div_ceil(SECTOR) {
            self.lost.remove(&sector);
        }
    }

    fn sync(&mut self) {
        let before = std::mem::replace(&mut self.synced, self.now.clone());
        for sector in &self.lost {
            let at = sector * SECTOR;
            let end = (at + SECTOR).min(self.synced.len());
            if at < end {
                self.synced[at..end].fill(0);
                let old = before.get(at..end.min(before.len())).unwrap_or_default();
                self.synced[at..at + old.len()].copy_from_slice(old);
            }
        }
    }

    /// Some sectors come to the disk. Of the others the system forgets that they did not, or what was in them.
    fn fail_to_sync(&mut self, random: &mut Random) {
        let forgets_contents = random.one_in(2);
        for sector in 0..self.now.len().div_ceil(SECTOR) {
            let range = sector * SECTOR..((sector + 1) * SECTOR).min(self.now.len());
            let old = self.synced.get(range.start..range.end.min(self.synced.len())).unwrap_or_default().to_vec();
            if self.now[range.clone()] == old || random.one_in(2) {
                continue;
            }
            if forgets_contents {
                self.now[range.clone()].fill(0);
                self.now[range.start..range.start + old.len()].copy_from_slice(&old);
            } else {
                self.lost.insert(sector);
            }
        }
        self.sync();
    }
}

type Shared = Arc<Mutex<Inode>>;

#[derive(Clone, Debug)]
enum Change {
    Set(String, Shared),
    Remove(String),
}

struct State {
    names: BTreeMap<String, Shared>,
    /// As of the last sync of the directory, and what was done since.
    durable: BTreeMap<String, Shared>,
    changes: Vec<Change>,
    random: Random,
    /// One operation in so many fails; 0 is none.
    fails: u64,
    dead: bool,
}

pub(crate) struct Faulty(Arc<Mutex<State>>);

struct FaultyFile {
    disk: Arc<Mutex<State>>,
    inode: Shared,
}

impl std::fmt::Debug for Faulty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Faulty")
    }
}

impl std::fmt::Debug for FaultyFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FaultyFile")
    }
}

fn apply(names: &mut BTreeMap<String, Shared>, change: &Change) {
    match change {
        Change::Set(name, inode) => drop(names.insert(name.clone(), inode.clone())),
        Change::Remove(name) => drop(names.remove(name)),
    }
}

impl State {
    fn roll(&mut self) -> io::Result<()> {
        if self.dead || (self.fails > 0 && self.random.one_in(self.fails)) {
            return Err(io::Error::other("the disk failed"));
        }
        Ok(())
    }

    fn change(&mut self, change: Change) {
        apply(&mut self.names, &change);
        self.changes.push(change);
    }
}

impl Faulty {
    pub(crate) fn new(seed: u64, from: &MemoryDisk) -> Self {
        let names: BTreeMap<String, Shared> = from
            .list()
            .expect("a list")
            .into_iter()
            .map(|(name, _)| {
                let now = from.contents(&name).expect("it is there");
                (name, Arc::new(Mutex::new(Inode { synced: now.clone(), now, lost: BTreeSet::new() })))
            })
            .collect();
        let durable = names.clone();
        let state = State { names, durable, changes: Vec::new(), random: Random::new(seed), fails: 0, dead: false };
        Self(Arc::new(Mutex::new(state)))
    }

    pub(crate) fn fail_one_in(&self, times: u64) {
        self.0.lock().expect("a lock").fails = times;
    }

    /// Nothing works any more.
    pub(crate) fn die(&self) {
        self.0.lock().expect("a lock").dead = true;
    }

    /// What a killed process leaves: everything, but what was not synced is no more durable than before.
    pub(crate) fn after_kill(&self, seed: u64) -> Self {
        let state = self.0.lock().expect("a lock");
        let State { names, durable, changes, .. } = &*state;
        let (names, durable, changes) = (names.clone(), durable.clone(), changes.clone());
        Self(Arc::new(Mutex::new(State { names, durable, changes, random: Random::new(seed), fails: 0, dead: false })))
    }

    /// What a power cut leaves: some of what was not synced, in sectors.
    pub(crate) fn after_power_cut(&self) -> MemoryDisk {
        let mut state = self.0.lock().expect("a lock");
        let State { durable, changes, random, .. } = &mut *state;
        let disk = MemoryDisk::default();
        let mut left = durable.clone();
        let some = random.index(changes.len() + 1);
        changes[..some].iter().for_each(|change| apply(&mut left, change));
        for (name, inode) in &left {
            let inode = inode.lock().expect("a lock");
            let mut bytes = inode.now.clone();
            if inode.now != inode.synced {
                let none = random.one_in(4);
                bytes.resize(if none || random.one_in(2) { inode.synced.len() } else { inode.now.len() }, 0);
                for at in (0..bytes.len()).step_by(SECTOR) {
                    if none || random.one_in(2) {
                        let end = (at + SECTOR).min(bytes.len());
                        let old = inode.synced.get(at..end.min(inode.synced.len())).unwrap_or_default();
                        bytes[at..end].fill(0);
                        bytes[at..at + old.len()].copy_from_slice(old);
                    }
                }
            }
            disk.put(name, bytes);
        }
        disk
    }
}

impl Disk for Faulty {
    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let state = self.0.lock().expect("a lock");
        Ok(state.names.iter().map(|(name, inode)| (name.clone(), inode.lock().expect("a lock").now.len() as u64)).collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        let mut state = self.0.lock().expect("a lock");
        state.roll()?;
        let inode = state.names.get(name).cloned().unwrap_or_default();
        inode.lock().expect("a lock").now.clear();
        state.change(Change::Set(name.to_owned(), inode.clone()));
        Ok(Box::new(FaultyFile { disk: self.0.clone(), inode }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        let mut state = self.0.lock().expect("a lock");
        state.roll()?;
        let inode = state.names.get(name).ok_or(io::ErrorKind::NotFound)?.clone();
        Ok(Box::new(FaultyFile { disk: self.0.clone(), inode }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.0.lock().expect("a lock");
        state.roll()?;
        let inode = state.names.get(from).ok_or(io::ErrorKind::NotFound)?.clone();
        state.change(Change::Remove(from.to_owned()));
        state.change(Change::Set(to.to_owned(), inode));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.0.lock().expect("a lock");
        state.roll()?;
        if !state.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change(Change::Remove(name.to_owned()));
        Ok(())
    }

    fn sync_directory(&self) -> io::Result<()> {
        let mut state = self.0.lock().expect("a lock");
        state.roll()?;
        state.durable = state.names.clone();
        state.changes.clear();
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}

impl FaultyFile {
    fn roll(&self) -> io::Result<()> {
        self.disk.lock().expect("a lock").roll()
    }
}

fn place(offset: u64) -> usize {
    usize::try_from(offset).expect("an offset")
}

impl File for FaultyFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.inode.lock().expect("a lock").now.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.roll()?;
        let inode = self.inode.lock().expect("a lock");
        let rest = inode.now.get(place(offset)..).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }

    /// A write that fails leaves a part behind.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let failed = self.roll();
        let length = match &failed {
            Ok(()) => bytes.len(),
            Err(_) => self.disk.lock().expect("a lock").random.index(bytes.len() + 1),
        };
        self.inode.lock().expect("a lock").write(&bytes[..length], place(offset));
        failed
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.roll()?;
        self.inode.lock().expect("a lock").now.resize(place(len), 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let failed = self.roll();
        let mut inode = self.inode.lock().expect("a lock");
        match &failed {
            Ok(()) => inode.sync(),
            Err(_) => inode.fail_to_sync(&mut self.disk.lock().expect("a lock").random),
        }
        failed
    }
}

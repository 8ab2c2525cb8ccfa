//! A disk that is slow or fails where rules say so.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Faults;
use super::rule::{Action, DiskError, Operations};
use crate::storage::{Disk, File};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Read,
    Write,
    Sync,
}

impl Operations {
    fn include(self, operation: Operation) -> bool {
        match operation {
            Operation::Read => self.reads,
            Operation::Write => self.writes,
            Operation::Sync => self.syncs,
        }
    }
}

impl Faults {
    /// Asks the rules before something is done to the disk, which may take its time.
    fn before(&self, operation: Operation) -> io::Result<()> {
        if !self.disk_on.load(Ordering::Acquire) {
            return Ok(());
        }
        for active in self.rules().iter() {
            match active.rule.action {
                Action::SlowDisk { by, on } if on.include(operation) && active.fires() => std::thread::sleep(by),
                Action::FailDisk { on, error } if on.include(operation) && active.fires() => {
                    return Err(match error {
                        DiskError::Io => rustix::io::Errno::IO.into(),
                        DiskError::NoSpace => rustix::io::Errno::NOSPC.into(),
                    });
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Another disk, behind the rules.
#[derive(Debug)]
pub(in crate::server) struct FaultyDisk {
    disk: Arc<dyn Disk>,
    faults: Arc<Faults>,
}

#[derive(Debug)]
struct FaultyFile {
    file: Box<dyn File>,
    faults: Arc<Faults>,
}

impl FaultyDisk {
    pub(in crate::server) fn new(disk: Arc<dyn Disk>, faults: &Arc<Faults>) -> Self {
        Self { disk, faults: Arc::clone(faults) }
    }

    fn file(&self, file: Box<dyn File>) -> Box<dyn File> {
        Box::new(FaultyFile { file, faults: Arc::clone(&self.faults) })
    }
}

impl Disk for FaultyDisk {
    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        self.disk.list()
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        self.faults.before(Operation::Write)?;
        Ok(self.file(self.disk.create(name)?))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        Ok(self.file(self.disk.open(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.faults.before(Operation::Write)?;
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.faults.before(Operation::Write)?;
        self.disk.remove(name)
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.faults.before(Operation::Sync)?;
        self.disk.sync_directory()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.disk.free_bytes()
    }
}

impl File for FaultyFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.faults.before(Operation::Read)?;
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.faults.before(Operation::Write)?;
        self.file.write_at(bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.faults.before(Operation::Write)?;
        self.file.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.faults.before(Operation::Sync)?;
        self.file.sync()
    }
}

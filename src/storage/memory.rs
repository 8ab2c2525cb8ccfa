//! A disk in memory that never fails: for tests, fuzzing and benchmarks of what lies above it.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::disk::{Disk, File};

type Contents = Arc<Mutex<Vec<u8>>>;

#[derive(Debug, Default)]
pub struct MemoryDisk {
    files: Mutex<BTreeMap<String, Contents>>,
}

impl MemoryDisk {
    /// A copy of a file's contents.
    #[must_use]
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        self.files.lock().get(name).map(|contents| contents.lock().clone())
    }

    /// Makes a file what it is told to be.
    pub fn put(&self, name: &str, contents: Vec<u8>) {
        self.files.lock().insert(name.to_owned(), Arc::new(Mutex::new(contents)));
    }

    /// Another disk with the same contents.
    #[must_use]
    pub fn copy(&self) -> Self {
        let files =
            self.files.lock().iter().map(|(name, contents)| (name.clone(), Arc::new(Mutex::new(contents.lock().clone())))).collect();
        Self { files: Mutex::new(files) }
    }
}

#[derive(Debug)]
struct MemoryFile(Contents);

fn missing() -> io::Error {
    io::Error::from(io::ErrorKind::NotFound)
}

fn place(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))
}

impl Disk for MemoryDisk {
    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        Ok(self.files.lock().iter().map(|(name, contents)| (name.clone(), contents.lock().len() as u64)).collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        let mut files = self.files.lock();
        let contents = files.entry(name.to_owned()).or_default();
        contents.lock().clear();
        Ok(Box::new(MemoryFile(contents.clone())))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        Ok(Box::new(MemoryFile(self.files.lock().get(name).ok_or_else(missing)?.clone())))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = self.files.lock();
        let contents = files.remove(from).ok_or_else(missing)?;
        files.insert(to.to_owned(), contents);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.files.lock().remove(name).map(drop).ok_or_else(missing)
    }

    fn sync_directory(&self) -> io::Result<()> {
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}

impl File for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let contents = self.0.lock();
        let rest = contents.get(place(offset)?..).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut contents = self.0.lock();
        let start = place(offset)?;
        let end = start + bytes.len();
        if contents.len() < end {
            contents.resize(end, 0);
        }
        contents[start..end].copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.lock().resize(place(len)?, 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

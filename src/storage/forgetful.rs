//! A disk in memory that forgets in a crash what was not synced: for brokers that tests are written against. Nothing else ever
//! goes wrong with it.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::disk::{Disk, File};

/// What becomes in a crash of what was written and not synced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unsynced {
    /// It is gone, as if the power had failed.
    #[default]
    Lost,
    /// It is there, as if the process alone had died.
    Kept,
    /// The first writes to each file are there, the last of them in part; where that is follows from the seed.
    Torn { seed: u64 },
}

/// What a write has put an end to.
#[derive(Debug)]
struct Overwritten {
    at: usize,
    bytes: Vec<u8>,
    /// The length of the file before.
    length: usize,
    /// Where the write ended.
    end: usize,
}

#[derive(Debug, Default)]
struct Contents {
    bytes: Vec<u8>,
    /// Since the last sync, in order.
    unsynced: Vec<Overwritten>,
}

impl Contents {
    fn write(&mut self, bytes: &[u8], at: usize) {
        let length = self.bytes.len();
        let end = at + bytes.len();
        let before = self.bytes.get(at..end.min(length)).unwrap_or_default().to_vec();
        self.unsynced.push(Overwritten { at, bytes: before, length, end });
        if length < end {
            self.bytes.resize(end, 0);
        }
        self.bytes[at..end].copy_from_slice(bytes);
    }

    fn set_len(&mut self, len: usize) {
        let length = self.bytes.len();
        let cut = self.bytes.get(len.min(length)..).unwrap_or_default().to_vec();
        let at = len.min(length);
        self.unsynced.push(Overwritten { at, bytes: cut, length, end: at });
        self.bytes.resize(len, 0);
    }

    /// Undoes all that was not synced but for the first `kept` writes; of the last of these, what is behind `part` of 256.
    fn forget(&mut self, kept: usize, part: usize) {
        while self.unsynced.len() > kept {
            let Some(Overwritten { at, bytes, length, .. }) = self.unsynced.pop() else { break };
            self.bytes.resize(length, 0);
            self.bytes[at..at + bytes.len()].copy_from_slice(&bytes);
        }
        if let Some(&Overwritten { at, ref bytes, length, end }) = self.unsynced.last() {
            // None of it, all of it, and whatever is between are as likely.
            let kept = at + (end - at + 1) * part / 256;
            if let Some(before) = bytes.get(kept - at..) {
                self.bytes[kept..at + bytes.len()].copy_from_slice(before);
            }
            if end > length {
                self.bytes.truncate(kept.max(length));
            }
        }
        self.unsynced.clear();
    }
}

type Named = BTreeMap<String, Arc<Mutex<Contents>>>;

#[derive(Debug, Default)]
struct Directory {
    names: Named,
    /// As of the last sync.
    synced: Named,
}

/// Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct ForgetfulDisk(Arc<Mutex<Directory>>);

impl ForgetfulDisk {
    /// The process has died. Files that it had open must not be used any more.
    pub fn crash(&self, unsynced: Unsynced) {
        let mut directory = self.0.lock();
        let mut random = match unsynced {
            Unsynced::Kept => {
                directory.synced = directory.names.clone();
                directory.names.values().for_each(|contents| contents.lock().unsynced.clear());
                return;
            }
            Unsynced::Lost => None,
            Unsynced::Torn { seed } => Some(seed),
        };
        directory.names = directory.synced.clone();
        for contents in directory.names.values() {
            let mut contents = contents.lock();
            let (kept, part) = match &mut random {
                None => (0, 256),
                Some(state) => {
                    let number = next(state);
                    let writes = contents.unsynced.len() as u64 + 1;
                    (usize::try_from(number % writes).unwrap_or(0), usize::from(number.to_be_bytes()[0]))
                }
            };
            contents.forget(kept, part);
        }
    }

    fn find(&self, name: &str) -> io::Result<Arc<Mutex<Contents>>> {
        self.0.lock().names.get(name).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// SplitMix64.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn place(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge.into())
}

#[derive(Debug)]
struct ForgetfulFile(Arc<Mutex<Contents>>);

impl Disk for ForgetfulDisk {
    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        Ok(self.0.lock().names.iter().map(|(name, contents)| (name.clone(), contents.lock().bytes.len() as u64)).collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn File>> {
        let contents = Arc::clone(self.0.lock().names.entry(name.to_owned()).or_default());
        contents.lock().set_len(0);
        Ok(Box::new(ForgetfulFile(contents)))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn File>> {
        Ok(Box::new(ForgetfulFile(self.find(name)?)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut directory = self.0.lock();
        let contents = directory.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        directory.names.insert(to.to_owned(), contents);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.lock().names.remove(name).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_directory(&self) -> io::Result<()> {
        let mut directory = self.0.lock();
        directory.synced = directory.names.clone();
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}

impl File for ForgetfulFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().bytes.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let contents = self.0.lock();
        let rest = contents.bytes.get(place(offset)?..).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.lock().write(bytes, place(offset)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.lock().set_len(place(len)?);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.0.lock().unsynced.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(disk: &ForgetfulDisk, name: &str) -> Vec<u8> {
        let file = disk.open(name).expect("a file");
        let mut buffer = vec![0; usize::try_from(file.len().expect("a length")).expect("a small one")];
        file.read_at(&mut buffer, 0).expect("read");
        buffer
    }

    /// A file with `abcdef` that is safe, of which `XY` and a longer tail are not.
    fn written() -> ForgetfulDisk {
        let disk = ForgetfulDisk::default();
        let file = disk.create("f").expect("a file");
        file.write_at(b"abcdef", 0).expect("written");
        file.sync().expect("synced");
        disk.sync_directory().expect("synced");
        file.write_at(b"XY", 2).expect("written");
        file.write_at(b"ghi", 6).expect("written");
        disk
    }

    #[test]
    fn what_is_not_synced_is_lost_or_kept() {
        let disk = written();
        assert_eq!(contents(&disk, "f"), b"abXYefghi");
        disk.crash(Unsynced::Lost);
        assert_eq!(contents(&disk, "f"), b"abcdef");
        let disk = written();
        disk.crash(Unsynced::Kept);
        disk.crash(Unsynced::Lost);
        assert_eq!(contents(&disk, "f"), b"abXYefghi", "what a crash has left is safe");
    }

    #[test]
    fn names_are_lost_as_well() {
        let disk = written();
        disk.create("g").expect("a file");
        disk.rename("f", "h").expect("renamed");
        disk.crash(Unsynced::Lost);
        assert_eq!(disk.list().expect("names"), [("f".to_owned(), 6)]);
    }

    #[test]
    fn a_torn_file_has_the_first_writes_in_every_state() {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..200 {
            let disk = written();
            disk.crash(Unsynced::Torn { seed });
            let found = contents(&disk, "f");
            seen.insert(found.clone());
            let again = written();
            again.crash(Unsynced::Torn { seed });
            assert_eq!(contents(&again, "f"), found, "the seed decides");
        }
        let seen: Vec<_> = seen.iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect();
        assert_eq!(seen, ["abXYef", "abXYefg", "abXYefgh", "abXYefghi", "abXdef", "abcdef"]);
    }
}

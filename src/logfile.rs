//! The log's file: appended to, and left for another one when it is large or old enough, or when somebody asks for that.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use leveret::config::Rotation;
use parking_lot::Mutex;

/// How often it is looked whether the file is still where it was: others may have moved it.
const LOOK: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct LogFile {
    path: PathBuf,
    rotation: Rotation,
    open: Mutex<Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    bytes: u64,
    /// Since 1970, in seconds: what was scheduled by then has happened.
    begun: u64,
    looked: Instant,
}

impl Open {
    fn at(path: &Path) -> io::Result<Self> {
        let file = File::options().create(true).append(true).open(path)?;
        let metadata = file.metadata()?;
        // A file of an earlier run is as old as what was last written to it.
        let begun = if metadata.len() == 0 { now() } else { since_1970(metadata.modified()?) };
        Ok(Self { file, bytes: metadata.len(), begun, looked: Instant::now() })
    }
}

fn since_1970(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn now() -> u64 {
    since_1970(SystemTime::now())
}

impl LogFile {
    /// # Errors
    /// A file that cannot be opened.
    pub(crate) fn open(path: PathBuf, rotation: Rotation) -> io::Result<Self> {
        let open = Mutex::new(Open::at(&path)?);
        Ok(Self { path, rotation, open })
    }

    /// Begins a new file; the old one is `FILE.0`.
    ///
    /// # Errors
    /// A disk that fails; the old file goes on.
    pub(crate) fn rotate(&self) -> io::Result<()> {
        self.begin_anew(&mut self.open.lock())
    }

    fn begin_anew(&self, open: &mut Open) -> io::Result<()> {
        let old = |number: usize| {
            let mut name = self.path.as_os_str().to_owned();
            name.push(format!(".{number}"));
            PathBuf::from(name)
        };
        let count = self.rotation.count;
        // The oldest one is written over.
        for number in (1..count).rev() {
            match fs::rename(old(number - 1), old(number)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        if count == 0 {
            fs::remove_file(&self.path)?;
        } else {
            fs::rename(&self.path, old(0))?;
        }
        *open = Open::at(&self.path)?;
        Ok(())
    }

    fn is_due(&self, open: &Open) -> bool {
        let too_large = self.rotation.size.is_some_and(|size| open.bytes >= size);
        open.bytes > 0 && (too_large || self.rotation.date.is_some_and(|date| date.last(now()) > open.begun))
    }

    /// Goes on in a new file when somebody else has moved this one, or taken it away.
    fn follow(&self, open: &mut Open) -> io::Result<()> {
        if open.looked.elapsed() < LOOK {
            return Ok(());
        }
        open.looked = Instant::now();
        let ours = open.file.metadata()?;
        let is_there = fs::metadata(&self.path).is_ok_and(|named| (named.dev(), named.ino()) == (ours.dev(), ours.ino()));
        if !is_there {
            *open = Open::at(&self.path)?;
        }
        Ok(())
    }
}

/// Whoever writes has a whole line.
impl Write for &LogFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut open = self.open.lock();
        self.follow(&mut open)?;
        if self.is_due(&open) {
            // What cannot be rotated is still written, and tried again with the next line.
            let _ = self.begin_anew(&mut open);
        }
        let written = open.file.write(line)?;
        open.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.open.lock().file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use leveret::config::Schedule;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("leveret-log-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).expect("a folder");
            Self(path)
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }

        fn read(&self, name: &str) -> Option<String> {
            fs::read_to_string(self.path(name)).ok()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn write(file: &LogFile, line: &str) {
        (&*file).write_all(line.as_bytes()).expect("written");
    }

    #[test]
    fn a_file_that_is_large_enough_ends_and_so_many_are_kept() {
        let folder = Folder::new("size");
        let rotation = Rotation { size: Some(4), date: None, count: 2 };
        let file = LogFile::open(folder.path("log"), rotation).expect("opened");
        for line in ["one\n", "two\n", "three\n", "four\n"] {
            write(&file, line);
        }
        let found = ["log", "log.0", "log.1", "log.2"].map(|name| folder.read(name));
        assert_eq!(found, [Some("four\n".to_owned()), Some("three\n".to_owned()), Some("two\n".to_owned()), None]);
        file.rotate().expect("asked for");
        assert_eq!(["log", "log.0"].map(|name| folder.read(name)), [Some(String::new()), Some("four\n".to_owned())]);
    }

    #[test]
    fn none_is_kept() {
        let folder = Folder::new("none");
        let file = LogFile::open(folder.path("log"), Rotation { size: Some(1), date: None, count: 0 }).expect("opened");
        write(&file, "one\n");
        write(&file, "two\n");
        assert_eq!(["log", "log.0"].map(|name| folder.read(name)), [Some("two\n".to_owned()), None]);
    }

    #[test]
    fn a_file_from_before_the_scheduled_time_ends() {
        let folder = Folder::new("date");
        fs::write(folder.path("log"), "old\n").expect("a file");
        let yesterday = SystemTime::now() - Duration::from_secs(26 * 3600);
        File::options().append(true).open(folder.path("log")).and_then(|file| file.set_modified(yesterday)).expect("an old file");
        let rotation = Rotation { size: None, date: Some(Schedule::Daily { hour: 0 }), count: 10 };
        let file = LogFile::open(folder.path("log"), rotation).expect("opened");
        write(&file, "new\n");
        write(&file, "newer\n");
        assert_eq!(["log", "log.0"].map(|name| folder.read(name)), [Some("new\nnewer\n".to_owned()), Some("old\n".to_owned())]);
    }

    #[test]
    fn a_file_that_was_moved_away_is_left() {
        let folder = Folder::new("moved");
        let file = LogFile::open(folder.path("log"), Rotation::default()).expect("opened");
        write(&file, "one\n");
        fs::rename(folder.path("log"), folder.path("away")).expect("moved");
        file.open.lock().looked -= LOOK;
        write(&file, "two\n");
        assert_eq!(["log", "away"].map(|name| folder.read(name)), [Some("two\n".to_owned()), Some("one\n".to_owned())]);
    }
}

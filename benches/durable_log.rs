//! What this machine's disk gives a log at best: a bare loop that appends messages of 1 KiB to a file which was written before, and
//! calls fdatasync after each batch. No checksums, no records, no sockets: the storage is measured against these figures.
//!
//! The file lies beside the build's output, not in a temporary file system where fdatasync does nothing.

#![expect(clippy::print_stdout, reason = "the figures are what this program is for")]

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const MESSAGE: usize = 1024;
/// The file begins anew after so many bytes, as a log does that recycles its files.
const FILE: usize = 64 * 1024 * 1024;
const BATCHES: [usize; 5] = [1, 10, 100, 300, 1000];
/// Messages that may wait for their fdatasync in the last row.
const WINDOW: usize = 1000;
const PER_ROW: Duration = Duration::from_secs(2);

fn main() {
    let folder = Folder::new();
    let mut log = Log::new(&folder.0.join("log"));
    println!("{:>16} {:>12} {:>9} {:>12} {:>12}", "messages/commit", "messages/s", "MB/s", "commit p50", "commit p99");
    for batch in BATCHES {
        let row = fixed(&mut log, batch);
        row.print(&batch.to_string());
    }
    let row = whatever_came(&mut log);
    row.print(&format!("{:.0}, as it came", row.batch()));
}

/// Removed again at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("durable-log-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder beside the build's output");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

struct Log {
    file: File,
    at: usize,
}

impl Log {
    fn new(path: &Path) -> Self {
        let file = OpenOptions::new().create(true).truncate(true).write(true).open(path).expect("a file");
        // Blocks that exist, were written and are on the disk: fdatasync has no metadata left to write.
        let zeros = vec![0; 1024 * 1024];
        for at in (0..FILE).step_by(zeros.len()) {
            file.write_all_at(&zeros, at as u64).expect("room for the file");
        }
        file.sync_all().expect("a sync");
        Self { file, at: 0 }
    }

    fn commit(&mut self, bytes: &[u8]) {
        if self.at + bytes.len() > FILE {
            self.at = 0;
        }
        self.file.write_all_at(bytes, self.at as u64).expect("a write");
        self.file.sync_data().expect("a sync");
        self.at += bytes.len();
    }
}

struct Row {
    messages: usize,
    took: Duration,
    commits: Vec<Duration>,
}

impl Row {
    fn batch(&self) -> f64 {
        as_f64(self.messages) / as_f64(self.commits.len())
    }

    fn print(&self, name: &str) {
        let rate = as_f64(self.messages) / self.took.as_secs_f64();
        let mut commits = self.commits.clone();
        commits.sort();
        let percentile = |percent: usize| commits[(commits.len() - 1) * percent / 100].as_micros();
        let megabytes = rate * as_f64(MESSAGE) / 1e6;
        println!("{name:>16} {rate:>12.0} {megabytes:>9.1} {:>9} us {:>9} us", percentile(50), percentile(99));
    }
}

fn as_f64(count: usize) -> f64 {
    f64::from(u32::try_from(count).expect("fewer in a few seconds"))
}

fn fixed(log: &mut Log, batch: usize) -> Row {
    let bytes = vec![7; batch * MESSAGE];
    let mut commits = Vec::new();
    let began = Instant::now();
    while began.elapsed() < PER_ROW {
        let commit = Instant::now();
        log.commit(&bytes);
        commits.push(commit.elapsed());
    }
    Row { messages: commits.len() * batch, took: began.elapsed(), commits }
}

/// What waits for the next commit, and how many messages are neither committed nor free to be given.
#[derive(Default)]
struct Waiting {
    bytes: Vec<u8>,
    outstanding: usize,
    done: bool,
}

/// Group commit: one thread gives messages as long as the window lasts, the other commits all that has come.
fn whatever_came(log: &mut Log) -> Row {
    let waiting = Mutex::new(Waiting::default());
    let (came, committed) = (Condvar::new(), Condvar::new());
    let began = Instant::now();
    let mut commits = Vec::new();
    let mut messages = 0;
    thread::scope(|scope| {
        scope.spawn(|| give(&waiting, &came, &committed));
        let mut bytes = Vec::new();
        while began.elapsed() < PER_ROW {
            bytes.clear();
            let mut waiting_now = waiting.lock().expect("no panic");
            while waiting_now.bytes.is_empty() {
                waiting_now = came.wait(waiting_now).expect("no panic");
            }
            std::mem::swap(&mut bytes, &mut waiting_now.bytes);
            drop(waiting_now);
            let commit = Instant::now();
            log.commit(&bytes);
            commits.push(commit.elapsed());
            messages += bytes.len() / MESSAGE;
            waiting.lock().expect("no panic").outstanding -= bytes.len() / MESSAGE;
            committed.notify_one();
        }
        waiting.lock().expect("no panic").done = true;
        committed.notify_one();
    });
    Row { messages, took: began.elapsed(), commits }
}

/// Takes the lock anew for every message, as the publishes of many connections do.
fn give(waiting: &Mutex<Waiting>, came: &Condvar, committed: &Condvar) {
    let message = [7; MESSAGE];
    loop {
        let mut waiting = waiting.lock().expect("no panic");
        while waiting.outstanding == WINDOW && !waiting.done {
            waiting = committed.wait(waiting).expect("no panic");
        }
        if waiting.done {
            return;
        }
        waiting.bytes.extend_from_slice(&message);
        waiting.outstanding += 1;
        came.notify_one();
    }
}

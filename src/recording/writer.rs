//! Writing a recording while the broker serves. Connections add to a buffer in memory, under a lock that is held for a copy; a thread
//! writes it to the file. When the disk cannot keep up, what does not fit into the buffer is left out, and the recording says so:
//! the broker is not slowed down.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::{Condvar, Mutex};

use super::format::{self, CLOSED, OPENED, Side};

/// Bytes that may wait for the disk.
const WAITING_MAX: usize = 64 * 1024 * 1024;
/// Above this the buffer is given back to the allocator once it is written.
const KEPT_CAPACITY: usize = 4 * 1024 * 1024;
/// What is there is written this often, so that a reader sees it, and a kill loses little.
const PAUSE: Duration = Duration::from_millis(50);

/// A recording that is being written.
#[derive(Debug)]
pub struct Recorder {
    inside: Arc<Inside>,
    writer: Mutex<Option<JoinHandle<()>>>,
    connections: AtomicU64,
}

#[derive(Debug)]
struct Inside {
    begun: Instant,
    buffer: Mutex<Buffer>,
    /// There is something to write, or the end has come.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Buffer {
    bytes: Vec<u8>,
    /// The time of the last record, in microseconds.
    last_us: u64,
    /// What had no room, by connection and side.
    lost: HashMap<(u64, Side), u64>,
    is_over: bool,
}

/// One connection of a recording.
#[derive(Debug)]
pub struct Tape {
    inside: Arc<Inside>,
    connection: u64,
}

impl Recorder {
    /// Begins a recording in this file, or in a new file in this directory.
    ///
    /// # Errors
    /// Why the file cannot be made. One that is there already is never written over.
    pub fn create(path: &Path) -> Result<Self, String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let path = if path.is_dir() { path.join(format!("{}-{}.recording", now.as_secs(), std::process::id())) } else { path.to_owned() };
        let failed = |error: io::Error| format!("cannot record to {}: {error}", path.display());
        // Passwords are in it.
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(failed)?;
        let mut header = Vec::new();
        format::write_header(u64::try_from(now.as_micros()).unwrap_or(u64::MAX), &mut header);
        file.write_all(&header).map_err(failed)?;
        let inside = Arc::new(Inside { begun: Instant::now(), buffer: Mutex::default(), changed: Condvar::new() });
        let writing = Arc::clone(&inside);
        let place = path.clone();
        let writer = thread::Builder::new().name("recording".to_owned()).spawn(move || write(&writing, file, &place)).map_err(failed)?;
        tracing::info!("all connections are recorded to {}", path.display());
        Ok(Self { inside, writer: Mutex::new(Some(writer)), connections: AtomicU64::new(0) })
    }

    /// A connection has come in.
    #[must_use]
    pub fn tape(&self, peer: SocketAddr, local: SocketAddr) -> Tape {
        let connection = self.connections.fetch_add(1, Ordering::Relaxed) + 1;
        let tape = Tape { inside: Arc::clone(&self.inside), connection };
        let mut addresses = Vec::new();
        format::opened(&peer.to_string(), &local.to_string(), &mut addresses);
        tape.inside.add(connection, OPENED, &addresses);
        tape
    }

    /// Writes what is left, and ends the recording.
    pub fn finish(&self) {
        self.inside.buffer.lock().is_over = true;
        self.inside.changed.notify_one();
        if let Some(writer) = self.writer.lock().take() {
            let _ = writer.join();
        }
    }
}

impl Tape {
    /// The client has said this.
    pub fn received(&self, bytes: &[u8]) {
        self.inside.add_bytes(self.connection, Side::Client, bytes.len(), std::iter::once(bytes));
    }

    /// The client was sent this: so many bytes, in parts.
    pub fn sent<'a>(&self, length: usize, parts: impl Iterator<Item = &'a [u8]>) {
        self.inside.add_bytes(self.connection, Side::Server, length, parts);
    }
}

impl Drop for Tape {
    fn drop(&mut self) {
        self.inside.add(self.connection, CLOSED, &[]);
    }
}

impl Inside {
    fn add(&self, connection: u64, kind: u8, rest: &[u8]) {
        let mut buffer = self.buffer.lock();
        buffer.begin(kind, connection, self.begun);
        buffer.bytes.extend_from_slice(rest);
        drop(buffer);
        self.changed.notify_one();
    }

    fn add_bytes<'a>(&self, connection: u64, side: Side, length: usize, parts: impl Iterator<Item = &'a [u8]>) {
        let (kind, missing) = format::kinds(side);
        let mut buffer = self.buffer.lock();
        if buffer.bytes.len() + length > WAITING_MAX {
            *buffer.lost.entry((connection, side)).or_default() += length as u64;
            return;
        }
        if !buffer.lost.is_empty()
            && let Some(lost) = buffer.lost.remove(&(connection, side))
        {
            buffer.begin(missing, connection, self.begun);
            format::number(lost, &mut buffer.bytes);
        }
        buffer.begin(kind, connection, self.begun);
        format::number(length as u64, &mut buffer.bytes);
        parts.for_each(|part| buffer.bytes.extend_from_slice(part));
        drop(buffer);
        self.changed.notify_one();
    }
}

impl Buffer {
    /// The clock is read under the lock, so that times never go back.
    fn begin(&mut self, kind: u8, connection: u64, begun: Instant) {
        let now_us = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        format::begin(kind, connection, now_us.saturating_sub(self.last_us), &mut self.bytes);
        self.last_us = self.last_us.max(now_us);
    }
}

/// Until the end, or until the file cannot be written to.
fn write(inside: &Inside, mut file: File, path: &Path) {
    let mut bytes = Vec::new();
    loop {
        let is_over = {
            let mut buffer = inside.buffer.lock();
            while buffer.bytes.is_empty() && !buffer.is_over {
                inside.changed.wait(&mut buffer);
            }
            std::mem::swap(&mut buffer.bytes, &mut bytes);
            buffer.is_over
        };
        if let Err(error) = file.write_all(&bytes) {
            tracing::error!("nothing more is recorded to {}: {error}", path.display());
            // From now on everything is lost, and costs nothing.
            let mut buffer = inside.buffer.lock();
            buffer.bytes = Vec::new();
            drop(buffer);
            return discard(inside);
        }
        if is_over && inside.buffer.lock().bytes.is_empty() {
            return;
        }
        bytes.clear();
        if bytes.capacity() > KEPT_CAPACITY {
            bytes = Vec::new();
        }
        if !is_over {
            // What comes meanwhile is one write.
            let mut buffer = inside.buffer.lock();
            if !buffer.is_over && buffer.bytes.len() < KEPT_CAPACITY {
                inside.changed.wait_for(&mut buffer, PAUSE);
            }
        }
    }
}

/// Keeps the buffer empty.
fn discard(inside: &Inside) {
    let mut buffer = inside.buffer.lock();
    while !buffer.is_over {
        inside.changed.wait(&mut buffer);
        buffer.bytes.clear();
    }
}

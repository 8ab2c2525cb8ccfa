//! The bytes of messages in segments and spill files: writing runs of them, and walking along a run.

use super::batch::{FileHeader, Kind, u32_at, u64_at};
use super::disk::{Disk, File};
use super::error::Error;
use crate::amqp::Message;
use crate::broker::record::Stored;

/// Length and checksum.
const FRAME: usize = 8;
/// Position, time, flags.
const FIXED: usize = 17;
/// Returns in two ways.
const COUNTS: usize = 6;
const REDELIVERED: u8 = 1;
const COUNTED: u8 = 1 << 1;
/// No message takes fewer bytes.
pub(super) const SHORTEST: u64 = (FRAME + FIXED) as u64;

/// What is written at once.
const PORTION: usize = 1 << 20;
/// Larger messages are not copied together with others.
const LARGE: usize = 256 << 10;

/// What a segment says about a message besides its contents.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Head {
    pub(super) position: u64,
    pub(super) at: u64,
    pub(super) redelivered: bool,
    pub(super) returns: u32,
    pub(super) uncounted: u16,
}

/// Writes the messages of a segment one after the other.
#[derive(Debug)]
pub(super) struct Writer {
    file: Box<dyn File>,
    name: String,
    buffer: Vec<u8>,
    /// Bytes of the file before the buffer.
    written: u64,
}

impl Writer {
    /// `buffer` is used, and given back by [`Writer::finish`].
    pub(super) fn new(disk: &dyn Disk, name: String, number: u64, mut buffer: Vec<u8>) -> Result<Self, Error> {
        let file = disk.create(&name).map_err(|error| Error::io(&name, error))?;
        buffer.clear();
        buffer.reserve(PORTION + LARGE);
        buffer.extend_from_slice(&FileHeader::new(Kind::Segment, number).encode());
        Ok(Self { file, name, buffer, written: 0 })
    }

    /// Where the next message will be.
    pub(super) fn offset(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    pub(super) fn push(&mut self, head: Head, stored: &[u8]) -> Result<(), Error> {
        let counted = head.returns > 0 || head.uncounted > 0;
        let length = FIXED + if counted { COUNTS } else { 0 } + stored.len();
        let start = self.buffer.len();
        self.buffer.extend_from_slice(&u32::try_from(length).expect("a message of the log has less than 4 GiB").to_le_bytes());
        self.buffer.extend_from_slice(&[0; 4]);
        self.buffer.extend_from_slice(&head.position.to_le_bytes());
        self.buffer.extend_from_slice(&head.at.to_le_bytes());
        self.buffer.push(if head.redelivered { REDELIVERED } else { 0 } | if counted { COUNTED } else { 0 });
        if counted {
            self.buffer.extend_from_slice(&head.returns.to_le_bytes());
            self.buffer.extend_from_slice(&head.uncounted.to_le_bytes());
        }
        let sum = crc32c::crc32c_append(crc32c::crc32c(&self.buffer[start..start + 4]), &self.buffer[start + FRAME..]);
        let sum = crc32c::crc32c_append(sum, stored);
        self.buffer[start + 4..start + FRAME].copy_from_slice(&sum.to_le_bytes());
        self.append(stored)
    }

    /// Appends what lies in a segment already, or the rest of a message.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if bytes.len() >= LARGE {
            self.flush()?;
            self.file.write_at(bytes, self.written).map_err(|error| Error::io(&self.name, error))?;
            self.written += bytes.len() as u64;
            return Ok(());
        }
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PORTION { self.flush() } else { Ok(()) }
    }

    pub(super) fn flush(&mut self) -> Result<(), Error> {
        if !self.buffer.is_empty() {
            self.file.write_at(&self.buffer, self.written).map_err(|error| Error::io(&self.name, error))?;
            self.written += self.buffer.len() as u64;
            self.buffer.clear();
        }
        Ok(())
    }

    /// Contents and name are on the disk afterwards.
    pub(super) fn finish(mut self, disk: &dyn Disk) -> Result<Vec<u8>, Error> {
        self.flush()?;
        self.file.sync().and_then(|()| disk.sync_directory()).map_err(|error| Error::io(&self.name, error))?;
        Ok(self.buffer)
    }
}

/// A message of a run, where it lies and how long it is; its contents have not been looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) offset: u64,
    pub(super) position: u64,
    pub(super) length: usize,
}

/// Walks along a run, reading a portion at a time.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    file: &'a dyn File,
    name: &'a str,
    buffer: Vec<u8>,
    /// Where in the file the buffer begins.
    start: u64,
    at: u64,
    end: u64,
    portion: usize,
    last: Option<u64>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(file: &'a dyn File, name: &'a str, (at, end): (u64, u64), portion: usize, mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        Self { file, name, buffer, start: at, at, end, portion, last: None }
    }

    /// The buffer, for another walk.
    pub(super) fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }

    /// The next message of the run.
    pub(super) fn next(&mut self) -> Result<Option<Found>, Error> {
        if self.at >= self.end {
            return Ok(None);
        }
        let offset = self.at;
        if self.end - offset < SHORTEST {
            return Err(self.damaged(offset, "a run ends within a message"));
        }
        let head = self.bytes(offset, FRAME + 8)?;
        let (length, position) = (FRAME + u32_at(head, 0) as usize, u64_at(head, FRAME));
        if (length as u64) < SHORTEST || length as u64 > self.end - offset {
            return Err(self.damaged(offset, "a message does not fit into its run"));
        }
        if self.last.is_some_and(|last| last >= position) {
            return Err(self.damaged(offset, "positions do not rise"));
        }
        self.last = Some(position);
        self.at = offset + length as u64;
        Ok(Some(Found { offset, position, length }))
    }

    /// All bytes of a message that [`Walk::next`] found, which are what was written.
    pub(super) fn read(&mut self, found: Found) -> Result<&[u8], Error> {
        let bytes = self.bytes(found.offset, found.length)?;
        let sum = crc32c::crc32c_append(crc32c::crc32c(&bytes[..4]), &bytes[FRAME..]);
        if sum != u32_at(bytes, 4) {
            return Err(self.damaged(found.offset, "the checksum does not match"));
        }
        self.bytes(found.offset, found.length)
    }

    pub(super) fn damaged(&self, offset: u64, what: &'static str) -> Error {
        Error::damaged(self.name, offset, what)
    }

    fn bytes(&mut self, offset: u64, length: usize) -> Result<&[u8], Error> {
        let within = offset.checked_sub(self.start).and_then(|skip| usize::try_from(skip).ok()).filter(|skip| *skip <= self.buffer.len());
        let skip = if let Some(skip) = within.filter(|skip| self.buffer.len() - skip >= length) {
            skip
        } else {
            self.buffer.drain(..within.unwrap_or(self.buffer.len()));
            self.start = offset;
            let have = self.buffer.len();
            let left = usize::try_from(self.end - offset).unwrap_or(usize::MAX);
            self.buffer.resize(length.max(self.portion).min(left), 0);
            let read = self.file.read_at(&mut self.buffer[have..], offset + have as u64).map_err(|error| Error::io(self.name, error))?;
            self.buffer.truncate(have + read);
            if self.buffer.len() < length {
                return Err(self.damaged(offset, "the file ends within a message"));
            }
            0
        };
        Ok(&self.buffer[skip..skip + length])
    }
}

/// Takes a message's bytes apart; `None` when they are none.
pub(super) fn decode(bytes: &[u8], level: u8) -> Option<Stored> {
    let head = bytes.get(FRAME..)?;
    let flags = *head.get(FIXED - 1)?;
    let counted = flags & COUNTED != 0;
    if flags & !(REDELIVERED | COUNTED) != 0 {
        return None;
    }
    let rest = &head[FIXED..];
    let (counts, stored) = rest.split_at_checked(if counted { COUNTS } else { 0 })?;
    let (returns, uncounted) = if counted { (u32_at(counts, 0), u16::from_le_bytes([counts[4], counts[5]])) } else { (0, 0) };
    Some(Stored {
        level,
        position: u64_at(head, 0),
        at: u64_at(head, 8),
        redelivered: flags & REDELIVERED != 0,
        returns,
        uncounted,
        message: Message::from_stored(stored)?,
    })
}

/// `at` of a message's bytes.
pub(super) fn time_of(bytes: &[u8]) -> u64 {
    u64_at(bytes, FRAME + 8)
}

/// Bytes of the body in a message's bytes, or in what is left of them.
pub(super) fn body_of(bytes: &[u8]) -> u64 {
    let counted = bytes.get(FRAME + FIXED - 1).is_some_and(|flags| flags & COUNTED != 0);
    body_len(bytes.get(FRAME + FIXED + if counted { COUNTS } else { 0 }..).unwrap_or_default())
}

/// Bytes of the body of a stored message.
pub(super) fn body_len(stored: &[u8]) -> u64 {
    let Some(head) = stored.first_chunk::<7>() else { return 0 };
    let others = 7 + u64::from(u32_at(head, 0)) + u64::from(head[5]) + u64::from(head[6]);
    (stored.len() as u64).saturating_sub(others)
}

//! What a broker writes down so that it survives: records, as bytes, and what is left of them after a restart.
//!
//! The core appends records to [`Records`] while it handles inputs. All records of one round of the loop are one batch,
//! which a storage keeps whole or not at all. Nothing here knows of files. docs/STORAGE.md has the layout.

use std::collections::BTreeMap;

use crate::amqp::Message;

/// `at` of a message that has no time.
pub const NEVER: u64 = u64::MAX;

const MESSAGE: u8 = 1;
const ENQUEUE: u8 = 2;
const ACK: u8 = 3;
const RETURNED: u8 = 4;
const DELIVERED: u8 = 5;
const DROP: u8 = 6;
const FORGET: u8 = 7;
const DEFINE: u8 = 8;
const UNDEFINE: u8 = 9;
const CLEAN: u8 = 10;

const REDELIVERED: u8 = 1;
const COUNTED: u8 = 1 << 1;

/// One thing that a broker wrote down. A queue is known by the number it was given when it was declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// The message that the next `Enqueue`s of this batch are about, as [`Message::store`] writes it.
    Message(&'a [u8]),
    Enqueue(Enqueue),
    /// `count` messages from `position` on have ended.
    Ack {
        queue: u64,
        level: u8,
        position: u64,
        count: u32,
    },
    /// A message came back to its queue.
    Returned {
        queue: u64,
        returned: Returned,
    },
    /// Messages below this position may have been delivered.
    Delivered {
        queue: u64,
        below: u64,
    },
    /// Everything from `first` to `last` that is still there has ended.
    Drop {
        queue: u64,
        level: u8,
        first: u64,
        last: u64,
    },
    /// A queue is gone with everything in it.
    Forget {
        queue: u64,
    },
    Define {
        key: &'a [u8],
        value: &'a [u8],
    },
    Undefine {
        key: &'a [u8],
    },
    /// The broker stopped in order: what `Delivered` said before counts no more.
    Clean,
}

/// A message arrives in a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Enqueue {
    pub queue: u64,
    pub level: u8,
    pub position: u64,
    /// Milliseconds since the epoch: when it expires; in a stream when it was appended; when a delayed message is due.
    pub at: u64,
    pub redelivered: bool,
    pub returns: u32,
    pub uncounted: u16,
}

/// How often a message came back, in ways that count towards the delivery limit and in others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Returned {
    pub level: u8,
    pub position: u64,
    pub returns: u32,
    pub uncounted: u16,
}

/// Bytes that are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Where the record begins.
    pub offset: usize,
}

/// Records of one round, to be written down together.
#[derive(Debug, Default)]
pub struct Records {
    /// Whether anything is written down at all.
    enabled: bool,
    bytes: Vec<u8>,
    /// Messages that arrive in queues.
    pub enqueued: u32,
    /// Bytes of bodies that ended.
    pub ended_bytes: u64,
    /// Definitions that have changed.
    pub definitions: u32,
    /// The current message is in `bytes`.
    has_message: bool,
    /// An `Ack` that may become longer: where its count is, and what would come next.
    last_ack: Option<(usize, u64, u8, u64)>,
}

impl Records {
    /// Whatever is written from now on is kept, for a storage to take.
    pub fn enable(&mut self) {
        self.enabled = true;
    }

    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Takes the records; `spare` is used for those to come.
    pub fn take(&mut self, spare: Vec<u8>) -> Vec<u8> {
        let enabled = self.enabled;
        let taken = std::mem::take(self);
        *self = Self { enabled, bytes: spare, ..Self::default() };
        taken.bytes
    }

    fn write(&mut self, record: Record<'_>) {
        if self.enabled {
            self.last_ack = None;
            record.write(&mut self.bytes);
        }
    }

    /// What is enqueued from now on is another message.
    pub fn next_message(&mut self) {
        self.has_message = false;
    }

    /// The current message arrives in a queue; its body is written once, however many queues it goes to.
    pub fn enqueue(&mut self, message: &Message, enqueue: Enqueue) {
        if !self.enabled {
            return;
        }
        if !std::mem::replace(&mut self.has_message, true) {
            // As `Record::Message`, straight from where the message lies.
            self.bytes.push(MESSAGE);
            put_length(&mut self.bytes, message.stored_len());
            message.store(&mut self.bytes);
        }
        self.enqueued += 1;
        self.write(Record::Enqueue(enqueue));
    }

    /// A message has ended; `body_len` in bytes.
    pub fn ack(&mut self, queue: u64, level: u8, position: u64, body_len: usize) {
        if !self.enabled {
            return;
        }
        self.ended_bytes += body_len as u64;
        if let Some((at, last_queue, last_level, next)) = &mut self.last_ack
            && (*last_queue, *last_level, *next) == (queue, level, position)
            && let Some(count) = self.bytes.get_mut(*at..*at + 4)
        {
            *next += 1;
            let longer = u32::from_le_bytes([count[0], count[1], count[2], count[3]]) + 1;
            count.copy_from_slice(&longer.to_le_bytes());
            return;
        }
        self.write(Record::Ack { queue, level, position, count: 1 });
        self.last_ack = Some((self.bytes.len() - size_of::<u32>(), queue, level, position + 1));
    }

    pub fn returned(&mut self, queue: u64, returned: Returned) {
        self.write(Record::Returned { queue, returned });
    }

    pub fn delivered(&mut self, queue: u64, below: u64) {
        self.write(Record::Delivered { queue, below });
    }

    /// `body_bytes`: of what ends.
    pub fn drop_all(&mut self, queue: u64, level: u8, (first, last): (u64, u64), body_bytes: u64) {
        self.ended_bytes += body_bytes;
        self.write(Record::Drop { queue, level, first, last });
    }

    /// `body_bytes`: of what ends with the queue.
    pub fn forget(&mut self, queue: u64, body_bytes: u64) {
        self.ended_bytes += body_bytes;
        self.write(Record::Forget { queue });
    }

    pub fn define(&mut self, key: &[u8], value: &[u8]) {
        self.definitions += u32::from(self.enabled);
        self.write(Record::Define { key, value });
    }

    pub fn undefine(&mut self, key: &[u8]) {
        self.definitions += u32::from(self.enabled);
        self.write(Record::Undefine { key });
    }

    pub fn clean(&mut self) {
        self.write(Record::Clean);
    }
}

impl Record<'_> {
    /// Appends the record as [`one`] reads it.
    pub fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::Message(stored) => {
                out.push(MESSAGE);
                put_length(out, stored.len());
                out.extend_from_slice(stored);
            }
            Self::Enqueue(Enqueue { queue, level, position, at, redelivered, returns, uncounted }) => {
                put_place(out, ENQUEUE, queue, level, position);
                out.extend_from_slice(&at.to_le_bytes());
                let counted = returns > 0 || uncounted > 0;
                out.push(if redelivered { REDELIVERED } else { 0 } | if counted { COUNTED } else { 0 });
                if counted {
                    out.extend_from_slice(&returns.to_le_bytes());
                    out.extend_from_slice(&uncounted.to_le_bytes());
                }
            }
            Self::Ack { queue, level, position, count } => {
                put_place(out, ACK, queue, level, position);
                out.extend_from_slice(&count.to_le_bytes());
            }
            Self::Returned { queue, returned: Returned { level, position, returns, uncounted } } => {
                put_place(out, RETURNED, queue, level, position);
                out.extend_from_slice(&returns.to_le_bytes());
                out.extend_from_slice(&uncounted.to_le_bytes());
            }
            Self::Delivered { queue, below } => {
                put_queue(out, DELIVERED, queue);
                out.extend_from_slice(&below.to_le_bytes());
            }
            Self::Drop { queue, level, first, last } => {
                put_place(out, DROP, queue, level, first);
                out.extend_from_slice(&last.to_le_bytes());
            }
            Self::Forget { queue } => put_queue(out, FORGET, queue),
            Self::Define { key, value } => {
                put_key(out, DEFINE, key);
                put_length(out, value.len());
                out.extend_from_slice(value);
            }
            Self::Undefine { key } => put_key(out, UNDEFINE, key),
            Self::Clean => out.push(CLEAN),
        }
    }
}

fn put_length(out: &mut Vec<u8>, length: usize) {
    let length = u32::try_from(length).expect("messages and definitions are shorter than 4 GiB");
    out.extend_from_slice(&length.to_le_bytes());
}

fn put_queue(out: &mut Vec<u8>, kind: u8, queue: u64) {
    let mut bytes = [kind; 9];
    bytes[1..].copy_from_slice(&queue.to_le_bytes());
    out.extend_from_slice(&bytes);
}

fn put_place(out: &mut Vec<u8>, kind: u8, queue: u64, level: u8, position: u64) {
    let mut bytes = [kind; 18];
    bytes[1..9].copy_from_slice(&queue.to_le_bytes());
    bytes[9] = level;
    bytes[10..].copy_from_slice(&position.to_le_bytes());
    out.extend_from_slice(&bytes);
}

fn put_key(out: &mut Vec<u8>, kind: u8, key: &[u8]) {
    out.push(kind);
    out.extend_from_slice(&u16::try_from(key.len()).expect("a key is short").to_le_bytes());
    out.extend_from_slice(key);
}

/// The records in these bytes, in order; ends at the first that is none.
pub fn decode(bytes: &[u8]) -> impl Iterator<Item = Result<Record<'_>, Malformed>> {
    let mut offset = 0;
    std::iter::from_fn(move || {
        let rest = bytes.get(offset..).filter(|rest| !rest.is_empty())?;
        let mut left = rest;
        match one(&mut left) {
            Some(record) => {
                offset += rest.len() - left.len();
                Some(Ok(record))
            }
            None => {
                let at = std::mem::replace(&mut offset, bytes.len());
                Some(Err(Malformed { offset: at }))
            }
        }
    })
}

/// Takes one record off these bytes; `None` when they do not begin with one, and then the bytes are as they were or not.
pub fn one<'a>(bytes: &mut &'a [u8]) -> Option<Record<'a>> {
    Some(match number::<1>(bytes)?[0] {
        MESSAGE => {
            let length = u32::from_le_bytes(number(bytes)?) as usize;
            Record::Message(take(bytes, length)?)
        }
        ENQUEUE => {
            let (queue, level) = (u64::from_le_bytes(number(bytes)?), number::<1>(bytes)?[0]);
            let (position, at) = (u64::from_le_bytes(number(bytes)?), u64::from_le_bytes(number(bytes)?));
            let flags = number::<1>(bytes)?[0];
            if flags & !(REDELIVERED | COUNTED) != 0 {
                return None;
            }
            let (returns, uncounted) =
                if flags & COUNTED != 0 { (u32::from_le_bytes(number(bytes)?), u16::from_le_bytes(number(bytes)?)) } else { (0, 0) };
            Record::Enqueue(Enqueue { queue, level, position, at, redelivered: flags & REDELIVERED != 0, returns, uncounted })
        }
        ACK => Record::Ack {
            queue: u64::from_le_bytes(number(bytes)?),
            level: number::<1>(bytes)?[0],
            position: u64::from_le_bytes(number(bytes)?),
            count: u32::from_le_bytes(number(bytes)?),
        },
        RETURNED => Record::Returned {
            queue: u64::from_le_bytes(number(bytes)?),
            returned: Returned {
                level: number::<1>(bytes)?[0],
                position: u64::from_le_bytes(number(bytes)?),
                returns: u32::from_le_bytes(number(bytes)?),
                uncounted: u16::from_le_bytes(number(bytes)?),
            },
        },
        DELIVERED => Record::Delivered { queue: u64::from_le_bytes(number(bytes)?), below: u64::from_le_bytes(number(bytes)?) },
        DROP => Record::Drop {
            queue: u64::from_le_bytes(number(bytes)?),
            level: number::<1>(bytes)?[0],
            first: u64::from_le_bytes(number(bytes)?),
            last: u64::from_le_bytes(number(bytes)?),
        },
        FORGET => Record::Forget { queue: u64::from_le_bytes(number(bytes)?) },
        DEFINE => {
            let key = key(bytes)?;
            let length = u32::from_le_bytes(number(bytes)?) as usize;
            Record::Define { key, value: take(bytes, length)? }
        }
        UNDEFINE => Record::Undefine { key: key(bytes)? },
        CLEAN => Record::Clean,
        _ => return None,
    })
}

fn number<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (number, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*number)
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

fn key<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::from(u16::from_le_bytes(number(bytes)?));
    take(bytes, length)
}

/// What is left of a virtual host after a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// By key.
    pub definitions: Vec<(Vec<u8>, Vec<u8>)>,
    pub queues: BTreeMap<u64, RecoveredQueue>,
    /// The highest number that a queue was ever given.
    pub highest_queue: u64,
}

/// What is left of a queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveredQueue {
    /// The highest position that was ever given.
    pub highest: u64,
    /// Messages below this position may have been delivered; 0 is none.
    pub delivered: u64,
    /// Messages that came back, in the order in which they did so last.
    pub returned: Vec<Returned>,
    /// By level, then in order.
    pub runs: Vec<Run>,
}

/// Messages of one level that lie together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Run {
    pub level: u8,
    /// Positions.
    pub first: u64,
    pub last: u64,
    /// Messages that have not ended.
    pub count: u64,
    /// Bytes of their bodies; estimated where some have ended.
    pub body_bytes: u64,
    /// How many have a time.
    pub timed: u64,
    /// `at` of the first.
    pub begun: u64,
    /// `at` of the last.
    pub ended: u64,
}

/// A message that was read back.
#[derive(Clone, Debug)]
pub struct Stored {
    pub level: u8,
    pub position: u64,
    pub at: u64,
    pub redelivered: bool,
    pub returns: u32,
    pub uncounted: u16,
    pub message: Message,
}

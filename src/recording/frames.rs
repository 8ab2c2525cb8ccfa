//! The frames in a stream of bytes that comes in any portions.

/// The header before the first frame: `AMQP` and a version.
const PROTOCOL_HEADER: usize = 8;
/// What says that it is larger is no frame.
const LARGEST_FRAME: usize = 128 * 1024 * 1024;
/// Of connections, channels, access, exchanges, queues, messages, confirms, transactions.
const CLASSES: [u16; 8] = [10, 20, 30, 40, 50, 60, 85, 90];

/// A part of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    ProtocolHeader([u8; PROTOCOL_HEADER]),
    Frame {
        kind: u8,
        channel: u16,
        payload: Vec<u8>,
    },
    /// What is no frame; nothing after it can be told apart.
    Garbage(Vec<u8>),
}

/// One direction of a connection.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    bytes: Vec<u8>,
    /// Bytes are missing: a frame has to be looked for.
    is_lost: bool,
    is_garbage: bool,
}

impl Frames {
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Vec<Piece> {
        if self.is_garbage {
            return vec![Piece::Garbage(bytes.to_vec())];
        }
        self.bytes.extend_from_slice(bytes);
        let mut pieces = Vec::new();
        let mut at = 0;
        while let Some(length) = self.piece(at, &mut pieces) {
            at += length;
        }
        self.bytes.drain(..at);
        pieces
    }

    /// Bytes are missing here.
    pub(crate) fn lose(&mut self) {
        self.bytes.clear();
        self.is_lost = true;
    }

    /// How long the piece is that begins there; none if it is not complete.
    fn piece(&mut self, at: usize, pieces: &mut Vec<Piece>) -> Option<usize> {
        let rest = self.bytes.get(at..)?;
        if rest.starts_with(b"AMQP") {
            let (header, _) = rest.split_first_chunk::<PROTOCOL_HEADER>()?;
            pieces.push(Piece::ProtocolHeader(*header));
            return Some(PROTOCOL_HEADER);
        }
        let [kind, c1, c2, s1, s2, s3, s4, after @ ..] = rest else { return None };
        let size = usize::try_from(u32::from_be_bytes([*s1, *s2, *s3, *s4])).ok()?;
        let is_frame = matches!(kind, 1 | 2 | 3 | 8) && size <= LARGEST_FRAME && after.get(size).is_none_or(|end| *end == 0xce);
        // After a gap almost anything looks like the beginning of a body: what is looked for is a method or a header.
        let is_found = match after {
            _ if !self.is_lost => true,
            [c1, c2, ..] => matches!(kind, 1 | 2) && CLASSES.contains(&u16::from_be_bytes([*c1, *c2])),
            _ => return None,
        };
        if is_frame && is_found {
            let payload = after.get(..size)?.to_vec();
            after.get(size)?;
            pieces.push(Piece::Frame { kind: *kind, channel: u16::from_be_bytes([*c1, *c2]), payload });
            self.is_lost = false;
            return Some(size + 8);
        }
        if self.is_lost {
            return Some(1);
        }
        self.is_garbage = true;
        let garbage = rest.to_vec();
        let length = garbage.len();
        pieces.push(Piece::Garbage(garbage));
        Some(length)
    }
}

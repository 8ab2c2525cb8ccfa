//! A recording as text: a line for each frame, in the words of the transcripts.

use std::fmt::{self, Display, Formatter};

use super::file::{Recording, Told, What};
use super::format::Side;
use super::frames::Piece;
use crate::transcript::codec::{decode_header, decode_method, print_method, print_properties};
use crate::transcript::text::{hex, quote};

/// Bytes of a body that are shown.
const BODY_SHOWN: usize = 64;

pub(crate) struct Shown<'a> {
    pub(crate) recording: &'a Recording,
    /// Bodies in full.
    pub(crate) full: bool,
}

impl Display for Shown<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "# begun {}", Utc(self.recording.wall_us))?;
        for told in self.recording.told() {
            write!(f, "{:>5}.{:06} ", told.at_us / 1_000_000, told.at_us % 1_000_000)?;
            self.line(&told, f)?;
            f.write_str("\n")?;
        }
        if self.recording.is_cut_off {
            writeln!(f, "# the last record is cut off: the broker was killed, or is still writing")?;
        }
        Ok(())
    }
}

impl Shown<'_> {
    fn line(&self, told: &Told, f: &mut Formatter<'_>) -> fmt::Result {
        let connection = told.connection;
        match &told.what {
            What::Opened { peer, local } => write!(f, "c{connection}: opened {peer} -> {local}"),
            What::Closed => write!(f, "c{connection}: closed"),
            What::Lost(side, count) => write!(f, "c{connection}{} … {count} bytes were not recorded", side.mark()),
            What::Said(side, piece) => self.piece(connection, *side, piece, f),
        }
    }

    fn piece(&self, connection: u64, side: Side, piece: &Piece, f: &mut Formatter<'_>) -> fmt::Result {
        let mark = side.mark();
        match piece {
            Piece::ProtocolHeader([_, _, _, _, a, b, c, d]) => write!(f, "c{connection}.0{mark} protocol-header {a} {b} {c} {d}"),
            Piece::Garbage(bytes) => write!(f, "c{connection}{mark} raw {}", hex(bytes)),
            Piece::Frame { kind, channel, payload } => {
                match channel {
                    1 => write!(f, "c{connection}{mark} ")?,
                    _ => write!(f, "c{connection}.{channel}{mark} ")?,
                }
                self.frame(*kind, payload, f)
            }
        }
    }

    fn frame(&self, kind: u8, payload: &[u8], f: &mut Formatter<'_>) -> fmt::Result {
        match kind {
            1 => {
                if let Some((method, arguments)) = decode_method(payload) {
                    return f.write_str(&print_method(method, &arguments));
                }
            }
            2 => {
                if let Some((body_size, properties)) = decode_header(payload) {
                    return write!(f, "header body_size={body_size}{}", print_properties(&properties));
                }
            }
            3 if payload.len() > BODY_SHOWN && !self.full => {
                return write!(f, "body {}… {} bytes", quote(&payload[..BODY_SHOWN]), payload.len());
            }
            3 => return write!(f, "body {}", quote(payload)),
            8 if payload.is_empty() => return f.write_str("heartbeat"),
            _ => {}
        }
        write!(f, "frame {kind} {}", hex(payload))
    }
}

/// Microseconds since 1970 as a date and a time of the day.
struct Utc(u64);

impl Display for Utc {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (seconds, micros) = (self.0 / 1_000_000, self.0 % 1_000_000);
        let (mut days, second) = (seconds / 86_400, seconds % 86_400);
        let is_leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let mut year = 1970;
        while days >= 365 + u64::from(is_leap(year)) {
            days -= 365 + u64::from(is_leap(year));
            year += 1;
        }
        let lengths = [31, 28 + u64::from(is_leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let mut month = 1;
        for length in lengths {
            if days < length {
                break;
            }
            days -= length;
            month += 1;
        }
        let (hour, minute) = (second / 3600, second / 60 % 60);
        write!(f, "{year}-{month:02}-{:02}T{hour:02}:{minute:02}:{:02}.{micros:06}Z", days + 1, second % 60)
    }
}

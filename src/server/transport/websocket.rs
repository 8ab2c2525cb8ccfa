//! The frames of WebSocket (RFC 6455), the server's side, as a layer: binary messages that carry AMQP in any portions.
//!
//! What a data frame carries is handed out as it comes, so that there is no limit to the length of frames and messages: none is ever
//! held. Of control frames there are 125 bytes at most.

use std::io::{self, IoSlice};

use tokio::io::ReadBuf;

use super::{Layer, Opened};

/// Bytes that are put into one frame.
const SEALED_AT_ONCE: usize = 128 * 1024;
const CONTROL_MAX: u8 = 125;

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;

const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;

/// Why the connection ends, in numbers of RFC 6455, 7.4.1.
const NORMAL: u16 = 1000;
const PROTOCOL_ERROR: u16 = 1002;
const UNSUPPORTED_DATA: u16 = 1003;

#[derive(Debug, Default)]
pub(in crate::server) struct WebSocket {
    /// The beginning of a header that is not complete.
    header: Vec<u8>,
    /// The frame that is received.
    frame: Option<Frame>,
    /// What a control frame carries, as far as it has come.
    control: Vec<u8>,
    /// A message goes on in the next data frame.
    in_message: bool,
    /// The peer was told that nothing more comes.
    closed: bool,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    opcode: u8,
    /// Bytes that are still to come.
    left: u64,
    /// Turned so that its first byte is for the next one.
    mask: [u8; 4],
}

/// A frame that is not to be.
struct Refusal {
    code: u16,
    why: &'static str,
}

const fn wrong(why: &'static str) -> Refusal {
    Refusal { code: PROTOCOL_ERROR, why }
}

impl Layer for WebSocket {
    fn open(&mut self, mut received: &[u8], clear: &mut ReadBuf<'_>, out: &mut Vec<u8>) -> io::Result<Opened> {
        loop {
            let mut frame = match self.frame.take() {
                Some(frame) => frame,
                None => match self.next_frame(&mut received) {
                    Ok(Some(frame)) => frame,
                    Ok(None) => return Ok(Opened::Goes),
                    Err(refusal) => return Err(self.fail(&refusal, out)),
                },
            };
            if is_control(frame.opcode) {
                let at = self.control.len();
                self.control.resize(at + frame.comes(received), 0);
                frame.unmask(&mut received, &mut self.control[at..]);
            } else {
                let Some(into) = clear.initialize_unfilled().get_mut(..frame.comes(received)) else {
                    return Err(io::Error::other("a read without room for what it brings"));
                };
                let n = into.len();
                frame.unmask(&mut received, into);
                clear.advance(n);
            }
            if frame.left > 0 {
                self.frame = Some(frame);
                return Ok(Opened::Goes);
            }
            if is_control(frame.opcode) && self.control_frame(frame.opcode, out) == Opened::Ended {
                return Ok(Opened::Ended);
            }
        }
    }

    fn seal(&mut self, clear: &[IoSlice<'_>], out: &mut Vec<u8>) -> io::Result<usize> {
        if self.closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let n = clear.iter().map(|slice| slice.len()).sum::<usize>().min(SEALED_AT_ONCE);
        begin_frame(BINARY, n, out);
        let mut left = n;
        for slice in clear {
            let part = &slice[..slice.len().min(left)];
            out.extend_from_slice(part);
            left -= part.len();
        }
        Ok(n)
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        self.say_close(&NORMAL.to_be_bytes(), out);
    }
}

fn is_control(opcode: u8) -> bool {
    opcode & CLOSE != 0
}

impl WebSocket {
    /// Takes the header of a frame; `None` when there is not all of it.
    fn next_frame(&mut self, received: &mut &[u8]) -> Result<Option<Frame>, Refusal> {
        loop {
            let wanted = match self.header.get(1) {
                None => 2,
                Some(length) => 2 + extended(*length) + 4,
            };
            let (now, rest) = received.split_at(received.len().min(wanted - self.header.len()));
            self.header.extend_from_slice(now);
            *received = rest;
            if self.header.len() < wanted {
                return Ok(None);
            }
            if wanted > 2 {
                break;
            }
            // What is wrong is said without waiting for the rest.
            self.check_header()?;
        }
        let header = std::mem::take(&mut self.header);
        let (length, mask) = header[1..].split_at(header.len() - 5);
        let left = match length.split_first() {
            Some((short, [])) => u64::from(short & !MASKED),
            Some((_, long)) => long.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
            None => 0,
        };
        if left >> 63 == 1 {
            return Err(wrong("a length of more than 63 bits"));
        }
        let opcode = header[0] & !FIN;
        if !is_control(opcode) {
            self.in_message = header[0] & FIN == 0;
        }
        Ok(Some(Frame { opcode, left, mask: mask.try_into().unwrap_or_default() }))
    }

    fn check_header(&self) -> Result<(), Refusal> {
        let [first, second] = self.header[..] else { return Ok(()) };
        let is_whole = first & FIN != 0;
        if first & RESERVED != 0 {
            return Err(wrong("a reserved bit is set"));
        }
        if second & MASKED == 0 {
            return Err(wrong("a frame that is not masked"));
        }
        match first & !FIN {
            CONTINUATION if self.in_message => Ok(()),
            CONTINUATION => Err(wrong("nothing to be continued")),
            TEXT | BINARY if self.in_message => Err(wrong("a message within a message")),
            TEXT => Err(Refusal { code: UNSUPPORTED_DATA, why: "AMQP is no text" }),
            BINARY => Ok(()),
            CLOSE | PING | PONG if is_whole && second & !MASKED <= CONTROL_MAX => Ok(()),
            CLOSE | PING | PONG => Err(wrong("a control frame of several, or one that is too long")),
            _ => Err(wrong("an unknown opcode")),
        }
    }

    /// A control frame is there.
    fn control_frame(&mut self, opcode: u8, out: &mut Vec<u8>) -> Opened {
        let carried = std::mem::take(&mut self.control);
        match opcode {
            PING => {
                if !self.closed {
                    begin_frame(PONG, carried.len(), out);
                    out.extend_from_slice(&carried);
                }
                Opened::Goes
            }
            CLOSE => {
                match *carried {
                    [] => self.say_close(&[], out),
                    [high, low, ..] if may_be_said(u16::from_be_bytes([high, low])) => self.say_close(&[high, low], out),
                    _ => self.say_close(&PROTOCOL_ERROR.to_be_bytes(), out),
                }
                Opened::Ended
            }
            _ => Opened::Goes,
        }
    }

    /// Once, which also answers.
    fn say_close(&mut self, carried: &[u8], out: &mut Vec<u8>) {
        if !std::mem::replace(&mut self.closed, true) {
            begin_frame(CLOSE, carried.len(), out);
            out.extend_from_slice(carried);
        }
    }

    fn fail(&mut self, refusal: &Refusal, out: &mut Vec<u8>) -> io::Error {
        let Refusal { code, why } = refusal;
        self.say_close(&[&code.to_be_bytes(), why.as_bytes()].concat(), out);
        io::Error::new(io::ErrorKind::InvalidData, format!("WebSocket: {why}"))
    }
}

/// Whether a peer may say that it closes for this reason.
fn may_be_said(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// Bytes of the length that follow its first one.
fn extended(length: u8) -> usize {
    match length & !MASKED {
        126 => 2,
        127 => 8,
        _ => 0,
    }
}

impl Frame {
    /// How many of these bytes are the frame's.
    fn comes(&self, received: &[u8]) -> usize {
        usize::try_from(self.left).unwrap_or(usize::MAX).min(received.len())
    }

    /// Takes as many bytes as there is room for.
    fn unmask(&mut self, received: &mut &[u8], into: &mut [u8]) {
        let (now, rest) = received.split_at(into.len());
        *received = rest;
        for (into, from) in into.chunks_mut(4).zip(now.chunks(4)) {
            for ((into, from), mask) in into.iter_mut().zip(from).zip(self.mask) {
                *into = from ^ mask;
            }
        }
        self.mask.rotate_left(now.len() % 4);
        self.left -= now.len() as u64;
    }
}

/// The header of a whole message, which a server does not mask.
fn begin_frame(opcode: u8, length: usize, out: &mut Vec<u8>) {
    out.push(FIN | opcode);
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length), _) if length <= CONTROL_MAX => out.push(length),
        (_, Ok(length)) => {
            out.push(126);
            out.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASK: [u8; 4] = [0x11, 0x22, 0x33, 0x44];

    /// A client's frame.
    fn frame(first: u8, carried: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        begin_frame(first & !FIN, carried.len(), &mut frame);
        frame[0] = first;
        frame[1] |= MASKED;
        frame.extend_from_slice(&MASK);
        frame.extend(carried.iter().enumerate().map(|(at, byte)| byte ^ MASK[at % 4]));
        frame
    }

    /// What comes of bytes in portions: what they say, the answers, and how it ends.
    fn opened(bytes: &[u8], portion: usize) -> (Vec<u8>, Vec<u8>, Result<Opened, String>) {
        let mut layer = WebSocket::default();
        let (mut said, mut out) = (Vec::new(), Vec::new());
        for portion in bytes.chunks(portion) {
            let mut room = vec![0; portion.len()];
            let mut clear = ReadBuf::new(&mut room);
            let outcome = layer.open(portion, &mut clear, &mut out);
            said.extend_from_slice(clear.filled());
            match outcome {
                Ok(Opened::Goes) => {}
                Ok(Opened::Ended) => return (said, out, Ok(Opened::Ended)),
                Err(error) => return (said, out, Err(error.to_string())),
            }
        }
        (said, out, Ok(Opened::Goes))
    }

    #[test]
    fn frames_come_in_any_portions() {
        let long = vec![7; 70_000];
        let bytes = [
            frame(FIN | BINARY, b"one"),
            frame(BINARY, b""),
            frame(CONTINUATION, &[5; 300]),
            frame(FIN | PING, b"p"),
            frame(FIN | CONTINUATION, b"two"),
            frame(FIN | PONG, b"anything"),
            frame(FIN | BINARY, &long),
            frame(FIN | CLOSE, &[0x03, 0xE8, b'x']),
            b"what follows does not matter".to_vec(),
        ]
        .concat();
        let said = [b"one", &[5; 300][..], b"two", &long].concat();
        for portion in [1, 2, 3, 5, 7, 13, 4096, bytes.len()] {
            let told = opened(&bytes, portion);
            assert_eq!(told, (said.clone(), b"\x8A\x01p\x88\x02\x03\xE8".to_vec(), Ok(Opened::Ended)), "{portion}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_reason() {
        let unmasked = vec![FIN | BINARY, 1, 0];
        let whole = |first: u8| frame(first, b"x");
        for (bytes, code, why) in [
            (unmasked, 1002, "a frame that is not masked"),
            (whole(FIN | 0x40 | BINARY), 1002, "a reserved bit is set"),
            (whole(FIN | TEXT), 1003, "AMQP is no text"),
            (whole(FIN | 0x3), 1002, "an unknown opcode"),
            (whole(FIN | 0xB), 1002, "an unknown opcode"),
            (whole(FIN | CONTINUATION), 1002, "nothing to be continued"),
            ([whole(BINARY), whole(FIN | BINARY)].concat(), 1002, "a message within a message"),
            (whole(PING), 1002, "a control frame of several, or one that is too long"),
            (frame(FIN | PING, &[0; 126]), 1002, "a control frame of several, or one that is too long"),
            (vec![FIN | BINARY, MASKED | 127, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4], 1002, "a length of more than 63 bits"),
        ] {
            for portion in [1, bytes.len()] {
                let (_, out, outcome) = opened(&bytes, portion);
                assert_eq!(outcome, Err(format!("WebSocket: {why}")));
                let length = u8::try_from(why.len() + 2).expect("short");
                assert_eq!(out, [&[FIN | CLOSE, length], &u16::to_be_bytes(code)[..], why.as_bytes()].concat(), "{why}");
            }
        }
    }

    #[test]
    fn a_close_is_answered_once_with_its_code_if_that_is_one() {
        for (carried, answer) in [
            (&b""[..], &[FIN | CLOSE, 0][..]),
            (&[0x0F, 0xA0], &[FIN | CLOSE, 2, 0x0F, 0xA0]),
            (&[0x03, 0xED], &[FIN | CLOSE, 2, 0x03, 0xEA]),
            (&[0x03], &[FIN | CLOSE, 2, 0x03, 0xEA]),
        ] {
            assert_eq!(opened(&frame(FIN | CLOSE, carried), 100), (Vec::new(), answer.to_vec(), Ok(Opened::Ended)));
        }
        let mut layer = WebSocket::default();
        let mut out = Vec::new();
        layer.close(&mut out);
        layer.close(&mut out);
        assert_eq!(out, [FIN | CLOSE, 2, 0x03, 0xE8]);
        assert!(layer.seal(&[IoSlice::new(b"x")], &mut out).is_err());
    }

    #[test]
    fn what_is_sent_is_whole_frames_that_are_not_masked() {
        let mut layer = WebSocket::default();
        for (length, header) in [
            (1, &[FIN | BINARY, 1][..]),
            (125, &[FIN | BINARY, 125]),
            (126, &[FIN | BINARY, 126, 0, 126]),
            (65_536, &[FIN | BINARY, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ] {
            let bytes = vec![9; length];
            let (mut out, half) = (Vec::new(), length / 2);
            let n = layer.seal(&[IoSlice::new(&bytes[..half]), IoSlice::new(&bytes[half..])], &mut out);
            assert_eq!((n.expect("sealed"), &out[..header.len()], &out[header.len()..]), (length, header, &*bytes));
        }
        let mut out = Vec::new();
        let much = vec![1; SEALED_AT_ONCE];
        let n = layer.seal(&[IoSlice::new(b"ab"), IoSlice::new(&much)], &mut out);
        assert_eq!((n.expect("sealed"), out.len()), (SEALED_AT_ONCE, SEALED_AT_ONCE + 10));
        assert_eq!(out[10..13], *b"ab\x01");
    }
}

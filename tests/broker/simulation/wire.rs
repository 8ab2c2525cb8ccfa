//! Frames both ways with `amq-protocol`'s own codec, so that leveret's is judged by another one.

use amq_protocol::frame::{AMQPContentHeader, AMQPFrame, WriteContext, gen_frame, parse_frame};
use amq_protocol::protocol::basic::AMQPProperties;
use amq_protocol::protocol::{AMQPClass, basic};
use leveret::amqp::frame::{self, Envelope};

/// What arrives at a client: a method, and the content that belongs to it.
#[derive(Clone)]
pub(super) struct Event {
    pub(super) channel: u16,
    pub(super) class: AMQPClass,
    pub(super) properties: AMQPProperties,
    pub(super) body: Vec<u8>,
    /// Bytes that it took on the wire.
    pub(super) size: usize,
}

impl std::fmt::Debug for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?}", self.channel, self.class)?;
        match self.body.first_chunk::<8>() {
            Some(id) => write!(f, " {:x} {:?}", u64::from_be_bytes(*id), self.properties.headers()),
            None => Ok(()),
        }
    }
}

pub(super) fn put(frame: &AMQPFrame, out: &mut Vec<u8>) {
    let context = WriteContext::from(std::mem::take(out));
    *out = gen_frame(frame)(context).expect("a vector takes all that is written").write;
}

pub(super) fn put_method(channel: u16, class: AMQPClass, out: &mut Vec<u8>) {
    put(&AMQPFrame::Method(channel, class), out);
}

/// Content header and body frames, the body cut at `frame_max`.
pub(super) fn put_content(channel: u16, properties: AMQPProperties, body: &[u8], frame_max: usize, out: &mut Vec<u8>) {
    let header = AMQPContentHeader { class_id: 60, body_size: body.len() as u64, properties };
    put(&AMQPFrame::Header(channel, header), out);
    for part in body.chunks(frame_max - 8) {
        put(&AMQPFrame::Body(channel, part.to_vec()), out);
    }
}

/// Decodes what the broker has sent in one go: whole frames of at most `frame_max`, whole contents.
pub(super) fn read_all(mut input: &[u8], frame_max: usize) -> Vec<Event> {
    let mut events: Vec<Event> = Vec::new();
    let mut missing: Option<usize> = None;
    while !input.is_empty() {
        let (rest, frame) =
            parse_frame(input).unwrap_or_else(|e| panic!("the broker sent no frame: {e:?} at {:?}", &input[..input.len().min(32)]));
        let size = input.len() - rest.len();
        input = rest;
        assert!(size <= frame_max, "a frame of {size} bytes, while {frame_max} are allowed");
        match frame {
            AMQPFrame::Method(channel, class) => {
                assert!(missing.is_none_or(|m| m == 0), "a method in the middle of a content");
                missing = has_content(&class).then_some(usize::MAX);
                events.push(Event { channel, class, properties: AMQPProperties::default(), body: Vec::new(), size });
            }
            AMQPFrame::Header(channel, header) => {
                let event = events.last_mut().expect("a method first");
                assert_eq!((channel, missing), (event.channel, Some(usize::MAX)), "a content header that nobody expects");
                missing = Some(usize::try_from(header.body_size).expect("a size"));
                event.properties = header.properties;
                event.size += size;
            }
            AMQPFrame::Body(channel, part) => {
                let event = events.last_mut().expect("a method first");
                let left = missing.filter(|m| *m != usize::MAX).and_then(|m| m.checked_sub(part.len()));
                assert!(channel == event.channel && left.is_some(), "a body frame that nobody expects");
                missing = left;
                event.body.extend_from_slice(&part);
                event.size += size;
            }
            other => panic!("the broker does not send {other:?}"),
        }
    }
    assert!(missing.is_none_or(|m| m == 0), "a content that does not end");
    events
}

/// Whether these are frames that `amq-protocol` reads. It has no texts that are not UTF-8, which only deliveries, gets
/// and returns bring back to who has sent them: those must at least be cut right.
pub(super) fn are_frames(mut input: &[u8], frame_max: usize) -> bool {
    let mut readable = true;
    while !input.is_empty() {
        let Envelope { kind, size, .. } = Envelope::read(input).expect("an envelope");
        let (frame, rest) = input.split_at(size + frame::OVERHEAD);
        assert!((1..=3).contains(&kind) && frame.len() <= frame_max && frame.ends_with(&[frame::END]), "no frame: {frame:?}");
        let reads = parse_frame(frame).is_ok();
        let payload = &frame[frame::ENVELOPE..frame.len() - 1];
        let echoes = kind == frame::HEADER || [[0, 60, 0, 50], [0, 60, 0, 60], [0, 60, 0, 71]].iter().any(|ids| payload.starts_with(ids));
        assert!(reads || echoes && !payload.is_ascii(), "the broker sent no frame: {frame:?}");
        readable &= reads;
        input = rest;
    }
    readable
}

fn has_content(class: &AMQPClass) -> bool {
    use basic::AMQPMethod as Basic;
    matches!(class, AMQPClass::Basic(Basic::Deliver(_) | Basic::GetOk(_) | Basic::Return(_)))
}

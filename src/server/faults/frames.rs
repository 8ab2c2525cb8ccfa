//! Frames as rules see them: cut out of bytes, with what they tell about themselves.

use super::methods::{self, Id};
use crate::amqp::frame::{self, ENVELOPE, Envelope, OVERHEAD};
use crate::amqp::{method, table};

/// A whole frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'a> {
    pub(super) id: Id,
    pub(super) channel: u16,
    /// Of a method, what follows its id.
    pub(super) arguments: &'a [u8],
    pub(super) bytes: &'a [u8],
}

/// What a frame names.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Named<'a> {
    pub(super) exchange: Option<&'a [u8]>,
    pub(super) routing_key: Option<&'a [u8]>,
    pub(super) queue: Option<&'a [u8]>,
    pub(super) consumer_tag: Option<&'a [u8]>,
    pub(super) delivery_tag: Option<u64>,
    pub(super) redelivered: bool,
    /// Where in the arguments a delivery says whether it is one that comes again.
    pub(super) redelivered_at: Option<usize>,
}

impl<'a> Frame<'a> {
    /// The frame at the front of `input`, if it is all there.
    pub(super) fn first(input: &'a [u8]) -> Option<Self> {
        let envelope = Envelope::read(input)?;
        let bytes = input.get(..envelope.size.checked_add(OVERHEAD)?)?;
        let payload = &bytes[ENVELOPE..bytes.len() - 1];
        let (id, arguments) = match envelope.kind {
            frame::METHOD => method::id(payload)?,
            kind => ((0, u16::from(kind)), payload),
        };
        Some(Self { id, channel: envelope.channel, arguments, bytes })
    }

    /// Whether a header and bodies follow.
    pub(super) fn has_content(&self) -> bool {
        matches!(self.id, methods::PUBLISH | methods::RETURN | methods::DELIVER | methods::GET_OK)
    }

    /// Of a content header.
    pub(super) fn body_size(&self) -> Option<u64> {
        if self.id != methods::HEADER {
            return None;
        }
        Some(u64::from_be_bytes(*self.arguments.get(4..)?.first_chunk()?))
    }

    pub(super) fn named(&self) -> Named<'a> {
        let mut named = Named::default();
        let mut rest = self.arguments;
        // Whatever is missing at the end of a method that is cut short is not named.
        let _ = read(self.id, &mut rest, self.arguments.len(), &mut named);
        named
    }
}

fn read<'a>(id: Id, rest: &mut &'a [u8], length: usize, named: &mut Named<'a>) -> Result<(), table::Malformed> {
    let text = |rest: &mut &'a [u8]| table::short_string(rest).map(Some);
    match id {
        methods::PUBLISH => {
            table::take(rest, 2)?;
            named.exchange = text(rest)?;
            named.routing_key = text(rest)?;
            // The default exchange knows every queue by its name.
            named.queue = named.routing_key.filter(|_| named.exchange == Some(b""));
        }
        methods::DELIVER | methods::GET_OK => {
            if id == methods::DELIVER {
                named.consumer_tag = text(rest)?;
            }
            named.delivery_tag = table::take(rest, 8)?.first_chunk().map(|tag| u64::from_be_bytes(*tag));
            named.redelivered_at = Some(length - rest.len());
            named.redelivered = table::take(rest, 1)? != [0];
            named.exchange = text(rest)?;
            named.routing_key = text(rest)?;
        }
        methods::RETURN => {
            table::take(rest, 2)?;
            text(rest)?;
            named.exchange = text(rest)?;
            named.routing_key = text(rest)?;
        }
        // Of a binding between exchanges, the one that messages come from.
        (40, 30 | 40) => {
            table::take(rest, 2)?;
            text(rest)?;
            named.exchange = text(rest)?;
            named.routing_key = text(rest)?;
        }
        (40, 10 | 20) => {
            table::take(rest, 2)?;
            named.exchange = text(rest)?;
        }
        (50, 20 | 50) => {
            table::take(rest, 2)?;
            named.queue = text(rest)?;
            named.exchange = text(rest)?;
            named.routing_key = text(rest)?;
        }
        (50, 10 | 30 | 40) | (60, 20) | methods::GET => {
            table::take(rest, 2)?;
            named.queue = text(rest)?;
        }
        (50, 11) => named.queue = text(rest)?,
        _ => {}
    }
    Ok(())
}

/// How many bytes at the front of `input` are the frame there and, of a method with a content, what belongs to it. All of them
/// where it does not end.
pub(super) fn whole_length(input: &[u8]) -> usize {
    let Some(first) = Frame::first(input) else { return input.len() };
    let mut length = first.bytes.len();
    if !first.has_content() {
        return length;
    }
    let Some(header) = Frame::first(&input[length..]).filter(|header| header.id == methods::HEADER) else { return length };
    length += header.bytes.len();
    let mut left = header.body_size().unwrap_or(0);
    while left > 0 {
        let Some(body) = Frame::first(&input[length..]) else { return input.len() };
        length += body.bytes.len();
        left = left.saturating_sub(body.arguments.len() as u64);
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::amqp::encoder::{Delivered, Recipient};
    use crate::amqp::{Message, Output};

    #[test]
    fn a_delivery_tells_what_it_is_about_and_how_long_it_is() {
        let mut out = Output::default();
        let message = Message::new(b"orders", b"eu.west", &[0, 0], &[7; 10_000]);
        let to = Recipient { channel: 3, consumer_tag: b"c1", frame_max: 4096 };
        out.basic_deliver(to, 9, Delivered { redelivered: true, ..Delivered::first(&message) });
        let length = out.len();
        out.basic_ack(3, 1, false);
        let bytes = out.to_vec();
        assert_eq!(whole_length(&bytes), length);
        let frame = Frame::first(&bytes).expect("a frame");
        let named = frame.named();
        assert_eq!((frame.id, frame.channel), (methods::DELIVER, 3));
        assert_eq!((named.exchange, named.routing_key), (Some(&b"orders"[..]), Some(&b"eu.west"[..])));
        assert_eq!((named.consumer_tag, named.delivery_tag, named.redelivered), (Some(&b"c1"[..]), Some(9), true));
        assert_eq!(frame.arguments[named.redelivered_at.expect("a place")], 1);
        assert_eq!(whole_length(&bytes[length..]), bytes.len() - length);
    }

    #[test]
    fn what_is_cut_short_names_what_there_is() {
        let mut out = Output::default();
        out.raw_method(1, methods::PUBLISH, b"\0\0\x06orders\x09eu");
        let bytes = out.to_vec();
        let named = Frame::first(&bytes).expect("a frame").named();
        assert_eq!((named.exchange, named.routing_key, named.queue), (Some(&b"orders"[..]), None, None));
        assert!(Frame::first(&bytes[..bytes.len() - 1]).is_none());
    }
}

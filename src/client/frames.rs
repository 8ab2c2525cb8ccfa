//! Received bytes → frames, and the contents that the server sends: of deliveries, gets and returns.

use bytes::{Bytes, BytesMut};

use super::message::{Delivery, Returned};
use crate::amqp::decoder::MAX_ANNOUNCED;
use crate::amqp::frame::{self, Envelope};
use crate::amqp::properties::Properties;
use crate::amqp::{method, table};

/// A body is given this much room at once, in bytes: an announcement alone costs no memory.
const BODY_PART: u64 = 256 * 1024;

/// A frame that has arrived.
#[derive(Debug)]
pub(super) struct Frame<'a> {
    pub(super) envelope: Envelope,
    pub(super) payload: &'a [u8],
    /// Bytes with everything around the payload.
    pub(super) len: usize,
}

/// The frame at the front of what was received; `None` until it is there.
///
/// # Errors
/// What is wrong with it.
pub(super) fn next(input: &[u8], frame_max: usize) -> Result<Option<Frame<'_>>, String> {
    let Some(envelope) = Envelope::read(input) else { return Ok(None) };
    if !matches!(envelope.kind, frame::METHOD | frame::HEADER | frame::BODY | frame::HEARTBEAT) {
        return Err(format!("a frame of type {}", envelope.kind));
    }
    if frame_max > 0 && envelope.size > frame_max {
        return Err(format!("a frame of {} bytes, more than the {frame_max} agreed on", envelope.size));
    }
    let whole = envelope.size + frame::OVERHEAD;
    let Some(bytes) = input.get(..whole) else { return Ok(None) };
    if bytes[whole - 1] != frame::END {
        return Err(format!("a frame that ends with {}", bytes[whole - 1]));
    }
    Ok(Some(Frame { envelope, payload: &bytes[frame::ENVELOPE..whole - 1], len: whole }))
}

/// What a content belongs to.
#[derive(Debug)]
pub(super) enum Head {
    Deliver(Delivery),
    GetOk(Delivery),
    Return { exchange: Bytes, routing_key: Bytes, returned: Returned },
}

impl Head {
    /// From a method with a content; `None` for arguments that do not fit it.
    pub(super) fn read(class_method: (u16, u16), arguments: &[u8]) -> Option<Self> {
        let mut rest = arguments;
        let head = match class_method {
            method::BASIC_DELIVER => {
                let consumer_tag = short(&mut rest)?;
                Self::Deliver(Delivery { consumer_tag, ..delivery(&mut rest)? })
            }
            method::BASIC_GET_OK => {
                let delivery = delivery(&mut rest)?;
                let message_count = u32::from_be_bytes(table::take(&mut rest, 4).ok()?.try_into().ok()?);
                Self::GetOk(Delivery { message_count: Some(message_count), ..delivery })
            }
            _ => {
                let code = u16::from_be_bytes(table::take(&mut rest, 2).ok()?.try_into().ok()?);
                let text = String::from_utf8_lossy(&short(&mut rest)?).into_owned();
                let (exchange, routing_key) = (short(&mut rest)?, short(&mut rest)?);
                Self::Return { exchange, routing_key, returned: Returned { code, text } }
            }
        };
        rest.is_empty().then_some(head)
    }
}

fn short(input: &mut &[u8]) -> Option<Bytes> {
    table::short_string(input).ok().map(Bytes::copy_from_slice)
}

/// What deliveries and gets have in common.
fn delivery(input: &mut &[u8]) -> Option<Delivery> {
    let delivery_tag = u64::from_be_bytes(table::take(input, 8).ok()?.try_into().ok()?);
    let redelivered = table::take(input, 1).ok()? != [0];
    let (exchange, routing_key) = (short(input)?, short(input)?);
    Some(Delivery {
        delivery_tag,
        redelivered,
        exchange,
        routing_key,
        raw_properties: Bytes::new(),
        body: Bytes::new(),
        message_count: None,
        consumer_tag: Bytes::new(),
    })
}

/// A content whose frames have not all arrived.
#[derive(Debug)]
pub(super) struct Content {
    head: Head,
    properties: Bytes,
    /// Bytes of body still to come; `None` until the content header has come.
    left: Option<u64>,
    body: BytesMut,
}

impl Content {
    pub(super) fn new(head: Head) -> Self {
        Self { head, properties: Bytes::new(), left: None, body: BytesMut::new() }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.left == Some(0)
    }

    /// Takes in the content header.
    pub(super) fn header(&mut self, payload: &[u8]) -> Result<(), String> {
        let fixed = payload.split_first_chunk::<12>().filter(|_| self.left.is_none());
        let Some((fixed, properties)) = fixed else { return Err("a content header where none is due".to_owned()) };
        let &[c0, c1, _, _, size @ ..] = fixed;
        let size = u64::from_be_bytes(size);
        if u16::from_be_bytes([c0, c1]) != method::BASIC || size > MAX_ANNOUNCED || Properties::check(properties).is_err() {
            return Err("a malformed content header".to_owned());
        }
        self.properties = Bytes::copy_from_slice(properties);
        self.left = Some(size);
        self.body.reserve(usize::try_from(size.min(BODY_PART)).unwrap_or(0));
        Ok(())
    }

    /// Takes in a part of the body.
    pub(super) fn body(&mut self, payload: &[u8]) -> Result<(), String> {
        let left = self.left.and_then(|left| left.checked_sub(payload.len() as u64));
        let Some(left) = left else { return Err("more of a body than was announced".to_owned()) };
        self.left = Some(left);
        self.body.extend_from_slice(payload);
        Ok(())
    }

    /// The head of a complete content, with properties and body in a delivery, and beside those of a return.
    pub(super) fn finish(self) -> (Head, Bytes, Bytes) {
        let (properties, body) = (self.properties, self.body.freeze());
        let filled = |delivery| Delivery { raw_properties: properties.clone(), body: body.clone(), ..delivery };
        let head = match self.head {
            Head::Deliver(delivery) => Head::Deliver(filled(delivery)),
            Head::GetOk(delivery) => Head::GetOk(filled(delivery)),
            returned @ Head::Return { .. } => returned,
        };
        (head, properties, body)
    }
}

//! Methods, deliveries and contents → bytes, split at the negotiated frame_max.

use amq_protocol::frame::WriteContext;
use amq_protocol::protocol::gen_class;
use bytes::Bytes;

use super::content::{Parts, short};
use super::frame::{self, OVERHEAD};
use super::{AMQPClass, ChannelNumber, Message};

/// Bytes of a `basic.deliver` without its names, up to the end octet.
const DELIVER: usize = 23;
/// Bytes of the frames of a content with one body frame, without properties and body; with the end octet of the method before.
const CONTENT: usize = 29;

/// What a connection has to send: small things copied into one buffer, parts of large bodies by reference between them.
#[derive(Debug, Default)]
pub struct Output {
    pub bytes: Vec<u8>,
    /// Each with the position in `bytes` in front of which it belongs.
    pub parts: Vec<(usize, Bytes)>,
    part_bytes: usize,
}

impl Output {
    /// Bytes to send.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len() + self.part_bytes
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.parts.is_empty()
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.parts.clear();
        self.part_bytes = 0;
    }

    /// All the bytes in order, copied.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        let mut all = Vec::with_capacity(self.len());
        self.slices().for_each(|slice| all.extend_from_slice(slice));
        all
    }

    /// All the bytes in order, as they lie; some slices may be empty.
    pub fn slices(&self) -> impl Iterator<Item = &[u8]> {
        let ends = self.parts.iter().map(|(position, part)| (*position, &**part)).chain([(self.bytes.len(), &[][..])]);
        let mut at = 0;
        ends.flat_map(move |(position, part)| [&self.bytes[std::mem::replace(&mut at, position)..position], part])
    }

    fn reference(&mut self, part: Bytes) {
        self.part_bytes += part.len();
        self.parts.push((self.bytes.len(), part));
    }

    /// Any method without content.
    pub fn method(&mut self, channel: ChannelNumber, class: &AMQPClass) {
        let start = begin(&mut self.bytes, frame::METHOD, channel);
        let context = WriteContext::from(std::mem::take(&mut self.bytes));
        let written = gen_class(class)(context).expect("a vector takes all that is written");
        self.bytes = written.write;
        end(&mut self.bytes, start);
    }

    /// A method whose arguments are already encoded.
    pub fn raw_method(&mut self, channel: ChannelNumber, class_method: (u16, u16), arguments: &[u8]) {
        let start = begin_method(&mut self.bytes, channel, class_method);
        self.bytes.extend_from_slice(arguments);
        end(&mut self.bytes, start);
    }

    /// `basic.ack` to a publisher.
    pub fn basic_ack(&mut self, channel: ChannelNumber, delivery_tag: u64, multiple: bool) {
        let mut arguments = [0; 9];
        arguments[..8].copy_from_slice(&delivery_tag.to_be_bytes());
        arguments[8] = u8::from(multiple);
        self.raw_method(channel, (60, 80), &arguments);
    }

    /// `basic.nack` to a publisher.
    pub fn basic_nack(&mut self, channel: ChannelNumber, delivery_tag: u64, multiple: bool) {
        let mut arguments = [0; 9];
        arguments[..8].copy_from_slice(&delivery_tag.to_be_bytes());
        arguments[8] = u8::from(multiple);
        self.raw_method(channel, (60, 120), &arguments);
    }

    /// `basic.publish` with its content: `parts` and, in place of a small body, a large one. `to` has no consumer tag.
    pub fn basic_publish(&mut self, to: Recipient<'_>, mandatory: bool, parts: Parts<'_>, large_body: &[Bytes]) {
        let out = &mut self.bytes;
        let start = begin_method(out, to.channel, (60, 40));
        out.extend_from_slice(&[0, 0]);
        short_string(out, parts.exchange);
        short_string(out, parts.routing_key);
        out.push(u8::from(mandatory));
        set_size(out, start);
        self.content(to, parts, parts.properties, large_body);
    }

    /// `basic.deliver` with its content. Strings are short strings, `frame_max` in bytes.
    pub fn basic_deliver(&mut self, to: Recipient<'_>, delivery_tag: u64, delivered: Delivered<'_>) {
        let parts = delivered.message.parts();
        let properties = delivered.properties.unwrap_or(parts.properties);
        let names = to.consumer_tag.len() + parts.exchange.len() + parts.routing_key.len();
        let out = &mut self.bytes;
        out.reserve(DELIVER + CONTENT + names + properties.len() + parts.small_body.len());
        // As few pieces as can be: every message is delivered.
        let [c0, c1] = to.channel.to_be_bytes();
        let [s0, s1, s2, s3] = frame_size(16 + names).to_be_bytes();
        out.extend_from_slice(&[frame::METHOD, c0, c1, s0, s1, s2, s3, 0, 60, 0, 60, short(to.consumer_tag.len())]);
        out.extend_from_slice(to.consumer_tag);
        let [t0, t1, t2, t3, t4, t5, t6, t7] = delivery_tag.to_be_bytes();
        out.extend_from_slice(&[t0, t1, t2, t3, t4, t5, t6, t7, u8::from(delivered.redelivered), short(parts.exchange.len())]);
        out.extend_from_slice(parts.exchange);
        out.push(short(parts.routing_key.len()));
        out.extend_from_slice(parts.routing_key);
        self.content(to, parts, properties, delivered.message.large_body());
    }

    /// `basic.get-ok` with its content.
    pub fn basic_get_ok(&mut self, to: Recipient<'_>, delivery_tag: u64, delivered: Delivered<'_>, message_count: u32) {
        let parts = delivered.message.parts();
        let out = &mut self.bytes;
        let start = begin_method(out, to.channel, (60, 71));
        out.extend_from_slice(&delivery_tag.to_be_bytes());
        out.push(u8::from(delivered.redelivered));
        short_string(out, parts.exchange);
        short_string(out, parts.routing_key);
        out.extend_from_slice(&message_count.to_be_bytes());
        set_size(out, start);
        self.content(to, parts, delivered.properties.unwrap_or(parts.properties), delivered.message.large_body());
    }

    /// `basic.return` with its content.
    pub fn basic_return(&mut self, to: Recipient<'_>, reply_code: u16, reply_text: &str, message: &Message) {
        let (parts, properties) = (message.parts(), message.visible_properties());
        let out = &mut self.bytes;
        let start = begin_method(out, to.channel, (60, 50));
        out.extend_from_slice(&reply_code.to_be_bytes());
        short_string(out, reply_text.as_bytes());
        short_string(out, parts.exchange);
        short_string(out, parts.routing_key);
        set_size(out, start);
        self.content(to, parts, &properties, message.large_body());
    }

    /// Ends the frame of the method, and adds those of its content.
    fn content(&mut self, to: Recipient<'_>, parts: Parts<'_>, properties: &[u8], large_body: &[Bytes]) {
        let body = parts.small_body;
        let body_len = body.len() + large_body.iter().map(Bytes::len).sum::<usize>();
        let out = &mut self.bytes;
        let [c0, c1] = to.channel.to_be_bytes();
        let [s0, s1, s2, s3] = frame_size(12 + properties.len()).to_be_bytes();
        let [b0, b1, b2, b3, b4, b5, b6, b7] = (body_len as u64).to_be_bytes();
        out.extend_from_slice(&[frame::END, frame::HEADER, c0, c1, s0, s1, s2, s3, 0, 60, 0, 0, b0, b1, b2, b3, b4, b5, b6, b7]);
        out.extend_from_slice(properties);
        out.push(frame::END);
        let payload_max = if to.frame_max == 0 { u32::MAX as usize } else { to.frame_max - OVERHEAD };
        for chunk in body.chunks(payload_max) {
            let [s0, s1, s2, s3] = frame_size(chunk.len()).to_be_bytes();
            out.extend_from_slice(&[frame::BODY, c0, c1, s0, s1, s2, s3]);
            out.extend_from_slice(chunk);
            out.push(frame::END);
        }
        if !large_body.is_empty() {
            self.large_body(to.channel, payload_max, body_len, large_body);
        }
    }

    /// Frames of `payload_max` bytes over parts of any size, without copying them.
    fn large_body(&mut self, channel: ChannelNumber, payload_max: usize, body_len: usize, parts: &[Bytes]) {
        let mut left = body_len;
        let mut parts = parts.iter().cloned();
        let mut part = Bytes::new();
        while left > 0 {
            let payload = left.min(payload_max);
            self.bytes.push(frame::BODY);
            self.bytes.extend_from_slice(&channel.to_be_bytes());
            self.bytes.extend_from_slice(&frame_size(payload).to_be_bytes());
            let mut wanted = payload;
            while wanted > 0 {
                if part.is_empty() {
                    part = parts.next().expect("the parts of a body add up to its length");
                }
                let now = part.split_to(part.len().min(wanted));
                wanted -= now.len();
                self.reference(now);
            }
            self.bytes.push(frame::END);
            left -= payload;
        }
    }
}

/// A message as a consumer sees it.
#[derive(Clone, Copy, Debug)]
pub struct Delivered<'a> {
    pub message: &'a Message,
    /// In place of the message's own.
    pub properties: Option<&'a [u8]>,
    pub redelivered: bool,
}

impl<'a> Delivered<'a> {
    /// For the first time and as it was published.
    #[must_use]
    pub fn first(message: &'a Message) -> Self {
        Self { message, properties: None, redelivered: false }
    }
}

/// Where a content goes.
#[derive(Clone, Copy, Debug)]
pub struct Recipient<'a> {
    pub channel: ChannelNumber,
    /// Empty for get-ok and return, which have none.
    pub consumer_tag: &'a [u8],
    /// Negotiated, in bytes; 0 is no limit.
    pub frame_max: usize,
}

fn begin(out: &mut Vec<u8>, kind: u8, channel: ChannelNumber) -> usize {
    let start = out.len();
    let [c0, c1] = channel.to_be_bytes();
    out.extend_from_slice(&[kind, c0, c1, 0, 0, 0, 0]);
    start
}

fn begin_method(out: &mut Vec<u8>, channel: ChannelNumber, (class, method): (u16, u16)) -> usize {
    let start = begin(out, frame::METHOD, channel);
    out.extend_from_slice(&class.to_be_bytes());
    out.extend_from_slice(&method.to_be_bytes());
    start
}

/// Writes the payload's size into the envelope at `start`, and the end octet.
fn end(out: &mut Vec<u8>, start: usize) {
    set_size(out, start);
    out.push(frame::END);
}

/// The same without the end octet.
fn set_size(out: &mut [u8], start: usize) {
    let size = frame_size(out.len() - start - frame::ENVELOPE);
    out[start + 3..start + 7].copy_from_slice(&size.to_be_bytes());
}

fn frame_size(payload: usize) -> u32 {
    u32::try_from(payload).expect("a frame is smaller than 4 GiB")
}

fn short_string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(short(text.len()));
    out.extend_from_slice(text);
}

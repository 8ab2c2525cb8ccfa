//! Received bytes → commands: frames are cut, methods decoded, contents put together (method → header → bodies).
//!
//! ```text
//!  per channel:   idle ──basic.publish──▶ header ──content header──▶ body ──last body──▶ idle (a Publish comes out)
//! ```
//! A publish that has arrived whole is built straight from the received bytes; anything else goes through the machine.

use std::collections::BTreeMap;

use super::assembler::Content;
use super::content::{Fate, LARGE_BODY, Message, Publish};
use super::frame::{self, Envelope, Fault};
use super::method::{self, tag_and_bits};
use super::properties::Properties;
use super::{AMQPClass, ChannelNumber, ReplyCode, connection, table};

/// The largest content that a header may announce, in bytes (behaviour V11).
pub const MAX_ANNOUNCED: u64 = 536_870_912;

/// A connection may hold incomplete contents worth this many messages of the largest size.
const INCOMPLETE_MESSAGES: u64 = 8;

/// How every content header begins: class basic, weight 0.
const CLASS_AND_WEIGHT: [u8; 4] = [0, 60, 0, 0];

/// A method off the hot path.
#[derive(Clone, Debug)]
pub struct Method {
    pub class_method: (u16, u16),
    pub class: AMQPClass,
}

/// What a connection has received, one method with its content at a time.
#[derive(Clone, Debug)]
pub enum Command {
    Publish(ChannelNumber, Publish),
    Ack {
        channel: ChannelNumber,
        delivery_tag: u64,
        multiple: bool,
    },
    Nack {
        channel: ChannelNumber,
        delivery_tag: u64,
        multiple: bool,
        requeue: bool,
    },
    Reject {
        channel: ChannelNumber,
        delivery_tag: u64,
        requeue: bool,
    },
    /// basic.qos; `amq-protocol` does not hand out its prefetch_size (in bytes).
    Qos {
        channel: ChannelNumber,
        prefetch_size: u32,
        prefetch_count: u16,
        global: bool,
    },
    Method(ChannelNumber, Box<Method>),
    /// The connection, or the channel that it names, has to be closed with this.
    Fault(Fault),
    /// What a consumer was given with this tag comes to it a second time. No client says this.
    DeliverAgain {
        channel: ChannelNumber,
        delivery_tag: u64,
    },
}

/// A body frame that is taken in as it arrives, because it is larger than what one read brings.
#[derive(Debug)]
struct Streaming {
    envelope: Envelope,
    left: usize,
    /// What a fault would show of the payload.
    beginning: Vec<u8>,
}

/// One connection's decoder. Feed it bytes in any portions.
#[derive(Debug)]
pub struct Decoder {
    frame_max: usize,
    /// What tune-ok may raise `frame_max` to.
    frame_max_limit: usize,
    max_message_size: u64,
    partial: Vec<u8>,
    streaming: Option<Streaming>,
    contents: BTreeMap<ChannelNumber, Box<Content>>,
    /// Bytes of body in `contents`.
    held: usize,
    /// connection.open has been seen: channels may be used.
    opened: bool,
    out_of_step: bool,
}

enum Step {
    Took(usize),
    Incomplete,
}

impl Decoder {
    /// Sizes in bytes: `initial_frame_max` holds until tune-ok, which may go up to `frame_max` (0: no limit).
    #[must_use]
    pub fn new(initial_frame_max: usize, frame_max: usize, max_message_size: u64) -> Self {
        Self {
            frame_max: initial_frame_max,
            frame_max_limit: if frame_max == 0 { u32::MAX as usize } else { frame_max },
            max_message_size,
            partial: Vec::new(),
            streaming: None,
            contents: BTreeMap::new(),
            held: 0,
            opened: false,
            out_of_step: false,
        }
    }

    /// Bytes held for contents and frames that are not complete yet.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.partial.capacity() + self.held + self.contents.len() * size_of::<Content>()
    }

    /// Gives up what has been received in part: the connection is being closed, and nothing after this is read.
    pub fn abandon(&mut self) {
        self.contents.clear();
        self.held = 0;
        self.partial = Vec::new();
        self.streaming = None;
        self.out_of_step = true;
    }

    /// Gives back the beginning of a frame that is not complete; of one that is taken in as it arrives, how many bytes are still to
    /// come.
    pub fn take_unfinished(&mut self) -> (Vec<u8>, usize) {
        let to_come = self.streaming.as_ref().map_or(0, |streaming| streaming.left + 1);
        (std::mem::take(&mut self.partial), to_come)
    }

    /// Decodes everything complete in what has been received; the rest is kept for the next call.
    pub fn feed(&mut self, mut input: &[u8], commands: &mut Vec<Command>) {
        while !input.is_empty() && !self.out_of_step {
            if self.streaming.is_some() {
                input = self.stream(input, commands);
            } else if !self.partial.is_empty() {
                input = self.complete(input, commands);
            } else {
                match self.frame(input, commands) {
                    Step::Took(n) => input = &input[n..],
                    Step::Incomplete => {
                        self.partial.extend_from_slice(input);
                        return;
                    }
                }
            }
        }
    }

    /// Adds to a frame of which an earlier read brought the beginning.
    fn complete<'a>(&mut self, input: &'a [u8], commands: &mut Vec<Command>) -> &'a [u8] {
        let wanted = match Envelope::read(&self.partial) {
            None => frame::ENVELOPE,
            Some(envelope) => envelope.size + frame::OVERHEAD,
        };
        let (now, rest) = input.split_at(input.len().min(wanted - self.partial.len()));
        self.partial.extend_from_slice(now);
        if self.partial.len() == wanted {
            let mut partial = std::mem::take(&mut self.partial);
            if let Step::Took(n) = self.frame(&partial, commands) {
                partial.drain(..n);
            }
            // A connection that is idle keeps no buffer.
            if !partial.is_empty() {
                self.partial = partial;
            }
        }
        rest
    }

    /// One frame off the front of `input`, or a whole publish.
    fn frame(&mut self, input: &[u8], commands: &mut Vec<Command>) -> Step {
        let Some(envelope) = Envelope::read(input) else { return Step::Incomplete };
        if envelope.size > self.frame_max {
            return self.fault(Fault::frame_too_large(envelope, self.frame_max), commands, input.len());
        }
        let whole = envelope.size + frame::OVERHEAD;
        if input.len() < whole {
            if self.may_stream(envelope) {
                self.streaming = Some(Streaming { envelope, left: envelope.size, beginning: Vec::new() });
                return Step::Took(frame::ENVELOPE);
            }
            return Step::Incomplete;
        }
        let payload = &input[frame::ENVELOPE..whole - 1];
        if input[whole - 1] != frame::END {
            let fault = Fault::invalid_frame_end(envelope, payload, input[whole - 1]);
            return self.fault(fault, commands, input.len());
        }
        match envelope.kind {
            frame::METHOD if payload.len() < 4 => self.fault(Fault::unknown_frame(envelope, payload), commands, whole),
            frame::METHOD if envelope.channel != 0 && !self.opened => {
                self.fault(Fault::unexpected_frame(envelope, payload), commands, whole)
            }
            frame::METHOD => match self.method(envelope.channel, payload, &input[whole..], commands) {
                Ok(more) => Step::Took(whole + more),
                Err(fault) => self.fault(fault, commands, whole),
            },
            frame::HEADER | frame::BODY | frame::HEARTBEAT => {
                let result = match envelope.kind {
                    frame::HEARTBEAT if !payload.is_empty() => Err(Fault::unknown_frame(envelope, payload)),
                    frame::HEARTBEAT if envelope.channel == 0 => Ok(()),
                    frame::HEARTBEAT => Err(Fault::unexpected_frame(envelope, payload)),
                    _ if envelope.channel == 0 => Err(Fault::unexpected_frame(envelope, payload)),
                    frame::HEADER => self.header(envelope.channel, payload, commands),
                    _ => self.body(envelope.channel, payload, commands),
                };
                match result {
                    Ok(()) => Step::Took(whole),
                    Err(fault) => self.fault(fault, commands, whole),
                }
            }
            _ => self.fault(Fault::unknown_frame(envelope, payload), commands, whole),
        }
    }

    fn fault(&mut self, fault: Fault, commands: &mut Vec<Command>, took: usize) -> Step {
        self.out_of_step |= fault.out_of_step;
        self.contents.clear();
        self.held = 0;
        commands.push(Command::Fault(fault));
        Step::Took(took)
    }

    /// Returns how many bytes of `rest` (what follows the frame) were taken as well.
    fn method(&mut self, channel: ChannelNumber, payload: &[u8], rest: &[u8], commands: &mut Vec<Command>) -> Result<usize, Fault> {
        let Some((class_method, arguments)) = method::id(payload) else {
            return Err(Fault::cannot_decode(payload, (0, 0)));
        };
        if !self.contents.is_empty() {
            self.expect_no_content(channel, class_method)?;
        }
        let cannot_decode = || Fault::cannot_decode(arguments, class_method);
        match class_method {
            method::BASIC_PUBLISH => return self.publish(channel, arguments, rest, commands),
            method::BASIC_ACK => {
                let (delivery_tag, bits) = tag_and_bits(arguments).ok_or_else(cannot_decode)?;
                commands.push(Command::Ack { channel, delivery_tag, multiple: bits & 1 != 0 });
            }
            method::BASIC_NACK => {
                let (delivery_tag, bits) = tag_and_bits(arguments).ok_or_else(cannot_decode)?;
                let (multiple, requeue) = (bits & 1 != 0, bits & 2 != 0);
                commands.push(Command::Nack { channel, delivery_tag, multiple, requeue });
            }
            method::BASIC_REJECT => {
                let (delivery_tag, bits) = tag_and_bits(arguments).ok_or_else(cannot_decode)?;
                commands.push(Command::Reject { channel, delivery_tag, requeue: bits & 1 != 0 });
            }
            method::BASIC_QOS => {
                let &[s0, s1, s2, s3, c0, c1, bits] = arguments else { return Err(cannot_decode()) };
                let (prefetch_size, prefetch_count) = (u32::from_be_bytes([s0, s1, s2, s3]), u16::from_be_bytes([c0, c1]));
                commands.push(Command::Qos { channel, prefetch_size, prefetch_count, global: bits & 1 != 0 });
            }
            _ if !method::exists(class_method) => {
                let (class, method) = class_method;
                let text = format!("unknown method {method} of class {class}");
                return Err(Fault::new(ReplyCode::NotImplemented, text, class_method));
            }
            _ => {
                let class = match method::parse(payload) {
                    Ok(class) => class,
                    Err(table::Malformed::TooDeep) => {
                        let text = format!("field table nested more than {} deep", table::MAX_DEPTH);
                        return Err(Fault::new(ReplyCode::SyntaxError, text, class_method));
                    }
                    Err(table::Malformed::TextNotUtf8) => {
                        return Err(Fault::new(ReplyCode::FrameError, "Malformed UTF-8 in shortstr", (0, 0)));
                    }
                    Err(_) => return Err(cannot_decode()),
                };
                match &class {
                    AMQPClass::Connection(connection::AMQPMethod::TuneOk(tune_ok)) => {
                        let asked = tune_ok.frame_max as usize;
                        self.frame_max = if asked == 0 { self.frame_max_limit } else { asked.min(self.frame_max_limit) };
                    }
                    AMQPClass::Connection(connection::AMQPMethod::Open(_)) => self.opened = true,
                    _ => {}
                }
                commands.push(Command::Method(channel, Box::new(Method { class_method, class })));
            }
        }
        Ok(0)
    }

    /// A method came while a content was awaited: an error, unless the channel is being given up (behaviour H9).
    fn expect_no_content(&mut self, channel: ChannelNumber, class_method: (u16, u16)) -> Result<(), Fault> {
        let Some(content) = self.contents.get(&channel) else { return Ok(()) };
        if class_method == method::CHANNEL_CLOSE_OK {
            self.held -= content.memory();
            self.contents.remove(&channel);
            return Ok(());
        }
        Err(if content.body_size.is_none() {
            unexpected("expected content header for class 60, got non content header frame instead")
        } else {
            unexpected("expected content body, got non content body frame instead")
        })
    }

    fn publish(&mut self, channel: ChannelNumber, arguments: &[u8], rest: &[u8], commands: &mut Vec<Command>) -> Result<usize, Fault> {
        let Some(PublishArguments { exchange, routing_key, bits }) = PublishArguments::read(arguments) else {
            return Err(Fault::cannot_decode(arguments, method::BASIC_PUBLISH));
        };
        if channel == 0 {
            let text = "unexpected method in connection state running";
            return Err(Fault::new(ReplyCode::ChannelError, text, method::BASIC_PUBLISH));
        }
        let (mandatory, immediate) = (bits & 1 != 0, bits & 2 != 0);
        if let Some((properties, body, took)) = self.whole_content(channel, rest) {
            let message = Message::new(exchange, routing_key, properties, body);
            commands.push(Command::Publish(channel, Publish { mandatory, immediate, oversize: None, fate: Fate::default(), message }));
            return Ok(took);
        }
        let content = Content { mandatory, immediate, exchange: exchange.into(), routing_key: routing_key.into(), ..Content::default() };
        self.contents.insert(channel, Box::new(content));
        Ok(0)
    }

    /// The common case: header and the only body frame are all there, well-formed and small.
    fn whole_content<'a>(&self, channel: ChannelNumber, rest: &'a [u8]) -> Option<(&'a [u8], &'a [u8], usize)> {
        let (header, after) = self.whole_frame(frame::HEADER, channel, rest)?;
        let (fixed, properties) = header.split_first_chunk::<12>()?;
        if fixed[..4] != CLASS_AND_WEIGHT {
            return None;
        }
        let body_size = u64::from_be_bytes(*fixed[4..].first_chunk::<8>()?);
        if body_size > LARGE_BODY as u64 || body_size > self.max_message_size {
            return None;
        }
        Properties::check(properties).ok()?;
        if body_size == 0 {
            return Some((properties, &[], rest.len() - after.len()));
        }
        let (body, after) = self.whole_frame(frame::BODY, channel, after)?;
        (body.len() as u64 == body_size).then_some((properties, body, rest.len() - after.len()))
    }

    fn whole_frame<'a>(&self, kind: u8, channel: ChannelNumber, input: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
        let envelope = Envelope::read(input)?;
        let end = frame::ENVELOPE + envelope.size;
        if envelope.kind != kind || envelope.channel != channel || envelope.size > self.frame_max || *input.get(end)? != frame::END {
            return None;
        }
        Some((&input[frame::ENVELOPE..end], &input[end + 1..]))
    }

    fn header(&mut self, channel: ChannelNumber, payload: &[u8], commands: &mut Vec<Command>) -> Result<(), Fault> {
        let content = self.awaited(channel)?;
        if content.body_size.is_some() {
            return Err(unexpected("expected content body, got non content body frame instead"));
        }
        let Some((fixed, properties)) = payload.split_first_chunk::<12>() else {
            return Err(Fault::cannot_decode(payload, method::BASIC_PUBLISH));
        };
        let class = u16::from_be_bytes([fixed[0], fixed[1]]);
        if class != method::BASIC {
            return Err(unexpected(&format!("expected content header for class 60, got one for class {class} instead")));
        }
        let weight = &fixed[2..4];
        if weight != [0, 0] {
            return Err(unexpected("expected content header for class 60, got non content header frame instead"));
        }
        let body_size = u64::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7], fixed[8], fixed[9], fixed[10], fixed[11]]);
        if body_size > MAX_ANNOUNCED {
            let text = format!("content body size {body_size} exceeds maximum allowed size {MAX_ANNOUNCED}");
            return Err(Fault::new(ReplyCode::FrameError, text, method::BASIC_PUBLISH));
        }
        if Properties::check(properties).is_err() {
            let text = format!("cannot decode content properties {}", frame::erlang_binary(properties, false));
            return Err(Fault::new(ReplyCode::SyntaxError, text, method::BASIC_PUBLISH));
        }
        let oversize = body_size > self.max_message_size;
        let content = self.awaited(channel)?;
        content.properties = properties.into();
        content.body_size = Some(body_size);
        content.oversize = oversize;
        if body_size == 0 {
            self.finish(channel, commands);
        }
        Ok(())
    }

    fn body(&mut self, channel: ChannelNumber, payload: &[u8], commands: &mut Vec<Command>) -> Result<(), Fault> {
        let content = self.awaited(channel)?;
        let Some(left) = content.left() else {
            return Err(unexpected("expected content header for class 60, got non content header frame instead"));
        };
        if payload.len() as u64 > left {
            let text = "content body frame exceeds remaining content size";
            return Err(Fault::new(ReplyCode::FrameError, text, method::BASIC_PUBLISH));
        }
        let held = content.take_body(payload);
        let complete = content.is_complete();
        self.hold(held)?;
        if complete {
            self.finish(channel, commands);
        }
        Ok(())
    }

    /// Counts bytes of body that are kept until their content is complete, over all channels.
    fn hold(&mut self, bytes: usize) -> Result<(), Fault> {
        self.held += bytes;
        let limit = self.max_message_size.saturating_mul(INCOMPLETE_MESSAGES);
        if self.held as u64 <= limit {
            return Ok(());
        }
        let text = format!("incomplete contents on {} channels exceed {limit} bytes", self.contents.len());
        Err(Fault::new(ReplyCode::ResourceError, text, method::BASIC_PUBLISH))
    }

    fn awaited(&mut self, channel: ChannelNumber) -> Result<&mut Content, Fault> {
        self.contents.get_mut(&channel).map(|content| &mut **content).ok_or_else(|| {
            let text = "expected method frame, got non method frame instead";
            Fault::new(ReplyCode::UnexpectedFrame, text, (0, 0))
        })
    }

    /// The content of this channel is complete.
    fn finish(&mut self, channel: ChannelNumber, commands: &mut Vec<Command>) {
        if let Some(content) = self.contents.remove(&channel) {
            self.held -= content.memory();
            commands.push(Command::Publish(channel, content.into_publish()));
        }
    }

    /// Whether this body frame is awaited and may be taken in piece by piece.
    fn may_stream(&self, envelope: Envelope) -> bool {
        envelope.kind == frame::BODY
            && self.contents.get(&envelope.channel).and_then(|content| content.left()).is_some_and(|left| envelope.size as u64 <= left)
    }

    /// Takes what there is of a streamed body frame; its end octet comes last.
    fn stream<'a>(&mut self, input: &'a [u8], commands: &mut Vec<Command>) -> &'a [u8] {
        let Some(Streaming { envelope, left, mut beginning }) = self.streaming.take() else { return input };
        let (now, rest) = input.split_at(input.len().min(left));
        let missing = frame::SNIPPET + 1 - beginning.len().min(frame::SNIPPET + 1);
        beginning.extend_from_slice(&now[..now.len().min(missing)]);
        let held = self.contents.get_mut(&envelope.channel).map_or(0, |content| content.take_body(now));
        if let Err(fault) = self.hold(held) {
            self.out_of_step = true;
            self.fault(fault, commands, 0);
            return &[];
        }
        let left = left - now.len();
        let (0, Some((&end, rest))) = (left, rest.split_first()) else {
            self.streaming = Some(Streaming { envelope, left, beginning });
            return rest;
        };
        if end != frame::END {
            self.fault(Fault::invalid_frame_end(envelope, &beginning, end), commands, 0);
            return &[];
        }
        if self.contents.get(&envelope.channel).is_some_and(|content| content.is_complete()) {
            self.finish(envelope.channel, commands);
        }
        rest
    }
}

/// The arguments of `basic.publish`.
struct PublishArguments<'a> {
    exchange: &'a [u8],
    routing_key: &'a [u8],
    bits: u8,
}

impl<'a> PublishArguments<'a> {
    fn read(arguments: &'a [u8]) -> Option<Self> {
        let mut rest = arguments;
        table::take(&mut rest, 2).ok()?;
        let exchange = table::short_string(&mut rest).ok()?;
        let routing_key = table::short_string(&mut rest).ok()?;
        let &[bits] = rest else { return None };
        Some(Self { exchange, routing_key, bits })
    }
}

fn unexpected(text: &str) -> Fault {
    Fault::new(ReplyCode::UnexpectedFrame, text, method::BASIC_PUBLISH)
}

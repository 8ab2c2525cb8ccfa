//! What each frame from the server means for the channels and whoever waits.

use std::sync::atomic::Ordering;

use super::BUFFERED_MAX;
use super::error::Error;
use super::frames::{Content, Head};
use super::message::Publication;
use super::state::{ChannelState, Event, Shared, State, Waiter};
use crate::amqp::frame::{self, Envelope};
use crate::amqp::{AMQPClass, ChannelNumber, basic, channel, connection, method};

/// Why no more frames are taken in.
#[derive(Debug)]
pub(super) enum Stop {
    /// The connection was closed in order, and everybody knows.
    Ended,
    /// The server broke the protocol: with this code and text the connection is closed.
    Broken(u16, String),
}

const UNEXPECTED_FRAME: u16 = 505;
const FRAME_ERROR: u16 = 501;
const CHANNEL_ERROR: u16 = 504;
const COMMAND_INVALID: u16 = 503;

impl Stop {
    /// What was received cannot be cut into frames.
    pub(super) fn no_frame(text: String) -> Self {
        Self::Broken(FRAME_ERROR, text)
    }
}

/// Takes in one frame.
pub(super) fn receive(shared: &Shared, state: &mut State, envelope: Envelope, payload: &[u8]) -> Result<(), Stop> {
    let number = envelope.channel;
    match envelope.kind {
        frame::HEARTBEAT => Ok(()),
        frame::METHOD if number == 0 => on_connection(shared, state, payload),
        frame::METHOD => on_channel(shared, state, number, payload),
        _ => {
            let Some(channel) = state.channels.get_mut(&number) else { return Err(no_channel(number)) };
            let Some(content) = &mut channel.content else {
                return Err(Stop::Broken(UNEXPECTED_FRAME, format!("a content on channel {number} without its method")));
            };
            let taken = if envelope.kind == frame::HEADER { content.header(payload) } else { content.body(payload) };
            taken.map_err(|text| Stop::Broken(FRAME_ERROR, text))?;
            if let Some(content) = channel.content.take_if(|content| content.is_complete()) {
                content_complete(shared, state, number, content)?;
            }
            Ok(())
        }
    }
}

fn no_channel(number: ChannelNumber) -> Stop {
    Stop::Broken(CHANNEL_ERROR, format!("a frame on channel {number}, which is not open"))
}

fn malformed((class, method): (u16, u16)) -> Stop {
    Stop::Broken(FRAME_ERROR, format!("method {method} of class {class} with arguments that do not fit"))
}

fn unexpected((class, method): (u16, u16)) -> Stop {
    Stop::Broken(COMMAND_INVALID, format!("method {method} of class {class}, which nothing asked for"))
}

fn parse(payload: &[u8], class_method: (u16, u16)) -> Result<AMQPClass, Stop> {
    method::parse(payload).map_err(|_| malformed(class_method))
}

fn on_connection(shared: &Shared, state: &mut State, payload: &[u8]) -> Result<(), Stop> {
    use connection::AMQPMethod as M;
    let Some((class_method, _)) = method::id(payload) else { return Err(malformed((0, 0))) };
    let AMQPClass::Connection(method) = parse(payload, class_method)? else { return Err(unexpected(class_method)) };
    match method {
        M::Close(close) => {
            state.output.method(0, &AMQPClass::Connection(M::CloseOk(connection::CloseOk {})));
            let error = Error::Closed {
                by_server: true,
                code: close.reply_code,
                text: close.reply_text.to_string(),
                class: close.class_id,
                method: close.method_id,
                channel: None,
            };
            shared.end_locked(state, &error);
            Err(Stop::Ended)
        }
        M::CloseOk(_) if state.closing => {
            shared.end_locked(state, &Error::closed(None));
            Err(Stop::Ended)
        }
        M::Blocked(blocked) => {
            shared.blocked.send_replace(Some(blocked.reason.to_string()));
            Ok(())
        }
        M::Unblocked(_) => {
            shared.blocked.send_replace(None);
            Ok(())
        }
        _ => Err(unexpected(class_method)),
    }
}

fn on_channel(shared: &Shared, state: &mut State, number: ChannelNumber, payload: &[u8]) -> Result<(), Stop> {
    let Some((class_method, arguments)) = method::id(payload) else { return Err(malformed((0, 0))) };
    let Some(channel) = state.channels.get_mut(&number) else { return Err(no_channel(number)) };
    if channel.content.is_some() {
        return Err(Stop::Broken(UNEXPECTED_FRAME, format!("a method on channel {number} in the middle of a content")));
    }
    match class_method {
        method::BASIC_DELIVER | method::BASIC_GET_OK | method::BASIC_RETURN => {
            channel.content = Some(Content::new(Head::read(class_method, arguments).ok_or_else(|| malformed(class_method))?));
            Ok(())
        }
        method::BASIC_ACK | method::BASIC_NACK => {
            let (tag, bits) = method::tag_and_bits(arguments).ok_or_else(|| malformed(class_method))?;
            let confirms = channel.confirms.as_mut().ok_or_else(|| unexpected(class_method))?;
            let settled = confirms.settle(tag, bits & 1 != 0, class_method == method::BASIC_ACK);
            settled.map_err(|text| Stop::Broken(COMMAND_INVALID, text))
        }
        _ => match parse(payload, class_method)? {
            AMQPClass::Channel(channel::AMQPMethod::Close(close)) => {
                closed(state, number, &close);
                shared.make_room();
                Ok(())
            }
            AMQPClass::Channel(channel::AMQPMethod::Flow(flow)) => {
                // RabbitMQ has not sent one since 2.0: it holds publishers back by TCP.
                let flow_ok = channel::FlowOk { active: flow.active };
                state.output.method(number, &AMQPClass::Channel(channel::AMQPMethod::FlowOk(flow_ok)));
                Ok(())
            }
            AMQPClass::Basic(basic::AMQPMethod::Cancel(cancel)) => {
                let tag = cancel.consumer_tag.as_str();
                if let Some(consumer) = channel.consumers.remove(tag.as_bytes()) {
                    consumer.tell(Event::Cancelled { by_broker: true });
                }
                if !cancel.nowait {
                    let cancel_ok = basic::CancelOk { consumer_tag: cancel.consumer_tag };
                    state.output.method(number, &AMQPClass::Basic(basic::AMQPMethod::CancelOk(cancel_ok)));
                }
                Ok(())
            }
            reply => replied(shared, state, number, class_method, reply),
        },
    }
}

/// The server has closed a channel.
fn closed(state: &mut State, number: ChannelNumber, close: &channel::Close) {
    state.output.method(number, &AMQPClass::Channel(channel::AMQPMethod::CloseOk(channel::CloseOk {})));
    let error = Error::Closed {
        by_server: true,
        code: close.reply_code,
        text: close.reply_text.to_string(),
        class: close.class_id,
        method: close.method_id,
        channel: Some(number),
    };
    let Some(mut channel) = state.channels.remove(&number) else { return };
    if channel.closing {
        // Both at once: the server answers ours as well, and only then may the number be used again.
        let ours = channel.calls.pop_back();
        let again = ChannelState { closing: true, calls: ours.into_iter().collect(), ..ChannelState::new() };
        state.channels.insert(number, again);
    }
    channel.fail(&error);
}

/// The reply to something that was asked.
fn replied(shared: &Shared, state: &mut State, number: ChannelNumber, class_method: (u16, u16), reply: AMQPClass) -> Result<(), Stop> {
    let Some(channel) = state.channels.get_mut(&number) else { return Err(no_channel(number)) };
    let tag = match &reply {
        AMQPClass::Basic(basic::AMQPMethod::ConsumeOk(consume_ok)) => Some(consume_ok.consumer_tag.as_str().as_bytes()),
        AMQPClass::Basic(basic::AMQPMethod::CancelOk(cancel_ok)) => Some(cancel_ok.consumer_tag.as_str().as_bytes()),
        _ => None,
    };
    let answers = if class_method == method::BASIC_GET_EMPTY { method::BASIC_GET_OK } else { class_method };
    let Some(waiter) = channel.answered(answers, tag) else { return Err(unexpected(class_method)) };
    if let AMQPClass::Basic(basic::AMQPMethod::CancelOk(cancel_ok)) = &reply {
        if let Some(consumer) = channel.consumers.remove(cancel_ok.consumer_tag.as_str().as_bytes()) {
            let event = if consumer.overrun { Event::Overrun } else { Event::Cancelled { by_broker: false } };
            consumer.tell(event);
        }
    } else if class_method == method::CHANNEL_CLOSE_OK {
        let error = Error::closed(Some(number));
        state.channels.remove(&number).into_iter().for_each(|channel| channel.fail(&error));
        shared.make_room();
    }
    match waiter {
        Waiter::Reply(waiter) => drop(waiter.send(Ok(reply))),
        Waiter::Get(waiter) => drop(waiter.send(Ok(None))),
        Waiter::Nobody => {}
    }
    Ok(())
}

fn content_complete(shared: &Shared, state: &mut State, number: ChannelNumber, content: Content) -> Result<(), Stop> {
    let Some(channel) = state.channels.get_mut(&number) else { return Err(no_channel(number)) };
    let (head, properties, body) = content.finish();
    match head {
        Head::Deliver(delivery) => {
            // A consumer that the server has just cancelled may be sent something still.
            let Some(consumer) = channel.consumers.get_mut(&delivery.consumer_tag) else { return Ok(()) };
            let (size, tag, no_ack) = (delivery.size(), delivery.delivery_tag, consumer.no_ack);
            if let Some(events) = &consumer.events {
                // Counted before it can be taken.
                consumer.buffered.fetch_add(size, Ordering::SeqCst);
                shared.buffered.fetch_add(size, Ordering::SeqCst);
                let _ = events.send(Event::Delivery(delivery));
            } else if !no_ack && !channel.closing {
                state.give_back(number, tag);
            }
        }
        Head::GetOk(delivery) => {
            let waiter = channel.answered(method::BASIC_GET_OK, None);
            let Some(Waiter::Get(waiter)) = waiter else { return Err(unexpected(method::BASIC_GET_OK)) };
            let _ = waiter.send(Ok(Some(delivery)));
        }
        Head::Return { exchange, routing_key, returned } => {
            // Without confirms nobody can be told.
            if let Some(confirms) = &mut channel.confirms {
                confirms.returned(returned, &Publication { exchange, routing_key, mandatory: true, properties, body });
            }
        }
    }
    Ok(())
}

/// Cancels the consumer without acknowledgements for which most waits, when there is too much. What comes for it is bounded from
/// then on; if that is not enough, the next read finds the next one.
pub(super) fn shed(shared: &Shared, state: &mut State) {
    if shared.buffered.load(Ordering::SeqCst) <= BUFFERED_MAX {
        return;
    }
    let channels = state.channels.iter_mut().filter(|(_, channel)| !channel.closing);
    let consumers = channels.flat_map(|(number, channel)| channel.consumers.iter_mut().map(move |(tag, c)| (*number, tag, c)));
    let greedy = consumers.filter(|(.., consumer)| consumer.no_ack && consumer.events.is_some());
    let Some((number, tag, consumer)) = greedy.max_by_key(|(.., c)| c.buffered.load(Ordering::SeqCst)) else { return };
    if !std::mem::replace(&mut consumer.overrun, true) {
        let tag = tag.clone();
        state.cancel(number, &tag, Waiter::Nobody);
    }
}

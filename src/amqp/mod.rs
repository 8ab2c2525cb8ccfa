//! The language, AMQP 0-9-1: frames, methods, contents, reply codes. Pure; knows no broker.
//!
//! `amq-protocol` parses and generates the methods off the hot path. The envelope, `basic.publish`,
//! settlements, content headers and deliveries are ours, checked against it by property tests.

mod assembler;
pub mod content;
pub mod decoder;
pub mod encoder;
pub mod frame;
pub mod method;
pub mod properties;
mod reply_code;
pub mod table;

pub use content::{Confirm, Fate, Goes, Marks, Message, Publish};
pub use decoder::{Command, Decoder, Method};
pub use encoder::Output;
pub use frame::Fault;
pub use reply_code::ReplyCode;

pub use amq_protocol::protocol::{AMQPClass, access, basic, channel, confirm, connection, exchange, queue, tx};
pub use amq_protocol::types::{AMQPValue, FieldArray, FieldTable, LongString, ShortString};

/// A channel number on the wire; 0 is the connection itself.
pub type ChannelNumber = u16;

/// The smallest frame_max that AMQP 0-9-1 allows, in bytes, and what is in force before tune-ok in RabbitMQ 3.x.
pub const FRAME_MIN_SIZE: usize = 4096;

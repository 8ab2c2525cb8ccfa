//! A client of AMQP 0-9-1 of our own, on tokio: for what the process says to its own broker, and for shovels to others.
//!
//! ```text
//!   Connection, Channel, Consumer ──▶ State (one lock) ──▶ writing task ──▶ peer
//!            ▲ replies, confirms, deliveries ── State ◀── reading task ◀──┘
//! ```
//! One task reads and one writes. What is to be sent is gathered while the last write lasts, so many publishes are one
//! write; who has more to send waits while [`OUTPUT_HIGH`] bytes do.
//!
//! # When it does not read
//! Deliveries wait in the queue of their consumer until it is polled. With acknowledgements the prefetch bounds how many there
//! are; a channel without a prefetch is given [`DEFAULT_PREFETCH`]. Without acknowledgements only TCP can hold the broker back, so
//! nothing is read while more than [`BUFFERED_HIGH`] bytes wait, *unless somebody waits for what only reading can bring*: a
//! reply, a confirm, a delivery of another consumer. So a consumer that nobody polls never holds up another channel, however
//! much waits for it; beyond [`BUFFERED_MAX`] bytes such a consumer without acknowledgements is cancelled: what was sent is still
//! delivered, then its owner gets an error, and the rest stays in the queue. Who consumes faster than it works, without
//! acknowledgements, and waits for confirms meanwhile, is better off with two connections.

mod channel;
mod confirms;
mod connection;
mod consumer;
mod dispatch;
mod error;
mod frames;
mod handshake;
mod message;
mod options;
mod state;
mod tasks;
pub mod uri;

pub use channel::Channel;
pub use confirms::PendingConfirm;
pub use connection::Connection;
pub use consumer::Consumer;
pub use error::Error;
pub use message::{Confirmation, Consume, Delivery, Publication, Returned};
pub use options::Options;

/// Bytes that wait to be written above which senders wait.
pub const OUTPUT_HIGH: usize = 1024 * 1024;
/// Bytes of deliveries that nobody has taken above which nothing is read unless somebody waits.
pub const BUFFERED_HIGH: usize = 4 * 1024 * 1024;
/// Bytes of deliveries above which consumers without acknowledgements are cancelled.
pub const BUFFERED_MAX: usize = 64 * 1024 * 1024;
/// Deliveries that may wait for their settlement on a channel whose owner has not said how many.
pub const DEFAULT_PREFETCH: u16 = 1000;

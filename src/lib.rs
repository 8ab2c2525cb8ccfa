//! leveret: a RabbitMQ-compatible AMQP 0-9-1 message broker.
//!
//! Reading order: [`amqp`] is the language; [`broker`] the core, one virtual host as a pure function of its inputs;
//! [`node`] what is shared by virtual hosts, as pure; [`storage`] what survives a restart; [`server`] the shell with the
//! sockets; [`management`] the HTTP API around it; [`embed`] a whole broker in a program of one's own; [`ctl`] the commands that
//! use it; [`client`] speaks AMQP to a broker, as [`shovel`] does; [`config`] what all of it can be told; [`conformance`] judges
//! brokers by transcripts; [`recording`] keeps what connections say. One publish goes `server::connection` → `amqp::decoder` → `server::broker_loop` →
//! `broker::channel::publish` → `broker::exchange` → `broker::queue` → `broker::delivery`.

pub mod amqp;
pub mod broker;
pub mod client;
pub mod config;
pub mod conformance;
pub mod ctl;
pub mod embed;
pub mod management;
pub mod node;
pub mod recording;
pub mod server;
pub mod shovel;
pub mod storage;
pub mod telemetry;
pub(crate) mod transcript;

pub use embed::{Broker, Builder, Connector, QueueState, Stream};
pub use server::StartError;

//! Text transcripts, played against a broker: leveret in the test process, or anything that speaks AMQP 0-9-1 over TCP; and
//! `leveret conformance`, which plays those of tests/broker/scenarios, that are part of the binary (docs/CONFORMANCE.md).
//!
//! A file is a list of scenarios:
//!
//! ```text
//! === Q13 drop-head drops the oldest ready message
//! # Comments say why.
//! c1> queue.declare queue=q arguments={"x-max-length": 1}
//! c1< queue.declare-ok queue=q message_count=0 consumer_count=0
//! c1> basic.publish routing_key=q body="a"
//! c1> basic.publish routing_key=q body="b"
//! c1> basic.get queue=q
//! c1< basic.get-ok delivery_tag=1 routing_key=q message_count=0 body="b"
//! ```
//!
//! **Groups.** Consecutive `>` and `:` lines are sent together. The `<` lines after them are *everything* the broker answers, on any
//! connection, printed canonically: by connection and channel (channel 0, where connections end, last), zero and empty arguments
//! left out. A blank line ends a group that has no answer. Confirms are collected into sets (`c1< confirmed 1-3`, `c1< nacked 2`), since
//! brokers batch them differently; they come last in their group, but never after a basic.return that followed them.
//!
//! **Lines.** `c1>` is channel 1 of connection c1, `c1.2>` channel 2. Both open by themselves at first use; a channel that was closed needs a
//! `channel.open`. A `channel.close` or `connection.close` of the broker is answered by itself. Instead of a method:
//! `raw 01 0001 "text" ff*10` (bytes as they are), `frame 1 <bytes>` (type, payload; the envelope is right), `header class_id=60 body_size=5
//! priority=1`, `body <bytes>`, `only basic.publish …` (the method without its content). `c1>~` repeats a line until the answer is the expected one,
//! for effects nothing orders (a connection lost). `$gen1`, `$ctag1`, `$reply1` stand for names the broker made up.
//!
//! An expected line may leave a part open with `…`.
//!
//! **Directives.** `c1: user=… password=… mechanism=… vhost=… capabilities=none frame_max=… channel_max=… heartbeat=…` connects that way;
//! `c1: handshake=none` only opens the socket. `c1: drop` abandons the socket, `c1: hold-close` leaves channel.close unanswered, `c1: unopened 7`
//! stops channel 7 from opening by itself, `c1: nosync 1` keeps the runner's own methods off a channel in the middle of a content,
//! `c1: await closed` and `c1: await heartbeat` wait for these. `c1: wait 300` lets that many milliseconds pass, between what stands above
//! and below it in its group; what the broker says because of it is expected after the group. `c1: ctl set_policy p "^q" {"max-length": 1}
//! --apply-to queues` asks what only an administrator may: the words are `rabbitmqctl`'s, over TCP they follow the command that
//! was given for that (without one, scenarios with a `ctl` are left out). Users, limits of the virtual host,
//! policies and tracing are gone after the scenario. What stands
//! above a `wait` or `ctl` in its group may still be under way when it begins. After a group, the runner asks for the queues passively, which
//! counts as a use of them for x-expires.
//!
//! **Markers** under a title: `# differs: 3.10 …` (that version does otherwise; a `--- 3.10` line starts its own variant, without one it
//! is left out there; `3.10,3.13` are two), `# better: …` (leveret helps where RabbitMQ does not), `# sockets: …` (needs time to pass or a real
//! socket), `# strict: …` (only where deprecated features are refused), `# exact: …` (by the millisecond).
//!
//! Recording rewrites the `<` lines with what the broker said.

mod channel;
mod command;
mod ctl;
mod handshake;
mod janitor;
mod json;
mod link;
mod names;
mod opinion;
mod play;
mod release;
mod report;
mod rows;
mod run;
mod script;
mod sending;
mod suite;
mod table;
#[cfg(test)]
mod tests;
mod transport;
mod wildcard;

pub use command::Conformance;
pub use play::Difference;
pub use report::{Played, Report, Verdict};
pub use run::{Options, run_all};
pub use suite::Transcript;
pub use transport::{Arrival, Broker, Tcp, Transport};

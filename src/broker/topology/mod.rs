//! exchange.* and queue.*: what exists in a virtual host, and how it ends.

mod bindings;
mod exchanges;
mod queues;

pub(super) use exchanges::{NewExchange, check_not_default};
pub(super) use queues::NewQueue;

//! exchange.* and queue.*: what exists in a virtual host, and how it ends.

mod bindings;
mod exchanges;
mod queues;

pub(super) use exchanges::check_not_default;

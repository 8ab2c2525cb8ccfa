//! exchange.* and queue.*: what exists in a virtual host, and how it ends.

mod bindings;
mod exchanges;
mod queues;

//! Brokers in a program of one's own: how they start and end, many beside each other, connections within the process.

mod ending;
mod in_process;
mod many;
mod starting;
mod state;
mod support;

//! What is the node's and not one virtual host's: users, virtual hosts, negotiation, alarms. As pure as the core.

pub mod alarms;
pub mod handshake;
pub mod users;

use std::sync::Arc;

use crate::broker::Settings;
use users::Users;

/// What a handshake needs to know of the node; immutable while the node runs.
#[derive(Debug)]
pub struct Node {
    pub settings: Arc<Settings>,
    pub users: Users,
    /// How many connections the node takes (behaviour C21).
    pub connection_max: Option<usize>,
    /// The names of the virtual hosts.
    pub vhosts: Vec<Arc<str>>,
    pub tune: Tune,
}

/// What connection.tune proposes (behaviour C11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tune {
    /// 0 is no limit.
    pub channel_max: u16,
    /// Bytes; 0 is no limit.
    pub frame_max: u32,
    /// Seconds; 0 is off.
    pub heartbeat_s: u16,
    /// Bytes; what holds until tune-ok (behaviour C13).
    pub initial_frame_max: u32,
}

impl Default for Tune {
    fn default() -> Self {
        Self { channel_max: 2047, frame_max: 131_072, heartbeat_s: 60, initial_frame_max: 8192 }
    }
}

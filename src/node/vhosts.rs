//! What is known of a virtual host beside what is in it (behaviour P8, P10).

use std::sync::Arc;

use crate::broker::Limits;
use crate::broker::queue::QueueType;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vhost {
    pub name: Arc<str>,
    pub description: String,
    pub tags: Vec<String>,
    pub default_queue_type: Option<QueueType>,
    pub protected_from_deletion: bool,
    pub limits: VhostLimits,
    /// The firehose is on (behaviour O11).
    pub tracing: bool,
}

/// `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VhostLimits {
    pub max_connections: Option<u64>,
    pub max_queues: Option<u64>,
}

impl Vhost {
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// What its broker has to know of it.
    #[must_use]
    pub fn for_broker(&self) -> Limits {
        Limits { max_queues: self.limits.max_queues, default_queue_type: self.default_queue_type }
    }
}

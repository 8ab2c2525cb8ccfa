//! What a broker is told at its start: limits, and which RabbitMQ release's version-dependent behaviour it shows.

use std::sync::Arc;

use super::queue::QueueType;
use super::queue::effective::Overflow;

/// How quorum queues order messages of different priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuorumPriorities {
    /// Not at all: before RabbitMQ 4.0.
    None,
    /// Above 4 is high: two of those go before one of the others.
    TwoToOne,
    /// 0 to 31, the highest first: since 4.3.
    Strict,
}

/// The version-dependent behaviours (V1–V25 of the specification) that concern what exists so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// What connection.start says in `version`.
    pub version: &'static str,
    /// V1, in bytes.
    pub frame_max_min: u32,
    /// V3: every unknown protocol header is answered with `AMQP 0 0 9 1`.
    pub always_answers_0_9_1: bool,
    /// V5: AMQP 0-8 (`AMQP 1 1 8 0`) is accepted.
    pub accepts_0_8: bool,
    /// V6: offers ANONYMOUS.
    pub anonymous: bool,
    /// V7: an unknown exchange type closes the connection with 503.
    pub unknown_exchange_type_is_503: bool,
    /// V8: texts about a missing permission say which.
    pub refusals_name_permission: bool,
    /// V9: passive declares need a permission, any of the three.
    pub passive_declare_checked: bool,
    /// V13: delivery_mode must be 1 or 2.
    pub delivery_mode_checked: bool,
    /// V14: a transient queue that is not exclusive is refused.
    pub transient_nonexcl_queues_denied: bool,
    /// V15: basic.qos with global=true counts as global=false.
    pub global_qos_ignored: bool,
    /// V20: a reply to a requester that is gone counts as routed.
    pub gone_requester_counts_as_routed: bool,
    /// V23: how many `#` a topic binding key may have.
    pub topic_wildcards_max: Option<usize>,
    /// V12, in bytes.
    pub max_message_size: u64,
    /// V16: how often a message of a quorum queue may come back when nothing is said about it.
    pub delivery_limit: Option<u32>,
    /// V16: basic.nack with requeue counts towards the delivery limit, too.
    pub nack_counts: bool,
    /// Q18: a single active consumer of a quorum queue gives way to one of a higher priority.
    pub priority_takes_over: bool,
    /// Deliveries of quorum queues have x-acquired-count.
    pub acquired_count: bool,
    /// Q17: the priorities that quorum queues know.
    pub quorum_priorities: QuorumPriorities,
    /// V25: x-queue-version 1 is refused.
    pub queue_version_1_refused: bool,
    /// V17: the consumer timeout holds for queues of all types, not for quorum queues alone.
    pub consumer_timeout_of_all: bool,
    /// V17: the consumer is cancelled where the client understands it, and the channel goes on.
    pub consumer_timeout_cancels: bool,
    /// V18: an x-death that a client has sent is taken for real.
    pub x_death_of_clients_counts: bool,
    /// V19: dead letters have x-last-death-*.
    pub x_last_death: bool,
    /// V24: asking whether the broker is alive declares a queue for it.
    pub aliveness_declares_queue: bool,
    /// V21: a reader of a stream may reject, which is as good as an ack.
    pub stream_takes_nack: bool,
}

impl Profile {
    /// RabbitMQ 4.x as it is, except that nothing deprecated is refused and old frame sizes are taken.
    pub const PERMISSIVE: Self = Self {
        version: "4.3.5",
        frame_max_min: 4096,
        always_answers_0_9_1: false,
        accepts_0_8: false,
        anonymous: true,
        unknown_exchange_type_is_503: false,
        refusals_name_permission: true,
        passive_declare_checked: true,
        delivery_mode_checked: false,
        transient_nonexcl_queues_denied: false,
        global_qos_ignored: false,
        gone_requester_counts_as_routed: true,
        topic_wildcards_max: None,
        max_message_size: 16 * 1024 * 1024,
        delivery_limit: Some(20),
        nack_counts: false,
        acquired_count: true,
        priority_takes_over: true,
        quorum_priorities: QuorumPriorities::Strict,
        queue_version_1_refused: false,
        consumer_timeout_of_all: false,
        consumer_timeout_cancels: true,
        x_death_of_clients_counts: false,
        x_last_death: true,
        aliveness_declares_queue: false,
        stream_takes_nack: true,
    };

    /// The profile with this name: `3.13`, `4.0`, `4.1`, `4.3`, or `permissive`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let v4_0 = Self {
            version: "4.0.9",
            passive_declare_checked: false,
            gone_requester_counts_as_routed: false,
            nack_counts: true,
            acquired_count: false,
            quorum_priorities: QuorumPriorities::TwoToOne,
            queue_version_1_refused: true,
            consumer_timeout_of_all: true,
            consumer_timeout_cancels: false,
            ..Self::PERMISSIVE
        };
        Some(match name {
            "permissive" => Self::PERMISSIVE,
            "3.13" => Self {
                version: "3.13.7",
                always_answers_0_9_1: true,
                accepts_0_8: true,
                anonymous: false,
                unknown_exchange_type_is_503: true,
                refusals_name_permission: false,
                delivery_mode_checked: true,
                max_message_size: 128 * 1024 * 1024,
                delivery_limit: None,
                priority_takes_over: false,
                quorum_priorities: QuorumPriorities::None,
                queue_version_1_refused: false,
                x_death_of_clients_counts: true,
                x_last_death: false,
                aliveness_declares_queue: true,
                stream_takes_nack: false,
                ..v4_0
            },
            "4.0" => v4_0,
            "4.1" => Self { version: "4.1.8", frame_max_min: 8192, ..v4_0 },
            "4.3" => Self {
                queue_version_1_refused: true,
                frame_max_min: 8192,
                transient_nonexcl_queues_denied: true,
                global_qos_ignored: true,
                topic_wildcards_max: Some(2),
                ..Self::PERMISSIVE
            },
            _ => return None,
        })
    }

    /// The names that [`Profile::named`] knows.
    pub const NAMES: [&'static str; 5] = ["permissive", "3.13", "4.0", "4.1", "4.3"];
}

/// What the node is called where nothing is said.
pub const NODE_NAME: &str = "leveret@localhost";

/// What is the same for every virtual host of a node.
#[derive(Clone, Debug)]
pub struct Settings {
    pub profile: Profile,
    /// What the node is called where RabbitMQ names its own.
    pub node_name: Arc<str>,
    /// What clients are told that the cluster is called.
    pub cluster_name: Arc<str>,
    /// Larger messages are refused with 406, in bytes.
    pub max_message_size: u64,
    /// The bound of a queue that is declared without one, in ready messages.
    pub default_max_length: Option<u64>,
    /// The same in bytes of ready bodies.
    pub default_max_length_bytes: Option<u64>,
    /// What such a queue does at its bound.
    pub default_overflow: Overflow,
    /// The type of a queue that is declared without x-queue-type, where it can be of that type (behaviour Q19).
    pub default_queue_type: QueueType,
    /// How long a delivery may wait for its settlement, in milliseconds (V17).
    pub consumer_timeout: Option<u64>,
    /// How many consumers a channel may have (behaviour B14).
    pub consumer_max_per_channel: Option<usize>,
    /// How many channels there may be, counted in each virtual host; `None` is no limit.
    pub channel_max_per_node: Option<usize>,
    /// Bytes that may wait for a connection's socket before its consumers are given no more.
    pub outbox_high: usize,
    /// Bytes of memory that the head of a queue may take before what is behind it is left to the disk.
    pub page_window: u64,
    /// Whether the firehose is on from the start (behaviour O11).
    pub tracing: bool,
    /// Whether there is an event exchange (behaviour O12).
    pub event_exchange: bool,
    /// Whether it is counted who publishes to which exchange, which queues that goes to, and whom they give it to.
    pub detailed_rates: bool,
}

/// What an administrator may limit in one virtual host (behaviour P8, P10).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// How many queues there may be, of all kinds.
    pub max_queues: Option<u64>,
    /// Goes before the node's.
    pub default_queue_type: Option<QueueType>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_message_size: Profile::PERMISSIVE.max_message_size,
            profile: Profile::PERMISSIVE,
            node_name: NODE_NAME.into(),
            cluster_name: NODE_NAME.into(),
            default_max_length: None,
            default_max_length_bytes: None,
            default_overflow: Overflow::default(),
            default_queue_type: QueueType::default(),
            consumer_timeout: Some(1_800_000),
            consumer_max_per_channel: None,
            channel_max_per_node: None,
            outbox_high: 1024 * 1024,
            page_window: 2 * 1024 * 1024,
            tracing: false,
            event_exchange: false,
            detailed_rates: false,
        }
    }
}

//! What connections, their channels and their consumers look like from outside.

use std::sync::Arc;

use crate::amqp::FieldTable;
use crate::broker::channel::Channel;
use crate::broker::connection::Connection;
use crate::broker::counters::ChannelCounters;
use crate::broker::queue::{Consumer, ConsumerId};
use crate::broker::{Broker, ConnectionId, Origin, Timestamp};

/// What RabbitMQ says of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionState {
    Running,
    /// There is an alarm, and it will be blocked when it publishes.
    Blocking,
    Blocked,
    /// It has been sent connection.close, or has had its answer to one.
    Closing,
}

impl ConnectionState {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Blocking => "blocking",
            Self::Blocked => "blocked",
            Self::Closing => "closing",
        }
    }
}

/// A connection.
#[derive(Clone, Debug)]
pub struct ConnectionView {
    /// Its place, which another one may have after it.
    pub id: ConnectionId,
    /// Counts all connections of the virtual host that there have been.
    pub serial: u64,
    pub user: Arc<str>,
    pub origin: Origin,
    /// Negotiated, in bytes; 0 is no limit.
    pub frame_max: usize,
    /// Negotiated; 0 is no limit.
    pub channel_max: u16,
    pub channels: usize,
    pub state: ConnectionState,
    pub connected_at: Timestamp,
    /// Bytes that wait for its socket.
    pub pending: usize,
    /// Whether it has ever published.
    pub published: bool,
}

/// An open channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelView {
    pub connection: ConnectionId,
    pub number: u16,
    pub confirm: bool,
    pub transactional: bool,
    /// For consumers to come; 0 is no limit.
    pub prefetch_count: u16,
    /// Of the channel as a whole; 0 is no limit.
    pub global_prefetch_count: u16,
    pub consumer_count: usize,
    pub unacked: usize,
    /// Publishes without a confirm yet.
    pub unconfirmed: u64,
    /// Publishes in a transaction.
    pub uncommitted: usize,
    /// Messages acknowledged in a transaction.
    pub acks_uncommitted: usize,
    /// When the client last did something here, or was given something.
    pub idle_since: Timestamp,
    pub counters: ChannelCounters,
}

/// Whether a consumer gets messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActivityStatus {
    Up,
    SingleActive,
    /// Another one is the single active consumer.
    Waiting,
}

impl ActivityStatus {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::SingleActive => "single_active",
            Self::Waiting => "waiting",
        }
    }
}

/// A consumer of a queue.
#[derive(Clone, Debug, PartialEq)]
pub struct ConsumerView {
    pub queue: Arc<str>,
    pub tag: Box<str>,
    pub connection: ConnectionId,
    pub channel: u16,
    pub ack_required: bool,
    pub exclusive: bool,
    /// 0 is no limit.
    pub prefetch: u16,
    pub priority: i64,
    pub status: ActivityStatus,
    pub unacked: u32,
    /// How long a delivery may wait for its settlement, in milliseconds.
    pub timeout: Option<u64>,
    pub arguments: FieldTable,
}

impl ConsumerView {
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.status != ActivityStatus::Waiting
    }
}

impl Broker {
    /// Every connection, by id; not those of the node to itself.
    #[must_use]
    pub fn connection_views(&self) -> Vec<ConnectionView> {
        self.all_connections().filter(|(id, _)| !self.is_own(*id)).map(|(id, connection)| self.view_of_connection(id, connection)).collect()
    }

    #[must_use]
    pub fn connection_view(&self, id: ConnectionId) -> Option<ConnectionView> {
        self.connections.get(id.index())?.as_ref().map(|connection| self.view_of_connection(id, connection))
    }

    /// Every channel that is open, by connection and number; not those of the node to itself.
    #[must_use]
    pub fn channel_views(&self) -> Vec<ChannelView> {
        self.all_channels()
            .filter(|(id, _, _)| !self.is_own(*id))
            .map(|(connection, number, channel)| channel.view(connection, number))
            .collect()
    }

    /// Every consumer, by queue, connection, channel and tag.
    #[must_use]
    pub fn consumer_views(&self) -> Vec<ConsumerView> {
        self.consumer_views_where(|_| true)
    }

    /// Those of a queue; none if there is no such queue.
    #[must_use]
    pub fn consumers_of_queue(&self, name: &str) -> Vec<ConsumerView> {
        let queue = self.queue_names.get(name).copied();
        self.consumer_views_where(|consumer| Some(consumer.queue) == queue)
    }

    #[must_use]
    pub fn consumers_of_channel(&self, connection: ConnectionId, channel: u16) -> Vec<ConsumerView> {
        self.consumer_views_where(|consumer| (consumer.connection, consumer.channel) == (connection, channel))
    }

    fn consumer_views_where(&self, is_meant: impl Fn(&Consumer) -> bool) -> Vec<ConsumerView> {
        let meant = self.consumers.iter().filter(|(_, consumer)| is_meant(consumer));
        let mut all: Vec<ConsumerView> = meant.filter_map(|(id, consumer)| self.consumer_view(id, consumer)).collect();
        let order = |view: &ConsumerView| (Arc::clone(&view.queue), view.connection, view.channel);
        all.sort_unstable_by(|a, b| order(a).cmp(&order(b)).then_with(|| a.tag.cmp(&b.tag)));
        all
    }

    pub(super) fn all_connections(&self) -> impl Iterator<Item = (ConnectionId, &Connection)> {
        (0u32..).zip(&self.connections).filter_map(|(id, slot)| Some((ConnectionId(id), slot.as_ref()?)))
    }

    /// Whether the node is at the other end.
    pub(in crate::broker) fn is_own(&self, id: ConnectionId) -> bool {
        self.connections.get(id.index()).and_then(Option::as_ref).is_some_and(|connection| connection.opened.origin.is_own)
    }

    /// Those that are open.
    pub(super) fn all_channels(&self) -> impl Iterator<Item = (ConnectionId, u16, &Channel)> {
        let channels = self.all_connections().flat_map(|(id, connection)| connection.channels.iter().map(move |(n, c)| (id, *n, &**c)));
        channels.filter(|(_, _, channel)| !channel.is_closing())
    }

    fn view_of_connection(&self, id: ConnectionId, connection: &Connection) -> ConnectionView {
        let opened = &connection.opened;
        let state = if !connection.is_running() {
            ConnectionState::Closing
        } else if connection.is_blocked() {
            ConnectionState::Blocked
        } else if self.alarms.any() {
            ConnectionState::Blocking
        } else {
            ConnectionState::Running
        };
        ConnectionView {
            id,
            serial: connection.serial,
            user: Arc::clone(&opened.user),
            origin: (*opened.origin).clone(),
            frame_max: opened.frame_max,
            channel_max: opened.channel_max,
            channels: connection.channels.values().filter(|channel| !channel.is_closing()).count(),
            state,
            connected_at: connection.connected_at,
            pending: connection.pending,
            published: connection.has_published(),
        }
    }

    fn consumer_view(&self, id: ConsumerId, consumer: &Consumer) -> Option<ConsumerView> {
        let queue = self.queues.get(consumer.queue)?;
        let status = match queue.consumers.active() {
            _ if !queue.consumers.is_single_active() => ActivityStatus::Up,
            Some(active) if active == id => ActivityStatus::SingleActive,
            _ => ActivityStatus::Waiting,
        };
        Some(ConsumerView {
            queue: Arc::clone(&queue.name),
            tag: consumer.tag.clone(),
            connection: consumer.connection,
            channel: consumer.channel,
            ack_required: !consumer.no_ack,
            exclusive: queue.consumers.exclusive == Some(id),
            prefetch: consumer.prefetch,
            priority: consumer.priority,
            status,
            unacked: consumer.unacked,
            timeout: queue.effective.consumer_timeout,
            arguments: consumer.arguments.clone(),
        })
    }
}

//! What the broker can be told: built-in defaults, then configuration files, then the environment, then the command line.

mod authentication;
mod control;
pub mod definitions;
mod effective;
pub mod environment;
mod http;
mod ignored;
mod keys;
pub mod logging;
mod oauth2;
mod opentelemetry;
mod rotation;
mod socket;
mod sources;
mod syntax;
mod system;
mod testing;
mod tls;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value as Json};

use crate::broker::queue::QueueType;
use crate::broker::queue::effective::Overflow;
use crate::broker::settings::NODE_NAME;
use crate::broker::{Profile, Settings};
use crate::node::{Node, Tune};
use logging::Logging;

pub use authentication::{AuthCache, AuthHttp, ClientTls, NamedBackends};
pub use http::HttpLimits;
pub use oauth2::{AuthOAuth2, OAuthProvider, ResourceServer};
pub use opentelemetry::OpenTelemetry;
pub use rotation::{Rotation, Schedule};
pub use socket::TcpOptions;
pub use sources::{FileError, Origin, Sources};
pub use testing::{ClockKind, Testing};
pub use tls::{LoginFrom, SanType, Tls, TlsVersion};
pub use values::{level, profile};

/// How much memory messages may take before publishers are blocked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MemoryWatermark {
    /// A share of the memory that the machine or its control group has.
    Relative(f64),
    /// Bytes.
    Absolute(u64),
}

/// When what is written down is forced to the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fsync {
    /// Before anybody is told that it is safe.
    #[default]
    Always,
    /// At intervals: a power cut may take what was confirmed since the last one.
    Every(Duration),
    /// When the system sees fit.
    Never,
}

/// How much room the disk must have, or publishers are blocked (behaviour O6).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum DiskFreeLimit {
    /// A multiple of the machine's memory.
    Relative(f64),
    /// Bytes.
    Absolute(u64),
}

/// What the default user may do in the default virtual host: regular expressions of names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permissions {
    pub configure: String,
    pub write: String,
    pub read: String,
}

impl Default for Permissions {
    fn default() -> Self {
        let everything = || ".*".to_owned();
        Self { configure: everything(), write: everything(), read: everything() }
    }
}

/// How much the HTTP API says about rates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RatesMode {
    #[default]
    Basic,
    Detailed,
    None,
}

/// The effective configuration. docs/CONFIGURATION.md has every key.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The first address that AMQP is served on.
    pub amqp: SocketAddr,
    /// Whether AMQP is served without TLS at all.
    pub tcp: bool,
    /// Further addresses that AMQP is served on, by the names of the listeners.
    pub listeners: BTreeMap<String, SocketAddr>,
    /// The path of a socket for clients on this machine.
    pub unix_listener: Option<PathBuf>,
    /// A connection over TCP begins with a header of the PROXY protocol.
    pub proxy_protocol: bool,
    /// Of the sockets of AMQP, with TLS or without.
    pub tcp_options: TcpOptions,
    pub tls: Tls,
    /// Whether attempts to log in are counted by address and user.
    pub track_auth_attempt_source: bool,
    /// What connection.start offers, by their numbers; when there are none, what the profile does.
    pub auth_mechanisms: BTreeMap<u32, String>,
    pub auth_backends: NamedBackends,
    pub auth_http: AuthHttp,
    pub auth_cache: AuthCache,
    pub auth_oauth2: AuthOAuth2,
    pub http: SocketAddr,
    /// What its clients may take, and those of the metrics.
    pub http_limits: HttpLimits,
    /// Where the HTTP API is served over TLS, if that was said.
    pub https: Option<SocketAddr>,
    /// What it is served with; its listeners mean nothing.
    pub https_tls: Tls,
    pub https_limits: HttpLimits,
    /// Whose pages may speak AMQP over WebSocket, by their numbers; when there are none, everybody's.
    pub websocket_origins: BTreeMap<u32, String>,
    /// Where metrics are served to who has no password; `None`: nowhere.
    pub prometheus: Option<SocketAddr>,
    /// Where they are over TLS, if that was said, and what with; the listeners of that mean nothing.
    pub prometheus_ssl: Option<SocketAddr>,
    pub prometheus_tls: Tls,
    /// Whether metrics of each queue, connection and channel are at /metrics, instead of their sums.
    pub per_object_metrics: bool,
    /// What the node is called.
    pub node_name: String,
    /// What the cluster is called; `None`: as the node is.
    pub cluster_name: Option<String>,
    pub cluster_tags: BTreeMap<String, String>,
    pub node_tags: BTreeMap<String, String>,
    /// A file for the number of the process.
    pub pid_file: Option<PathBuf>,
    /// A socket of the file system for commands; `None`: where [`Config::control_sockets`] says.
    pub control_socket: Option<PathBuf>,
    /// `None`: everything is kept in memory.
    pub data_dir: Option<PathBuf>,
    pub fsync: Fsync,
    pub disk_free_limit: DiskFreeLimit,
    pub ready_file: Option<PathBuf>,
    /// Where all connections are recorded.
    pub record: Option<PathBuf>,
    pub log: Logging,
    /// The name of a [`Profile`].
    pub compat: String,
    /// Over the profile: whether queues may be transient without being exclusive (V14).
    pub permit_transient_nonexcl_queues: Option<bool>,
    /// Over the profile: whether basic.qos knows global=true (V15).
    pub permit_global_qos: Option<bool>,
    pub default_user: String,
    pub default_pass: String,
    pub default_vhost: String,
    pub default_user_tags: BTreeSet<String>,
    pub default_permissions: Permissions,
    /// Whom ANONYMOUS logs in, with this password; `None`: nobody.
    pub anonymous_login_user: Option<String>,
    pub anonymous_login_pass: String,
    /// Who may log in from this machine only.
    pub loopback_users: BTreeSet<String>,
    /// Seconds; 0 is off.
    pub heartbeat_s: u16,
    /// Bytes; 0 is no limit.
    pub frame_max: u32,
    /// Bytes.
    pub initial_frame_max: u32,
    /// 0 is no limit.
    pub channel_max: u16,
    pub handshake_timeout_ms: u64,
    /// How many channels the node takes; `None` is no limit.
    pub channel_max_per_node: Option<usize>,
    /// How many virtual hosts there may be; `None` is no limit.
    pub vhost_max: Option<usize>,
    /// Bytes; `None` is the profile's limit.
    pub max_message_size: Option<u64>,
    /// Bytes that count as the machine's memory; `None`: what it has.
    pub total_memory: Option<u64>,
    pub memory_watermark: MemoryWatermark,
    /// The share of the watermark above which transient messages are put on the disk.
    pub paging_ratio: f64,
    pub default_max_length: Option<u64>,
    pub default_max_length_bytes: Option<u64>,
    pub default_overflow: Overflow,
    /// How many connections the node takes; `None` is no limit.
    pub connection_max: Option<usize>,
    pub default_queue_type: QueueType,
    /// How long a delivery may wait for its settlement, in milliseconds; `None` is for ever.
    pub consumer_timeout_ms: Option<u64>,
    /// How many consumers a channel may have; `None` is no limit.
    pub consumer_max_per_channel: Option<usize>,
    /// Bytes that may wait for one connection's socket before its consumers are given no more.
    pub outbox_high: usize,
    pub tracing: bool,
    pub event_exchange: bool,
    /// A definitions file, read at the start and at each SIGHUP.
    pub load_definitions: Option<PathBuf>,
    /// Definitions that whoever starts the node gives it, before those of a file.
    pub definitions: Option<Map<String, Json>>,
    /// Whether definitions that have not changed since they were loaded are left alone at the start.
    pub skip_unchanged_definitions: bool,
    /// How often statistics are collected, in milliseconds.
    pub collect_statistics_interval_ms: u64,
    pub rates_mode: RatesMode,
    /// By name: what their parameters would be.
    pub shovels: BTreeMap<String, Map<String, Json>>,
    pub testing: Testing,
    pub opentelemetry: OpenTelemetry,
}

impl Default for Config {
    fn default() -> Self {
        let Tune { channel_max, frame_max, heartbeat_s, initial_frame_max } = Tune::default();
        let here = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        Self {
            amqp: here(5672),
            tcp: true,
            listeners: BTreeMap::new(),
            unix_listener: None,
            proxy_protocol: false,
            tcp_options: TcpOptions::default(),
            tls: Tls::default(),
            track_auth_attempt_source: false,
            auth_mechanisms: BTreeMap::new(),
            auth_backends: NamedBackends::default(),
            auth_http: AuthHttp::default(),
            auth_cache: AuthCache::default(),
            auth_oauth2: AuthOAuth2::default(),
            http: here(15672),
            http_limits: HttpLimits::default(),
            https: None,
            https_tls: Tls::default(),
            https_limits: HttpLimits::default(),
            websocket_origins: BTreeMap::new(),
            prometheus: None,
            prometheus_ssl: None,
            prometheus_tls: Tls::default(),
            per_object_metrics: false,
            node_name: NODE_NAME.to_owned(),
            cluster_name: None,
            cluster_tags: BTreeMap::new(),
            node_tags: BTreeMap::new(),
            pid_file: None,
            control_socket: None,
            data_dir: None,
            fsync: Fsync::default(),
            disk_free_limit: DiskFreeLimit::Absolute(50_000_000),
            ready_file: None,
            record: None,
            log: Logging::default(),
            compat: "permissive".to_owned(),
            permit_transient_nonexcl_queues: None,
            permit_global_qos: None,
            default_user: "guest".to_owned(),
            default_pass: "guest".to_owned(),
            default_vhost: "/".to_owned(),
            default_user_tags: BTreeSet::from(["administrator".to_owned()]),
            default_permissions: Permissions::default(),
            anonymous_login_user: Some("guest".to_owned()),
            anonymous_login_pass: "guest".to_owned(),
            loopback_users: BTreeSet::from(["guest".to_owned()]),
            heartbeat_s,
            frame_max,
            initial_frame_max,
            channel_max,
            handshake_timeout_ms: 10_000,
            channel_max_per_node: None,
            vhost_max: None,
            max_message_size: None,
            total_memory: None,
            memory_watermark: MemoryWatermark::Relative(0.6),
            paging_ratio: 0.5,
            default_max_length: None,
            default_max_length_bytes: None,
            default_overflow: Overflow::default(),
            connection_max: None,
            default_queue_type: QueueType::default(),
            consumer_timeout_ms: Settings::default().consumer_timeout,
            consumer_max_per_channel: None,
            outbox_high: Settings::default().outbox_high,
            tracing: false,
            event_exchange: false,
            load_definitions: None,
            definitions: None,
            skip_unchanged_definitions: false,
            collect_statistics_interval_ms: 5000,
            rates_mode: RatesMode::default(),
            shovels: BTreeMap::new(),
            testing: Testing::default(),
            opentelemetry: OpenTelemetry::default(),
        }
    }
}

impl Config {
    /// What the core is told. `compat` must name a profile: the command line and the file check it.
    #[must_use]
    pub fn settings(&self) -> Settings {
        let mut profile = Profile::named(&self.compat).unwrap_or(Profile::PERMISSIVE);
        if let Some(permitted) = self.permit_transient_nonexcl_queues {
            profile.transient_nonexcl_queues_denied = !permitted;
        }
        if let Some(permitted) = self.permit_global_qos {
            profile.global_qos_ignored = !permitted;
        }
        profile.anonymous &= self.anonymous_login_user.is_some();
        Settings {
            max_message_size: self.max_message_size.unwrap_or(profile.max_message_size),
            profile,
            node_name: self.node_name.as_str().into(),
            cluster_name: self.cluster_name.as_ref().unwrap_or(&self.node_name).as_str().into(),
            default_max_length: self.default_max_length,
            default_max_length_bytes: self.default_max_length_bytes,
            default_overflow: self.default_overflow,
            default_queue_type: self.default_queue_type,
            consumer_timeout: self.consumer_timeout_ms,
            consumer_max_per_channel: self.consumer_max_per_channel,
            channel_max_per_node: self.channel_max_per_node,
            outbox_high: self.outbox_high,
            page_window: Settings::default().page_window,
            tracing: self.tracing,
            event_exchange: self.event_exchange,
            detailed_rates: self.rates_mode == RatesMode::Detailed,
        }
    }

    /// Where AMQP is served without TLS.
    #[must_use]
    pub fn tcp_listeners(&self) -> Vec<SocketAddr> {
        let all = std::iter::once(self.amqp).chain(self.listeners.values().copied());
        if self.tcp { all.collect() } else { Vec::new() }
    }

    /// The node that these settings make, without what it has written down of itself.
    #[must_use]
    pub fn node(&self) -> Node {
        Node {
            settings: Arc::new(self.settings()),
            // Whoever starts has seen that there is nothing wrong with it.
            backends: self.backends().unwrap_or_default(),
            mechanisms: self.auth_mechanisms.values().cloned().collect(),
            connection_max: self.connection_max,
            vhost_max: self.vhost_max,
            loopback_users: self.loopback_users.clone(),
            anonymous_user: self.anonymous_login_user.as_deref().unwrap_or_default().into(),
            anonymous_pass: self.anonymous_login_pass.clone(),
            tune: Tune {
                channel_max: self.channel_max,
                frame_max: self.frame_max,
                heartbeat_s: self.heartbeat_s,
                initial_frame_max: self.initial_frame_max,
            },
            ..Node::default()
        }
    }

    /// Bytes of messages above which transient ones are put on the disk.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share between 0 and 1 of a number of bytes"
    )]
    pub fn paging_limit(&self) -> u64 {
        (self.memory_limit() as f64 * self.paging_ratio) as u64
    }

    /// Bytes that the disk must have free.
    #[must_use]
    pub fn disk_free_limit(&self) -> u64 {
        match self.disk_free_limit {
            DiskFreeLimit::Absolute(bytes) => bytes,
            DiskFreeLimit::Relative(factor) => self.of_memory(factor),
        }
    }

    /// The memory watermark in bytes.
    #[must_use]
    pub fn memory_limit(&self) -> u64 {
        match self.memory_watermark {
            MemoryWatermark::Absolute(bytes) => bytes,
            MemoryWatermark::Relative(share) => self.of_memory(share),
        }
    }

    /// This many times the machine's memory, in bytes.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a factor that is not negative, of a number of bytes"
    )]
    fn of_memory(&self, factor: f64) -> u64 {
        (self.total_memory.unwrap_or_else(system::memory_bytes) as f64 * factor) as u64
    }
}

//! What an administrator changes of a running node that is in no definitions: limits, alarms, who is let in, when it ends. A start
//! begins with the configuration again.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{Handle, SHUTDOWN_GRACE, Shell, StartError, first_start};
use crate::broker::view::ConnectionState;
use crate::broker::{Connections, Input};
use crate::config::{Config, DiskFreeLimit, MemoryWatermark};
use crate::node::{Node, Refusal};
use crate::server::ChangeError;

/// How often connections that come up meanwhile are closed, too.
const CLOSE_AGAIN: Duration = Duration::from_millis(50);
/// What clients are told when the application stops, and when the node is drained, in RabbitMQ's words.
const SHUTDOWN: &str = "broker forced connection closure with reason 'shutdown'";
const MAINTENANCE: &str = "Node was put into maintenance mode";

/// What can be done to the log while it is written; whoever opens it does it.
pub trait LogControl: Send + Sync + 'static {
    /// Changes what all of its outputs show.
    ///
    /// # Errors
    /// What is no level.
    fn set_level(&self, level: &str) -> Result<(), String>;

    /// Begins a new file, and keeps the old one.
    ///
    /// # Errors
    /// A disk that fails.
    fn rotate(&self) -> Result<(), String>;
}

/// What the node goes by until it ends.
pub(super) struct Controls {
    watermark: Mutex<MemoryWatermark>,
    /// Bytes above which the memory alarm is raised, and above which transient messages are put on the disk.
    memory_limit: AtomicU64,
    paging_limit: AtomicU64,
    /// Bytes.
    disk_free_limit: AtomicU64,
    /// The memory alarm is on because the process alone takes more than an administrator has allowed.
    pub(super) process_above: AtomicBool,
    /// Alarms that somebody has set.
    pub(super) memory_forced: AtomicBool,
    pub(super) disk_forced: AtomicBool,
    /// The room on the disk is looked at.
    monitors_disk: AtomicBool,
    /// Nobody new is let in.
    suspended: AtomicBool,
    /// The node is in maintenance mode.
    drained: AtomicBool,
    /// RabbitMQ's `stop_app`: the process runs and serves nobody.
    app_stopped: AtomicBool,
    stop: Notify,
    log: OnceLock<Box<dyn LogControl>>,
}

impl std::fmt::Debug for Controls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Controls").field("watermark", &self.watermark).finish_non_exhaustive()
    }
}

impl Controls {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            watermark: Mutex::new(config.memory_watermark),
            memory_limit: AtomicU64::new(config.memory_limit()),
            paging_limit: AtomicU64::new(config.paging_limit()),
            disk_free_limit: AtomicU64::new(config.disk_free_limit()),
            process_above: AtomicBool::new(false),
            memory_forced: AtomicBool::new(false),
            disk_forced: AtomicBool::new(false),
            monitors_disk: AtomicBool::new(true),
            suspended: AtomicBool::new(false),
            drained: AtomicBool::new(false),
            app_stopped: AtomicBool::new(false),
            stop: Notify::new(),
            log: OnceLock::new(),
        }
    }

    pub(super) fn memory_limit(&self) -> u64 {
        self.memory_limit.load(Ordering::Relaxed)
    }

    pub(super) fn paging_limit(&self) -> u64 {
        self.paging_limit.load(Ordering::Relaxed)
    }

    pub(super) fn disk_free_limit(&self) -> u64 {
        self.disk_free_limit.load(Ordering::Relaxed)
    }

    pub(super) fn monitors_disk(&self) -> bool {
        self.monitors_disk.load(Ordering::SeqCst)
    }

    /// Whether new connections are turned away.
    pub(super) fn turns_away(&self) -> bool {
        self.suspended.load(Ordering::SeqCst) || self.app_stopped.load(Ordering::SeqCst)
    }
}

impl Handle {
    /// What the memory limit is made of.
    #[must_use]
    pub fn memory_watermark(&self) -> MemoryWatermark {
        *self.0.controls.watermark.lock()
    }

    /// Sets the memory watermark. RabbitMQ counts the whole process: a limit below what that takes raises the alarm at once, although
    /// messages alone are below it.
    pub fn set_memory_watermark(&self, watermark: MemoryWatermark) {
        let controls = &self.0.controls;
        let config = Config { memory_watermark: watermark, ..self.0.config.clone() };
        *controls.watermark.lock() = watermark;
        let limit = config.memory_limit();
        controls.memory_limit.store(limit, Ordering::Relaxed);
        controls.paging_limit.store(config.paging_limit(), Ordering::Relaxed);
        controls.process_above.store(limit < resident_bytes(), Ordering::SeqCst);
        self.0.watermark.lock().set_limit(limit);
        tracing::info!(limit, "memory watermark set");
        self.0.check_memory();
        self.0.spread_alarms();
    }

    /// Sets how much room the disk must have; it is looked at within a second.
    pub fn set_disk_free_limit(&self, limit: DiskFreeLimit) {
        let bytes = Config { disk_free_limit: limit, ..self.0.config.clone() }.disk_free_limit();
        self.0.controls.disk_free_limit.store(bytes, Ordering::Relaxed);
        tracing::info!(limit = bytes, "disk free limit set");
        self.0.check_disk();
    }

    /// Has the room on the disk looked at, or not any more: then there is no alarm about it.
    pub fn monitor_disk(&self, on: bool) {
        self.0.controls.monitors_disk.store(on, Ordering::SeqCst);
        tracing::info!("free disk space monitoring is {}", if on { "activated" } else { "deactivated" });
        if on {
            self.0.check_disk();
        } else {
            self.0.disk_short.store(false, Ordering::SeqCst);
            self.0.spread_alarms();
        }
    }

    /// Raises the memory alarm, or the one of the disk, until it is cleared here again.
    pub fn force_alarm(&self, memory: bool, raised: bool) {
        let controls = &self.0.controls;
        let forced = if memory { &controls.memory_forced } else { &controls.disk_forced };
        forced.store(raised, Ordering::SeqCst);
        self.0.spread_alarms();
    }

    /// Whether clients are served, or would be were listeners not suspended.
    #[must_use]
    pub fn is_running(&self) -> bool {
        !self.is_stopping() && !self.0.controls.app_stopped.load(Ordering::SeqCst)
    }

    /// Whether the node is in maintenance mode.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.0.controls.drained.load(Ordering::SeqCst)
    }

    /// Whether somebody who connects now is let in.
    #[must_use]
    pub fn lets_clients_in(&self) -> bool {
        !self.is_stopping() && !self.0.controls.turns_away()
    }

    /// Closes the listeners for clients: a connect is refused. Connections that are open stay.
    pub async fn suspend_listeners(&self) {
        self.0.controls.suspended.store(true, Ordering::SeqCst);
        let (listeners, _) = self.0.settle_doors().await;
        tracing::info!(
            "Asked to suspend {listeners} client connection listeners. \
             No new client connections will be accepted until these listeners are resumed!"
        );
    }

    /// Opens them again, where they were.
    ///
    /// # Errors
    /// A listener whose address somebody else has taken.
    pub async fn resume_listeners(&self) -> Result<(), StartError> {
        self.0.controls.suspended.store(false, Ordering::SeqCst);
        let (listeners, outcome) = self.0.settle_doors().await;
        tracing::info!("Asked to resume {listeners} client connection listeners. New client connections will be accepted from now on");
        outcome
    }

    /// RabbitMQ's maintenance mode: the listeners are closed, then all connections; the node goes on otherwise. Returns when they are
    /// gone, or after three seconds.
    pub async fn drain(&self) {
        tracing::warn!("This node is being put into maintenance (drain) mode");
        self.0.controls.drained.store(true, Ordering::SeqCst);
        self.suspend_listeners().await;
        tracing::warn!("Suspended all listeners and will no longer accept client connections");
        let mut closed = 0;
        let all_gone = async {
            // Some may be on their way in.
            while self.sockets() > 0 {
                closed += self.close_connections(None, None, usize::MAX, MAINTENANCE).await;
                let _ = tokio::time::timeout(CLOSE_AGAIN, self.0.ended.notified()).await;
            }
        };
        let _ = tokio::time::timeout(SHUTDOWN_GRACE, all_gone).await;
        tracing::warn!("Closed {closed} local client connections");
        tracing::info!("Node is ready to be shut down for maintenance or upgrade");
    }

    /// The end of maintenance mode.
    ///
    /// # Errors
    /// A listener whose address somebody else has taken.
    pub async fn revive(&self) -> Result<(), StartError> {
        tracing::info!("This node is being revived from maintenance (drain) mode");
        self.resume_listeners().await?;
        tracing::info!("Resumed all listeners and will accept client connections again");
        self.0.controls.drained.store(false, Ordering::SeqCst);
        tracing::info!("Marked this node as back from maintenance and ready to serve clients");
        Ok(())
    }

    /// RabbitMQ's `stop_app`: the listeners are closed, then every connection. Returns when they are gone, or after three seconds.
    pub async fn stop_app(&self) {
        if self.0.controls.app_stopped.swap(true, Ordering::SeqCst) {
            return;
        }
        tracing::info!("the application stops");
        let _ = self.0.settle_doors().await;
        let all_gone = async {
            // Some may be on their way in.
            while self.sockets() > 0 {
                for broker_loop in self.0.loops().iter() {
                    broker_loop.ask(|asked| asked.handle(Input::CloseConnections { which: Connections::All, reason: SHUTDOWN })).await;
                }
                let _ = tokio::time::timeout(CLOSE_AGAIN, self.0.ended.notified()).await;
            }
        };
        let _ = tokio::time::timeout(SHUTDOWN_GRACE, all_gone).await;
    }

    /// RabbitMQ's `start_app`, which ends maintenance as a start of the node would.
    ///
    /// # Errors
    /// A listener whose address somebody else has taken.
    pub async fn start_app(&self) -> Result<(), StartError> {
        let controls = &self.0.controls;
        if !controls.app_stopped.swap(false, Ordering::SeqCst) {
            return Ok(());
        }
        controls.suspended.store(false, Ordering::SeqCst);
        controls.drained.store(false, Ordering::SeqCst);
        let (_, outcome) = self.0.settle_doors().await;
        tracing::info!("the application has started");
        outcome
    }

    /// Empties the node: it is as it was when it started for the first time. `false` while the application runs.
    ///
    /// # Errors
    /// A disk that fails.
    pub async fn reset(&self) -> Result<bool, ChangeError> {
        if self.is_running() {
            return Ok(false);
        }
        self.forget_node().await?;
        Ok(true)
    }

    /// The node becomes what it was at its first start.
    pub(super) async fn forget_node(&self) -> Result<(), ChangeError> {
        // First what is in virtual hosts goes with them, then the default ones come back: one after the other, because a virtual host
        // that stays keeps what it has.
        let without_vhosts = |node: &mut Node| {
            let vhosts: Vec<_> = node.vhosts.keys().cloned().collect();
            for vhost in vhosts {
                if let Some(kept) = node.vhosts.get_mut(&vhost) {
                    std::sync::Arc::make_mut(kept).protected_from_deletion = false;
                }
                node.delete_vhost(&vhost)?;
            }
            Ok(())
        };
        self.change_node(without_vhosts).await?;
        let config = &self.0.config;
        let as_at_first = |node: &mut Node| {
            let users: Vec<_> = node.users.keys().cloned().collect();
            users.iter().try_for_each(|user| node.delete_user(user))?;
            node.global_parameters.clear();
            first_start(node, config).map_err(|error| Refusal::Invalid(error.to_string()))
        };
        self.change_node(as_at_first).await
    }

    /// Closes connections with 320, at most `limit`, and says how many. `None` of a virtual host or a user means all of them.
    pub async fn close_connections(&self, vhost: Option<&str>, user: Option<&str>, limit: usize, reason: &str) -> usize {
        let mut closed = 0;
        for broker_loop in self.0.loops().iter().filter(|l| vhost.is_none_or(|vhost| l.vhost() == vhost)) {
            let (user, reason, left) = (user.map(str::to_owned), reason.to_owned(), limit - closed);
            closed += broker_loop
                .ask(move |asked| {
                    let views = asked.broker().connection_views();
                    let of = |owner: &str| user.as_deref().is_none_or(|user| user == owner);
                    let open = views.iter().filter(|view| view.state != ConnectionState::Closing);
                    let ids: Vec<_> = open.filter(|view| of(&view.user)).map(|view| view.id).take(left).collect();
                    for id in &ids {
                        asked.handle(Input::CloseConnections { which: Connections::One(*id), reason: &reason });
                    }
                    ids.len()
                })
                .await;
        }
        closed
    }

    /// Asks for the end of the process, as SIGTERM does.
    pub fn ask_to_stop(&self) {
        self.0.controls.stop.notify_one();
    }

    /// Done when somebody has asked for the end of the process.
    pub async fn asked_to_stop(&self) {
        self.0.controls.stop.notified().await;
    }

    /// Says how the log is changed.
    pub fn control_log(&self, log: impl LogControl) {
        let _ = self.0.controls.log.set(Box::new(log));
    }

    /// Changes what the log shows, in all its outputs.
    ///
    /// # Errors
    /// What is no level.
    pub fn set_log_level(&self, level: &str) -> Result<(), String> {
        self.log()?.set_level(level)
    }

    /// Begins a new log file, and keeps the old one.
    ///
    /// # Errors
    /// A disk that fails.
    pub fn rotate_log(&self) -> Result<(), String> {
        self.log()?.rotate()
    }

    fn log(&self) -> Result<&dyn LogControl, String> {
        self.0.controls.log.get().map(|log| &**log).ok_or_else(|| "the log is not this node's".to_owned())
    }
}

impl Shell {
    /// What has been raised by hand, beside what the node finds out: memory and disk.
    pub(super) fn forced(&self) -> (bool, bool) {
        let controls = &self.controls;
        let is_on = |flag: &AtomicBool| flag.load(Ordering::SeqCst);
        let (memory, disk) = self.faults.alarms();
        (memory || is_on(&controls.memory_forced) || is_on(&controls.process_above), disk || is_on(&controls.disk_forced))
    }
}

/// Bytes of memory that the process takes now; 0 where that cannot be told.
#[must_use]
pub fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.as_deref().and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok());
    pages.unwrap_or(0) * u64::try_from(rustix::param::page_size()).unwrap_or(0)
}

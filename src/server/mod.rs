//! The shell: sockets, tasks, timers, signals around the core. Everything that can block or fail lives here.

mod broker_loop;
mod clock;
mod connection;
mod definitions;
mod listener;
mod outbox;
mod ready_file;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, Semaphore};

use crate::broker::{Alarms, Broker, Timestamp};
use crate::config::Config;
use crate::node::Node;
use crate::node::alarms::Watermark;
use broker_loop::BrokerLoop;
use outbox::Held;

/// How long a stop waits for connections to say goodbye.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(3);

/// Why the broker could not start; one line for a person.
#[derive(Debug)]
pub struct StartError(String);

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

/// What all connections of a running node share.
#[derive(Debug)]
struct Shell {
    config: Config,
    node: Node,
    loops: Vec<Arc<BrokerLoop>>,
    watermark: Mutex<Watermark>,
    held: Arc<Held>,
    /// The memory alarm is on.
    alarm: AtomicBool,
    /// Bytes above which the alarm is raised.
    memory_limit: u64,
    /// During an alarm, whose turn it is to finish a content that was begun: were nobody to, contents that fill the memory
    /// between them would block each other for ever.
    turn: Arc<Semaphore>,
    /// Told when the alarm ends.
    alarm_ended: Notify,
    connections: AtomicUsize,
    /// Told when a connection ends.
    ended: Notify,
    stopping: AtomicBool,
}

impl Shell {
    /// The loop of a virtual host.
    fn broker_loop(&self, vhost: &str) -> Option<&Arc<BrokerLoop>> {
        self.loops.iter().find(|l| l.vhost() == vhost)
    }

    /// Memory in use may have crossed the watermark.
    fn check_memory(&self) {
        let used = self.held.bytes() + self.queued();
        let changed = self.watermark.lock().update(used);
        if let Some(alarms) = changed {
            self.announce(alarms, used);
        }
    }

    /// Bytes that queues hold, and that consumers can drain.
    fn queued(&self) -> u64 {
        self.loops.iter().map(|l| l.memory()).sum()
    }

    fn announce(&self, alarms: Alarms, used: u64) {
        let limit = self.memory_limit;
        if alarms.memory {
            tracing::warn!(used, limit, "memory watermark exceeded: publishers are blocked");
        } else {
            tracing::info!(used, limit, "memory alarm cleared");
        }
        self.alarm.store(alarms.any(), Ordering::SeqCst);
        if !alarms.any() {
            self.alarm_ended.notify_waiters();
        }
        for broker_loop in &self.loops {
            broker_loop.alarms(alarms);
        }
    }
}

/// A running broker.
#[derive(Debug)]
pub struct Server {
    shell: Arc<Shell>,
    amqp: SocketAddr,
}

impl Server {
    /// Builds the node, then binds its listener: who can connect is served.
    ///
    /// # Errors
    /// A definitions file that is refused, an address that cannot be bound, signals that cannot be caught.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let node = config.node();
        let definitions = definitions::load(&config, &node)?;
        let hangup = signal(SignalKind::hangup()).map_err(|error| StartError(format!("cannot catch SIGHUP: {error}")))?;
        let seed = seed();
        let loops = node.vhosts.iter().map(|vhost| {
            let mut broker = Broker::new(vhost, Arc::clone(&node.settings), seed);
            definitions::apply(&definitions, &mut broker);
            Arc::new(BrokerLoop::new(broker))
        });
        let memory_limit = config.memory_limit();
        let shell = Arc::new(Shell {
            loops: loops.collect(),
            memory_limit,
            watermark: Mutex::new(Watermark::new(memory_limit)),
            held: Arc::default(),
            alarm: AtomicBool::new(false),
            turn: Arc::new(Semaphore::new(1)),
            alarm_ended: Notify::new(),
            connections: AtomicUsize::new(0),
            ended: Notify::new(),
            stopping: AtomicBool::new(false),
            node,
            config,
        });
        for broker_loop in &shell.loops {
            broker_loop.watch_memory(&shell);
            tokio::spawn(Arc::clone(broker_loop).keep_time());
        }
        tokio::spawn(definitions::reload(hangup, definitions, Arc::clone(&shell)));
        let address = shell.config.amqp;
        let listener = TcpListener::bind(address).await;
        let listener = listener.map_err(|error| StartError(format!("cannot listen for AMQP on {address}: {error}")))?;
        let amqp = listener.local_addr().map_err(|error| StartError(error.to_string()))?;
        tokio::spawn(listener::accept(listener, Arc::clone(&shell)));
        Ok(Self { shell, amqp })
    }

    /// Says on standard output, and in the ready file, that the broker serves.
    ///
    /// # Errors
    /// A ready file that cannot be written.
    pub fn announce_ready(&self) -> Result<(), StartError> {
        let config = &self.shell.config;
        #[expect(clippy::print_stdout, reason = "this line is for whoever waits for the broker")]
        {
            let version = env!("CARGO_PKG_VERSION");
            println!("leveret {version}: Server startup complete; amqp {}; nothing is kept on disk, no HTTP API yet", self.amqp);
        }
        match &config.ready_file {
            Some(path) => ready_file::write(path, self.amqp),
            None => Ok(()),
        }
    }

    /// Closes every connection with 320 and returns when all are gone, or after three seconds.
    pub async fn stop(&self) {
        self.shell.stopping.store(true, Ordering::SeqCst);
        for broker_loop in &self.shell.loops {
            broker_loop.shutdown("broker forced connection closure with reason 'shutdown'");
        }
        let all_gone = async {
            while self.shell.connections.load(Ordering::SeqCst) > 0 {
                self.shell.ended.notified().await;
            }
        };
        if tokio::time::timeout(SHUTDOWN_GRACE, all_gone).await.is_err() {
            tracing::warn!("connections did not close in time");
        }
    }
}

/// Returns when the process is asked to stop, by SIGTERM or SIGINT.
///
/// # Errors
/// When signals cannot be caught.
pub async fn stop_signal() -> std::io::Result<()> {
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    Ok(())
}

/// Time for the core.
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Generated names differ from one start to the next.
fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id())
}

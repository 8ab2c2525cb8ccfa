//! The shell: sockets, tasks, timers, signals around the core. Everything that can block or fail lives here.

mod alarms;
mod attempts;
mod authentication;
mod broker_loop;
mod channels;
mod clock;
mod collector;
mod connection;
mod control;
mod definitions;
mod doors;
pub mod faults;
mod handle;
mod inbox;
mod journal;
mod listener;
mod node_file;
mod oauth2;
mod outbox;
mod ready_file;
mod signals;
mod storage;
mod tasks;
mod testing;
mod time;
pub mod tls;
mod transport;
mod vhosts;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, Semaphore, watch};

use crate::broker::{Alarms, Broker, Effects, INTERNAL_USER, Input, Settings, Timestamp};
use crate::config::{self, Config};
use crate::node::Node;
use crate::node::alarms::Watermark;
use crate::node::parameters::CLUSTER_TAGS;
use crate::node::password::{Algorithm, PasswordHash, SALT};
use crate::node::permissions::Permissions;
use crate::node::users::{User, UserLimits};
use crate::node::vhosts::Vhost;
use crate::recording::Recorder;
use crate::storage::RecoveredVhost;
use attempts::Attempts;
use authentication::Authentication;
use broker_loop::{BrokerLoop, Keeper};
use channels::Channels;
use collector::Tracing;
use control::Controls;
use doors::Doors;
use faults::Faults;
use inbox::Administration;
use journal::Journal;
use node_file::NodeFile;
use outbox::Held;
use storage::Storage;
use tasks::Tasks;
use time::Time;
use tls::Certificates;
use vhosts::Admitted;

pub use attempts::{AttemptSource, Attempted, Protocol};
pub use control::{LogControl, resident_bytes};
pub use definitions::ImportError;
pub use handle::{Disk, Handle, Memory};
pub use inbox::Asked;
pub use journal::{Extent, Finding, Recorded, SentError};
pub use listener::{Address, Ends, Entrance, HTTPS, HTTPS_PROMETHEUS, Listening, PROMETHEUS};
pub use outbox::Wire;
pub use signals::{Hangup, stop_signal};
pub use testing::{
    Advance, AdvanceError, ClockView, EVENT_KEYS, Filter, Fire, Keep, Left, LeftInQueue, Open, Report, Saved, TestError, Throwaway,
    Unconfirmed, Unsynced, values_of,
};
pub use vhosts::ChangeError;

/// How long a stop waits for connections to say goodbye.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(3);
/// The same for a broker that tests are written against: a client that has been forgotten must not hold them up.
const TEST_SHUTDOWN_GRACE: Duration = Duration::from_millis(100);

/// Why the broker could not start; one line for a person.
#[derive(Debug)]
pub struct StartError(String);

impl StartError {
    pub(crate) fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

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
    /// What does not change while the node runs.
    settings: Arc<Settings>,
    /// What does: replaced as a whole.
    node: RwLock<Arc<Node>>,
    /// The same, for who waits for it to change.
    node_told: watch::Sender<Arc<Node>>,
    node_file: Option<NodeFile>,
    /// Held by who changes the node.
    changing: tokio::sync::Mutex<()>,
    /// By the name of their virtual hosts.
    loops: RwLock<Arc<[Arc<BrokerLoop>]>>,
    /// Loops of virtual hosts that are deleted, and that may be made again.
    retired: Mutex<Vec<Arc<BrokerLoop>>>,
    admitted: Mutex<Admitted>,
    channels: Channels,
    watermark: Mutex<Watermark>,
    held: Arc<Held>,
    /// Bytes of messages of all virtual hosts: what each loop has added, so that no round has to ask all of them.
    queued: AtomicU64,
    /// The memory alarm is on.
    alarm: AtomicBool,
    /// What all loops know, or are about to.
    alarms: Mutex<Alarms>,
    /// The same, for who waits for it to change.
    alarms_told: watch::Sender<Alarms>,
    /// The disk fails, and the disk is short of room.
    disk_fails: AtomicBool,
    disk_short: AtomicBool,
    storage: Option<Arc<Storage>>,
    /// What an administrator has changed since the start.
    controls: Controls,
    /// Transient messages are to be put on the disk; when that may be asked for again.
    spill_asked: AtomicBool,
    spill_rests_until: AtomicU64,
    /// During an alarm, whose turn it is to finish a content that was begun: were nobody to, contents that fill the memory
    /// between them would block each other for ever.
    turn: Arc<Semaphore>,
    /// Told when the alarm ends.
    alarm_ended: Notify,
    attempts: Attempts,
    authentication: Authentication,
    connections: AtomicUsize,
    /// Told when a connection ends.
    ended: Notify,
    stopping: AtomicBool,
    tasks: Arc<Tasks>,
    /// Told when files are to be read again: definitions, certificates.
    reload: watch::Sender<()>,
    /// What TLS is served with, where it is.
    certificates: Option<Arc<Certificates>>,
    started: SystemTime,
    /// What happens on purpose.
    faults: Arc<Faults>,
    time: Arc<Time>,
    /// What becomes of messages, where that is told.
    journal: Option<Arc<Journal>>,
    recorder: Option<Recorder>,
    testing: testing::Testing,
    doors: Doors,
    listening: Mutex<Vec<Listening>>,
    /// To be closed in the end.
    entrances: Mutex<Vec<Arc<Entrance>>>,
    /// Where spans of traced messages go, where they do.
    tracing: Option<Tracing>,
}

impl Shell {
    fn node(&self) -> Arc<Node> {
        Arc::clone(&self.node.read())
    }

    fn loops(&self) -> Arc<[Arc<BrokerLoop>]> {
        Arc::clone(&self.loops.read())
    }

    /// The loop of a virtual host.
    fn broker_loop(&self, vhost: &str) -> Option<Arc<BrokerLoop>> {
        self.loops.read().iter().find(|l| l.vhost() == vhost).cloned()
    }

    /// The loop of a virtual host, by its number in the storage.
    fn loop_numbered(&self, number: u32) -> Option<Arc<BrokerLoop>> {
        let of = |loops: &[Arc<BrokerLoop>]| loops.iter().find(|l| l.number() == Some(number)).cloned();
        of(&self.loops.read()).or_else(|| of(&self.retired.lock()))
    }

    /// Has everything written that is to survive, and nothing after that.
    async fn stop_storage(&self) {
        if let Some(storage) = &self.storage {
            self.settle();
            let storage = Arc::clone(storage);
            // The log's thread writes to sockets, which belong to this runtime: it is not to be kept waiting.
            let _ = tokio::task::spawn_blocking(move || storage.stop()).await;
        }
    }

    /// Nothing more comes: who takes it from here is to have all that it needs.
    fn settle(&self) {
        for broker_loop in self.loops().iter() {
            broker_loop.administer(Administration::Settle);
        }
    }

    /// Lets nobody in any more, and closes every connection.
    fn say_goodbye(&self) {
        if self.stopping.swap(true, Ordering::SeqCst) {
            return;
        }
        for entrance in self.entrances.lock().drain(..) {
            entrance.close();
        }
        for broker_loop in self.loops().iter() {
            broker_loop.shutdown("broker forced connection closure with reason 'shutdown'");
        }
    }
}

/// A running broker, on the runtime that it was started on. Nothing of it is shared with another one in the process, no signal is caught.
/// Dropping it cuts off who is connected, after telling them; [`Server::stop`] lets them say goodbye.
#[derive(Debug)]
pub struct Server {
    shell: Arc<Shell>,
}

impl Server {
    /// Builds the node, then binds its listener: who can connect is served.
    ///
    /// # Errors
    /// A definitions file that is refused, an address that cannot be bound.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let time = Arc::new(Time::new(config.testing.clock));
        let authentication = Authentication::new(&config, &time)?;
        let rules = config.testing.faults.as_deref().map_or_else(|| Ok(Vec::new()), |file| Faults::read(file).map_err(StartError))?;
        let mut node = config.node();
        let node_file = config.data_dir.as_deref().map(NodeFile::in_directory);
        let given = definitions::given(&config)?;
        let definitions = definitions::load(&config)?;
        let is_first_start = match &node_file {
            Some(file) => !file.read(&mut node)?,
            None => true,
        };
        if is_first_start {
            first_start(&mut node, &config)?;
        }
        definitions::apply_to(&given, &mut node).map_err(|refused| definitions::refused_as_given(&refused))?;
        let are_known = definitions::are_known(&definitions, &node, &config);
        if !are_known {
            definitions::apply_to(&definitions, &mut node).map_err(|refused| definitions::refusal(&config, &refused))?;
        }
        tag_cluster(&mut node, &config);
        let settings = Arc::clone(&node.settings);
        let names: Vec<Arc<str>> = node.vhosts.keys().cloned().collect();
        let faults = Arc::<Faults>::default();
        let opened = match storage::disk(&config)? {
            Some(place) => Some(storage::open(place.behind(&faults), config.fsync, &names)?),
            None => None,
        };
        if let Some(file) = &node_file {
            // Now that nobody else has the directory.
            file.write(&node).map_err(|error| StartError(format!("cannot write down users and virtual hosts: {error}")))?;
        }
        let seed = config.testing.seed.unwrap_or_else(seed);
        let now = time.now();
        let journal = config.testing.has_journal().then(|| Arc::new(Journal::new()));
        let mut loops = Vec::new();
        let mut retired = Vec::new();
        let others = opened.iter().flat_map(|opened| opened.vhosts.iter().skip(names.len())).map(|left| Arc::from(&*left.name));
        for (index, name) in names.iter().cloned().chain(others).enumerate() {
            let left = opened.as_ref().map(|opened| (opened, &opened.vhosts[index]));
            let (broker, keeper) = broker_of(&name, &node, left, seed, now)?;
            let broker_loop = Arc::new(BrokerLoop::new(broker, keeper, &time, journal.clone()));
            if node.vhost(&name).is_some() { loops.push(broker_loop) } else { retired.push(broker_loop) }
        }
        let certificates = certificates(&config)?;
        let controls = Controls::new(&config);
        let channels = Channels::new(&node);
        let node = Arc::new(node);
        let tasks = Tasks::new();
        let tracing = Tracing::start(&config, &settings, &tasks);
        let shell = Arc::new(Shell {
            settings,
            node_told: watch::Sender::new(Arc::clone(&node)),
            node: RwLock::new(node),
            node_file,
            changing: tokio::sync::Mutex::default(),
            loops: RwLock::new(loops.into()),
            retired: Mutex::new(retired),
            admitted: Mutex::default(),
            channels,
            alarms: Mutex::default(),
            alarms_told: watch::Sender::default(),
            disk_fails: AtomicBool::new(false),
            disk_short: AtomicBool::new(false),
            storage: opened.as_ref().map(|opened| Arc::clone(&opened.storage)),
            spill_asked: AtomicBool::new(false),
            spill_rests_until: AtomicU64::new(0),
            watermark: Mutex::new(Watermark::new(controls.memory_limit())),
            controls,
            held: Arc::default(),
            queued: AtomicU64::new(0),
            alarm: AtomicBool::new(false),
            turn: Arc::new(Semaphore::new(1)),
            alarm_ended: Notify::new(),
            attempts: Attempts::new(config.track_auth_attempt_source),
            authentication,
            connections: AtomicUsize::new(0),
            ended: Notify::new(),
            stopping: AtomicBool::new(false),
            tasks,
            reload: watch::Sender::default(),
            certificates,
            started: SystemTime::now(),
            faults: Arc::clone(&faults),
            time,
            journal,
            recorder: config.record.as_deref().map(Recorder::create).transpose().map_err(StartError)?,
            testing: testing::Testing::default(),
            doors: Doors::default(),
            listening: Mutex::default(),
            entrances: Mutex::default(),
            tracing,
            config,
        });
        // What has been started ends if the rest cannot be.
        let server = Self { shell: Arc::clone(&shell) };
        let retired = shell.retired.lock().clone();
        for broker_loop in shell.loops().iter().chain(&retired) {
            shell.run_loop(Arc::clone(broker_loop));
        }
        shell.faults.attach(&shell);
        if let Some(opened) = opened {
            opened.run(&shell)?;
            shell.tasks.spawn(Arc::clone(&shell).watch_disk());
        }
        for broker_loop in shell.loops().iter().chain(&retired) {
            // What has happened so far is written down.
            broker_loop.tick();
        }
        // Not before: starting is not what is tested.
        shell.faults.add(rules).map_err(|error| StartError(error.to_string()))?;
        let set_up = shell.set_up(&given.policies, &given.declarations, INTERNAL_USER).await;
        set_up.map_err(|refused| definitions::refused_as_given(&refused))?;
        if !are_known {
            definitions::set_up(&definitions, &shell).await?;
        }
        let handle = server.handle();
        if let Some(pattern) = &shell.config.testing.vhosts {
            let kind = Throwaway { pattern: faults::Pattern::new(pattern.as_str()), template: shell.config.testing.vhost_template.clone() };
            handle.set_throwaway(Some(kind)).map_err(|error| StartError(format!("test_vhosts.template: {error}")))?;
        }
        shell.tasks.spawn(definitions::reload(handle.on_reload(), definitions, Arc::clone(&shell)));
        if let Some(certificates) = &shell.certificates {
            handle.refresh(certificates);
        }
        shell.open_doors(listener::open(&shell.config).await?).await;
        Ok(server)
    }

    /// Where AMQP and metrics are served.
    fn listening(&self) -> Vec<Listening> {
        let all = self.shell.listening.lock();
        all.iter()
            .filter(|listening| listening.protocol.starts_with("amqp") || listening.protocol.ends_with("/prometheus"))
            .cloned()
            .collect()
    }

    /// Says on standard output, and in the ready file, that the broker serves; `http` is where its HTTP API is without TLS.
    ///
    /// # Errors
    /// A ready file that cannot be written.
    pub fn announce_ready(&self, http: SocketAddr) -> Result<(), StartError> {
        let config = &self.shell.config;
        let all = self.shell.listening.lock().clone();
        #[expect(clippy::print_stdout, reason = "this line is for whoever waits for the broker")]
        {
            let version = env!("CARGO_PKG_VERSION");
            let kept = match &config.data_dir {
                Some(dir) => format!("data in {}", dir.display()),
                None => "everything is kept in memory".to_owned(),
            };
            let mut served: Vec<String> = self.listening().iter().map(|l| format!("{} {}", l.protocol, l.address)).collect();
            if config.tls.auto {
                served.push(format!("development certificate in {}", tls::directory(config).display()));
            }
            served.push(format!("http {http}"));
            served.extend(all.iter().filter(|l| l.protocol == HTTPS).map(|l| format!("{HTTPS} {}", l.address)));
            println!("leveret {version}: Server startup complete; {}; {kept}", served.join("; "));
        }
        match &config.ready_file {
            Some(path) => ready_file::write(path, &all, http),
            None => Ok(()),
        }
    }

    /// For who looks after the node.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle(Arc::clone(&self.shell))
    }

    /// Closes every connection with 320, and returns when all are gone, or after three seconds (a tenth of one with the test API), and
    /// nothing of the broker runs any more.
    pub async fn stop(&self) {
        self.shell.say_goodbye();
        let all_gone = async {
            while self.shell.connections.load(Ordering::SeqCst) > 0 {
                self.shell.ended.notified().await;
            }
        };
        self.listening().iter().for_each(listener::clear);
        let grace = if self.shell.config.testing.api { TEST_SHUTDOWN_GRACE } else { SHUTDOWN_GRACE };
        if tokio::time::timeout(grace, all_gone).await.is_err() {
            tracing::warn!("connections did not close in time");
        }
        self.shell.stop_storage().await;
        collector::flush(self.shell.tracing.as_ref()).await;
        self.shell.tasks.end();
        self.shell.tasks.gone().await;
        self.shell.recorder.iter().for_each(Recorder::finish);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.shell.tasks.are_over() {
            return;
        }
        // What is written here and now may have to go on in tasks.
        let runtime = self.shell.tasks.runtime().clone();
        let _runtime = runtime.enter();
        self.shell.say_goodbye();
        self.listening().iter().for_each(listener::clear);
        if let Some(storage) = &self.shell.storage {
            self.shell.settle();
            // Its threads wait for nobody, so that this is a matter of one write and one sync.
            storage.stop();
        }
        self.shell.tasks.end();
    }
}

/// Reads the certificates, if anything is served over TLS.
fn certificates(config: &Config) -> Result<Option<Arc<Certificates>>, StartError> {
    if config.ssl_listeners().is_empty() {
        return Ok(None);
    }
    Certificates::for_amqp(config).map(Some).map_err(|error| StartError(error.to_string()))
}

/// The tags of the cluster are a parameter, so that definitions have them, which is what the configuration says at each start.
fn tag_cluster(node: &mut Node, config: &Config) {
    if config.cluster_tags.is_empty() {
        node.global_parameters.remove(CLUSTER_TAGS);
    } else {
        node.global_parameters.insert(CLUSTER_TAGS.to_owned(), serde_json::json!(config.cluster_tags));
    }
}

/// The broker of a virtual host with what is left of it.
fn broker_of(
    name: &str,
    node: &Node,
    left: Option<(&storage::Opened, &RecoveredVhost)>,
    seed: u64,
    now: Timestamp,
) -> Result<(Broker, Option<Keeper>), StartError> {
    let mut broker = Broker::new(name, Arc::clone(&node.settings), seed);
    let mut keeper = None;
    if let Some((opened, left)) = left {
        opened.restore(left, &mut broker, now)?;
        keeper = Some(Keeper { storage: Arc::clone(&opened.storage), vhost: left.number });
    }
    let mut effects = Effects::default();
    if let Some(vhost) = node.vhost(name) {
        broker.handle(now, Input::SetLimits(vhost.for_broker()), &mut effects);
        broker.handle(now, Input::Trace(vhost.tracing || node.settings.tracing), &mut effects);
    } else {
        // Deleted, but perhaps the process ended before all of it was.
        broker.handle(now, Input::Reset, &mut effects);
    }
    Ok((broker, keeper))
}

/// What a node has when it starts for the first time: the default virtual host, and the default user unless users are defined.
fn first_start(node: &mut Node, config: &Config) -> Result<(), StartError> {
    node.put_vhost(Vhost::new(&config.default_vhost));
    if config.load_definitions.is_some() {
        return Ok(());
    }
    let password = PasswordHash::new(Algorithm::default(), salt(), &config.default_pass);
    let tags = config.default_user_tags.iter().cloned().collect();
    node.put_user(User { name: config.default_user.as_str().into(), password, tags, limits: UserLimits::default() });
    let config::Permissions { configure, write, read } = &config.default_permissions;
    let permissions = Permissions::new(configure, write, read);
    let permissions = permissions.map_err(|why| StartError(format!("default_permissions: {why}")))?;
    node.set_permissions(&config.default_user, &config.default_vhost, permissions).map_err(|refusal| StartError(refusal.to_string()))
}

/// Salt for a password.
fn salt() -> [u8; SALT] {
    let [a, b, c, d, ..] = seed().to_le_bytes();
    [a, b, c, d]
}

/// Generated names differ from one start to the next.
fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::process::id())
}

//! Faults as rules: what a broker does on purpose that none should, so that clients can be tested against it (docs/TEST_API.md).
//!
//! - a *rule* says what it means, when it fires, and what happens; it counts its hits;
//! - an *engine* per connection cuts what comes and goes into frames, asks the rules about each, and keeps what is late;
//! - the disk asks the rules before each operation.
//!
//! Where there is no rule, all this costs one look at a flag for each read and each output. The node's own connections to itself are
//! left alone.

mod counting;
mod disk;
mod engine;
mod frames;
mod incoming;
mod json;
mod judging;
mod methods;
mod outgoing;
mod pattern;
mod rule;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use serde_json::Value as Json;
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Handle, Shell};
use counting::Count;

pub use pattern::Pattern;
pub use rule::{Action, Alarm, Direction, DiskError, Match, Operations, Rule, RuleError, Stage, Then};

pub(super) use disk::FaultyDisk;
pub(super) use engine::{AtStart, End, Engine, Meeting, Passed};
pub(super) use judging::Who;
pub(super) use outgoing::Consumers;

/// A rule among those of a node.
#[derive(Debug)]
pub(super) struct Active {
    id: u64,
    rule: Rule,
    count: Mutex<Count>,
    removed: AtomicBool,
    /// Of an alarm that this rule has raised: until when, if that is known.
    raised: Mutex<Option<Option<Instant>>>,
}

impl Active {
    fn fires(&self) -> bool {
        self.count.lock().fires(&self.rule)
    }

    fn is_removed(&self) -> bool {
        self.removed.load(Ordering::Acquire)
    }
}

/// A rule, and what has become of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    pub id: u64,
    pub rule: Rule,
    /// How many frames, connections or operations have matched it while it could fire.
    pub matched: u64,
    /// How often it has fired.
    pub hits: u64,
    /// It never fires again.
    pub spent: bool,
}

impl Status {
    #[must_use]
    pub fn to_json(&self) -> Json {
        let mut json = self.rule.to_json();
        json["id"] = self.id.into();
        json["matched"] = self.matched.into();
        json["hits"] = self.hits.into();
        json["spent"] = self.spent.into();
        json
    }
}

type Rules = Arc<[Arc<Active>]>;

/// The rules of a node.
#[derive(Debug)]
pub struct Faults {
    /// There are rules, or connections that something of an earlier one is left with.
    on: AtomicBool,
    /// There are rules about the disk.
    disk_on: AtomicBool,
    rules: RwLock<Rules>,
    /// Changes with the rules.
    version: AtomicU64,
    changed: watch::Sender<u64>,
    counts: Mutex<Counts>,
    node: OnceLock<Weak<Shell>>,
}

#[derive(Debug, Default)]
struct Counts {
    last_id: u64,
    engines: usize,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            on: AtomicBool::new(false),
            disk_on: AtomicBool::new(false),
            rules: RwLock::new(Arc::from([])),
            version: AtomicU64::new(0),
            changed: watch::Sender::new(0),
            counts: Mutex::default(),
            node: OnceLock::new(),
        }
    }
}

impl Faults {
    /// Adds rules, which apply to what comes from now on, on connections that are open as well. Returns what they are called.
    ///
    /// # Errors
    /// The first that contradicts itself; none is added then.
    pub fn add(&self, rules: Vec<Rule>) -> Result<Vec<u64>, RuleError> {
        rules.iter().try_for_each(Rule::check)?;
        let mut ids = Vec::new();
        self.change(|all, counts| {
            for rule in rules {
                counts.last_id += 1;
                ids.push(counts.last_id);
                let count = Mutex::new(Count::new(&rule));
                let active = Active { id: counts.last_id, rule, count, removed: AtomicBool::new(false), raised: Mutex::default() };
                all.push(Arc::new(active));
            }
        });
        for active in self.rules().iter().filter(|active| ids.contains(&active.id)) {
            if active.rule.action.scope() == rule::Scope::Node && active.rule.matches == Match::default() && active.fires() {
                self.raise(active);
            }
        }
        self.tell();
        Ok(ids)
    }

    /// Takes a rule away, and with it what lasts for as long as it is there; `false` when there is none.
    pub fn remove(&self, id: u64) -> bool {
        self.remove_where(|active| active.id == id) > 0
    }

    /// Takes all away; returns how many.
    pub fn clear(&self) -> usize {
        self.remove_where(|_| true)
    }

    fn remove_where(&self, which: impl Fn(&Active) -> bool) -> usize {
        let mut removed = 0;
        self.change(|all, _| {
            all.retain(|active| {
                let goes = which(active);
                if goes {
                    active.removed.store(true, Ordering::Release);
                    removed += 1;
                }
                !goes
            });
        });
        self.tell();
        removed
    }

    #[must_use]
    pub fn get(&self, id: u64) -> Option<Status> {
        self.list().into_iter().find(|status| status.id == id)
    }

    /// All rules, in the order in which they are asked.
    #[must_use]
    pub fn list(&self) -> Vec<Status> {
        let status = |active: &Arc<Active>| {
            let count = *active.count.lock();
            let Count { matched, hits, .. } = count;
            Status { id: active.id, rule: active.rule.clone(), matched, hits, spent: count.is_spent(&active.rule) }
        };
        self.rules().iter().map(status).collect()
    }

    /// Reads rules from a file of JSON: one, or a list of them.
    ///
    /// # Errors
    /// A file that cannot be read, or that has something else in it, in one line that begins with its name.
    pub fn read(path: &Path) -> Result<Vec<Rule>, String> {
        let failed = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
        let text = std::fs::read(path).map_err(|error| failed(&error))?;
        let json = serde_json::from_slice(&text).map_err(|error| failed(&error))?;
        Rule::list_from_json(json).map_err(|error| failed(&error))
    }

    /// Whether anything has to be asked at all.
    pub(super) fn is_on(&self) -> bool {
        self.on.load(Ordering::Acquire)
    }

    /// From now on the node hears of changes.
    pub(super) fn attach(&self, shell: &Arc<Shell>) {
        let _ = self.node.set(Arc::downgrade(shell));
    }

    /// To be waited for until the rules change.
    pub(super) fn on_change(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn rules(&self) -> Rules {
        Arc::clone(&self.rules.read())
    }

    fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Arc<Active>>, &mut Counts)) {
        let mut counts = self.counts.lock();
        let mut rules = self.rules.write();
        let mut all = rules.to_vec();
        change(&mut all, &mut counts);
        *rules = all.into();
        self.disk_on.store(rules.iter().any(|active| active.rule.action.scope() == rule::Scope::Disk), Ordering::Release);
        self.on.store(!rules.is_empty() || counts.engines > 0, Ordering::Release);
        let version = self.version.fetch_add(1, Ordering::AcqRel) + 1;
        drop((rules, counts));
        self.changed.send_replace(version);
    }

    /// An engine begins, or ends.
    fn count_engine(&self, begins: bool) {
        let mut counts = self.counts.lock();
        if begins {
            counts.engines += 1;
        } else {
            counts.engines -= 1;
        }
        self.on.store(counts.engines > 0 || !self.rules.read().is_empty(), Ordering::Release);
    }

    /// Has every connection look at the rules, and alarms follow them.
    fn tell(&self) {
        let Some(shell) = self.shell() else { return };
        let tasks = Arc::clone(&shell.tasks);
        tasks.spawn(async move {
            for broker_loop in shell.loops().iter() {
                broker_loop.ask(|asked| asked.connections.iter().flatten().for_each(|shared| shared.wake.notify_one())).await;
            }
            shell.spread_alarms();
        });
    }

    fn shell(&self) -> Option<Arc<Shell>> {
        self.node.get()?.upgrade()
    }

    /// Raises the alarm of a rule.
    fn raise(&self, active: &Arc<Active>) {
        let Action::RaiseAlarm { limit, .. } = active.rule.action else { return };
        let until = limit.map(|limit| Instant::now() + limit);
        *active.raised.lock() = Some(until);
        let Some(shell) = self.shell() else { return };
        let (node, tasks) = (Arc::downgrade(&shell), Arc::clone(&shell.tasks));
        tasks.spawn(async move {
            let spread = || {
                if let Some(shell) = node.upgrade() {
                    shell.spread_alarms();
                }
            };
            spread();
            if let Some(limit) = limit {
                tokio::time::sleep(limit + Duration::from_millis(1)).await;
                spread();
            }
        });
    }

    /// Whether rules raise the memory alarm, and the one of the disk.
    pub(super) fn alarms(&self) -> (bool, bool) {
        if !self.is_on() {
            return (false, false);
        }
        let now = Instant::now();
        let (mut memory, mut disk) = (false, false);
        for active in self.rules().iter() {
            let raised = active.raised.lock().is_some_and(|until| until.is_none_or(|until| now < until));
            match active.rule.action {
                Action::RaiseAlarm { alarm: Alarm::Memory, .. } => memory |= raised,
                Action::RaiseAlarm { alarm: Alarm::Disk, .. } => disk |= raised,
                _ => {}
            }
        }
        (memory, disk)
    }
}

impl Handle {
    /// The faults of this node, for tests.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.0.faults
    }
}

//! States to go back to: of a virtual host, or of the whole node; and beginning again from nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value as Json, json};

use super::TestError;
use crate::broker::{Connections, Input, NotInMemory, Snapshot};
use crate::node::{Node, Refusal, definitions};
use crate::server::broker_loop::BrokerLoop;
use crate::server::{ChangeError, Handle, salt};

/// What clients are told whose connections are closed.
const REASON: &str = "test reset";
/// How a file begins in which this is kept.
const MAGIC: &[u8] = b"leveret saved 1\n";

/// What of a virtual host stays when it is reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    #[default]
    Nothing,
    /// What is declared, and no messages.
    Definitions,
}

/// What becomes of connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Open {
    /// They are closed with 320.
    #[default]
    Close,
    /// They stay. Consumers of queues that go are cancelled.
    Keep,
}

/// A state to go back to.
#[derive(Clone, Debug, PartialEq)]
pub struct Saved {
    /// Users, permissions and virtual hosts, as definitions have them, if the whole node was saved.
    node: Option<Map<String, Json>>,
    vhosts: BTreeMap<String, Snapshot>,
}

impl Saved {
    /// What there is of each virtual host.
    pub fn vhosts(&self) -> impl Iterator<Item = (&str, &Snapshot)> {
        self.vhosts.iter().map(|(name, snapshot)| (&**name, snapshot))
    }

    #[must_use]
    pub fn is_of_node(&self) -> bool {
        self.node.is_some()
    }

    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let names: Vec<&String> = self.vhosts.keys().collect();
        let mut bytes = MAGIC.to_vec();
        put(&mut bytes, json!({"node": self.node, "vhosts": names}).to_string().as_bytes());
        self.vhosts.values().for_each(|snapshot| put(&mut bytes, &snapshot.to_bytes()));
        bytes
    }

    /// What [`Saved::to_bytes`] has written.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let mut rest = bytes.strip_prefix(MAGIC).ok_or("it does not begin as what was saved does")?;
        let head: Json = serde_json::from_slice(take(&mut rest)?).map_err(|error| error.to_string())?;
        let names = head["vhosts"].as_array().ok_or("it does not say which virtual hosts it has")?;
        let mut vhosts = BTreeMap::new();
        for name in names.iter().filter_map(Json::as_str) {
            let snapshot = Snapshot::from_bytes(take(&mut rest)?).map_err(|why| format!("virtual host '{name}': {why}"))?;
            vhosts.insert(name.to_owned(), snapshot);
        }
        Ok(Self { node: head["node"].as_object().cloned(), vhosts })
    }
}

fn put(out: &mut Vec<u8>, part: &[u8]) {
    out.extend_from_slice(&(part.len() as u64).to_le_bytes());
    out.extend_from_slice(part);
}

fn take<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], &'static str> {
    let (length, rest) = bytes.split_first_chunk::<8>().ok_or("it ends too early")?;
    let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| "it ends too early")?;
    let (part, rest) = rest.split_at_checked(length).ok_or("it ends too early")?;
    *bytes = rest;
    Ok(part)
}

impl From<ChangeError> for TestError {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Refused(refusal) => Self::Refused(refusal.to_string()),
            ChangeError::Disk(_) => Self::Failed(error.to_string()),
        }
    }
}

impl Handle {
    fn test_loop(&self, vhost: &str) -> Result<Arc<BrokerLoop>, TestError> {
        self.0.broker_loop(vhost).ok_or_else(|| TestError::NotFound(format!("no virtual host '{vhost}'")))
    }

    /// The state of a virtual host, or of the whole node: what would be left if all connections closed now.
    ///
    /// # Errors
    /// When there is no such virtual host, and when a stream is so long that a part of it is on disk alone.
    pub async fn save(&self, vhost: Option<&str>) -> Result<Saved, TestError> {
        let node = vhost.is_none().then(|| self.node().to_definitions(None));
        let loops = match vhost {
            Some(vhost) => vec![self.test_loop(vhost)?],
            None => self.0.loops().to_vec(),
        };
        let mut vhosts = BTreeMap::new();
        for broker_loop in loops {
            let taken = broker_loop.until(|asked| match asked.broker.snapshot() {
                // It comes, and is news.
                Err(NotInMemory { is_stream: false, .. }) if asked.broker.load_all() => None,
                taken => Some(taken),
            });
            let taken = taken.await.ok_or_else(|| TestError::Failed("the node stops".to_owned()))?;
            let snapshot = taken.map_err(|NotInMemory { queue, .. }| {
                TestError::Refused(format!("stream '{queue}' in virtual host '{}' is too long to be saved", broker_loop.vhost()))
            })?;
            vhosts.insert(broker_loop.vhost().to_owned(), snapshot);
        }
        Ok(Saved { node, vhosts })
    }

    /// Goes back to what was saved. Of a node, users and virtual hosts that have come since are gone.
    ///
    /// # Errors
    /// When a virtual host is not there any more, and where it cannot be what it was.
    pub async fn go_back(&self, saved: &Saved, open: Open) -> Result<(), TestError> {
        if let Some(sections) = &saved.node {
            let fresh = Node { settings: Arc::clone(&self.0.settings), ..self.0.config.node() };
            let change = |node: &mut Node| {
                let vhost_max = node.vhost_max;
                *node = Node { vhost_max: None, ..fresh };
                definitions::take_all(node, sections, salt).map_err(|why| Refusal::Invalid(why.to_string()))?;
                node.vhost_max = vhost_max;
                Ok(())
            };
            self.change_node(change).await?;
        }
        for (vhost, snapshot) in &saved.vhosts {
            self.restore(vhost, snapshot.clone(), open).await?;
        }
        Ok(())
    }

    /// A virtual host becomes what another one, or it itself, was.
    ///
    /// # Errors
    /// When it is not there, and where it cannot be that.
    pub async fn restore(&self, vhost: &str, snapshot: Snapshot, open: Open) -> Result<(), TestError> {
        let broker_loop = self.test_loop(vhost)?;
        let restored = broker_loop.ask(move |asked| {
            if open == Open::Close {
                asked.handle(Input::CloseConnections { which: Connections::All, reason: REASON });
            }
            let mut outcome = Ok(());
            asked.handle(Input::Restore { snapshot: &snapshot, outcome: &mut outcome });
            outcome
        });
        restored.await.map_err(TestError::Refused)?;
        self.settled(&broker_loop).await
    }

    /// Empties a virtual host: of messages alone, or of everything.
    ///
    /// # Errors
    /// When it is not there.
    pub async fn reset_vhost(&self, vhost: &str, keep: Keep, open: Open) -> Result<(), TestError> {
        let broker_loop = self.test_loop(vhost)?;
        broker_loop
            .ask(move |asked| {
                if open == Open::Close {
                    asked.handle(Input::CloseConnections { which: Connections::All, reason: REASON });
                }
                asked.handle(match keep {
                    Keep::Nothing => Input::Reset,
                    Keep::Definitions => Input::Empty,
                });
            })
            .await;
        self.settled(&broker_loop).await
    }

    /// Empties the node: of all messages, or of everything, which leaves it as after a first start.
    ///
    /// # Errors
    /// A disk that fails.
    pub async fn reset_node(&self, keep: Keep, open: Open) -> Result<(), TestError> {
        for vhost in self.node().vhosts.keys() {
            self.reset_vhost(vhost, keep, open).await?;
        }
        if keep == Keep::Nothing {
            self.forget_node().await?;
        }
        Ok(())
    }

    /// What a crash would leave is what there is now.
    async fn settled(&self, broker_loop: &Arc<BrokerLoop>) -> Result<(), TestError> {
        if broker_loop.safe().await { Ok(()) } else { Err(TestError::Failed("the node stops".to_owned())) }
    }

    /// Keeps what was saved under a name, or one that is made up.
    pub fn keep_saved(&self, name: Option<String>, saved: Saved) -> String {
        let mut all = self.0.testing.saved.lock();
        let name = name.unwrap_or_else(|| {
            let mut numbered = (1..).map(|number: u64| number.to_string());
            numbered.find(|name| !all.contains_key(name)).unwrap_or_default()
        });
        all.insert(name.clone(), Arc::new(saved));
        name
    }

    #[must_use]
    pub fn saved(&self, name: &str) -> Option<Arc<Saved>> {
        self.0.testing.saved.lock().get(name).cloned()
    }

    /// All that was saved, by name.
    #[must_use]
    pub fn all_saved(&self) -> Vec<(String, Arc<Saved>)> {
        self.0.testing.saved.lock().iter().map(|(name, saved)| (name.clone(), Arc::clone(saved))).collect()
    }

    /// Whether there was anything of this name.
    pub fn drop_saved(&self, name: &str) -> bool {
        self.0.testing.saved.lock().remove(name).is_some()
    }
}

//! Definitions: those of a file, taken in before anybody is served and what has changed in it again at each SIGHUP, and those that
//! come over HTTP. All go the same way: the node first, then policies, exchanges, queues and bindings, virtual host by virtual host.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value as Json;
use tokio::sync::watch;

use super::inbox::Administration;
use super::vhosts::ChangeError;
use super::{Shell, StartError, salt};
use crate::broker::{Declaration, Error, INTERNAL_USER, Input};
use crate::config::Config;
use crate::config::definitions::{Definitions, Refused, VhostDeclaration, VhostPolicy};
use crate::node::{Node, Refusal};

/// How much a virtual host takes in at a time: what else happens there waits meanwhile.
const AT_ONCE: usize = 256;

/// The global parameter in which RabbitMQ keeps what stands for the file that was loaded last.
const DIGEST: &str = "imported_definition_hash_value";

/// Why definitions have not been taken in, or not all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImportError {
    /// What came before this entry is there.
    Refused(Refused),
    /// The disk does not take it.
    Disk(String),
}

impl std::fmt::Display for ImportError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(refused) => refused.fmt(f),
            Self::Disk(error) => write!(f, "cannot be written down: {error}"),
        }
    }
}

impl std::error::Error for ImportError {}

impl From<Refused> for ImportError {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<ChangeError> for ImportError {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Disk(error) => Self::Disk(error),
            ChangeError::Refused(refusal) => Self::Refused(Refused { entry: String::new(), path: None, why: refusal.to_string() }),
        }
    }
}

/// # Errors
/// A file that cannot be read or that has something in it that RabbitMQ would refuse.
pub(super) fn load(config: &Config) -> Result<Definitions, StartError> {
    let Some(path) = &config.load_definitions else { return Ok(Definitions::default()) };
    Definitions::load(path, &config.default_vhost).map_err(|error| StartError(error.to_string()))
}

/// # Errors
/// Something that RabbitMQ would refuse.
pub(super) fn given(config: &Config) -> Result<Definitions, StartError> {
    let Some(sections) = &config.definitions else { return Ok(Definitions::default()) };
    let definitions = Definitions::read(sections.clone(), Some(&config.default_vhost));
    definitions.refused.as_ref().map_or(Ok(()), |refused| Err(refused_as_given(refused)))?;
    Ok(definitions)
}

pub(super) fn refused_as_given(refused: &Refused) -> StartError {
    StartError(format!("definitions: {refused}"))
}

/// Whether the node has taken in this very file before and is not to do so again.
pub(super) fn are_known(definitions: &Definitions, node: &Node, config: &Config) -> bool {
    let known = node.global_parameters.get(DIGEST).and_then(Json::as_str);
    config.skip_unchanged_definitions && !definitions.digest.is_empty() && known == Some(&*definitions.digest)
}

/// Something in the file cannot be taken in.
pub(super) fn refusal(config: &Config, refused: &Refused) -> StartError {
    let file = config.load_definitions.as_deref().unwrap_or(std::path::Path::new(""));
    StartError(format!("{}: {refused}", file.display()))
}

/// Gives a node what is defined for it, or refuses all of it.
pub(super) fn apply_to(definitions: &Definitions, node: &mut Node) -> Result<(), Refused> {
    definitions.apply_to(node, salt)?;
    definitions.misplaced(node).map_or(Ok(()), Err)
}

/// Has virtual hosts take in what a file defines for them.
pub(super) async fn set_up(definitions: &Definitions, shell: &Arc<Shell>) -> Result<(), StartError> {
    let set_up = shell.set_up(&definitions.policies, &definitions.declarations, INTERNAL_USER).await;
    set_up.map_err(|refused| refusal(&shell.config, &refused))?;
    shell.remember(definitions).await.map_err(|error| StartError(error.to_string()))
}

/// Loads the file again whenever the node is told to. A file that is refused changes nothing.
pub(super) async fn reload(mut told: watch::Receiver<()>, mut current: Definitions, shell: Arc<Shell>) {
    while told.changed().await.is_ok() {
        if shell.config.load_definitions.is_none() {
            tracing::info!("SIGHUP: load_definitions is not set, so there is nothing to load again");
            continue;
        }
        match load_again(&shell, &current).await {
            Ok(next) => {
                tracing::info!(policies = next.policies.len(), "definitions loaded again");
                current = next;
            }
            Err(error) => tracing::error!("definitions not loaded, what was loaded before stays: {error}"),
        }
    }
}

async fn load_again(shell: &Arc<Shell>, current: &Definitions) -> Result<Definitions, StartError> {
    let next = load(&shell.config)?;
    let invalid = |refused: Refused| Refusal::Invalid(refusal(&shell.config, &refused).to_string());
    let changed = shell.change_node(|node| apply_to(&next, node).map_err(invalid)).await;
    changed.map_err(|error| StartError(error.to_string()))?;
    for policy in next.gone_since(current) {
        if let Some(broker_loop) = shell.broker_loop(&policy.vhost) {
            broker_loop.administer(Administration::ClearPolicy { operator: policy.operator, name: policy.policy.name.clone() });
        }
    }
    let changed: Vec<VhostPolicy> = next.changed_since(current).cloned().collect();
    shell.set_up(&changed, &next.declarations, INTERNAL_USER).await.map_err(|refused| refusal(&shell.config, &refused))?;
    shell.remember(&next).await.map_err(|error| StartError(error.to_string()))?;
    Ok(next)
}

impl Shell {
    /// Takes in definitions; when this returns, what has been taken in would survive.
    pub(super) async fn import(self: &Arc<Self>, definitions: Definitions, user: &str) -> Result<(), ImportError> {
        // What came before an entry that is refused stays.
        self.change_node(|node| Ok(definitions.apply_to(node, salt))).await??;
        self.check_limits(&definitions.declarations).await?;
        let outcome = self.set_up(&definitions.policies, &definitions.declarations, user).await;
        self.safe(&definitions).await?;
        outcome?;
        definitions.refused.map_or(Ok(()), |refused| Err(refused.into()))
    }

    /// Returns when what virtual hosts have taken in would survive.
    async fn safe(&self, definitions: &Definitions) -> Result<(), ImportError> {
        let policies = definitions.policies.iter().map(|policy| &policy.vhost);
        let touched: BTreeSet<&Arc<str>> = policies.chain(definitions.declarations.iter().map(|d| &d.vhost)).collect();
        for broker_loop in touched.into_iter().filter_map(|vhost| self.broker_loop(vhost)) {
            if !broker_loop.safe().await {
                return Err(ImportError::Disk("the node stops".to_owned()));
            }
        }
        Ok(())
    }

    /// Remembers which file has been taken in, if that matters, so that it need not be again.
    pub(super) async fn remember(self: &Arc<Self>, definitions: &Definitions) -> Result<(), ImportError> {
        if !self.config.skip_unchanged_definitions || definitions.digest.is_empty() {
            return Ok(());
        }
        // Not before what was in it: a crash in between would lose that for good.
        self.safe(definitions).await?;
        let remember = |node: &mut Node| {
            node.global_parameters.insert(DIGEST.to_owned(), definitions.digest.as_str().into());
            Ok(())
        };
        Ok(self.change_node(remember).await?)
    }

    /// Has virtual hosts take in policies and declarations, up to the first that is refused.
    pub(super) async fn set_up(&self, policies: &[VhostPolicy], declarations: &[VhostDeclaration], user: &str) -> Result<(), Refused> {
        for policies in policies.chunk_by(|a, b| a.vhost == b.vhost).flat_map(|some| some.chunks(AT_ONCE)) {
            self.set_policies(policies, user).await?;
        }
        // What is of one kind and in one virtual host goes together, also where the file has it in another order.
        for of_a_kind in declarations.chunk_by(|a, b| a.declaration.what() == b.declaration.what()) {
            let mut by_vhost: BTreeMap<&Arc<str>, Vec<&Declaration>> = BTreeMap::new();
            for VhostDeclaration { vhost, declaration } in of_a_kind {
                by_vhost.entry(vhost).or_default().push(declaration);
            }
            for (vhost, declarations) in by_vhost {
                for some in declarations.chunks(AT_ONCE) {
                    self.declare(vhost, some, user).await?;
                }
            }
        }
        Ok(())
    }

    /// All of the same virtual host.
    async fn set_policies(&self, policies: &[VhostPolicy], user: &str) -> Result<(), Refused> {
        let Some(first) = policies.first() else { return Ok(()) };
        let no_vhost = || Refused::no_vhost(format!("policy '{}'", first.policy.name), &first.vhost);
        let broker_loop = self.broker_loop(&first.vhost).ok_or_else(no_vhost)?;
        let (policies, user) = (policies.to_vec(), user.to_owned());
        let set = broker_loop.ask(move |asked| {
            for VhostPolicy { operator, policy, .. } in policies {
                asked.handle(Input::SetPolicy { operator, policy: Box::new(policy), user: &user });
            }
        });
        set.await;
        Ok(())
    }

    async fn declare(&self, vhost: &Arc<str>, declarations: &[&Declaration], user: &str) -> Result<(), Refused> {
        let Some(first) = declarations.first() else { return Ok(()) };
        let entry = |declaration: &Declaration| format!("{} '{}'", declaration.what(), declaration.name());
        let broker_loop = self.broker_loop(vhost).ok_or_else(|| Refused::no_vhost(entry(first), vhost))?;
        let (all, user): (Vec<Declaration>, _) = (declarations.iter().map(|one| (*one).clone()).collect(), user.to_owned());
        let declared = broker_loop.ask(move |asked| {
            let mut refused = Vec::new();
            for declaration in all {
                let mut outcome = Ok(());
                asked.handle(Input::Import { what: &declaration, user: &user, outcome: &mut outcome });
                let Err(error) = outcome else { continue };
                // RabbitMQ leaves out bindings that cannot be made, such as those to queues that were not exported.
                let goes_on = matches!(declaration, Declaration::Binding { .. });
                refused.push((declaration, error));
                if !goes_on {
                    break;
                }
            }
            refused
        });
        for (declaration, error) in declared.await {
            let why = explained(&error);
            if matches!(declaration, Declaration::Binding { .. }) {
                tracing::warn!(%vhost, "definitions: {} is left out: {why}", entry(&declaration));
            } else {
                return Err(Refused { entry: entry(&declaration), path: Some(format!("{vhost}/{}", declaration.name())), why });
            }
        }
        Ok(())
    }

    /// Whether virtual hosts may have the queues that they have not yet.
    async fn check_limits(&self, declarations: &[VhostDeclaration]) -> Result<(), Refused> {
        let mut wanted: BTreeMap<Arc<str>, BTreeSet<String>> = BTreeMap::new();
        for VhostDeclaration { vhost, declaration } in declarations {
            if let Declaration::Queue { name, .. } = declaration {
                wanted.entry(Arc::clone(vhost)).or_default().insert(name.clone());
            }
        }
        let node = self.node();
        for (vhost, names) in wanted {
            let limit = node.vhost(&vhost).and_then(|vhost| vhost.limits.max_queues);
            let (Some(limit), Some(broker_loop)) = (limit, self.broker_loop(&vhost)) else { continue };
            let counted = broker_loop.ask(move |asked| {
                let there = names.iter().filter(|name| asked.broker().has_queue(name)).count();
                (asked.broker().queue_count(), names.len() - there)
            });
            let (there, more) = counted.await;
            if more > 0 && (there + more) as u64 > limit {
                let why = format!(
                    "Adding {more} queue(s) to virtual host \"{vhost}\" would exceed the limit of {limit} queue(s).\n\n\
                     This virtual host currently has {there} queue(s) defined.\n\nImport aborted!"
                );
                return Err(Refused { entry: "queues".to_owned(), path: None, why });
            }
        }
        Ok(())
    }
}

/// An error of the protocol as RabbitMQ shows it to who imports.
fn explained(error: &Error) -> String {
    format!("{}: {}", error.code.name().to_lowercase(), error.text)
}

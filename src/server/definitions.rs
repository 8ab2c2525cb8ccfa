//! The definitions file: applied before anybody is served, and what has changed in it again at each SIGHUP.

use std::sync::Arc;

use tokio::signal::unix::Signal;

use super::inbox::Administration;
use super::{Shell, StartError, now, salt};
use crate::broker::{Broker, Effects};
use crate::config::Config;
use crate::config::definitions::{Definitions, VhostPolicy};
use crate::node::Refusal;

/// # Errors
/// A file that cannot be read or that has something in it that RabbitMQ would refuse.
pub(super) fn load(config: &Config) -> Result<Definitions, StartError> {
    let Some(path) = &config.load_definitions else { return Ok(Definitions::default()) };
    Definitions::load(path, &config.default_vhost).map_err(|error| StartError(error.to_string()))
}

/// What is wrong, with the name of the file.
pub(super) fn in_file(config: &Config, why: &str) -> String {
    config.load_definitions.as_ref().map_or_else(|| why.to_owned(), |path| format!("{}: {why}", path.display()))
}

/// Gives a virtual host that nobody uses yet what is defined for it.
pub(super) fn apply(definitions: &Definitions, broker: &mut Broker) {
    let vhost = broker.vhost().to_owned();
    for policy in definitions.policies.iter().filter(|policy| *policy.vhost == *vhost) {
        broker.handle(now(), setting(policy).input(), &mut Effects::default());
    }
}

/// Loads the file again whenever the process is told to. A file that is refused changes nothing.
pub(super) async fn reload(mut hangup: Signal, mut current: Definitions, shell: Arc<Shell>) {
    while hangup.recv().await.is_some() {
        if shell.config.load_definitions.is_none() {
            tracing::info!("SIGHUP: load_definitions is not set, so there is nothing to load again");
            continue;
        }
        let loaded = match load(&shell.config) {
            Ok(next) => {
                let changed = shell.change_node(|node| next.apply_to(node, salt).map_err(Refusal::Invalid)).await;
                changed.map(|()| next).map_err(|error| StartError(error.to_string()))
            }
            Err(error) => Err(error),
        };
        match loaded {
            Ok(next) => {
                let gone = next.gone_since(&current).map(|policy| (&policy.vhost, clearing(policy)));
                let changed = next.changed_since(&current).map(|policy| (&policy.vhost, setting(policy)));
                for (vhost, administration) in gone.chain(changed) {
                    if let Some(broker_loop) = shell.broker_loop(vhost) {
                        broker_loop.administer(administration);
                    }
                }
                tracing::info!(policies = next.policies.len(), "definitions loaded again");
                current = next;
            }
            Err(error) => tracing::error!("definitions not loaded, what was loaded before stays: {error}"),
        }
    }
}

fn setting(policy: &VhostPolicy) -> Administration {
    Administration::SetPolicy { operator: policy.operator, policy: Box::new(policy.policy.clone()) }
}

fn clearing(policy: &VhostPolicy) -> Administration {
    Administration::ClearPolicy { operator: policy.operator, name: policy.policy.name.clone() }
}

//! What is the node's and not one virtual host's: users, virtual hosts, permissions, parameters, negotiation, alarms. As pure as
//! the core.
//!
//! A `Node` is a value. Whoever changes it makes another one, which everybody sees from then on; who still reads the one before
//! reads something that was true.

pub mod alarms;
pub mod definitions;
pub mod handshake;
pub mod identity;
pub mod parameters;
pub mod password;
pub mod permissions;
mod shovel;
pub mod users;
pub mod vhosts;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::broker::Settings;
use identity::Backends;
use parameters::{GlobalParameters, Parameters};
use permissions::{Permissions, TopicKey, TopicPermissions};
use users::User;
use vhosts::Vhost;

/// What a handshake and an administrator need to know of the node.
#[derive(Clone, Debug, Default)]
pub struct Node {
    pub settings: Arc<Settings>,
    pub tune: Tune,
    /// Who is asked about users, in this order; the node itself when there is nobody.
    pub backends: Vec<Backends>,
    /// What connection.start offers; when there are none, what the profile does.
    pub mechanisms: Vec<String>,
    /// How many connections the node takes (behaviour C21).
    pub connection_max: Option<usize>,
    /// How many virtual hosts there may be; `None` is no limit.
    pub vhost_max: Option<usize>,
    /// Who may log in from this machine only (behaviour C10).
    pub loopback_users: BTreeSet<String>,
    /// Whom ANONYMOUS logs in (V6).
    pub anonymous_user: Arc<str>,
    /// The password that it has to have for that.
    pub anonymous_pass: String,
    pub users: BTreeMap<Arc<str>, Arc<User>>,
    pub vhosts: BTreeMap<Arc<str>, Arc<Vhost>>,
    /// By user and virtual host.
    pub permissions: BTreeMap<(Arc<str>, Arc<str>), Permissions>,
    /// By user, virtual host and exchange.
    pub topic_permissions: BTreeMap<TopicKey, TopicPermissions>,
    pub parameters: Parameters,
    pub global_parameters: GlobalParameters,
}

/// What connection.tune proposes (behaviour C11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tune {
    /// 0 is no limit.
    pub channel_max: u16,
    /// Bytes; 0 is no limit.
    pub frame_max: u32,
    /// Seconds; 0 is off.
    pub heartbeat_s: u16,
    /// Bytes; what holds until tune-ok (behaviour C13).
    pub initial_frame_max: u32,
}

impl Default for Tune {
    fn default() -> Self {
        Self { channel_max: 2047, frame_max: 131_072, heartbeat_s: 60, initial_frame_max: 8192 }
    }
}

/// Why the node does not change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// RabbitMQ's text.
    Invalid(String),
    /// What was named does not exist.
    NoUser(String),
    NoVhost(String),
    /// A virtual host that is protected from deletion.
    Protected(String),
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Invalid(why) => f.write_str(why),
            Self::NoUser(name) => write!(f, "User \"{name}\" does not exist"),
            Self::NoVhost(name) => write!(f, "Virtual host \"{name}\" does not exist"),
            Self::Protected(name) => write!(f, "Virtual host '{name}' is protected from deletion"),
        }
    }
}

impl std::error::Error for Refusal {}

impl Node {
    /// The virtual host and its name, as it is kept.
    #[must_use]
    pub fn vhost(&self, name: &str) -> Option<&Arc<Vhost>> {
        self.vhosts.get(name)
    }

    /// What somebody has set, or the configuration says.
    #[must_use]
    pub fn cluster_name(&self) -> &str {
        let set = self.global_parameters.get(parameters::CLUSTER_NAME).and_then(serde_json::Value::as_str);
        set.unwrap_or(&self.settings.cluster_name)
    }

    #[must_use]
    pub fn user(&self, name: &str) -> Option<&Arc<User>> {
        self.users.get(name)
    }

    /// Adds or replaces a user.
    pub fn put_user(&mut self, user: User) {
        self.users.insert(Arc::clone(&user.name), Arc::new(user));
    }

    /// Takes a user away, with its permissions.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn delete_user(&mut self, name: &str) -> Result<(), Refusal> {
        self.users.remove(name).ok_or_else(|| Refusal::NoUser(name.to_owned()))?;
        self.permissions.retain(|(user, _), _| **user != *name);
        self.topic_permissions.retain(|(user, _, _), _| **user != *name);
        Ok(())
    }

    /// Adds or replaces a virtual host.
    pub fn put_vhost(&mut self, vhost: Vhost) {
        self.vhosts.insert(Arc::clone(&vhost.name), Arc::new(vhost));
    }

    /// Takes a virtual host away, with all that is defined for it here.
    ///
    /// # Errors
    /// When there is none of this name, or when it is protected.
    pub fn delete_vhost(&mut self, name: &str) -> Result<(), Refusal> {
        let vhost = self.vhosts.get(name).ok_or_else(|| Refusal::NoVhost(name.to_owned()))?;
        if vhost.protected_from_deletion {
            return Err(Refusal::Protected(name.to_owned()));
        }
        self.vhosts.remove(name);
        self.permissions.retain(|(_, vhost), _| **vhost != *name);
        self.topic_permissions.retain(|(_, vhost, _), _| **vhost != *name);
        self.parameters.forget_vhost(name);
        Ok(())
    }

    /// Lays down what a user may do in a virtual host.
    ///
    /// # Errors
    /// When either does not exist.
    pub fn set_permissions(&mut self, user: &str, vhost: &str, permissions: Permissions) -> Result<(), Refusal> {
        let (user, vhost) = self.both(user, vhost)?;
        self.permissions.insert((user, vhost), permissions);
        Ok(())
    }

    /// Takes it back; the user may not even open the virtual host any more. Whether there was anything.
    pub fn clear_permissions(&mut self, user: &str, vhost: &str) -> bool {
        self.permissions.remove(&(Arc::from(user), Arc::from(vhost))).is_some()
    }

    /// # Errors
    /// When the user or the virtual host does not exist.
    pub fn set_topic_permissions(&mut self, user: &str, vhost: &str, exchange: &str, topic: TopicPermissions) -> Result<(), Refusal> {
        let (user, vhost) = self.both(user, vhost)?;
        self.topic_permissions.insert((user, vhost, exchange.into()), topic);
        Ok(())
    }

    /// Takes back those for one exchange, or for all. Whether there were any.
    pub fn clear_topic_permissions(&mut self, user: &str, vhost: &str, exchange: Option<&str>) -> bool {
        let before = self.topic_permissions.len();
        let is_meant = |(u, v, x): &TopicKey| **u == *user && **v == *vhost && exchange.is_none_or(|e| **x == *e);
        self.topic_permissions.retain(|key, _| !is_meant(key));
        self.topic_permissions.len() < before
    }

    /// The names of a user and a virtual host that exist.
    fn both(&self, user: &str, vhost: &str) -> Result<(Arc<str>, Arc<str>), Refusal> {
        let user = self.user(user).ok_or_else(|| Refusal::NoUser(user.to_owned()))?;
        let vhost = self.vhost(vhost).ok_or_else(|| Refusal::NoVhost(vhost.to_owned()))?;
        Ok((Arc::clone(&user.name), Arc::clone(&vhost.name)))
    }
}

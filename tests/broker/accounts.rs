//! Users of the broker in this process, set up in `rabbitmqctl`'s words.

use leveret::node::definitions::{tags_from_json, user_limits};
use leveret::node::handshake::Connections;
use leveret::node::password::{Algorithm, PasswordHash};
use leveret::node::permissions::{Permissions, TopicPermissions};
use leveret::node::users::{User, UserLimits};
use leveret::node::vhosts::Vhost;
use leveret::node::{Node, Refusal};
use serde_json::{Map, Value};

/// Where everything here happens.
const VHOST: &str = "/";

/// A node as it is when it starts for the first time.
pub(crate) fn first_start(node: &mut Node) {
    node.put_vhost(Vhost::new(VHOST));
    add_user(node, "guest", "guest");
    node.set_permissions("guest", VHOST, Permissions::new(".*", ".*", ".*").expect("patterns")).expect("both are there");
}

fn add_user(node: &mut Node, name: &str, password: &str) {
    let password = PasswordHash::new(Algorithm::default(), [1, 2, 3, 4], password);
    node.put_user(User { name: name.into(), password, tags: Vec::new(), limits: UserLimits::default() });
}

/// Whether this is for somebody who looks after users.
pub(crate) fn understands(words: &[String]) -> bool {
    let verbs = [
        "add_user",
        "delete_user",
        "set_user_tags",
        "set_user_limits",
        "set_permissions",
        "clear_permissions",
        "set_topic_permissions",
        "clear_topic_permissions",
    ];
    words.first().is_some_and(|verb| verbs.contains(&verb.as_str()))
}

/// Does what the words ask for. An error is what `rabbitmqctl` says.
pub(crate) fn ctl(node: &mut Node, words: &[String]) -> Result<(), String> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let unknown = || format!("nobody knows how to do '{}'", words.join(" "));
    let [verb, name, rest @ ..] = words.as_slice() else { return Err(unknown()) };
    let refused = |refusal: Refusal| refusal.to_string();
    match (*verb, rest) {
        ("add_user", [password]) => add_user(node, name, password),
        ("delete_user", []) => node.delete_user(name).map_err(refused)?,
        ("set_user_tags", tags) => {
            let tags = tags_from_json(&Value::from(tags.to_vec()));
            change(node, name, |user| user.tags = tags)?;
        }
        ("set_user_limits", [limits]) => {
            let limits: Map<String, Value> = serde_json::from_str(limits).map_err(|error| error.to_string())?;
            change(node, name, |user| user.limits = user_limits(&limits))?;
        }
        ("set_permissions", [configure, write, read]) => {
            node.set_permissions(name, VHOST, Permissions::new(configure, write, read)?).map_err(refused)?;
        }
        ("clear_permissions", []) => drop(node.clear_permissions(name, VHOST)),
        ("set_topic_permissions", [exchange, write, read]) => {
            node.set_topic_permissions(name, VHOST, exchange, TopicPermissions::new(write, read)?).map_err(refused)?;
        }
        ("clear_topic_permissions", []) => drop(node.clear_topic_permissions(name, VHOST, None)),
        ("clear_topic_permissions", [exchange]) => drop(node.clear_topic_permissions(name, VHOST, Some(exchange))),
        _ => return Err(unknown()),
    }
    Ok(())
}

fn change(node: &mut Node, name: &str, how: impl FnOnce(&mut User)) -> Result<(), String> {
    let mut user = User::clone(node.user(name).ok_or_else(|| Refusal::NoUser(name.to_owned()).to_string())?);
    how(&mut user);
    node.put_user(user);
    Ok(())
}

/// Nobody else is connected, as far as limits go.
pub(crate) struct NobodyElse;

impl Connections for NobodyElse {
    fn of_vhost(&self, _: &str) -> u64 {
        0
    }

    fn of_user(&self, _: &str) -> u64 {
        0
    }
}

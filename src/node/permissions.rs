//! Who may do what in a virtual host (behaviour P6, P7), and what of it a broker is told.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Node;
use crate::broker::{Pattern, Rights, Source, TopicRights};

/// Patterns on the names of what may be configured, written to and read from.
#[derive(Clone, Debug)]
pub struct Permissions {
    pub configure: Pattern,
    pub write: Pattern,
    pub read: Pattern,
}

impl Permissions {
    /// # Errors
    /// A pattern that is no regular expression.
    pub fn new(configure: &str, write: &str, read: &str) -> Result<Self, String> {
        Ok(Self { configure: Pattern::new(configure)?, write: Pattern::new(write)?, read: Pattern::new(read)? })
    }
}

/// A user, a virtual host and an exchange.
pub type TopicKey = (Arc<str>, Arc<str>, Arc<str>);

/// Patterns on routing keys, for one topic exchange.
#[derive(Clone, Debug)]
pub struct TopicPermissions {
    pub write: String,
    pub read: String,
}

impl TopicPermissions {
    /// # Errors
    /// A pattern that is no regular expression.
    pub fn new(write: &str, read: &str) -> Result<Self, String> {
        Pattern::new(write)?;
        Pattern::new(read)?;
        Ok(Self { write: write.to_owned(), read: read.to_owned() })
    }

    fn pattern(text: &str, user: &str, vhost: &str) -> Pattern {
        let text = text.replace("{username}", &escape(user)).replace("{vhost}", &escape(vhost));
        // A name may make a pattern of another kind, but none that is not one: it is escaped.
        Pattern::new(&text).unwrap_or_else(|_| Rights::none().read)
    }
}

/// A name as the part of a pattern that matches it.
fn escape(name: &str) -> String {
    fancy_regex::escape(name).into_owned()
}

/// The users, with the virtual hosts, whose rights are others in `after` than in `before`, where they are known in both.
#[must_use]
pub fn changed_rights(before: &Node, after: &Node) -> BTreeSet<(Arc<str>, Arc<str>)> {
    let patterns =
        |permissions: &Permissions| [&permissions.configure, &permissions.write, &permissions.read].map(|p| p.source().to_owned());
    let of_user = |node: &Node, key: &(Arc<str>, Arc<str>)| node.permissions.get(key).map(patterns);
    let of_topic = |node: &Node, key: &TopicKey| node.topic_permissions.get(key).map(|topic| [topic.write.clone(), topic.read.clone()]);
    let is_another = |name: &str| match (before.user(name), after.user(name)) {
        (Some(before), Some(after)) => !Arc::ptr_eq(before, after),
        _ => false,
    };
    let users = before.permissions.keys().chain(after.permissions.keys());
    let users = users.filter(|key| is_another(&key.0) || of_user(before, key) != of_user(after, key)).cloned();
    let topics = before.topic_permissions.keys().chain(after.topic_permissions.keys());
    let topics = topics.filter(|key| of_topic(before, key) != of_topic(after, key));
    let topics = topics.map(|(user, vhost, _)| (Arc::clone(user), Arc::clone(vhost)));
    let known = |(user, _): &(Arc<str>, Arc<str>)| before.user(user).is_some() && after.user(user).is_some();
    users.chain(topics).filter(known).collect()
}

impl Node {
    /// What a user may do in a virtual host; `None` when it may not even open it.
    #[must_use]
    pub fn rights(&self, user: &str, vhost: &str) -> Option<Rights> {
        let key = (Arc::from(user), Arc::from(vhost));
        let Permissions { configure, write, read } = self.permissions.get(&key)?.clone();
        let user = self.user(user)?;
        let topics = self.topic_permissions.iter().filter(|((u, v, _), _)| *u == key.0 && *v == key.1);
        let topics = topics.map(|((_, _, exchange), topic)| TopicRights {
            exchange: Arc::clone(exchange),
            write: TopicPermissions::pattern(&topic.write, &user.name, vhost),
            read: TopicPermissions::pattern(&topic.read, &user.name, vhost),
        });
        let max_channels = user.limits.max_channels.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let impersonator = user.is_impersonator();
        Some(Rights { configure, write, read, topics: topics.collect(), impersonator, max_channels, source: Source::Node })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::password::PasswordHash;
    use crate::node::users::{User, UserLimits};
    use crate::node::vhosts::Vhost;

    fn node() -> Node {
        let mut node = Node::default();
        let limits = UserLimits { max_channels: Some(3), ..UserLimits::default() };
        node.put_user(User { name: "a.b".into(), password: PasswordHash::none(), tags: vec!["impersonator".to_owned()], limits });
        node.put_vhost(Vhost::new("v"));
        node
    }

    #[test]
    fn without_permissions_a_virtual_host_is_not_opened() {
        let mut node = node();
        assert!(node.rights("a.b", "v").is_none());
        let permissions = Permissions::new("", "^w", ".*").expect("patterns");
        node.set_permissions("a.b", "v", permissions).expect("both exist");
        let rights = node.rights("a.b", "v").expect("rights");
        assert!(!rights.configure.allows("w"));
        assert!(rights.write.allows("w1") && !rights.write.allows("1w"));
        assert!(rights.read.allows("anything"));
        assert!(rights.impersonator);
        assert_eq!(rights.max_channels, Some(3));
        assert!(node.rights("a.b", "other").is_none());
        node.delete_user("a.b").expect("it exists");
        assert!(node.permissions.is_empty());
    }

    /// Behaviour P7.
    #[test]
    fn variables_of_topic_permissions_stand_for_names_and_not_for_patterns() {
        let mut node = node();
        node.set_permissions("a.b", "v", Permissions::new(".*", ".*", ".*").expect("patterns")).expect("both exist");
        let topic = TopicPermissions::new("^{username}-{vhost}", "^x").expect("patterns");
        node.set_topic_permissions("a.b", "v", "amq.topic", topic).expect("both exist");
        let rights = node.rights("a.b", "v").expect("rights");
        assert_eq!(&*rights.topics[0].exchange, "amq.topic");
        assert!(rights.topics[0].write.allows("a.b-v.key"));
        assert!(!rights.topics[0].write.allows("aXb-v.key"));
        assert!(node.clear_topic_permissions("a.b", "v", None));
        assert!(!node.clear_topic_permissions("a.b", "v", None));
    }

    #[test]
    fn only_rights_that_have_changed_are_told() {
        let mut before = node();
        before.put_vhost(Vhost::new("w"));
        let all = || Permissions::new(".*", ".*", ".*").expect("patterns");
        before.put_user(User { name: "u".into(), password: PasswordHash::none(), tags: Vec::new(), limits: UserLimits::default() });
        for (user, vhost) in [("a.b", "v"), ("a.b", "w"), ("u", "v")] {
            before.set_permissions(user, vhost, all()).expect("both exist");
        }
        let changed = |change: &dyn Fn(&mut Node)| {
            let mut after = before.clone();
            change(&mut after);
            changed_rights(&before, &after).into_iter().map(|(user, vhost)| format!("{user} {vhost}")).collect::<Vec<_>>()
        };
        assert!(changed(&|node| node.set_permissions("u", "v", all()).expect("both exist")).is_empty(), "the same");
        assert_eq!(
            changed(&|node| node.set_permissions("u", "v", Permissions::new("", "", "").expect("patterns")).expect("both exist")),
            ["u v"]
        );
        assert_eq!(changed(&|node| assert!(node.clear_permissions("a.b", "w"))), ["a.b w"]);
        let topic = TopicPermissions::new("a", "b").expect("patterns");
        assert_eq!(changed(&|node| node.set_topic_permissions("u", "v", "x", topic.clone()).expect("both exist")), ["u v"]);
        let with_limit = |node: &mut Node| {
            let limits = UserLimits { max_channels: Some(1), ..UserLimits::default() };
            node.put_user(User { limits, ..User::clone(node.user("a.b").expect("a user")) });
        };
        assert_eq!(changed(&with_limit), ["a.b v", "a.b w"]);
        assert!(changed(&|node| node.delete_user("u").expect("a user")).is_empty(), "who is gone is sent away instead");
    }
}

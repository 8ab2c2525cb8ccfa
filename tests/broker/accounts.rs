//! Users of the broker in this process, set up in `rabbitmqctl`'s words.

use std::collections::BTreeMap;
use std::sync::Arc;

use leveret::broker::{Pattern, Rights, TopicRights};
use leveret::node::users::{User, Users};
use serde_json::Value;

/// Where everything here happens.
const VHOST: &str = "/";

pub(crate) struct Accounts(BTreeMap<String, Account>);

struct Account {
    password: String,
    rights: Rights,
}

impl Default for Accounts {
    fn default() -> Self {
        let guest = Account { password: "guest".to_owned(), rights: Rights::all() };
        Self(BTreeMap::from([("guest".to_owned(), guest)]))
    }
}

impl Accounts {
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
    pub(crate) fn ctl(&mut self, words: &[String]) -> Result<(), String> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let unknown = || format!("nobody knows how to do '{}'", words.join(" "));
        let [verb, name, rest @ ..] = words.as_slice() else { return Err(unknown()) };
        if *verb == "add_user" {
            let [password] = rest else { return Err(unknown()) };
            let account = Account { password: (*password).to_owned(), rights: Rights::none() };
            self.0.insert((*name).to_owned(), account);
            return Ok(());
        }
        let account = self.0.get_mut(*name).ok_or_else(|| format!("User '{name}' does not exist"))?;
        let rights = &mut account.rights;
        let pattern = |source: &str| Pattern::new(&source.replace("{username}", name).replace("{vhost}", VHOST));
        match (*verb, rest) {
            ("delete_user", []) => drop(self.0.remove(*name)),
            ("set_user_tags", tags) => rights.impersonator = tags.contains(&"impersonator"),
            ("set_user_limits", [limits]) => {
                let limits: Value = serde_json::from_str(limits).map_err(|error| error.to_string())?;
                rights.max_channels = limits["max-channels"].as_u64().and_then(|limit| usize::try_from(limit).ok());
            }
            ("set_permissions", [configure, write, read]) => {
                (rights.configure, rights.write, rights.read) = (Pattern::new(configure)?, Pattern::new(write)?, Pattern::new(read)?);
            }
            ("clear_permissions", []) => {
                let none = Rights::none();
                (rights.configure, rights.write, rights.read) = (none.configure, none.write, none.read);
            }
            ("set_topic_permissions", [exchange, write, read]) => {
                rights.topics.retain(|topic| *topic.exchange != **exchange);
                rights.topics.push(TopicRights { exchange: (*exchange).into(), write: pattern(write)?, read: pattern(read)? });
            }
            ("clear_topic_permissions", []) => rights.topics.clear(),
            ("clear_topic_permissions", [exchange]) => rights.topics.retain(|topic| *topic.exchange != **exchange),
            _ => return Err(unknown()),
        }
        Ok(())
    }

    /// Everybody who can log in.
    pub(crate) fn users(&self) -> Users {
        let user = |(name, account): (&String, &Account)| User {
            name: name.as_str().into(),
            password: account.password.clone(),
            loopback_only: false,
        };
        Users::new(self.0.iter().map(user).collect())
    }

    pub(crate) fn rights(&self, user: &str) -> Arc<Rights> {
        Arc::new(self.0.get(user).map_or_else(Rights::none, |account| account.rights.clone()))
    }
}

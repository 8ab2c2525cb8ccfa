//! A service that is asked about users over HTTP, with the questions and answers of RabbitMQ's rabbitmq_auth_backend_http.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::cache::Cache;
use super::http::{Client, Patience};
use crate::broker::{Access, Subject, Verdict};
use crate::config::{AuthCache, AuthHttp};
use crate::node::users::User;
use crate::server::StartError;

/// What RabbitMQ calls it.
const NAME: &str = "rabbit_auth_backend_http";

/// What a service says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// With tags, where the question is who somebody is.
    Allow(Vec<String>),
    /// Perhaps with a reason.
    Deny(Option<String>),
    /// It cannot be asked, or what it says means nothing.
    Failed(String),
}

#[derive(Debug)]
pub(super) struct Service {
    config: AuthHttp,
    client: Client,
    cache: Cache,
}

/// The parameters of a question.
struct Parameters(String);

impl Parameters {
    fn new(name: &str) -> Self {
        Self(String::new()).with("username", name)
    }

    fn with(mut self, key: &str, value: &str) -> Self {
        let mark = if self.0.is_empty() { "" } else { "&" };
        // Writing to a string cannot fail.
        let _ = write!(self.0, "{mark}{key}={}", utf8_percent_encode(value, NON_ALPHANUMERIC));
        self
    }
}

impl Service {
    pub(super) fn new(config: &AuthHttp, cache: &AuthCache) -> Result<Self, StartError> {
        let paths = [&config.user_path, &config.vhost_path, &config.resource_path, &config.topic_path];
        let patience = Patience {
            to_connect: Duration::from_millis(config.connection_timeout_ms),
            in_all: Duration::from_millis(config.request_timeout_ms),
        };
        let client = Client::new(paths.into_iter().map(String::as_str), &config.tls, patience);
        let client = client.map_err(|error| StartError(format!("auth_http.ssl_options: {error}")))?;
        Ok(Self { config: config.clone(), client, cache: Cache::new(cache) })
    }

    /// The tags of a user with this password, if there is one. Without a password, its name is certain.
    pub(super) async fn user(&self, name: &str, password: Option<&[u8]>, cached: bool) -> Option<Vec<String>> {
        let mut parameters = Parameters::new(name);
        if let Some(password) = password {
            // Only text can be asked about.
            parameters = parameters.with("password", std::str::from_utf8(password).ok()?);
        }
        match self.ask(&self.config.user_path, parameters, cached).await {
            Reply::Allow(tags) => Some(tags),
            Reply::Deny(why) => {
                if let Some(why) = why {
                    tracing::info!("HTTP authentication denied for user '{name}': {why}");
                }
                None
            }
            Reply::Failed(why) => {
                tracing::error!("{NAME} failed authenticating {name}: {why}");
                None
            }
        }
    }

    pub(super) async fn vhost(&self, user: &User, vhost: &str, ip: IpAddr, cached: bool) -> Verdict {
        let parameters = Parameters::new(&user.name).with("vhost", vhost).with("ip", &ip.to_canonical().to_string());
        let parameters = parameters.with("tags", &user.tags.join(" "));
        self.decide(&self.config.vhost_path, parameters, cached, || format!("access to vhost '{vhost}'"), &user.name).await
    }

    pub(super) async fn access(&self, user: &User, vhost: &str, access: &Access, cached: bool) -> Verdict {
        let (path, kind, name) = match &access.subject {
            Subject::Queue(name) => (&self.config.resource_path, "queue", name),
            Subject::Exchange(name) => (&self.config.resource_path, "exchange", name),
            Subject::Topic { exchange, .. } => (&self.config.topic_path, "topic", exchange),
        };
        let permission = access.permission.name();
        let mut parameters = Parameters::new(&user.name).with("vhost", vhost).with("resource", kind).with("name", name);
        parameters = parameters.with("permission", permission).with("tags", &user.tags.join(" "));
        if let Subject::Topic { key, .. } = &access.subject {
            parameters = parameters.with("routing_key", key);
            parameters = parameters.with("variable_map.username", &user.name).with("variable_map.vhost", vhost);
        }
        self.decide(path, parameters, cached, || format!("{permission} access to {kind} '{name}' in vhost '{vhost}'"), &user.name).await
    }

    async fn decide(&self, path: &str, question: Parameters, cached: bool, what: impl Fn() -> String, user: &str) -> Verdict {
        match self.ask(path, question, cached).await {
            Reply::Allow(_) => Verdict::Allowed,
            Reply::Deny(None) => Verdict::Refused(String::new()),
            Reply::Deny(Some(why)) => {
                tracing::info!("HTTP authorization denied: {} refused for user '{user}': {why}", what());
                Verdict::Refused(if self.config.disclosure { format!(" by backend {NAME}: {why}") } else { String::new() })
            }
            Reply::Failed(why) => {
                let more = format!(", backend {NAME} returned an error: {why}");
                tracing::error!("{} refused for user '{user}'{more}", what());
                Verdict::Refused(more)
            }
        }
    }

    async fn ask(&self, path: &str, Parameters(question): Parameters, cached: bool) -> Reply {
        let key = cached.then(|| self.cache.key(path, &question));
        if let Some(reply) = key.as_ref().and_then(|key| self.cache.get(key)) {
            return reply;
        }
        let answered = if self.config.post {
            self.client.post(path, question).await
        } else {
            let mark = if path.contains('?') { '&' } else { '?' };
            self.client.get(&format!("{path}{mark}{question}")).await
        };
        let reply = match answered {
            Ok(answer) => reply(&answer),
            Err(failure) => Reply::Failed(failure.to_string()),
        };
        if let Some(key) = key {
            self.cache.put(key, &reply);
        }
        reply
    }
}

/// `allow`, with tags behind it, or `deny`, with a reason.
fn reply(answer: &str) -> Reply {
    let answer = answer.trim();
    let (word, rest) = answer.split_once(char::is_whitespace).unwrap_or((answer, ""));
    match word.to_ascii_lowercase().as_str() {
        "allow" => Reply::Allow(rest.split_whitespace().map(str::to_ascii_lowercase).collect()),
        "deny" => Reply::Deny(Some(rest.trim().to_owned()).filter(|why| !why.is_empty())),
        _ => Reply::Failed(format!("{{bad_response,{answer:?}}}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        let tags = |tags: &[&str]| Reply::Allow(tags.iter().map(|&tag| tag.to_owned()).collect());
        assert_eq!(reply("allow"), tags(&[]));
        assert_eq!(reply(" Allow\n"), tags(&[]));
        assert_eq!(reply("allow Administrator  management"), tags(&["administrator", "management"]));
        assert_eq!(reply("deny"), Reply::Deny(None));
        assert_eq!(reply("deny too late today\n"), Reply::Deny(Some("too late today".to_owned())));
        assert_eq!(reply("perhaps"), Reply::Failed("{bad_response,\"perhaps\"}".to_owned()));
        assert_eq!(reply(""), Reply::Failed("{bad_response,\"\"}".to_owned()));
        assert_eq!(reply("allowed"), Reply::Failed("{bad_response,\"allowed\"}".to_owned()));
    }

    #[test]
    fn parameters_are_of_a_form() {
        assert_eq!(Parameters::new("a&b").with("vhost", "/ ü").0, "username=a%26b&vhost=%2F%20%C3%BC");
    }
}

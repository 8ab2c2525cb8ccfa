//! What a broker in a program of one's own is to be like.

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde_json::{Map, Value as Json, json};

use super::{Account, Broker, Services};
use crate::config::{ClockKind, Config};
use crate::server::{Server, StartError};

/// Says what a [`Broker`] is to be like; [`Builder::start`] starts it. What is not said is as in a broker that is run by itself,
/// but for where it listens: on a free port of this machine, and without the HTTP API.
///
/// Nothing is checked before the start, which then says what is wrong.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), leveret::StartError> {
/// let broker = leveret::Broker::builder()
///     .user("shop", "secret")
///     .vhost("orders")
///     .definitions(r#"{"queues": [{"name": "incoming", "vhost": "orders", "durable": true, "arguments": {}}]}"#)
///     .config_text("default_queue_type = quorum\nmax_message_size = 1048576")
///     .compat("4.1")
///     .start()
///     .await?;
/// assert_eq!(broker.queue("orders", "incoming").await.map(|queue| queue.ready), Some(0));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Builder {
    text: String,
    /// `None`: where the text says, or on a free port.
    amqp: Option<String>,
    no_amqp: bool,
    http: Option<String>,
    /// `None`: what the text says.
    data_dir: Option<Option<PathBuf>>,
    compat: Option<String>,
    users: Vec<Account>,
    vhosts: Vec<String>,
    definitions: Option<String>,
    test_api: bool,
    virtual_clock: bool,
}

impl Builder {
    /// Keeps everything in memory, which is the default.
    #[must_use]
    pub fn in_memory(mut self) -> Self {
        self.data_dir = Some(None);
        self
    }

    /// Keeps in this directory what is to survive. One broker at a time can have it: the next one can when [`Broker::stop`] has returned,
    /// or when this one has been dropped.
    #[must_use]
    pub fn data_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.data_dir = Some(Some(path.into()));
        self
    }

    /// Serves AMQP at this address: text, or a [`SocketAddr`]. Port 0, which is the default, picks a free one:
    /// [`Broker::amqp_addr`] says which.
    #[must_use]
    pub fn amqp(mut self, address: impl Display) -> Self {
        (self.amqp, self.no_amqp) = (Some(address.to_string()), false);
        self
    }

    /// Serves no AMQP over TCP: only [`Broker::connect`] leads to the broker.
    #[must_use]
    pub fn no_amqp(mut self) -> Self {
        (self.amqp, self.no_amqp) = (None, true);
        self
    }

    /// Serves the HTTP API and the web page at this address: text, or a [`SocketAddr`]. [`Broker::http_url`] says where that is.
    #[must_use]
    pub fn http(mut self, address: impl Display) -> Self {
        self.http = Some(address.to_string());
        self
    }

    /// Serves no HTTP API, which is the default.
    #[must_use]
    pub fn no_http(mut self) -> Self {
        self.http = None;
        self
    }

    /// Adds an administrator who may do everything in every virtual host. The first one takes the place of guest, whose password is
    /// guest, and is who [`Broker::amqp_url`] is for.
    #[must_use]
    pub fn user(mut self, name: impl Into<String>, password: impl Into<String>) -> Self {
        self.users.push(Account { name: name.into(), password: password.into() });
        self
    }

    /// Adds a virtual host beside the default one, which is `/`.
    #[must_use]
    pub fn vhost(mut self, name: impl Into<String>) -> Self {
        self.vhosts.push(name.into());
        self
    }

    /// Has this there from the start: definitions in RabbitMQ's JSON, as its HTTP API exports them. What belongs to no virtual host in it
    /// belongs to the default one.
    #[must_use]
    pub fn definitions(mut self, json: impl Into<String>) -> Self {
        self.definitions = Some(json.into());
        self
    }

    /// Sets keys, in the syntax of rabbitmq.conf: docs/CONFIGURATION.md has them all. What other methods of this builder set counts more;
    /// keys about where the HTTP API and the log are mean nothing here.
    #[must_use]
    pub fn config_text(mut self, text: impl AsRef<str>) -> Self {
        self.text.push_str(text.as_ref());
        self.text.push('\n');
        self
    }

    /// Shows the version-dependent behaviour of a release: `permissive`, which is the default, `3.13`, `4.0`, `4.1` or `4.3`.
    #[must_use]
    pub fn compat(mut self, profile: impl Into<String>) -> Self {
        self.compat = Some(profile.into());
        self
    }

    /// Has what docs/TEST_API.md says, over HTTP where that is served. Without a data directory, a disk in memory takes what is to
    /// survive, so that there is something to be seen after a crash.
    #[must_use]
    pub fn test_api(mut self, on: bool) -> Self {
        self.test_api = on;
        self
    }

    /// Has messages and queues live in a time that stands still until [`Broker::advance`] moves it.
    #[must_use]
    pub fn virtual_clock(mut self) -> Self {
        self.virtual_clock = true;
        self
    }

    /// Starts the broker on the runtime that this is called on, of either flavour, which must have I/O and time enabled.
    ///
    /// # Errors
    /// What is wrong with what was said; an address that cannot be bound, a data directory that cannot be used.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn start(self) -> Result<Broker, StartError> {
        let http = self.http.as_deref().map(|text| address("HTTP", text)).transpose()?;
        let config = self.config()?;
        let account = Account { name: config.default_user.clone(), password: config.default_pass.clone() };
        let server = Server::start(config).await?;
        let services = Services::start(&server.handle()).await.map_err(|error| StartError::new(error.to_string()))?;
        let http = match http {
            Some(address) => {
                let http = services.serve_http(address).await.map_err(|error| StartError::new(error.to_string()))?;
                Some(http.address)
            }
            None => None,
        };
        Ok(Broker { server, services, account, http })
    }

    fn config(&self) -> Result<Config, StartError> {
        let mut config = Config { amqp: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0), ..Config::default() };
        config.read(&self.text).map_err(|error| StartError::new(error.to_string()))?;
        if let Some(text) = &self.amqp {
            (config.amqp, config.tcp) = (address("AMQP", text)?, true);
        }
        config.tcp &= !self.no_amqp;
        if let Some(data_dir) = &self.data_dir {
            config.data_dir.clone_from(data_dir);
        }
        if let Some(profile) = &self.compat {
            config.compat = crate::config::profile(profile).map_err(StartError::new)?;
        }
        config.testing.api |= self.test_api;
        if self.virtual_clock {
            config.testing.clock = ClockKind::Virtual;
        }
        if let Some(Account { name, password }) = self.users.first() {
            (config.default_user, config.default_pass) = (name.clone(), password.clone());
        }
        config.definitions = Some(self.all_definitions(&config)?);
        Ok(config)
    }

    /// What is to be there beside the default user and the default virtual host.
    fn all_definitions(&self, config: &Config) -> Result<Map<String, Json>, StartError> {
        let given = self.definitions.as_deref().unwrap_or("{}");
        let mut all: Map<String, Json> = serde_json::from_str(given).map_err(|error| StartError::new(format!("definitions: {error}")))?;
        let others = self.users.iter().skip(1);
        let users = others.clone().map(|user| json!({"name": user.name, "password": user.password, "tags": ["administrator"]}));
        add(&mut all, "users", users)?;
        add(&mut all, "vhosts", self.vhosts.iter().map(|name| json!({"name": name})))?;
        let everything = |user: &str, vhost: &str| json!({"user": user, "vhost": vhost, "configure": ".*", "write": ".*", "read": ".*"});
        let names = std::iter::once(&config.default_user).chain(others.map(|user| &user.name));
        let vhosts = || std::iter::once(&config.default_vhost).chain(&self.vhosts);
        let permissions = names.flat_map(|user| vhosts().map(move |vhost| everything(user, vhost)));
        // The default user has its own for the default virtual host.
        add(&mut all, "permissions", permissions.skip(1))?;
        Ok(all)
    }
}

/// Adds entries to a section.
fn add(all: &mut Map<String, Json>, section: &str, entries: impl Iterator<Item = Json>) -> Result<(), StartError> {
    let mut entries = entries.peekable();
    if entries.peek().is_none() {
        return Ok(());
    }
    let there = all.entry(section).or_insert_with(|| Json::Array(Vec::new()));
    let there = there.as_array_mut().ok_or_else(|| StartError::new(format!("definitions: {section} is no list")))?;
    there.extend(entries);
    Ok(())
}

fn address(what: &str, text: &str) -> Result<SocketAddr, StartError> {
    text.parse().map_err(|_| StartError::new(format!("'{text}' is no address to serve {what} on, such as 127.0.0.1:0")))
}

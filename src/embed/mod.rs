//! A whole broker in a program of one's own, mostly for its tests: started and stopped in a few milliseconds, as many of them as one likes
//! beside each other, with nothing shared between them. docs/EMBEDDING.md is its manual.

mod builder;
mod services;
mod stream;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::broker;
use crate::server::{Address, Advance, AdvanceError, Filter, Fire, Handle, Recorded, Server, TestError, Unsynced};

pub use builder::Builder;
pub use services::Services;
pub use stream::{Connector, Stream};

/// A broker that runs in this process, on the tokio runtime that it was started on.
///
/// It catches no signal, prints nothing, makes no file but in its data directory, and shares nothing with other brokers in the process.
/// What it logs goes to `tracing`, and so to whoever subscribes in the program.
///
/// [`Broker::stop`] stops it and waits for that. Dropping it stops it, too: clients are told, ports are free and the data directory is left in
/// order when the drop returns, and its tasks end as soon as their runtime has looked at them.
///
/// ```
/// use lapin::options::{BasicGetOptions, BasicPublishOptions, QueueDeclareOptions};
/// use lapin::{BasicProperties, Connection, ConnectionProperties};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let broker = leveret::Broker::builder().start().await?;
///
/// let connection = Connection::connect(&broker.amqp_url(), ConnectionProperties::default()).await?;
/// let channel = connection.create_channel().await?;
/// channel.queue_declare("jobs".into(), QueueDeclareOptions::default(), Default::default()).await?;
/// channel.basic_publish("".into(), "jobs".into(), BasicPublishOptions::default(), b"hello", BasicProperties::default()).await?.await?;
///
/// let jobs = broker.queue_until("/", "jobs", |queue| queue.ready == 1).await.expect("a queue");
/// assert_eq!((jobs.unacked, jobs.consumers), (0, 0));
///
/// broker.stop().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Broker {
    server: Server,
    services: Services,
    /// Who is always there.
    account: Account,
    http: Option<SocketAddr>,
}

#[derive(Clone, Debug)]
struct Account {
    name: String,
    password: String,
}

/// A queue at one moment. What a client has been told by then has happened: there is no statistics interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueState {
    /// Messages that wait to be delivered.
    pub ready: u64,
    /// Messages that were delivered and wait for their settlement.
    pub unacked: u64,
    pub consumers: usize,
}

impl QueueState {
    fn of(broker: &broker::Broker, name: &str) -> Option<Self> {
        let view = broker.queue_view(name)?;
        Some(Self { ready: view.ready.messages, unacked: view.unacked.messages, consumers: view.consumers })
    }
}

impl Broker {
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Where AMQP is served over TCP; `None` when it is not.
    #[must_use]
    pub fn amqp_addr(&self) -> Option<SocketAddr> {
        self.handle().listening().into_iter().find_map(|listening| match listening.address {
            Address::Ip(address) if listening.protocol == "amqp" => Some(address),
            _ => None,
        })
    }

    /// The URL for the default virtual host, with the name and the password of the first user: `amqp://guest:guest@127.0.0.1:41234/%2F`.
    /// Where AMQP is not served over TCP there is no port in it, and it serves those clients that take all but the address from it.
    #[must_use]
    pub fn amqp_url(&self) -> String {
        self.amqp_url_of(&self.handle().config().default_vhost)
    }

    /// The same for another virtual host.
    #[must_use]
    pub fn amqp_url_of(&self, vhost: &str) -> String {
        let encoded = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
        let Account { name, password } = &self.account;
        let address = self.amqp_addr().map_or_else(|| "localhost".to_owned(), |address| address.to_string());
        format!("amqp://{}:{}@{address}/{}", encoded(name), encoded(password), encoded(vhost))
    }

    /// Where the HTTP API and the web page are: `http://127.0.0.1:41235`. `None` when they are not served.
    #[must_use]
    pub fn http_url(&self) -> Option<String> {
        self.http.map(|address| format!("http://{address}"))
    }

    /// A connection without a network, for a client that takes any stream.
    ///
    /// ```
    /// use leveret::client::{Connection, Options};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let broker = leveret::Broker::builder().no_amqp().start().await?;
    /// let connection = Connection::open(broker.connect()?, Options::plain("guest", "guest", "/")).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When there can be no more sockets.
    ///
    /// # Panics
    /// Outside a tokio runtime. It need not be the one that the broker runs on.
    pub fn connect(&self) -> std::io::Result<Stream> {
        self.connector().connect()
    }

    /// What makes such connections, for a client that wants to make them itself. lapin 4 does, and takes the streams of TCP only,
    /// in the wrapper of `async-compat`:
    ///
    /// ```
    /// use async_compat::Compat;
    /// use lapin::tcp::AsyncTcpStream;
    /// use lapin::{Connection, ConnectionProperties};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let broker = leveret::Broker::builder().no_amqp().start().await?;
    /// let connector = broker.connector();
    /// let connection = Connection::connector(
    ///     broker.amqp_url().parse()?,
    ///     lapin::runtime::default_runtime()?,
    ///     async move |_, _| Ok(AsyncTcpStream::Plain(Compat::new(connector.connect()?.into_tcp()?))),
    ///     ConnectionProperties::default(),
    /// );
    /// let channel = connection.await?.create_channel().await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn connector(&self) -> Connector {
        Connector(self.handle())
    }

    /// What a queue has now; `None` when there is no such queue.
    pub async fn queue(&self, vhost: &str, name: &str) -> Option<QueueState> {
        let name = name.to_owned();
        self.handle().ask(vhost, move |asked| QueueState::of(asked.broker(), &name)).await?
    }

    /// Waits until a queue exists and is as it should be, and says what it has then. The condition is looked at after whatever happens
    /// in the virtual host, so nothing is missed and nobody sleeps. `None` when there is no such virtual host.
    ///
    /// It waits for ever: `tokio::time::timeout` around it makes a test fail instead.
    pub async fn queue_until(
        &self,
        vhost: &str,
        name: &str,
        condition: impl Fn(QueueState) -> bool + Send + 'static,
    ) -> Option<QueueState> {
        let name = name.to_owned();
        let is_so = move |broker: &broker::Broker| QueueState::of(broker, &name).filter(|queue| condition(*queue));
        self.handle().wait(vhost, is_so).await
    }

    /// Waits until there is no such queue: it was deleted, or has expired. `None` when there is no such virtual host.
    pub async fn queue_gone(&self, vhost: &str, name: &str) -> Option<()> {
        let name = name.to_owned();
        self.handle().wait(vhost, move |broker: &broker::Broker| (!broker.has_queue(&name)).then_some(())).await
    }

    /// Moves the clock of a broker that has a virtual one. When this returns, everything that was due by then has happened: messages
    /// and queues have expired, delayed messages have been routed, dead letters are where they belong, and clients have been sent what
    /// follows from it. Says what that was, the earliest first.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let definitions = r#"{"queues": [{"name": "short", "durable": true, "arguments": {"x-expires": 3600000}}]}"#;
    /// let broker = leveret::Broker::builder().virtual_clock().definitions(definitions).start().await?;
    /// assert!(broker.advance(Duration::from_secs(3599)).await?.is_empty());
    /// assert_eq!(broker.advance(Duration::from_secs(1)).await?.len(), 1);
    /// assert_eq!(broker.queue("/", "short").await, None);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When the clock is the machine's.
    pub async fn advance(&self, by: Duration) -> Result<Vec<Fire>, AdvanceError> {
        self.handle().advance_clock(Advance::By(by), false).await
    }

    /// Moves it to the next time at which anything happens; nowhere when nothing is waited for.
    ///
    /// # Errors
    /// When the clock is the machine's.
    pub async fn advance_to_next(&self) -> Result<Vec<Fire>, AdvanceError> {
        self.handle().advance_clock(Advance::ToNext, false).await
    }

    /// Has the broker die and start again on the same port: connections are reset, and what was not synced is lost, with transient queues and
    /// messages. Returns once all that survives is there again. A broker without a data directory needs [`Builder::test_api`].
    ///
    /// # Errors
    /// For a broker without any disk.
    pub async fn crash(&self) -> Result<Duration, TestError> {
        self.handle().crash(Unsynced::Lost).await
    }

    /// What has happened to messages, in order: the events that have these values for these keys, which docs/TEST_API.md lists. In values,
    /// `*` stands for any text. Needs [`Builder::test_api`].
    ///
    /// # Errors
    /// For a broker without a journal; a key or an event that there is not.
    pub async fn journal(&self, wanted: &[(&str, &str)]) -> Result<Vec<Arc<Recorded>>, TestError> {
        let handle = self.handle();
        if handle.journal_extent().is_none() {
            return Err(TestError::Refused("there is no journal: it comes with test_api".to_owned()));
        }
        let mut filter = Filter::default();
        for (key, value) in wanted {
            filter.set(key, vec![(*value).to_owned()]).map_err(TestError::Refused)?;
        }
        Ok(handle.read_journal(0, usize::MAX, &filter).await.0)
    }

    /// All that can be known and done beside AMQP: alarms, limits, users, views of everything.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.server.handle()
    }

    /// Closes every connection with 320, waits up to three seconds for clients to say goodbye, and writes down what is to survive. When this
    /// returns, nothing of the broker is left: no task, no thread, no socket.
    pub async fn stop(self) {
        self.services.stop().await;
        self.server.stop().await;
    }
}

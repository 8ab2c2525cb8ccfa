//! What the Rust clients' checks share: how a check is run and printed, and a
//! relay that loses a connection on demand.

use std::{
    env,
    future::Future,
    io,
    net::{Shutdown, TcpListener, TcpStream},
    process::ExitCode,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, SystemTime},
};

/// How long anything that must happen may take.
pub const WAIT: Duration = Duration::from_secs(10);
/// Long enough for a message that must not come to have come.
pub const QUIET: Duration = Duration::from_millis(200);
/// Without heartbeats either side would give up after two to three seconds.
pub const IDLE: Duration = Duration::from_secs(4);

const LOCK: &str = include_str!("../Cargo.lock");

/// The version of a crate that this program was built with.
fn version(name: &str) -> &'static str {
    let entry = format!("name = \"{name}\"\nversion = \"");
    let (_, rest) = LOCK.split_once(&entry).expect("a locked crate");
    rest.split_once('"').expect("a version").0
}

pub fn host() -> String {
    env::var("AMQP_HOST").expect("AMQP_HOST")
}

pub fn port() -> u16 {
    let port = env::var("AMQP_PORT").expect("AMQP_PORT");
    port.parse().expect("a port number")
}

/// A client's section of the output.
pub struct Section {
    failed: bool,
}

impl Section {
    pub fn of(client: &str) -> Self {
        println!("client: Rust {client} {}", version(client));
        Self { failed: false }
    }

    /// Runs a check, which panics where a promise is not kept, and prints how it went.
    pub async fn check(&mut self, what: &str, body: impl Future<Output = ()> + Send + 'static) {
        let limit = WAIT * 2;
        let reason = match tokio::time::timeout(limit, tokio::spawn(body)).await {
            Ok(Ok(())) => return println!("ok {what}"),
            Ok(Err(panic)) => panic_text(panic),
            Err(_) => format!("not finished after {limit:?}"),
        };
        self.failed = true;
        println!("not ok {what} - {}", reason.replace('\n', " "));
    }

    pub fn end(self) -> ExitCode {
        ExitCode::from(u8::from(self.failed))
    }
}

fn panic_text(panic: tokio::task::JoinError) -> String {
    let payload = panic.into_panic();
    let text = payload.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default()
}

/// Names of queues and exchanges that no other run uses, kept to prove that none stays behind.
pub struct Names {
    run: String,
    queues: Mutex<Vec<String>>,
    exchanges: Mutex<Vec<String>>,
}

impl Names {
    pub fn new(client: &str) -> Arc<Self> {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let run = format!("{client}.{:08x}", since.expect("a clock").as_nanos() as u32);
        Arc::new(Self { run, queues: Mutex::default(), exchanges: Mutex::default() })
    }

    /// A name for what must not exist.
    pub fn unused(&self, suffix: &str) -> String {
        format!("{}.{suffix}", self.run)
    }

    pub fn queue(&self, suffix: &str) -> String {
        let name = self.unused(suffix);
        self.queues.lock().unwrap().push(name.clone());
        name
    }

    pub fn exchange(&self, suffix: &str) -> String {
        let name = self.unused(suffix);
        self.exchanges.lock().unwrap().push(name.clone());
        name
    }

    /// Keeps a name that the broker chose.
    pub fn server_named(&self, queue: &str) {
        self.queues.lock().unwrap().push(queue.to_owned());
    }

    pub fn queues(&self) -> Vec<String> {
        self.queues.lock().unwrap().clone()
    }

    pub fn exchanges(&self) -> Vec<String> {
        self.exchanges.lock().unwrap().clone()
    }
}

/// A TCP relay in front of the broker. Neither client shows its socket, so the
/// connection is lost here.
pub struct Relay {
    pub port: u16,
    sockets: Arc<Mutex<Vec<TcpStream>>>,
}

impl Relay {
    pub fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let sockets = Arc::new(Mutex::new(Vec::new()));
        let kept = sockets.clone();
        thread::spawn(move || -> io::Result<()> {
            for client in listener.incoming() {
                let client = client?;
                let broker = TcpStream::connect((host(), crate::port()))?;
                kept.lock().unwrap().extend([client.try_clone()?, broker.try_clone()?]);
                copy(client.try_clone()?, broker.try_clone()?);
                copy(broker, client);
            }
            Ok(())
        });
        Ok(Self { port, sockets })
    }

    /// Ends every connection that went through, without a word of AMQP.
    pub fn cut(&self) {
        for socket in self.sockets.lock().unwrap().drain(..) {
            // A side that has gone already is as lost as it can be.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    thread::spawn(move || {
        // However the copying ended, the other side has to hear of it.
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
    });
}

/// A body in which no two neighbouring stretches look alike.
pub fn mebibyte() -> Vec<u8> {
    (0..1u32 << 20).map(|i| (i.wrapping_mul(31) >> 3) as u8).collect()
}

/// What every client in here is checked for: `$check!(what, function)` for each promise.
#[macro_export]
macro_rules! every_client {
    ($check:ident) => {
        $check!("publish, consume, ack: in order, not redelivered", consumes_in_order);
        $check!("nack with requeue: back to the original order, redelivered", requeues);
        $check!("reject without requeue: the message is gone", rejects);
        $check!("basic.get: message, remaining count, empty", gets);
        $check!("qos: at most prefetch messages unacked", prefetches);
        $check!("recover: everything unacked comes back redelivered", recovers);
        $check!("purge and delete report their message counts", counts_on_purge);
        $check!("publisher confirms: every publish confirmed", confirms);
        $check!("mandatory: returned with 312 NO_ROUTE, then confirmed", returns);
        $check!("reject-publish: a full queue's publish is nacked", nacks);
        $check!("fanout exchange: a copy for every queue", fans_out);
        $check!("topic exchange: the patterns choose the queues", routes_topics);
        $check!("headers exchange: x-match all and any", routes_headers);
        $check!("exchange bound to exchange, alternate exchange", routes_onward);
        $check!("load balancing: prefetch 1, a busy consumer gets no more", balances);
        $check!("rpc over an exclusive server-named queue", calls_over_own_queue);
        $check!("rpc over direct reply-to", calls_over_direct_reply_to);
        $check!("connection loss: unacked messages come back redelivered", survives_loss);
        $check!("404 for a missing queue, the connection stays usable", refuses_missing_queue);
        $check!("404 for a publish to a missing exchange", refuses_missing_exchange);
        $check!("406 for an inequivalent declare", refuses_inequivalent);
        $check!("406 for an unknown delivery tag", refuses_unknown_tag);
        $check!("406 for deleting a queue in use if-unused", refuses_delete_in_use);
        $check!("405 for another connection's exclusive queue", refuses_foreign_exclusive);
        $check!("403 for declaring an amq. name", refuses_reserved_name);
        $check!("403 for a second consumer beside an exclusive one", refuses_second_exclusive);
        $check!("540 for immediate closes the connection with its reason", refuses_immediate);
        $check!("530 for an unknown vhost", refuses_vhost);
        $check!("1 MiB body, every property and header type, unchanged", carries_everything);
        $check!("an empty body", carries_nothing);
        $check!("heartbeat negotiated to 1 s, idle connection stays open", keeps_idle_open);
        $check!("tx: commit publishes, rollback does not", transacts);
        $check!("consumer cancel notification when its queue is deleted", notifies_cancel);
    };
}

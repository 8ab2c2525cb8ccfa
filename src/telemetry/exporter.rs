//! Sends what waits, in portions, over a connection of its own for each; goes on when that fails.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use hyper::header::{CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use serde_json::Value as Json;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};

use super::Resource;

/// What goes into a request at most.
const PORTION: usize = 512;
/// How long something waits for more to be sent with it.
const GATHERING: Duration = Duration::from_secs(1);
/// How long a collector may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long to wait before it is asked again, and again.
const AGAIN: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];
/// Bytes of an answer.
const ANSWER_MAX: usize = 64 * 1024;

/// What has become of all that was to be sent.
#[derive(Debug, Default)]
pub struct Told {
    sent: AtomicU64,
    dropped: AtomicU64,
}

impl Told {
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    pub fn drop_some(&self, count: u64) {
        self.dropped.fetch_add(count, Ordering::Relaxed);
    }
}

enum Item<T> {
    One(T),
    /// Everything before it is to be sent, and then this to be told.
    Flush(oneshot::Sender<()>),
}

/// Where things go in.
#[derive(Debug)]
pub struct Outlet<T> {
    items: mpsc::Sender<Item<T>>,
    told: Arc<Told>,
}

impl<T> Clone for Outlet<T> {
    fn clone(&self) -> Self {
        Self { items: self.items.clone(), told: Arc::clone(&self.told) }
    }
}

impl<T> Outlet<T> {
    /// Never waits: what there is no room for is counted.
    pub fn push(&self, item: T) {
        if self.items.try_send(Item::One(item)).is_err() {
            self.told.drop_some(1);
        }
    }

    #[must_use]
    pub fn told(&self) -> &Told {
        &self.told
    }

    /// Returns when all that was pushed by now has been sent, or this time is over.
    pub async fn flush(&self, patience: Duration) {
        let (tell, sent) = oneshot::channel();
        let flushed = async {
            if self.items.send(Item::Flush(tell)).await.is_ok() {
                let _ = sent.await;
            }
        };
        let _ = tokio::time::timeout(patience, flushed).await;
    }
}

/// How a portion is written.
type Write<T> = fn(&Resource, &[T]) -> Json;

/// Where they come out.
pub struct Exporter<T> {
    items: mpsc::Receiver<Item<T>>,
    told: Arc<Told>,
    url: String,
    resource: Resource,
    write: Write<T>,
    /// The last portion could not be sent, and that is in the log.
    fails: bool,
}

impl<T> fmt::Debug for Exporter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exporter").field("url", &self.url).finish_non_exhaustive()
    }
}

pub(super) fn pair<T>(most: usize, url: String, resource: Resource, write: Write<T>) -> (Outlet<T>, Exporter<T>) {
    let (give, items) = mpsc::channel(most);
    let told = Arc::new(Told::default());
    (Outlet { items: give, told: Arc::clone(&told) }, Exporter { items, told, url, resource, write, fails: false })
}

/// Why a portion was not taken.
enum Failure {
    /// It may be another time.
    Passing(String),
    Lasting(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Passing(error.to_string())
    }
}

impl From<hyper::Error> for Failure {
    fn from(error: hyper::Error) -> Self {
        Self::Passing(error.to_string())
    }
}

impl<T: Send + 'static> Exporter<T> {
    /// Runs for as long as anybody has the other end.
    pub async fn run(mut self) {
        while let Some(item) = self.items.recv().await {
            let mut portion = Vec::new();
            let mut flush = None;
            match item {
                Item::One(item) => portion.push(item),
                Item::Flush(tell) => flush = Some(tell),
            }
            let until = tokio::time::Instant::now() + GATHERING;
            while flush.is_none() && portion.len() < PORTION {
                match tokio::time::timeout_at(until, self.items.recv()).await {
                    Ok(Some(Item::One(item))) => portion.push(item),
                    Ok(Some(Item::Flush(tell))) => flush = Some(tell),
                    Ok(None) | Err(_) => break,
                }
            }
            if !portion.is_empty() {
                self.send(&portion).await;
            }
            if let Some(tell) = flush {
                let _ = tell.send(());
            }
        }
    }

    async fn send(&mut self, portion: &[T]) {
        let count = portion.len() as u64;
        let body = (self.write)(&self.resource, portion).to_string();
        let mut pauses = AGAIN.iter();
        let outcome = loop {
            let asked = tokio::time::timeout(PATIENCE, post(&self.url, body.clone())).await;
            match asked.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into())) {
                Ok(rejected) => break Ok(rejected.min(count)),
                Err(Failure::Lasting(why)) => break Err(why),
                Err(Failure::Passing(why)) => match pauses.next() {
                    // Meanwhile what comes fills the queue, and is dropped when that is full.
                    Some(pause) => tokio::time::sleep(*pause).await,
                    None => break Err(why),
                },
            }
        };
        let dropped = outcome.as_ref().map_or(count, |rejected| *rejected);
        self.told.drop_some(dropped);
        self.told.sent.fetch_add(count - dropped, Ordering::Relaxed);
        // Once each time, or the log would be about nothing else, and its own lines are sent, too.
        if let Err(why) = &outcome
            && !self.fails
        {
            tracing::warn!(url = self.url, dropped, "the OpenTelemetry collector takes nothing: {why}");
        }
        if outcome.is_ok() && self.fails {
            tracing::info!(url = self.url, dropped = self.told.dropped(), "the OpenTelemetry collector takes something again");
        }
        self.fails = outcome.is_err();
    }
}

/// Sends one request; how many of its items the collector has refused.
async fn post(url: &str, body: String) -> Result<u64, Failure> {
    let uri: Uri = url.parse().map_err(|_| Failure::Lasting("no URI".to_owned()))?;
    let authority = uri.authority().ok_or_else(|| Failure::Lasting("no host".to_owned()))?;
    let stream = TcpStream::connect((authority.host().trim_matches(['[', ']']), authority.port_u16().unwrap_or(80))).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // It ends with the answer, or when nobody waits for that any more.
    tokio::spawn(connection);
    let request = Request::post(uri.path_and_query().map_or("/", |place| place.as_str()))
        .header(HOST, authority.as_str())
        .header(CONTENT_TYPE, "application/json")
        .header(USER_AGENT, concat!("OTel-OTLP-Exporter-leveret/", env!("CARGO_PKG_VERSION")))
        .body(Body::from(body))
        .map_err(|error| Failure::Lasting(error.to_string()))?;
    let response = sender.send_request(request).await?;
    let status = response.status();
    let answer = to_bytes(Body::new(response.into_body()), ANSWER_MAX).await.map_err(|error| Failure::Passing(error.to_string()))?;
    if status.is_success() {
        return Ok(rejected(&answer));
    }
    let why = format!("status {status}");
    match status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            Err(Failure::Passing(why))
        }
        _ => Err(Failure::Lasting(why)),
    }
}

/// Of `{"partialSuccess": {"rejectedSpans": "3"}}`, 3. A number of 64 bits is a text in JSON of protocol buffers, or a number.
fn rejected(answer: &[u8]) -> u64 {
    let answer: Json = serde_json::from_slice(answer).unwrap_or_default();
    let count = |name: &str| {
        let value = &answer["partialSuccess"][name];
        value.as_u64().or_else(|| value.as_str()?.parse().ok())
    };
    count("rejectedSpans").or_else(|| count("rejectedLogRecords")).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_collector_has_refused() {
        assert_eq!(rejected(b"{}"), 0);
        assert_eq!(rejected(b""), 0);
        assert_eq!(rejected(br#"{"partialSuccess": {"rejectedSpans": "3", "errorMessage": "too old"}}"#), 3);
        assert_eq!(rejected(br#"{"partialSuccess": {"rejectedLogRecords": 2}}"#), 2);
    }

    #[test]
    fn a_full_queue_is_not_waited_for() {
        let resource = Resource::new("leveret", "leveret@localhost");
        let (outlet, _exporter) = pair::<u8>(2, "http://127.0.0.1:1".to_owned(), resource, |_, _| Json::Null);
        (0..5).for_each(|n| outlet.push(n));
        assert_eq!((outlet.told().dropped(), outlet.told().sent()), (3, 0));
    }
}

//! What an OpenTelemetry collector is told: one that is made here takes requests apart.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use lapin::BasicProperties;
use lapin::options::BasicAckOptions;
use lapin::types::FieldTable;
use serde_json::{Value as Json, json};

use super::exposition::Exposition;
use super::http::Http;
use super::support::broker::{Broker, End, Scratch, leveret};
use super::support::client::{arguments, channel, confirming, connect, consume, declare, next, publish, publish_with, soon, words};
use super::support::eventually;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// Takes what comes, by its path, after refusing so many requests with a status.
struct Collector {
    address: SocketAddr,
    taken: Arc<Mutex<Vec<(String, Json)>>>,
    refusing: Arc<Mutex<Vec<u16>>>,
}

impl Collector {
    fn start() -> Self {
        Self::refusing(&[])
    }

    fn refusing(statuses: &[u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let (taken, refusing) = (Arc::<Mutex<Vec<(String, Json)>>>::default(), Arc::new(Mutex::new(statuses.to_vec())));
        let (into, refuses) = (Arc::clone(&taken), Arc::clone(&refusing));
        // Ends with the process: nobody connects after the test.
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let status = refuses.lock().expect("not poisoned").pop();
                let Some(request) = Self::read(&stream) else { continue };
                if status.is_none() {
                    into.lock().expect("not poisoned").push(request);
                }
                let answer = format!("HTTP/1.1 {} x\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}", status.unwrap_or(200));
                let _ = (&stream).write_all(answer.as_bytes());
            }
        });
        Self { address, taken, refusing }
    }

    /// The path and the JSON of a request.
    fn read(stream: &TcpStream) -> Option<(String, Json)> {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let path = line.strip_prefix("POST ")?.split(' ').next()?.to_owned();
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            headers.insert(name.to_ascii_lowercase(), value.to_owned());
        }
        assert_eq!(headers["content-type"], "application/json");
        let mut body = vec![0; headers["content-length"].parse().expect("a length")];
        reader.read_exact(&mut body).ok()?;
        Some((path, serde_json::from_slice(&body).expect("JSON")))
    }

    fn config(&self) -> String {
        format!("opentelemetry.endpoint = http://{}\nopentelemetry.service_name = warren\n", self.address)
    }

    /// All spans so far.
    fn spans(&self) -> Vec<Json> {
        self.items("/v1/traces", ["resourceSpans", "scopeSpans", "spans"])
    }

    fn lines(&self) -> Vec<Json> {
        self.items("/v1/logs", ["resourceLogs", "scopeLogs", "logRecords"])
    }

    fn items(&self, path: &str, [resources, scopes, items]: [&str; 3]) -> Vec<Json> {
        let taken = self.taken.lock().expect("not poisoned");
        let mut all = Vec::new();
        for (_, body) in taken.iter().filter(|(at, _)| at == path) {
            for resource in body[resources].as_array().expect("resources") {
                assert_eq!(attribute(&resource["resource"], "service.name"), json!({"stringValue": "warren"}));
                assert_eq!(attribute(&resource["resource"], "service.instance.id"), json!({"stringValue": "leveret@localhost"}));
                for scope in resource[scopes].as_array().expect("scopes") {
                    assert_eq!(scope["scope"]["name"], "leveret");
                    all.extend(scope[items].as_array().expect("items").iter().cloned());
                }
            }
        }
        all
    }

    fn await_spans(&self, count: usize) -> Vec<Json> {
        eventually("spans have come", || Some(self.spans()).filter(|spans| spans.len() >= count))
    }
}

fn attribute(of: &Json, key: &str) -> Json {
    let all = of["attributes"].as_array().expect("attributes");
    let found: Vec<&Json> = all.iter().filter(|attribute| attribute["key"] == key).map(|attribute| &attribute["value"]).collect();
    assert_eq!(found.len(), 1, "{key}: {of}");
    found[0].clone()
}

fn nanoseconds(span: &Json, field: &str) -> u64 {
    span[field].as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{field}: {span}"))
}

fn traced(flags: &str) -> BasicProperties {
    let headers: FieldTable = arguments(&[("traceparent", words(&format!("00-{TRACE}-{PARENT}-{flags}")))]);
    BasicProperties::default().with_headers(headers).with_message_id("m1".into()).with_correlation_id("c1".into())
}

#[tokio::test]
async fn a_traced_message_has_spans() {
    let collector = Collector::start();
    let broker = Broker::with_config(&collector.config());
    let connection = connect(&broker).await;
    let publisher = confirming(&connection).await;
    declare(&publisher, "q").await;
    publish_with(&publisher, "amq.direct", "nowhere", b"12345", traced("00")).await;
    publish(&publisher, "", "q", b"not traced").await;
    publish_with(&publisher, "", "q", b"12345", traced("01")).await;
    let consumer = channel(&connection).await;
    let mut deliveries = consume(&consumer, "q").await;
    for _ in 0..2 {
        let delivery = next(&mut deliveries).await;
        soon(consumer.basic_ack(delivery.delivery_tag, BasicAckOptions::default())).await.expect("acknowledged");
    }
    let spans = collector.await_spans(2);
    let [published, queued] = &spans[..] else { panic!("{spans:?}") };
    for span in [published, queued] {
        assert_eq!((&span["traceId"], &span["parentSpanId"]), (&json!(TRACE), &json!(PARENT)));
        let id = span["spanId"].as_str().expect("an id");
        assert!(id.len() == 16 && id.bytes().all(|c| c.is_ascii_hexdigit()) && id.bytes().any(|c| c != b'0'), "{id}");
        assert!(nanoseconds(span, "startTimeUnixNano") > 1_700_000_000_000_000_000);
        assert!(nanoseconds(span, "endTimeUnixNano") >= nanoseconds(span, "startTimeUnixNano"));
        let text = |key: &str| attribute(span, key)["stringValue"].clone();
        assert_eq!([text("messaging.system"), text("messaging.message.id")], ["rabbitmq", "m1"]);
        assert_eq!([text("messaging.message.conversation_id"), text("leveret.vhost")], ["c1", "/"]);
        assert_eq!(attribute(span, "messaging.message.body.size"), json!({"intValue": "5"}));
        assert_eq!(text("messaging.destination.name"), "q");
    }
    assert_ne!(published["spanId"], queued["spanId"]);
    assert_eq!((&published["name"], &published["kind"]), (&json!("publish amq.default"), &json!(2)));
    assert_eq!(attribute(published, "leveret.queues"), json!({"intValue": "1"}));
    assert_eq!((&queued["name"], &queued["kind"]), (&json!("queue q"), &json!(1)));
    assert_eq!(attribute(queued, "leveret.outcome"), json!({"stringValue": "ack"}));
    let events = queued["events"].as_array().expect("events");
    assert_eq!(events.iter().map(|event| &event["name"]).collect::<Vec<_>>(), ["deliver"]);
    let peer = attribute(&events[0], "leveret.connection")["stringValue"].clone();
    assert!(peer.as_str().expect("a text").ends_with(&format!(" -> {}", broker.address())), "{peer}");
    let delivered = nanoseconds(&events[0], "timeUnixNano");
    assert!(nanoseconds(queued, "startTimeUnixNano") <= delivered && delivered <= nanoseconds(queued, "endTimeUnixNano"));
}

/// What waits is sent before the process ends, which does not take the second in which more is gathered.
/// The virtual host has another core then.
#[tokio::test]
async fn messages_are_traced_after_a_crash_on_demand_too() {
    let collector = Collector::start();
    let broker = Broker::with_config(&format!("{}\ntest_api = true\n", collector.config()));
    Http::guest(broker.http()).post("/api/test/crash", &json!({})).ok();
    let connection = connect(&broker).await;
    let publisher = confirming(&connection).await;
    publish_with(&publisher, "amq.direct", "nowhere", b"12345", traced("01")).await;
    let spans = collector.await_spans(1);
    assert_eq!(spans[0]["traceId"], TRACE);
}

#[tokio::test]
async fn the_last_spans_and_lines_are_sent_at_the_end() {
    let collector = Collector::start();
    let broker = Broker::with_config(&collector.config());
    let connection = connect(&broker).await;
    let publisher = confirming(&connection).await;
    for _ in 0..100 {
        publish_with(&publisher, "", "nowhere", b"1", traced("01")).await;
    }
    tokio::task::spawn_blocking(move || broker.end(End::InOrder)).await.expect("ended");
    let spans = collector.spans();
    assert_eq!(spans.len(), 100);
    assert_eq!(attribute(&spans[0], "leveret.routed"), json!({"boolValue": false}));
    let ids: std::collections::BTreeSet<String> = spans.iter().map(|span| span["spanId"].to_string()).collect();
    assert_eq!(ids.len(), 100);
}

/// The log goes there as it goes to the console.
#[test]
fn the_log_is_told() {
    let collector = Collector::start();
    let broker = Broker::with_config(&format!("{}log.default.level = debug\nnet_ticktime = 5\n", collector.config()));
    let warned = eventually("the warning has come", || {
        collector.lines().into_iter().find(|line| line["body"]["stringValue"].as_str().is_some_and(|text| text.contains("net_ticktime")))
    });
    assert_eq!((&warned["severityNumber"], &warned["severityText"]), (&json!(13), &json!("WARN")));
    assert!(nanoseconds(&warned, "timeUnixNano") > 1_700_000_000_000_000_000);
    assert!(broker.log().contains("net_ticktime"));
    let _ = std::net::TcpStream::connect(broker.address());
    let debug = || collector.lines().into_iter().find(|line| line["severityText"] == "DEBUG");
    let debug = eventually("a line with the level of the log", debug);
    assert!(attribute(&debug, "code.namespace")["stringValue"].as_str().is_some_and(|target| target.contains("leveret")), "{debug}");
}

/// Busy for a while, it is asked again; a portion that it refuses is lost, and counted in the log, which says so once.
#[tokio::test]
async fn a_collector_that_does_not_take_it() {
    let collector = Collector::refusing(&[503]);
    let broker = Broker::with_config(&format!("{}opentelemetry.logs = false\n", collector.config()));
    let connection = connect(&broker).await;
    let publisher = confirming(&connection).await;
    publish_with(&publisher, "", "nowhere", b"1", traced("01")).await;
    assert_eq!(collector.await_spans(1).len(), 1);
    collector.refusing.lock().expect("not poisoned").push(400);
    publish_with(&publisher, "", "nowhere", b"1", traced("01")).await;
    eventually("the refusal is in the log", || {
        broker.log().contains("the OpenTelemetry collector takes nothing: status 400").then_some(())
    });
    publish_with(&publisher, "", "nowhere", b"1", traced("01")).await;
    assert_eq!(collector.await_spans(2).len(), 2);
    eventually("so is that it works again", || broker.log().contains("takes something again").then_some(()));
}

/// Nobody is there who would take it: clients do not notice, nor does the end of the process.
#[tokio::test]
async fn without_a_collector_all_goes_on() {
    let scratch = Scratch::new();
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = nobody.local_addr().expect("an address");
    drop(nobody);
    let config = scratch.file("leveret.conf", &format!("opentelemetry.endpoint = http://{address}\n"));
    let mut command = leveret();
    command.args(["--metrics", "127.0.0.1:0", "--config"]).arg(config);
    let broker = Broker::launch(command, scratch);
    let connection = connect(&broker).await;
    let publisher = confirming(&connection).await;
    for _ in 0..1000 {
        publish_with(&publisher, "", "nowhere", b"1", traced("01")).await;
    }
    let metrics = broker.metrics();
    // After the last of four attempts.
    let dropped = move || {
        let metrics = Exposition::parse(&Http::nobody(metrics).get("/metrics").text());
        assert!(metrics.value("leveret_opentelemetry_spans_sent_total").abs() < 0.5);
        (metrics.value("leveret_opentelemetry_spans_dropped_total") > 0.5).then_some(())
    };
    tokio::task::spawn_blocking(move || eventually("spans are dropped", dropped)).await.expect("dropped");
    let began = std::time::Instant::now();
    tokio::task::spawn_blocking(move || broker.end(End::InOrder)).await.expect("ended");
    assert!(began.elapsed() < super::support::PATIENCE / 2);
}

#[tokio::test]
async fn variables_name_the_collector() {
    let collector = Collector::start();
    let mut command = leveret();
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}/", collector.address)).env("OTEL_SERVICE_NAME", "warren");
    let broker = Broker::launch(command, Scratch::new());
    let connection = connect(&broker).await;
    publish_with(&confirming(&connection).await, "", "nowhere", b"1", traced("01")).await;
    assert_eq!(collector.await_spans(1).len(), 1);
    // What is not spoken is no reason not to start.
    let mut command = leveret();
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector.example");
    let broker = Broker::launch(command, Scratch::new());
    assert!(broker.log().contains("OTEL_EXPORTER_OTLP_ENDPOINT: nothing is sent to https://collector.example"), "{}", broker.log());
}

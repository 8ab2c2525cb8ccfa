//! OTLP in JSON: the mapping of protocol buffers, but for identifiers, which are hexadecimal. Numbers of 64 bits are texts.
//! Names of attributes are those of OpenTelemetry's conventions for messaging and RabbitMQ where they have one.

use serde_json::{Map, Value as Json, json};

use super::Traced;
use super::logs::Line;
use crate::broker::spans::{Span, Work};

/// What a request asks of whoever serves it: the kind of the span of a publish.
const SERVER: u8 = 2;
/// Work that nobody else sees: a message's time in a queue.
const INTERNAL: u8 = 1;

/// Who tells all of it.
#[derive(Clone, Debug)]
pub struct Resource(Json);

impl Resource {
    #[must_use]
    pub fn new(service: &str, node: &str) -> Self {
        let mut attributes = Attributes::default();
        attributes.text("service.name", service);
        attributes.text("service.version", env!("CARGO_PKG_VERSION"));
        attributes.text("service.instance.id", node);
        attributes.number("process.pid", std::process::id().into());
        Self(json!({"attributes": attributes.0}))
    }
}

#[derive(Debug, Default)]
struct Attributes(Vec<Json>);

impl Attributes {
    fn text(&mut self, key: &str, value: &str) {
        self.0.push(json!({"key": key, "value": {"stringValue": value}}));
    }

    fn number(&mut self, key: &str, value: u64) {
        self.0.push(json!({"key": key, "value": {"intValue": value.to_string()}}));
    }

    fn flag(&mut self, key: &str, value: bool) {
        self.0.push(json!({"key": key, "value": {"boolValue": value}}));
    }
}

fn scope() -> Json {
    json!({"name": "leveret", "version": env!("CARGO_PKG_VERSION")})
}

pub(super) fn traces(resource: &Resource, traced: &[Traced]) -> Json {
    let spans: Vec<Json> = traced.iter().map(span).collect();
    json!({"resourceSpans": [{"resource": resource.0, "scopeSpans": [{"scope": scope(), "spans": spans}]}]})
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn span(traced: &Traced) -> Json {
    let Traced { vhost, span, ended, id } = traced;
    let mut attributes = Attributes::default();
    attributes.text("messaging.system", "rabbitmq");
    let (name, kind) = match &span.work {
        Work::Publish { connection, queues, routed } => {
            attributes.text("messaging.operation.name", "publish");
            attributes.text("messaging.operation.type", "send");
            attributes.text("messaging.destination.name", &destination(span, None));
            attributes.text("leveret.connection", connection);
            attributes.number("leveret.queues", *queues as u64);
            attributes.flag("leveret.routed", *routed);
            let exchange = if span.exchange.is_empty() { "amq.default" } else { &*span.exchange };
            (format!("publish {exchange}"), SERVER)
        }
        Work::Queue { queue, outcome } => {
            attributes.text("messaging.operation.name", "queue");
            attributes.text("messaging.destination.name", &destination(span, Some(queue)));
            attributes.text("leveret.queue", queue);
            attributes.text("leveret.outcome", outcome);
            (format!("queue {queue}"), INTERNAL)
        }
    };
    attributes.text("messaging.rabbitmq.destination.routing_key", &span.routing_key);
    attributes.number("messaging.message.body.size", span.size);
    if let Some(id) = &span.message_id {
        attributes.text("messaging.message.id", id);
    }
    if let Some(id) = &span.correlation_id {
        attributes.text("messaging.message.conversation_id", id);
    }
    attributes.text("leveret.vhost", vhost);
    let events: Vec<Json> = span
        .moments
        .iter()
        .map(|moment| {
            let mut attributes = Attributes::default();
            if let Some(connection) = &moment.connection {
                attributes.text("leveret.connection", connection);
            }
            json!({"timeUnixNano": moment.at.to_string(), "name": moment.what, "attributes": attributes.0})
        })
        .collect();
    json!({
        "traceId": hex(&span.parent.trace_id), "spanId": hex(id), "parentSpanId": hex(&span.parent.span_id),
        "flags": span.parent.flags, "name": name, "kind": kind,
        "startTimeUnixNano": span.began.to_string(), "endTimeUnixNano": span.ended.unwrap_or(*ended).max(span.began).to_string(),
        "attributes": attributes.0, "events": events, "status": {},
    })
}

/// `exchange:key:queue`, without what there is none of, or what would be there twice.
fn destination(span: &Span, queue: Option<&str>) -> String {
    let queue = queue.filter(|queue| *queue != &*span.routing_key);
    let parts = [Some(&*span.exchange), Some(&*span.routing_key), queue].into_iter().flatten().filter(|part| !part.is_empty());
    let name = parts.collect::<Vec<_>>().join(":");
    if name.is_empty() { "amq.default".to_owned() } else { name }
}

pub(super) fn logs(resource: &Resource, lines: &[Line]) -> Json {
    let records: Vec<Json> = lines.iter().map(record).collect();
    json!({"resourceLogs": [{"resource": resource.0, "scopeLogs": [{"scope": scope(), "logRecords": records}]}]})
}

fn record(line: &Line) -> Json {
    let mut attributes = Attributes::default();
    attributes.text("code.namespace", &line.target);
    for (key, value) in &line.fields {
        attributes.0.push(json!({"key": key, "value": any(value)}));
    }
    let time = line.at.to_string();
    let mut record = Map::new();
    record.insert("timeUnixNano".to_owned(), json!(time));
    record.insert("observedTimeUnixNano".to_owned(), json!(time));
    record.insert("severityNumber".to_owned(), json!(line.severity));
    record.insert("severityText".to_owned(), json!(line.level));
    record.insert("body".to_owned(), json!({"stringValue": line.message}));
    record.insert("attributes".to_owned(), Json::Array(attributes.0));
    Json::Object(record)
}

fn any(value: &Json) -> Json {
    match value {
        Json::Bool(flag) => json!({"boolValue": flag}),
        Json::Number(number) if number.is_f64() => json!({"doubleValue": number}),
        Json::Number(number) => json!({"intValue": number.to_string()}),
        Json::String(text) => json!({"stringValue": text}),
        other => json!({"stringValue": other.to_string()}),
    }
}

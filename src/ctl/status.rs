//! What there is to say of the node as a whole.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use super::call::{Call, bold, refused};
use super::failure::{DATA, Failure, UNAVAILABLE};
use super::plugins;

/// A unit of RabbitMQ's reports.
#[derive(Clone, Copy)]
struct Unit {
    name: &'static str,
    bytes: f64,
}

impl Unit {
    fn of(call: &Call) -> Result<Self, Failure> {
        match call.arguments.get("unit").unwrap_or("gb").to_ascii_lowercase().as_str() {
            "bytes" | "b" => Ok(Self { name: "bytes", bytes: 1.0 }),
            "kb" => Ok(Self { name: "kb", bytes: 1e3 }),
            "mb" => Ok(Self { name: "mb", bytes: 1e6 }),
            "gb" => Ok(Self { name: "gb", bytes: 1e9 }),
            "tb" => Ok(Self { name: "tb", bytes: 1e12 }),
            other => Err(Failure::arguments(DATA, format!("unit '{other}' is not supported. Please use one of: bytes, mb, gb"))),
        }
    }

    /// `0.1365 gb`.
    #[expect(clippy::cast_precision_loss, reason = "four digits are shown")]
    fn show(self, bytes: u64) -> String {
        format!("{} {}", decimal(bytes as f64 / self.bytes), self.name)
    }
}

/// Four digits behind the point at most, and one at least.
fn decimal(number: f64) -> String {
    let text = format!("{number:.4}");
    let short = text.trim_end_matches('0');
    if short.ends_with('.') { format!("{short}0") } else { short.to_owned() }
}

pub(super) fn status(call: &mut Call) -> Result<(), Failure> {
    let unit = Unit::of(call)?;
    call.banner(format!("Status of node {} ...", call.node_name()));
    let node = call.node()?;
    if call.formatter == super::arguments::Formatter::Json {
        call.line(as_json(&node).to_string());
        return Ok(());
    }
    let text = |pointer: &str| match node.pointer(pointer) {
        Some(Json::String(text)) => text.clone(),
        Some(Json::Null) | None => "(none)".to_owned(),
        Some(other) => other.to_string(),
    };
    let number = |pointer: &str| node.pointer(pointer).and_then(Json::as_u64).unwrap_or(0);
    let mut sections: Vec<(&str, Vec<String>)> = vec![
        (
            "Runtime",
            vec![
                format!("OS PID: {}", text("/pid")),
                "OS: Linux".to_owned(),
                format!("Uptime (seconds): {}", text("/uptime")),
                format!("Is under maintenance?: {}", text("/drained")),
                format!("RabbitMQ version: {}", text("/rabbitmq_version")),
                format!("Leveret version: {}", text("/version")),
                format!("Node name: {}", text("/name")),
            ],
        ),
        ("Tags", tags(&node["node_tags"]).unwrap_or_else(|| vec!["(none)".to_owned()])),
        ("Plugins", std::iter::once("Enabled plugins:\n".to_owned()).chain(plugins::enabled().map(|name| format!(" * {name}"))).collect()),
        ("Data directory", vec![format!("Node data directory: {}", text("/data_directory"))]),
        ("Log file(s)", log_places(&node).iter().map(|place| format!(" * {place}")).collect()),
        ("Alarms", alarms(&node).unwrap_or_else(|| vec!["(none)".to_owned()])),
        (
            "Memory",
            vec![
                format!("Total memory used: {}", unit.show(number("/memory/resident"))),
                "Calculation strategy: rss".to_owned(),
                format!("Memory high watermark setting: {}", watermark(&node, unit)),
                format!("Messages and connections: {}", unit.show(number("/memory/messages"))),
            ],
        ),
        ("File Descriptors", vec![format!("Sockets: {}", text("/sockets"))]),
    ];
    if node["disk"].is_object() {
        sections.push((
            "Free Disk Space",
            vec![
                format!("Low free disk space watermark: {}", unit.show(number("/disk/limit"))),
                format!("Free disk space: {}", unit.show(number("/disk/free"))),
            ],
        ));
    }
    sections.push((
        "Totals",
        vec![
            format!("Connection count: {}", text("/totals/connections")),
            format!("Queue count: {}", text("/totals/queues")),
            format!("Virtual host count: {}", text("/totals/vhosts")),
        ],
    ));
    sections.push(("Listeners", each_listener(&node).iter().map(Listener::line).collect()));
    let sections: Vec<String> = sections.into_iter().map(|(heading, lines)| format!("{}\n\n{}", bold(heading), lines.join("\n"))).collect();
    call.line(sections.join("\n\n"));
    Ok(())
}

fn alarms(node: &Json) -> Option<Vec<String>> {
    let raised = super::checks::raised(node);
    (!raised.is_empty()).then_some(raised)
}

/// Names with values, one a line.
fn tags(tags: &Json) -> Option<Vec<String>> {
    let line = |(name, value): (&String, &Json)| format!("{name}: {}", value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    tags.as_object().filter(|tags| !tags.is_empty()).map(|tags| tags.iter().map(line).collect())
}

fn watermark(node: &Json, unit: Unit) -> String {
    let limit = unit.show(node["memory"]["limit"].as_u64().unwrap_or(0));
    match node["memory"]["watermark"]["relative"].as_f64() {
        Some(share) => format!("{share:?} of available memory, computed to: {limit}"),
        None => format!("{limit}, computed to: {limit}"),
    }
}

fn log_places(node: &Json) -> Vec<String> {
    let places = ["log_file", "log_console"].iter().filter_map(|key| node[*key].as_str()).map(str::to_owned);
    places.collect()
}

/// RabbitMQ's names for all of this.
fn as_json(node: &Json) -> Json {
    json!({
        "active_plugins": plugins::enabled().collect::<Vec<_>>(),
        "alarms": node["alarms"],
        "data_directory": node["data_directory"],
        "disk_free": node["disk"]["free"],
        "disk_free_limit": node["disk"]["limit"],
        "is_under_maintenance": node["drained"],
        "listeners": each_listener(node).iter().map(|listener| listener.json(node)).collect::<Vec<_>>(),
        "log_files": log_places(node),
        "memory": {"total": {"rss": node["memory"]["resident"]}, "strategy": "rss", "messages": node["memory"]["messages"]},
        "leveret_version": node["version"],
        "os": "Linux",
        "pid": node["pid"],
        "rabbitmq_version": node["rabbitmq_version"],
        "totals": {
            "connection_count": node["totals"]["connections"],
            "queue_count": node["totals"]["queues"],
            "virtual_host_count": node["totals"]["vhosts"],
        },
        "uptime": node["uptime"],
        "vm_memory_high_watermark_limit": node["memory"]["limit"],
        "vm_memory_high_watermark_setting": node["memory"]["watermark"],
    })
}

pub(super) struct Listener {
    pub(super) interface: String,
    pub(super) port: u64,
    pub(super) protocol: String,
}

impl Listener {
    fn purpose(&self) -> &'static str {
        match self.protocol.as_str() {
            "amqp" => "AMQP 0-9-1 and AMQP 1.0",
            "amqp/ssl" | "amqps" => "AMQP 0-9-1 and AMQP 1.0 over TLS",
            "http" => "HTTP API",
            "https" => "HTTP API over TLS (HTTPS)",
            "http/prometheus" => "Prometheus exporter API over HTTP",
            "https/prometheus" => "Prometheus exporter API over TLS (HTTPS)",
            "mqtt" => "MQTT",
            "stomp" => "STOMP",
            _ => "",
        }
    }

    pub(super) fn line(&self) -> String {
        let Self { interface, port, protocol } = self;
        format!("Interface: {interface}, port: {port}, protocol: {protocol}, purpose: {}", self.purpose())
    }

    fn json(&self, node: &Json) -> Json {
        let Self { interface, port, protocol } = self;
        json!({"interface": interface, "node": node["name"], "port": port, "protocol": protocol, "purpose": self.purpose()})
    }
}

pub(super) fn each_listener(node: &Json) -> Vec<Listener> {
    let listener = |entry: &Json| {
        let interface = entry["interface"].as_str().unwrap_or_default();
        Listener {
            // As RabbitMQ writes addresses of version 6.
            interface: if interface.contains(':') { format!("[{interface}]") } else { interface.to_owned() },
            port: entry["port"].as_u64().unwrap_or(0),
            protocol: entry["protocol"].as_str().unwrap_or_default().to_owned(),
        }
    };
    node["listeners"].as_array().into_iter().flatten().map(listener).collect()
}

pub(super) fn listeners(call: &mut Call) -> Result<(), Failure> {
    call.banner(format!("Asking node {} to report its protocol listeners ...", call.node_name()));
    let node = call.node()?;
    let listeners = each_listener(&node);
    let lines: Vec<String> = listeners.iter().map(Listener::line).collect();
    let all: Vec<Json> = listeners.iter().map(|listener| listener.json(&node)).collect();
    call.found(&json!({"listeners": all, "node": node["name"], "result": "ok"}), lines.join("\n"));
    Ok(())
}

pub(super) fn cluster_status(call: &mut Call) -> Result<(), Failure> {
    call.banner(format!("Cluster status of node {} ...", call.node_name()));
    let node = call.node()?;
    let name = node["name"].as_str().unwrap_or_default();
    let lines = |lines: Option<Vec<String>>| lines.unwrap_or_else(|| vec!["(none)".to_owned()]);
    let maintenance = if node["drained"] == true { "marked for maintenance" } else { "not under maintenance" };
    let listeners = each_listener(&node);
    let sections = [
        (
            "Basics",
            vec![
                format!("Cluster name: {}", node["cluster_name"].as_str().unwrap_or_default()),
                format!("Total CPU cores available cluster-wide: {}", node["processors"]),
            ],
        ),
        ("Cluster Tags", lines(tags(&node["cluster_tags"]))),
        ("Disk Nodes", vec![name.to_owned()]),
        ("Running Nodes", vec![name.to_owned()]),
        ("Versions", vec![format!("{name}: RabbitMQ {}", node["rabbitmq_version"].as_str().unwrap_or_default())]),
        ("CPU Cores", vec![format!("Node: {name}, available CPU cores: {}", node["processors"])]),
        ("Maintenance status", vec![format!("Node: {name}, status: {maintenance}")]),
        ("Alarms", lines(alarms(&node))),
        ("Network Partitions", vec!["(none)".to_owned()]),
        ("Listeners", listeners.iter().map(|l| format!("Node: {name}, i{}", &l.line()[1..])).collect()),
    ];
    let text: Vec<String> = sections.iter().map(|(heading, lines)| format!("{}\n\n{}", bold(heading), lines.join("\n"))).collect();
    let found = json!({
        "cluster_name": node["cluster_name"],
        "cluster_tags": node["cluster_tags"],
        "cpu_cores": {name: node["processors"]},
        "disk_nodes": [name],
        "running_nodes": [name],
        "alarms": node["alarms"],
        "partitions": {},
        "listeners": {name: listeners.iter().map(|listener| listener.json(&node)).collect::<Vec<_>>()},
    });
    call.found(&found, text.join("\n\n"));
    Ok(())
}

pub(super) fn memory_breakdown(call: &mut Call) -> Result<(), Failure> {
    let unit = Unit::of(call)?;
    call.banner(format!("Reporting memory breakdown on node {}...", call.node_name()));
    let node = call.node()?;
    let number = |key: &str| node["memory"][key].as_u64().unwrap_or(0);
    let (resident, messages) = (number("resident"), number("messages"));
    let other = resident.saturating_sub(messages);
    let mut parts = [("messages", messages), ("other", other)];
    parts.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    #[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
    let share = |bytes: u64| bytes as f64 * 100.0 / resident.max(1) as f64;
    let lines: Vec<String> = parts.iter().map(|(name, bytes)| format!("{name}: {} ({:.2}%)", unit.show(*bytes), share(*bytes))).collect();
    call.found(&json!({"messages": messages, "other": other, "total": resident}), lines.join("\n"));
    Ok(())
}

pub(super) fn server_version(call: &mut Call) -> Result<(), Failure> {
    call.banner(format!("Asking node {} for its RabbitMQ version...", call.node_name()));
    let node = call.node()?;
    call.line(node["rabbitmq_version"].as_str().unwrap_or_default());
    Ok(())
}

pub(super) fn environment(call: &mut Call) -> Result<(), Failure> {
    call.banner(format!("Application environment of node {} ...", call.node_name()));
    let answer = call.send("GET", "/api/config/effective", None)?;
    refused(&answer)?;
    let text = answer.text();
    let set = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(" = "));
    let found: serde_json::Map<String, Json> = set.map(|(key, value)| (key.to_owned(), value.into())).collect();
    call.found(&Json::Object(found), text.trim_end());
    Ok(())
}

pub(super) fn log_location(call: &mut Call) -> Result<(), Failure> {
    call.banner(format!("Log file location(s) on node {} ...", call.node_name()));
    let places = log_places(&call.node()?);
    let wanted = if call.arguments.has("all") { places.len() } else { 1 };
    places.iter().take(wanted).for_each(|place| call.line(place));
    Ok(())
}

pub(super) fn log_tail(call: &mut Call) -> Result<(), Failure> {
    let number = call.arguments.get("number").unwrap_or("50").parse::<usize>();
    let number = number.map_err(|_| Failure::bad_argument("the number of lines is no number"))?;
    let node = call.node()?;
    let path = log_file(&node)?;
    call.banner(format!("Last {number} log lines on node {} ...", call.node_name()));
    let failed = |error: std::io::Error| Failure::error(UNAVAILABLE, format!("{path}: {error}"));
    let mut last = std::collections::VecDeque::new();
    for line in BufReader::new(File::open(path).map_err(failed)?).lines() {
        last.push_back(line.map_err(failed)?);
        if last.len() > number {
            last.pop_front();
        }
    }
    last.iter().for_each(|line| call.line(line));
    Ok(())
}

/// How often the log file is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// From its end on, until the time is up or nobody reads any more.
pub(super) fn log_tail_stream(call: &mut Call) -> Result<(), Failure> {
    let duration = match call.arguments.get("duration") {
        None | Some("infinity") => None,
        Some(seconds) => Some(seconds.parse::<u64>().map_err(|_| Failure::bad_argument("the duration is no number of seconds"))?),
    };
    let node = call.node()?;
    let path = log_file(&node)?;
    let for_so_long = duration.map_or_else(String::new, |seconds| format!(" for {seconds} seconds"));
    call.banner(format!("Streaming logs from node {}{for_so_long} ...", call.node_name()));
    let failed = |error: std::io::Error| Failure::error(UNAVAILABLE, format!("{path}: {error}"));
    let until = duration.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut file = File::open(path).map_err(failed)?;
    let mut at = file.seek(SeekFrom::End(0)).map_err(failed)?;
    let mut standard_output = std::io::stdout().lock();
    while until.is_none_or(|until| Instant::now() < until) {
        // A file that has become shorter, or another one, has been rotated.
        let named = std::fs::metadata(path).map_err(failed)?;
        if named.len() < at || named.ino() != file.metadata().map_err(failed)?.ino() {
            std::io::copy(&mut file, &mut standard_output).map_err(failed)?;
            (file, at) = (File::open(path).map_err(failed)?, 0);
        }
        let more = std::io::copy(&mut file, &mut standard_output);
        match more.and_then(|more| standard_output.flush().map(|()| more)) {
            Ok(more) => at += more,
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => break,
            Err(error) => return Err(failed(error)),
        }
        std::thread::sleep(LOOK);
    }
    Ok(())
}

fn log_file(node: &Json) -> Result<&str, Failure> {
    let none = "the node has no log file: its log is on the console (see log.file of the configuration)";
    node["log_file"].as_str().ok_or_else(|| Failure::error(UNAVAILABLE, none))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!([0.0, 0.05, 52.20854, 10.0].map(decimal), ["0.0", "0.05", "52.2085", "10.0"]);
    }
}

//! What RabbitMQ has as plugins and feature flags, and is built in here. There is nothing to switch on or off.

use serde_json::{Value as Json, json};

use super::call::Call;
use super::failure::{Failure, SOFTWARE, UNAVAILABLE, USAGE};
use super::format::{Kind, Rows, column};
use super::http::segment;
use super::lists::{self, Field};

/// Plugins whose work is done by the node itself.
const BUILT_IN: &[&str] = &[
    "rabbitmq_consistent_hash_exchange",
    "rabbitmq_delayed_message_exchange",
    "rabbitmq_event_exchange",
    "rabbitmq_management",
    "rabbitmq_management_agent",
    "rabbitmq_message_deduplication",
    "rabbitmq_prometheus",
    "rabbitmq_random_exchange",
    "rabbitmq_recent_history_exchange",
    "rabbitmq_shovel",
    "rabbitmq_shovel_management",
    "rabbitmq_web_dispatch",
];

/// What RabbitMQ switches on with others, and does not list as its own.
const IMPLIED: &[&str] = &["rabbitmq_management_agent", "rabbitmq_web_dispatch"];

pub(super) fn enabled() -> impl Iterator<Item = &'static str> {
    BUILT_IN.iter().copied()
}

pub(super) fn list(call: &mut Call) -> Result<(), Failure> {
    let pattern = call.words().first().map_or(".*", String::as_str).to_owned();
    let matcher = fancy_regex::Regex::new(&pattern).map_err(|error| Failure::bad_argument(format!("{pattern}: {error}")))?;
    call.banner(format!("Listing plugins with pattern \"{pattern}\" ..."));
    let node = call.node().ok();
    let is_explicit = |name: &str| !IMPLIED.contains(&name);
    let explicit_only = call.arguments.has("enabled");
    let names: Vec<&str> =
        enabled().filter(|name| matcher.is_match(name).unwrap_or(false)).filter(|name| !explicit_only || is_explicit(name)).collect();
    let version = node.as_ref().and_then(|node| node["rabbitmq_version"].as_str()).unwrap_or(env!("CARGO_PKG_VERSION")).to_owned();
    if call.formatter == super::arguments::Formatter::Json {
        let plugin = |name: &&str| {
            let enabled = if is_explicit(name) { "enabled" } else { "implicit" };
            json!({"name": name, "version": version, "running_version": version, "enabled": enabled, "running": node.is_some()})
        };
        call.line(json!({"status": "running", "format": "normal", "plugins": names.iter().map(plugin).collect::<Vec<Json>>()}).to_string());
        return Ok(());
    }
    if call.arguments.has("minimal") || call.arguments.has("silent") {
        names.iter().for_each(|name| call.line(name));
        return Ok(());
    }
    let status = match &node {
        Some(_) => format!(" | Status: * = running on {}", call.node_name()),
        None => format!(" | Status: [failed to contact {} - status not shown]", call.node_name()),
    };
    call.banner(format!(" Configured: E = explicitly enabled; e = implicitly enabled\n{status}\n |/"));
    let width = names.iter().map(|name| name.len()).max().unwrap_or(0);
    let running = if node.is_some() { '*' } else { ' ' };
    for name in names {
        let configured = if is_explicit(name) { 'E' } else { 'e' };
        call.line(format!("[{configured}{running}] {name:<width$} {version}"));
    }
    Ok(())
}

pub(super) fn enable(call: &mut Call) -> Result<(), Failure> {
    let wanted = words(call)?;
    call.banner(format!("Enabling plugins on node {}:\n{}", call.node_name(), wanted.join("\n")));
    let missing: Vec<&str> = wanted.iter().map(String::as_str).filter(|name| !BUILT_IN.contains(name)).collect();
    if !missing.is_empty() {
        let missing: Vec<String> = missing.iter().map(|name| format!(":{name}")).collect();
        return Err(Failure::error(SOFTWARE, format!("{{:plugins_not_found, [{}]}}", missing.join(", "))));
    }
    unchanged(call);
    Ok(())
}

/// What is built in cannot be taken away, and does no harm.
pub(super) fn disable(call: &mut Call) -> Result<(), Failure> {
    let wanted = words(call)?;
    call.banner(format!("Disabling plugins on node {}:\n{}", call.node_name(), wanted.join("\n")));
    unchanged(call);
    Ok(())
}

fn words(call: &Call) -> Result<Vec<String>, Failure> {
    if call.arguments.has("all") {
        return Ok(enabled().map(str::to_owned).collect());
    }
    match call.words() {
        [] if call.arguments.words.first().is_some_and(|command| command != "set") => {
            Err(Failure::arguments(USAGE, "not enough arguments."))
        }
        words => Ok(words.to_vec()),
    }
}

fn unchanged(call: &Call) {
    call.banner("The following plugins have been configured:");
    enabled().for_each(|name| call.banner(format!("  {name}")));
    call.banner(format!("Applying plugin configuration to {}...\nPlugin configuration unchanged.", call.node_name()));
}

pub(super) fn is_enabled(call: &mut Call) -> Result<(), Failure> {
    let (node, wanted) = (call.node_name().to_owned(), call.words().to_vec());
    let several = wanted.len() > 1;
    let names = wanted.join(", ");
    let (noun, verb) = if several { ("plugins", "are") } else { ("plugin", "is") };
    call.banner(format!("Asking node {node} if {noun} {names} {verb} enabled..."));
    let missing: Vec<&str> = wanted.iter().map(String::as_str).filter(|name| !BUILT_IN.contains(name)).collect();
    let (noun, verb) = if missing.len() > 1 || missing.is_empty() && several { ("Plugins", "are") } else { ("Plugin", "is") };
    if missing.is_empty() {
        call.line(format!("{noun} {names} {verb} enabled on node {node}"));
        return Ok(());
    }
    let all: Vec<&str> = enabled().collect();
    let text =
        format!("{noun} {} {verb} not enabled on node {node}. Enabled plugins and dependencies: {}", missing.join(", "), all.join(", "));
    Err(Failure::error(UNAVAILABLE, text))
}

const FLAG: &[Field] = &[
    Field::plain("name"),
    Field::plain("state"),
    Field::plain("stability"),
    Field::plain("provided_by"),
    Field::plain("desc"),
    Field::plain("doc_url"),
];

pub(super) fn list_feature_flags(call: &mut Call) -> Result<(), Failure> {
    let fields = lists::chosen(call, FLAG, &["name", "state"])?;
    call.banner("Listing feature flags ...");
    let found = call.get("/api/feature-flags")?;
    lists::show(call, &fields, &found);
    Ok(())
}

pub(super) fn enable_feature_flag(call: &mut Call) -> Result<(), Failure> {
    let flag = call.word(0).to_owned();
    if flag == "all" {
        call.banner("Enabling all feature flags ...");
        return Ok(());
    }
    call.banner(format!("Enabling feature flag \"{flag}\" ..."));
    let answer = call.send("PUT", &format!("/api/feature-flags/{}/enable", segment(&flag)), None)?;
    if answer.is_ok() {
        return Ok(());
    }
    Err(Failure::error(USAGE, format!("This feature flag is not supported by node {}", call.node_name())))
}

pub(super) fn list_deprecated_features(call: &mut Call) -> Result<(), Failure> {
    call.banner("Listing deprecated features ...");
    let path = if call.arguments.has("used") { "/api/deprecated-features/used" } else { "/api/deprecated-features" };
    let found = call.get(path)?;
    let row = |entry: &Json| vec![entry["name"].clone(), entry["deprecation_phase"].clone()];
    let rows = found.as_array().into_iter().flatten().map(row).collect();
    call.rows(&Rows { columns: vec![column("name", Kind::Plain), column("deprecation_phase", Kind::Plain)], rows });
    Ok(())
}

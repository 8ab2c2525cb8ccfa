//! How often somebody has tried to log in.

use serde_json::{Value as Json, json};

use super::call::Call;
use super::failure::Failure;
use super::format::{Kind, Rows, column};
use super::http::segment;

fn path(call: &mut Call) -> Result<String, Failure> {
    let node = call.node()?;
    Ok(format!("/api/auth/attempts/{}", segment(node["name"].as_str().unwrap_or_default())))
}

pub(super) fn list_node_auth_attempt_stats(call: &mut Call) -> Result<(), Failure> {
    let node = call.node_name().to_owned();
    call.banner(format!("Listing authentication attempts for node \"{node}\" ..."));
    let by_source = call.arguments.has("by-source");
    let path = format!("{}{}", path(call)?, if by_source { "/source" } else { "" });
    let attempts = call.get(&path)?;
    if call.formatter == super::arguments::Formatter::Json {
        call.line(json!({"result": "ok", "node": node, "attempts": attempts}).to_string());
        return Ok(());
    }
    if attempts.as_array().is_none_or(Vec::is_empty) {
        call.line(format!("Node {node} reported no authentication attempt stats"));
        return Ok(());
    }
    let names: &[&str] = if by_source { &["remote_address", "username"] } else { &[] };
    let names = names.iter().chain(&["protocol", "auth_attempts", "auth_attempts_failed", "auth_attempts_succeeded"]);
    let columns: Vec<_> = names.map(|name| column(name, Kind::Plain)).collect();
    let row = |attempt: &Json| columns.iter().map(|column| attempt[&*column.name].clone()).collect();
    let rows = attempts.as_array().into_iter().flatten().map(row).collect();
    call.rows(&Rows { columns, rows });
    Ok(())
}

pub(super) fn reset_node_auth_attempt_metrics(call: &mut Call) -> Result<(), Failure> {
    call.banner(format!("Reset auth attempt metrics on node {} ...", call.node_name()));
    let path = path(call)?;
    call.have("DELETE", &path, None)
}

pub(super) fn enable_auth_attempt_source_tracking(call: &mut Call) -> Result<(), Failure> {
    call.banner("Enabling authentication attempt source tracking ...");
    call.have("PUT", "/api/leveret/auth-attempt-source-tracking", None)
}

pub(super) fn disable_auth_attempt_source_tracking(call: &mut Call) -> Result<(), Failure> {
    call.banner("Disabling authentication attempt source tracking ...");
    call.have("DELETE", "/api/leveret/auth-attempt-source-tracking", None)
}

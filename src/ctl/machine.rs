//! What there is to say of the process and of its machine.

use std::net::{IpAddr, ToSocketAddrs};

use serde_json::json;

use super::call::Call;
use super::commands::{GROUPS, all};
use super::failure::{DATA, Failure, UNAVAILABLE, USAGE};

pub(super) fn command_line_arguments(call: &mut Call) -> Result<(), Failure> {
    call.banner(format!("Command line arguments of node {} ...", call.node_name()));
    let node = call.node()?;
    let words: Vec<&str> = node["arguments"].as_array().into_iter().flatten().filter_map(|word| word.as_str()).collect();
    call.found(&node["arguments"], words.join("\n"));
    Ok(())
}

pub(super) fn os_env(call: &mut Call) -> Result<(), Failure> {
    let name = call.node_name().to_owned();
    call.banner(format!("Listing RabbitMQ-specific environment variables defined on node {name}..."));
    let node = call.node()?;
    let variables = node["environment"].as_object().cloned().unwrap_or_default();
    let lines: Vec<String> = variables.iter().map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default())).collect();
    let text = if lines.is_empty() { format!("Node {name} reported no relevant environment variables.") } else { lines.join("\n") };
    call.found(&json!({"result": "ok", "node": name, "variables": variables}), text);
    Ok(())
}

/// A command and its node are on the same machine.
pub(super) fn resolve_hostname(call: &mut Call) -> Result<(), Failure> {
    let (host, node) = (call.word(0).to_owned(), call.node_name().to_owned());
    let family = call.arguments.get("address-family").unwrap_or("IPv4").to_owned();
    let is_wanted: fn(&IpAddr) -> bool = match family.to_ascii_lowercase().as_str() {
        "ipv4" => IpAddr::is_ipv4,
        "ipv6" => IpAddr::is_ipv6,
        _ => return Err(Failure::bad_argument(format!("unsupported IP address family {family}. Valid values are: ipv4, ipv6"))),
    };
    if call.arguments.has("offline") {
        call.banner(format!("Resolving hostname {host} to {family} addresses..."));
    } else {
        call.banner(format!("Asking node {node} to resolve hostname {host} to {family} addresses..."));
    }
    let resolved = (host.as_str(), 0).to_socket_addrs();
    let mut addresses: Vec<IpAddr> = resolved.into_iter().flatten().map(|address| address.ip()).filter(is_wanted).collect();
    addresses.dedup();
    if addresses.is_empty() {
        return Err(Failure::error(DATA, "Hostname does not resolve (resolution failed with an nxdomain)"));
    }
    let lines: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
    let found = json!({"result": "ok", "node": node, "hostname": host, "address_family": family, "addresses": lines});
    call.found(&found, lines.join("\n"));
    Ok(())
}

pub(super) fn cipher_suites(call: &mut Call) -> Result<(), Failure> {
    match call.arguments.get("format").unwrap_or("openssl") {
        "openssl" => {}
        "erlang" | "map" => return Err(Failure::arguments(USAGE, "only the format openssl is available: leveret has no Erlang runtime")),
        _ => return Err(Failure::bad_argument("Format must be one of: openssl, erlang or map")),
    }
    call.banner("Listing available cipher suites in OpenSSL format");
    lines(call, "cipher_suites")
}

pub(super) fn tls_versions(call: &mut Call) -> Result<(), Failure> {
    call.banner("Listing all TLS versions supported by the runtime...");
    lines(call, "versions")
}

fn lines(call: &mut Call, of: &str) -> Result<(), Failure> {
    let tls = call.get("/api/leveret/tls")?;
    let each: Vec<&str> = tls[of].as_array().into_iter().flatten().filter_map(|line| line.as_str()).collect();
    call.found(&json!({of: each}), each.join("\n"));
    Ok(())
}

pub(super) fn certificates(call: &mut Call) -> Result<(), Failure> {
    call.banner(format!("Certificates of node {} ...", call.node_name()));
    let tls = call.get("/api/leveret/tls")?;
    if let Some(error) = tls["error"].as_str() {
        return Err(Failure::error(UNAVAILABLE, error));
    }
    let text = |value: &serde_json::Value| value.as_str().unwrap_or("(none)").to_owned();
    let each = tls["listeners"].as_array().into_iter().flatten().map(|listener| {
        let all = |of: &str| listener[of].as_array().into_iter().flatten().map(text).collect::<Vec<_>>().join(", ");
        format!(
            "Interface: {}, port: {}, protocol: {}\n  certfile: {}, expires on: {}\n  cacertfile: {}, expires on: {}",
            text(&listener["interface"]),
            listener["port"],
            text(&listener["protocol"]),
            text(&listener["certfile"]),
            all("certfile_expires_on"),
            text(&listener["cacertfile"]),
            all("cacertfile_expires_on"),
        )
    });
    call.found(&tls["listeners"], each.collect::<Vec<_>>().join("\n"));
    Ok(())
}

pub(super) fn erlang_version(call: &mut Call) -> Result<(), Failure> {
    call.banner(format!("Asking node {} for its Erlang/OTP version...", call.node_name()));
    call.line("none: leveret has no Erlang runtime");
    Ok(())
}

pub(super) fn autocomplete(call: &mut Call) -> Result<(), Failure> {
    let prefix = call.words().last().map_or("", String::as_str).to_owned();
    let mut names: Vec<&str> = all(GROUPS).map(|command| command.name).filter(|name| name.starts_with(&prefix)).collect();
    names.sort_unstable();
    names.iter().for_each(|name| call.line(name));
    Ok(())
}

/// What asks Erlang about itself.
pub(super) fn absent(call: &mut Call) -> Result<(), Failure> {
    let name = call.arguments.words.first().map_or("", String::as_str);
    Err(Failure::plain(USAGE, format!("Error: {name} is not available: leveret has no Erlang runtime")))
}

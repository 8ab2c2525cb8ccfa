//! The ready file: written whole or not at all, once the broker serves.

use std::net::SocketAddr;
use std::path::Path;

use super::StartError;
use super::listener::{Address, HTTPS, HTTPS_PROMETHEUS, Listening, PROMETHEUS, SSL};

pub(super) fn write(path: &Path, listening: &[Listening], http: SocketAddr) -> Result<(), StartError> {
    let first = |protocol| listening.iter().find(|l| l.protocol == protocol && matches!(l.address, Address::Ip(_)));
    let mut ready = serde_json::json!({ "amqp": null, "http": http.to_string(), "pid": std::process::id() });
    if let Some(amqp) = first("amqp") {
        ready["amqp"] = amqp.address.to_string().into();
    }
    // Only where there is one: whoever reads the file may not expect it.
    if let Some(amqps) = first(SSL) {
        ready["amqps"] = amqps.address.to_string().into();
    }
    if let Some(https) = first(HTTPS) {
        ready["https"] = https.address.to_string().into();
    }
    if let Some(metrics) = first(PROMETHEUS) {
        ready["metrics"] = metrics.address.to_string().into();
    }
    if let Some(metrics) = first(HTTPS_PROMETHEUS) {
        ready["metrics_over_tls"] = metrics.address.to_string().into();
    }
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(format!(".{}", std::process::id()));
    let result = std::fs::write(&unfinished, format!("{ready}\n")).and_then(|()| std::fs::rename(&unfinished, path));
    result.map_err(|error| StartError(format!("cannot write ready file {}: {error}", path.display())))
}

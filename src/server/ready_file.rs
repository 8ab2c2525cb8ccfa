//! The ready file: written whole or not at all, once the broker serves.

use std::net::SocketAddr;
use std::path::Path;

use super::StartError;

pub(super) fn write(path: &Path, amqp: SocketAddr, http: SocketAddr) -> Result<(), StartError> {
    let ready = serde_json::json!({ "amqp": amqp.to_string(), "http": http.to_string(), "pid": std::process::id() });
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(format!(".{}", std::process::id()));
    let result = std::fs::write(&unfinished, format!("{ready}\n")).and_then(|()| std::fs::rename(&unfinished, path));
    result.map_err(|error| StartError(format!("cannot write ready file {}: {error}", path.display())))
}

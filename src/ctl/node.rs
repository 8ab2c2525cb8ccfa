//! Starting, stopping and limiting the node.

use std::io::IsTerminal;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use super::call::{Call, refused, write_error};
use super::failure::{Failure, SOFTWARE, UNAVAILABLE};

/// How long starting is waited for where nothing is said, as RabbitMQ's tools do.
const STARTUP: Duration = Duration::from_secs(300);
/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(50);

pub(super) fn await_startup(call: &mut Call) -> Result<(), Failure> {
    waiting(call, |call| Ok(runs(call)))
}

pub(super) fn wait(call: &mut Call) -> Result<(), Failure> {
    let pid = match (call.arguments.get("pid").map(str::to_owned), call.words().first().cloned()) {
        (Some(pid), None) => number(&pid)?,
        (None, Some(file)) => {
            call.banner(format!("Waiting for pid file '{file}' to appear"));
            let mut pid = None;
            waiting(call, |_| {
                pid = std::fs::read_to_string(&file).ok().filter(|text| !text.trim().is_empty());
                Ok(pid.is_some())
            })?;
            let pid = number(pid.unwrap_or_default().trim())?;
            call.banner(format!("pid is {pid}"));
            pid
        }
        _ => return Err(Failure::arguments(super::failure::USAGE, "either a pid or a pid file has to be given")),
    };
    let node = call.node_name().to_owned();
    call.banner(format!("Waiting for applications 'rabbit_and_plugins' to start on node '{node}'"));
    waiting(call, |call| {
        if !Path::new("/proc").join(pid.to_string()).exists() && Path::new("/proc/self").exists() {
            return Err(Failure::error(UNAVAILABLE, "process_not_running"));
        }
        Ok(runs(call))
    })?;
    call.banner(format!("Applications 'rabbit_and_plugins' are running on node '{node}'"));
    Ok(())
}

fn number(text: &str) -> Result<u32, Failure> {
    text.parse().map_err(|_| Failure::error(UNAVAILABLE, "could_not_read_pid"))
}

fn runs(call: &mut Call) -> bool {
    call.node().is_ok_and(|node| node["running"] == true)
}

/// Looks until there is what is waited for; turns a wheel for who watches.
fn waiting(call: &mut Call, mut look: impl FnMut(&mut Call) -> Result<bool, Failure>) -> Result<(), Failure> {
    let patience = call.timeout.unwrap_or(STARTUP);
    let watched = std::io::stderr().is_terminal() && !call.arguments.has("quiet") && !call.arguments.has("silent");
    let started = Instant::now();
    for wheel in ["\r|", "\r/", "\r-", "\r\\"].iter().cycle() {
        let there = look(call);
        if watched {
            write_error(if there == Ok(false) { wheel } else { "\r \r" });
        }
        if there? {
            break;
        }
        if started.elapsed() >= patience {
            call.timeout = Some(patience);
            return Err(call.timed_out());
        }
        std::thread::sleep(LOOK.min(patience));
    }
    Ok(())
}

pub(super) fn stop(call: &mut Call) -> Result<(), Failure> {
    call.banner(format!("Stopping and halting node {} ...", call.node_name()));
    let pid = call.node()?["pid"].clone();
    call.have("POST", "/api/leveret/stop", None)?;
    // Whoever names the file wants to know that the process is gone.
    if call.words().is_empty() { Ok(()) } else { gone(call, &pid) }
}

pub(super) fn shutdown(call: &mut Call) -> Result<(), Failure> {
    let node = call.node_name().to_owned();
    let pid = call.node()?["pid"].clone();
    call.line(format!("Shutting down RabbitMQ node {node} running at PID {pid}"));
    call.have("POST", "/api/leveret/stop", None)?;
    if call.arguments.has("no-wait") {
        return Ok(());
    }
    call.line(format!("Waiting for PID {pid} to terminate"));
    gone(call, &pid)?;
    call.line(format!("RabbitMQ node {node} running at PID {pid} successfully shut down"));
    Ok(())
}

fn gone(call: &mut Call, pid: &Json) -> Result<(), Failure> {
    let process = Path::new("/proc").join(pid.to_string());
    waiting(call, |_| {
        // A process that nobody has waited for yet has ended, too.
        let status = std::fs::read_to_string(process.join("stat")).unwrap_or_default();
        Ok(status.rsplit(')').next().is_none_or(|rest| rest.trim().is_empty() || rest.trim_start().starts_with('Z')))
    })
}

pub(super) fn stop_app(call: &mut Call) -> Result<(), Failure> {
    call.banner(format!("Stopping rabbit application on node {} ...", call.node_name()));
    call.have("POST", "/api/leveret/app/stop", None)
}

pub(super) fn start_app(call: &mut Call) -> Result<(), Failure> {
    call.banner(format!("Starting node {} ...", call.node_name()));
    call.have("POST", "/api/leveret/app/start", None)
}

pub(super) fn reset(call: &mut Call) -> Result<(), Failure> {
    call.banner(format!("Resetting node {} ...", call.node_name()));
    call.have("POST", "/api/leveret/reset", None)
}

pub(super) fn force_reset(call: &mut Call) -> Result<(), Failure> {
    call.banner(format!("Forcefully resetting node {} ...", call.node_name()));
    call.have("POST", "/api/leveret/reset", None)
}

pub(super) fn suspend_listeners(call: &mut Call) -> Result<(), Failure> {
    let node = call.node_name();
    call.banner(format!("Will suspend client connection listeners on node {node}. The node will no longer accept client connections!"));
    call.have("POST", "/api/leveret/listeners/suspend", None)
}

pub(super) fn resume_listeners(call: &mut Call) -> Result<(), Failure> {
    let node = call.node_name();
    call.banner(format!("Will resume client connection listeners on node {node}. The node will now accept client connections"));
    call.have("POST", "/api/leveret/listeners/resume", None)
}

pub(super) fn drain(call: &mut Call) -> Result<(), Failure> {
    let node = call.node_name();
    call.banner(format!("Will put node {node} into maintenance mode. The node will no longer serve any client traffic!"));
    call.have("POST", "/api/leveret/drain", None)
}

pub(super) fn revive(call: &mut Call) -> Result<(), Failure> {
    let node = call.node_name();
    call.banner(format!(
        "Will put node {node} back into regular operating mode. \
         The node will again serve client traffic and host primary queue replicas."
    ));
    call.have("POST", "/api/leveret/revive", None)
}

pub(super) fn rotate_logs(call: &mut Call) -> Result<(), Failure> {
    call.banner(format!("Rotating logs for node {} ...", call.node_name()));
    call.have("POST", "/api/leveret/log/rotate", None)
}

pub(super) fn activate_free_disk_space_monitoring(call: &mut Call) -> Result<(), Failure> {
    call.banner(format!("Activating free disk space monitoring on node {}...", call.node_name()));
    call.have("PUT", "/api/leveret/disk-monitoring", None)
}

pub(super) fn deactivate_free_disk_space_monitoring(call: &mut Call) -> Result<(), Failure> {
    call.banner(format!("Deactivating free disk space monitoring on node {}...", call.node_name()));
    call.have("DELETE", "/api/leveret/disk-monitoring", None)
}

pub(super) fn force_gc(call: &mut Call) -> Result<(), Failure> {
    call.banner("Will not do anything: memory is given back as it is freed");
    Ok(())
}

pub(super) fn set_cluster_name(call: &mut Call) -> Result<(), Failure> {
    let name = call.word(0).to_owned();
    call.banner(format!("Setting cluster name to {name} ..."));
    call.have("PUT", "/api/cluster-name", Some(&json!({"name": name})))
}

pub(super) fn set_vm_memory_high_watermark(call: &mut Call) -> Result<(), Failure> {
    let node = call.node_name().to_owned();
    let limit = match (call.word(0), call.words().get(1)) {
        ("absolute", None) => return Err(Failure::arguments(super::failure::USAGE, "not enough arguments.")),
        ("absolute", Some(value)) => {
            let bytes = bytes(value).ok_or_else(|| Failure::bad_argument("The threshold should be an integer."))?;
            call.banner(format!("Setting memory threshold on {node} to {value} bytes ..."));
            json!({"absolute": bytes})
        }
        (_, Some(_)) => return Err(Failure::arguments(super::failure::USAGE, "too many arguments.")),
        (fraction, None) => {
            let share: f64 = fraction.parse().map_err(|_| Failure::bad_arguments())?;
            if !(0.0..=1.0).contains(&share) {
                return Err(Failure::bad_argument("The threshold should be a fraction between 0.0 and 1.0"));
            }
            call.banner(format!("Setting memory threshold on {node} to {fraction} ..."));
            json!({"relative": share})
        }
    };
    call.have("PUT", "/api/leveret/memory-watermark", Some(&limit))
}

pub(super) fn set_disk_free_limit(call: &mut Call) -> Result<(), Failure> {
    let node = call.node_name().to_owned();
    let limit = match (call.word(0), call.words().get(1)) {
        ("mem_relative", None) => return Err(Failure::arguments(super::failure::USAGE, "not enough arguments.")),
        ("mem_relative", Some(value)) => {
            let factor: f64 = value.parse().ok().filter(|factor| *factor >= 0.0).ok_or_else(Failure::bad_arguments)?;
            call.banner(format!("Setting disk free limit on {node} to {value} times the total RAM ..."));
            json!({"relative": factor})
        }
        (_, Some(_)) => return Err(Failure::arguments(super::failure::USAGE, "too many arguments.")),
        (value, None) => {
            let bytes = bytes(value).ok_or_else(Failure::bad_arguments)?;
            call.banner(format!("Setting disk free limit on {node} to {value} bytes ..."));
            json!({"absolute": bytes})
        }
    };
    call.have("PUT", "/api/leveret/disk-free-limit", Some(&limit))
}

/// A number of bytes, perhaps with one of RabbitMQ's units.
fn bytes(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let factor: u64 = match unit {
        "" => 1,
        "k" | "kiB" | "K" | "KiB" | "Ki" => 1 << 10,
        "M" | "MiB" | "Mi" => 1 << 20,
        "G" | "GiB" | "Gi" => 1 << 30,
        "T" | "TiB" | "Ti" => 1 << 40,
        "kB" | "KB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

pub(super) fn set_log_level(call: &mut Call) -> Result<(), Failure> {
    let level = call.word(0).to_owned();
    if !matches!(level.as_str(), "debug" | "info" | "warning" | "error" | "critical" | "none") {
        let text = format!("level {level} is not supported. Try one of debug, info, warning, error, critical, none");
        return Err(Failure::error(UNAVAILABLE, text));
    }
    call.banner(format!("Setting log level to \"{level}\" ..."));
    let answer = call.send("PUT", "/api/leveret/log-level", Some(&json!({"level": level})))?;
    if answer.status == 400 { Err(Failure::error(SOFTWARE, answer.reason())) } else { refused(&answer) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_bytes() {
        assert_eq!(bytes("100"), Some(100));
        assert_eq!(bytes("1GB"), Some(1_000_000_000));
        assert_eq!(bytes("2MiB"), Some(2 << 20));
        assert_eq!([bytes("1.5"), bytes("xx"), bytes(""), bytes("1XB"), bytes("99999999999TB")], [None; 5]);
    }
}

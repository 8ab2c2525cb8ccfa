//! What the service manager is told, in systemd's protocol: datagrams to the socket that `NOTIFY_SOCKET` names. Without the variable
//! nobody is told anything.

use std::io;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use leveret::server::Handle;
use tokio::time::{MissedTickBehavior, interval};

/// How long a service manager that does not read may hold the broker up.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who started the process and looks after it.
#[derive(Default)]
pub(crate) struct ServiceManager {
    socket: Option<UnixDatagram>,
    /// How often it is to be told that the broker is alive.
    alive_every: Option<Duration>,
}

impl ServiceManager {
    /// Whom the environment names. One that cannot be reached is worth a warning: the broker serves all the same.
    pub(crate) fn from_env(variable: impl Fn(&str) -> Option<String>) -> Self {
        let Some(name) = variable("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else { return Self::default() };
        match connect(&name) {
            Ok(socket) => Self { socket: Some(socket), alive_every: alive_every(variable) },
            Err(error) => {
                tracing::warn!("NOTIFY_SOCKET: {name}: {error}");
                Self::default()
            }
        }
    }

    /// The broker serves. From now on the service manager hears from it as often as it wants to, for as long as every virtual host
    /// answers.
    pub(crate) fn ready(&self, handle: &Handle) {
        let served: Vec<String> = handle.listening().iter().map(|l| format!("{} {}", l.protocol, l.address)).collect();
        self.tell(&format!("READY=1\nSTATUS=Serving {}\n", served.join(", ")));
        let socket = self.socket.as_ref().and_then(|socket| socket.try_clone().ok());
        if let (Some(socket), Some(every)) = (socket, self.alive_every) {
            tokio::spawn(stay_alive(socket, every, handle.clone()));
        }
    }

    pub(crate) fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=Closing connections\n");
    }

    fn tell(&self, state: &str) {
        if let Some(Err(error)) = self.socket.as_ref().map(|socket| socket.send(state.as_bytes())) {
            tracing::warn!("the service manager cannot be told: {error}");
        }
    }
}

async fn stay_alive(socket: UnixDatagram, every: Duration, handle: Handle) {
    let mut each = interval(every);
    each.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        each.tick().await;
        for vhost in handle.node().vhosts.keys() {
            handle.ask(vhost, |_| ()).await;
        }
        // If it comes to nothing, the next one may do.
        let _ = socket.send(b"WATCHDOG=1");
    }
}

/// The socket of this name: a path, or an abstract name after an `@`.
fn connect(name: &str) -> io::Result<UnixDatagram> {
    let address = match name.strip_prefix('@') {
        Some(name) => abstract_address(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket)
}

#[cfg(target_os = "linux")]
fn abstract_address(name: &str) -> io::Result<SocketAddr> {
    use std::os::linux::net::SocketAddrExt;
    SocketAddr::from_abstract_name(name)
}

#[cfg(not(target_os = "linux"))]
fn abstract_address(_: &str) -> io::Result<SocketAddr> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Twice in the time after which the service manager takes the process for dead, if it is this one that it watches.
fn alive_every(variable: impl Fn(&str) -> Option<String>) -> Option<Duration> {
    let number = |name: &str| variable(name)?.parse::<u64>().ok();
    let watched = variable("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
    let microseconds = number("WATCHDOG_USEC").filter(|microseconds| watched && *microseconds > 0)?;
    Some(Duration::from_micros(microseconds.div_ceil(2)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_often_it_hears_from_the_broker() {
        let every = |variables: &[(&str, &str)]| {
            alive_every(|name| variables.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned()))
        };
        let pid = std::process::id().to_string();
        assert_eq!(every(&[("WATCHDOG_USEC", "60000000")]), Some(Duration::from_secs(30)));
        assert_eq!(every(&[("WATCHDOG_USEC", "60000000"), ("WATCHDOG_PID", &pid)]), Some(Duration::from_secs(30)));
        assert_eq!(every(&[("WATCHDOG_USEC", "60000000"), ("WATCHDOG_PID", "1")]), None);
        assert_eq!(every(&[("WATCHDOG_USEC", "1")]), Some(Duration::from_micros(1)));
        for none in ["0", "", "often"] {
            assert_eq!(every(&[("WATCHDOG_USEC", none)]), None);
        }
        assert_eq!(every(&[]), None);
    }
}

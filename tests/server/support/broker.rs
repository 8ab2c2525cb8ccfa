//! A broker process on a free port, killed when the test is done with it, also by a panic.

use std::fs;
use std::io::{self, PipeWriter};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::eventually;

/// A folder for one test's files, gone when it is dropped.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("server-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).expect("a folder for the test");
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file and returns its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).expect("a file for the test");
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The command line of the broker, with nothing set yet.
pub(crate) fn leveret() -> Command {
    Command::new(env!("CARGO_BIN_EXE_leveret"))
}

pub(crate) struct Broker {
    child: Child,
    address: SocketAddr,
    http: SocketAddr,
    /// Over TLS.
    tls_address: Option<SocketAddr>,
    metrics: Option<SocketAddr>,
    metrics_over_tls: Option<SocketAddr>,
    /// The HTTP API over TLS.
    https: Option<SocketAddr>,
    scratch: Arc<Scratch>,
}

/// How a broker ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It is asked to.
    InOrder,
    /// It does not notice.
    Killed,
}

/// Where a broker keeps what is to survive, for one that is started more than once.
pub(crate) struct Home {
    scratch: Arc<Scratch>,
    config: PathBuf,
}

impl Home {
    pub(crate) fn new() -> Self {
        Self::with_config("")
    }

    /// With a configuration file of these lines.
    pub(crate) fn with_config(lines: &str) -> Self {
        let scratch = Arc::new(Scratch::new());
        let config = scratch.file("leveret.conf", lines);
        Self { scratch, config }
    }

    /// From the next start on.
    pub(crate) fn configure(&self, lines: &str) {
        self.scratch.file("leveret.conf", lines);
    }

    pub(crate) fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.scratch.path("data")
    }

    /// Adds to a command line that this is the place.
    pub(crate) fn settle(&self, mut command: Command) -> Command {
        command.arg("--config").arg(&self.config).arg("--data-dir").arg(self.data());
        command
    }

    pub(crate) fn start(&self) -> Broker {
        self.start_with(leveret())
    }

    /// Serving AMQP at this address.
    pub(crate) fn start_at(&self, amqp: SocketAddr) -> Broker {
        Broker::launch_at(self.settle(leveret()), Arc::clone(&self.scratch), &amqp.to_string(), Stdio::null())
    }

    /// With a command that ends up as the broker's.
    pub(crate) fn start_with(&self, command: Command) -> Broker {
        Broker::launch(self.settle(command), Arc::clone(&self.scratch))
    }
}

impl Broker {
    /// On its defaults.
    pub(crate) fn start() -> Self {
        Self::with_config("")
    }

    /// With a configuration file of these lines.
    pub(crate) fn with_config(lines: &str) -> Self {
        let scratch = Scratch::new();
        let config = scratch.file("leveret.conf", lines);
        let mut command = leveret();
        command.arg("--config").arg(config);
        Self::launch(command, scratch)
    }

    /// Adds to a command line what makes it a test's broker, and waits until it serves.
    pub(crate) fn launch(command: Command, scratch: impl Into<Arc<Scratch>>) -> Self {
        Self::launch_at(command, scratch.into(), "127.0.0.1:0", Stdio::null())
    }

    /// One that stops at the end of its standard input, with the other end of the pipe.
    pub(crate) fn until_stdin_closes() -> (Self, PipeWriter) {
        let (reader, writer) = io::pipe().expect("a pipe");
        let mut command = leveret();
        command.arg("--until-stdin-closes");
        (Self::launch_at(command, Arc::new(Scratch::new()), "127.0.0.1:0", reader.into()), writer)
    }

    fn launch_at(mut command: Command, scratch: Arc<Scratch>, amqp: &str, stdin: Stdio) -> Self {
        let ready = scratch.path("ready.json");
        let _ = fs::remove_file(&ready);
        let log = fs::File::create(scratch.path("log")).expect("a log file");
        command.args(["--amqp", amqp, "--http", "127.0.0.1:0", "--ready-file"]).arg(&ready);
        // For what it leaves there when it is killed.
        command.env("XDG_RUNTIME_DIR", scratch.path(""));
        command.stdin(stdin).stdout(Stdio::null()).stderr(log);
        let mut child = command.spawn().expect("the broker starts");
        let text = eventually("the broker serves", || {
            let ended = child.try_wait().expect("the state of a child");
            assert!(ended.is_none(), "the broker ended: {}", fs::read_to_string(scratch.path("log")).unwrap_or_default());
            fs::read_to_string(&ready).ok()
        });
        let told: serde_json::Value = serde_json::from_str(&text).expect("the ready file is JSON, whenever it is there");
        let address = |of: &str| told[of].as_str().map(|address| address.parse().expect("a socket address"));
        let (amqp, http) = (address("amqp").expect("an address"), address("http").expect("an address"));
        let (tls_address, metrics, https) = (address("amqps"), address("metrics"), address("https"));
        let metrics_over_tls = address("metrics_over_tls");
        Self { child, address: amqp, http, tls_address, metrics, metrics_over_tls, https, scratch }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where its HTTP API is.
    pub(crate) fn http(&self) -> SocketAddr {
        self.http
    }

    pub(crate) fn https(&self) -> SocketAddr {
        self.https.expect("a broker with HTTPS")
    }

    pub(crate) fn tls_address(&self) -> SocketAddr {
        self.tls_address.expect("a broker with TLS")
    }

    /// Where it has metrics for whoever asks.
    pub(crate) fn metrics(&self) -> SocketAddr {
        self.metrics.expect("a configuration with a place for metrics")
    }

    pub(crate) fn metrics_over_tls(&self) -> SocketAddr {
        self.metrics_over_tls.expect("a configuration with a place for metrics over TLS")
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.scratch.path("log")).unwrap_or_default()
    }

    /// Sends a signal: `TERM`, `INT`.
    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &kill]).status().expect("a shell");
        assert!(status.success(), "{kill}");
    }

    /// Waits for its end.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        eventually("the broker ends", || self.child.try_wait().expect("the state of a child"))
    }

    /// Ends it, and sees to it that it is gone.
    pub(crate) fn end(mut self, how: End) {
        match how {
            End::InOrder => {
                self.signal("TERM");
                assert_eq!(self.ended().code(), Some(0), "{}", self.log());
            }
            End::Killed => {
                self.child.kill().expect("killed");
                self.child.wait().expect("ended");
            }
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A number of bytes out of /proc/PID/status: `VmRSS` (now) or `VmHWM` (the most so far).
    pub(crate) fn resident(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("a running broker");
        let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("a field of this name");
        let kib: u64 = line.trim_matches(|c: char| !c.is_ascii_digit()).parse().expect("a number of kB");
        kib * 1024
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let last: Vec<&str> = log.lines().rev().take(20).collect();
            let last: Vec<&str> = last.into_iter().rev().collect();
            let mut told = std::io::stderr().lock();
            let _ = std::io::Write::write_fmt(&mut told, format_args!("the broker's log:\n{}\n", last.join("\n")));
        }
    }
}

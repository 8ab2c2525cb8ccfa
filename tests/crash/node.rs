//! The broker as a process over a data directory, killed when its time has come or the test is done with it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::client::{Address, PATIENCE};
use crate::ledger::Manner;
use crate::random::Random;

/// A folder for one test's files, gone when it is dropped unless the test failed: then what lies in it tells why.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder for the test");
        Self(path)
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    /// The last lines the brokers logged.
    pub(crate) fn log(&self) -> String {
        let log = fs::read_to_string(self.0.join("log")).unwrap_or_default();
        let last: Vec<&str> = log.lines().rev().take(20).collect();
        last.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

pub(crate) struct Node {
    child: Child,
    ready: PathBuf,
}

impl Node {
    /// Starts the process and does not wait for it.
    pub(crate) fn launch(scratch: &Scratch) -> Self {
        let ready = scratch.0.join("ready.json");
        let _ = fs::remove_file(&ready);
        let log = fs::OpenOptions::new().create(true).append(true).open(scratch.0.join("log")).expect("a log file");
        let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
        command
            .args(["serve", "--amqp", "127.0.0.1:0", "--http", "127.0.0.1:0", "--ready-file"])
            .arg(&ready)
            .arg("--data-dir")
            .arg(scratch.data());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Self { child: command.spawn().expect("the broker starts"), ready }
    }

    /// Waits until it serves.
    pub(crate) fn address(&mut self) -> SocketAddr {
        let began = Instant::now();
        loop {
            if let Ok(text) = fs::read_to_string(&self.ready) {
                let told: serde_json::Value = serde_json::from_str(&text).expect("the ready file is JSON, whenever it is there");
                return told["amqp"].as_str().expect("an address").parse().expect("a socket address");
            }
            let ended = self.child.try_wait().expect("the state of a child");
            assert!(ended.is_none(), "the broker ended instead of serving: {ended:?}");
            assert!(began.elapsed() < PATIENCE, "the broker does not serve after {PATIENCE:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// kill -9, and waits until it is gone. Fails when it has ended by itself before.
    pub(crate) fn kill(&mut self) {
        let ended = self.child.try_wait().expect("the state of a child");
        assert!(ended.is_none(), "the broker ended by itself: {ended:?}");
        self.child.kill().expect("a process that can be killed");
        self.child.wait().expect("its end");
    }

    /// Asks it to stop in order, and waits until it has.
    pub(crate) fn stop(&mut self) {
        let kill = format!("kill -TERM {}", self.child.id());
        let status = Command::new("sh").args(["-c", &kill]).status().expect("a shell");
        assert!(status.success(), "{kill}");
        let began = Instant::now();
        let status = loop {
            match self.child.try_wait().expect("the state of a child") {
                Some(status) => break status,
                None => assert!(began.elapsed() < PATIENCE, "the broker does not stop in {PATIENCE:?}"),
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        assert!(status.success(), "the broker stopped with {status}");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What runs the brokers of a test, one after the other over the same data.
pub(crate) trait Brokers {
    /// Starts one, which sometimes ends while it starts, and then another.
    fn start(&mut self, random: &mut Random) -> Arc<dyn Address>;
    /// Lets it work.
    fn run(&mut self, time: Duration);
    /// Lets it work until this is done.
    fn run_during(&mut self, work: &mut (dyn FnMut() + Send));
    /// Ends it, at once or in order.
    fn end(&mut self, manner: Manner);
    /// Where to look when something is wrong.
    fn about(&self) -> String;
}

/// Real ones.
pub(crate) struct Processes {
    scratch: Scratch,
    node: Option<Node>,
}

impl Processes {
    pub(crate) fn new() -> Self {
        Self { scratch: Scratch::new("crash"), node: None }
    }
}

impl Brokers for Processes {
    fn start(&mut self, random: &mut Random) -> Arc<dyn Address> {
        while random.percent(25) {
            let mut node = Node::launch(&self.scratch);
            std::thread::sleep(Duration::from_micros(random.next() % 60_000));
            node.kill();
        }
        let node = self.node.insert(Node::launch(&self.scratch));
        Arc::new(node.address())
    }

    fn run(&mut self, time: Duration) {
        // The moment at which it is killed is what is random here.
        std::thread::sleep(time);
    }

    fn run_during(&mut self, work: &mut (dyn FnMut() + Send)) {
        work();
    }

    fn end(&mut self, manner: Manner) {
        let mut node = self.node.take().expect("a broker that was started");
        if manner == Manner::Stopped { node.stop() } else { node.kill() }
    }

    fn about(&self) -> String {
        format!("files: {}\nthe brokers' log:\n{}", self.scratch.0.display(), self.scratch.log())
    }
}

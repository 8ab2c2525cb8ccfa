//! RabbitMQ's programs as links to the binary, and what they say.

use std::collections::BTreeSet;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use crate::support::broker::{Broker, Home, Scratch};

/// The exit code, standard output, standard error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// The programs, and the node that they find.
pub(crate) struct Tools {
    links: Scratch,
    pub(crate) home: Home,
    /// Which commands have been given.
    given: Arc<Mutex<BTreeSet<String>>>,
}

impl Tools {
    pub(crate) fn new() -> Self {
        let links = Scratch::new();
        let programs = ["rabbitmqctl", "rabbitmq-diagnostics", "rabbitmq-plugins", "rabbitmq-queues", "rabbitmq-upgrade", "rabbitmqadmin"];
        for name in programs.into_iter().chain(["rabbitmq-server"]) {
            symlink(env!("CARGO_BIN_EXE_leveret"), links.path(name)).expect("a link");
        }
        Self { links, home: Home::new(), given: Arc::default() }
    }

    pub(crate) fn program(&self, name: &str) -> Command {
        let program = if name == "leveret" { PathBuf::from(env!("CARGO_BIN_EXE_leveret")) } else { self.links.path(name) };
        let mut command = Command::new(program);
        command.env("LEVERET_DATA_DIR", self.home.data()).env("XDG_RUNTIME_DIR", self.links.path("")).env_remove("LEVERET_SOCKET");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// A command line in words, the program first, with something on standard input.
    pub(crate) fn run_with(&self, words: &[&str], input: &str) -> Said {
        let mut child = self.program(words[0]).args(&words[1..]).spawn().expect("the program starts");
        // Whoever reads nothing does not mind.
        let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
        let output = child.wait_with_output().expect("the program ends");
        let plugins = words[0] == "rabbitmq-plugins";
        for word in &words[1..] {
            self.given.lock().expect("a set").insert(if plugins { format!("plugins {word}") } else { (*word).to_owned() });
        }
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        Said { code: output.status.code().expect("an exit code"), out: text(output.stdout), err: text(output.stderr) }
    }

    pub(crate) fn run(&self, words: &[&str]) -> Said {
        self.run_with(words, "")
    }

    /// Of rabbitmqctl: what it says when all is well.
    #[track_caller]
    pub(crate) fn ctl(&self, words: &[&str]) -> String {
        let said = self.run(&[&["rabbitmqctl"], words].concat());
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{words:?}: {}", said.out);
        said.out
    }

    #[track_caller]
    pub(crate) fn ctl_says(&self, words: &[&str], out: &str) {
        assert_eq!(self.ctl(words), out, "{words:?}");
    }

    /// Fails, with this exit code and this on standard error.
    #[track_caller]
    pub(crate) fn ctl_fails(&self, words: &[&str], code: i32, err: &str) {
        let said = self.run(&[&["rabbitmqctl"], words].concat());
        assert_eq!((said.code, said.err.as_str()), (code, err), "{words:?}: {}", said.out);
    }

    #[track_caller]
    pub(crate) fn diagnostics_says(&self, words: &[&str], out: &str) {
        let said = self.run(&[&["rabbitmq-diagnostics"], words].concat());
        assert_eq!(said, Said { code: 0, out: out.to_owned(), err: String::new() }, "{words:?}");
    }

    pub(crate) fn was_given(&self, command: &str) -> bool {
        self.given.lock().expect("a set").contains(command)
    }

    pub(crate) fn file(&self, name: &str) -> String {
        self.links.path(name).display().to_string()
    }
}

/// The programs and a node.
pub(crate) fn running() -> (Tools, Broker) {
    let tools = Tools::new();
    let broker = tools.home.start();
    (tools, broker)
}

//! Which node is meant, and where its control socket may be: what the command line says, the environment, the files that a node with
//! this environment reads.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::arguments::Arguments;
use super::failure::{Failure, UNAVAILABLE};
use crate::config::environment::Environment;
use crate::config::{Config, Sources};

/// Reads a variable of the environment.
pub type Variable = Rc<dyn Fn(&str) -> Option<String>>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// What the node is called, for messages.
    pub(super) node: String,
    /// Tried one after the other.
    pub(super) sockets: Vec<PathBuf>,
}

impl Place {
    pub(super) fn of(arguments: &Arguments, variable: &Variable) -> Self {
        let mut config = configured(variable);
        if let Some(dir) = arguments.get("data-dir") {
            (config.data_dir, config.control_socket) = (Some(PathBuf::from(dir)), None);
        }
        let node = arguments.get("node").map_or_else(|| config.node_name.clone(), str::to_owned);
        let socket = arguments.get("socket").map(str::to_owned).or_else(|| variable("LEVERET_SOCKET").filter(|path| !path.is_empty()));
        let sockets = match socket {
            Some(path) => vec![path.into()],
            None => config.control_sockets(config.amqp.port(), variable("XDG_RUNTIME_DIR").as_deref().map(Path::new)),
        };
        Self { node, sockets }
    }

    /// The connection to the node is gone.
    pub(super) fn lost(&self, error: impl std::fmt::Display) -> Failure {
        let node = &self.node;
        let text = format!("Error: unable to perform an operation on node '{node}'. The connection to it was lost: {error}");
        Failure::plain(UNAVAILABLE, text)
    }
}

/// What a node with this environment would go by. One that would not start is told so by itself.
fn configured(variable: &Variable) -> Config {
    let Ok(environment) = Environment::from_env(|name| variable(name)) else { return Config::default() };
    let all = Rc::clone(variable);
    let mut sources = Sources::new(move |name| all(name));
    sources.read_files_of(&environment);
    sources.apply_environment(&environment);
    sources.config().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(line: &str, variables: &[(&str, &str)]) -> Place {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let variables: Vec<(String, String)> = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let variable: Variable = Rc::new(move |name| variables.iter().find(|(other, _)| other == name).map(|(_, value)| value.clone()));
        Place::of(&Arguments::parse(&words, &[]), &variable)
    }

    #[test]
    fn where_a_node_is_looked_for() {
        let sockets = |line: &str, variables: &[(&str, &str)]| {
            let mut all = vec![("XDG_RUNTIME_DIR", "/run/u")];
            all.extend(variables);
            let paths: Vec<String> = place(line, &all).sockets.iter().map(|path| path.display().to_string()).collect();
            paths.join(" ")
        };
        assert_eq!(sockets("ping", &[]), "/run/u/leveret-5672.sock");
        assert_eq!(sockets("ping", &[("RABBITMQ_NODE_PORT", "5673")]), "/run/u/leveret-5673.sock");
        assert_eq!(sockets("ping", &[("LEVERET_DATA_DIR", "/d")]), "/d/leveret.sock /run/u/leveret-5672.sock");
        assert_eq!(sockets("ping --data-dir /e", &[("LEVERET_DATA_DIR", "/d")]), "/e/leveret.sock /run/u/leveret-5672.sock");
        assert_eq!(sockets("ping --data-dir /e", &[("LEVERET_SOCKET", "/s")]), "/s");
        assert_eq!(sockets("ping --socket /t", &[("LEVERET_SOCKET", "/s")]), "/t");
    }

    #[test]
    fn what_the_node_is_called() {
        assert_eq!(place("ping", &[]).node, "leveret@localhost");
        assert_eq!(place("ping", &[("RABBITMQ_NODENAME", "rabbit@hare")]).node, "rabbit@hare");
        assert_eq!(place("ping -n rabbit@x", &[("RABBITMQ_NODENAME", "rabbit@hare")]).node, "rabbit@x");
    }
}

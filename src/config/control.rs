//! The control socket: where a node waits for commands of its machine, and where these look for it.

use std::path::{Path, PathBuf};

use super::Config;

/// Its name in a data directory.
const NAME: &str = "leveret.sock";
/// What the system takes as a socket's path, in bytes.
const MAX_PATH: usize = 107;

impl Config {
    /// Where the socket of a node is that serves AMQP on this port: the first place is the one. Without `control_socket` that is the
    /// data directory, unless its path is too long or there is none, and else a place that depends on the port.
    #[must_use]
    pub fn control_sockets(&self, port: u16, runtime_dir: Option<&Path>) -> Vec<PathBuf> {
        if let Some(path) = &self.control_socket {
            return vec![path.clone()];
        }
        let in_data = self.data_dir.iter().map(|dir| dir.join(NAME));
        let shared = runtime_dir.map_or_else(std::env::temp_dir, Path::to_owned).join(format!("leveret-{port}.sock"));
        in_data.chain([shared]).filter(|path| path.as_os_str().len() <= MAX_PATH).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_it_is() {
        let mut config = Config::default();
        let of = |config: &Config| config.control_sockets(5673, Some(Path::new("/run/user/1")));
        assert_eq!(of(&config), [PathBuf::from("/run/user/1/leveret-5673.sock")]);
        config.data_dir = Some("/data".into());
        assert_eq!(of(&config), [PathBuf::from("/data/leveret.sock"), "/run/user/1/leveret-5673.sock".into()]);
        config.data_dir = Some("d".repeat(100).into());
        assert_eq!(of(&config), [PathBuf::from("/run/user/1/leveret-5673.sock")]);
        config.control_socket = Some("/c".into());
        assert_eq!(of(&config), [PathBuf::from("/c")]);
    }
}

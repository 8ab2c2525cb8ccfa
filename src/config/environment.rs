//! The environment, as RabbitMQ and its official container image read it, and the variables of this broker.

use std::path::{Path, PathBuf};

use super::{Origin, Sources, level};

/// Variables that set a key. A later one has the last word.
const KEYS: &[(&str, &str)] = &[
    ("RABBITMQ_DEFAULT_USER", "default_user"),
    ("RABBITMQ_DEFAULT_PASS", "default_pass"),
    ("RABBITMQ_DEFAULT_VHOST", "default_vhost"),
    ("RABBITMQ_PID_FILE", "pid_file"),
    ("RABBITMQ_LOG_BASE", "log.dir"),
    ("RABBITMQ_MNESIA_DIR", "data_dir"),
    ("LEVERET_DATA_DIR", "data_dir"),
    ("OTEL_SERVICE_NAME", "opentelemetry.service_name"),
];

/// What the variables for the listener set.
const LISTENER: &str = "listeners.tcp.default";

/// Variables that mean nothing here, and that might make a difference where they do.
const IGNORED: &[&str] = &[
    "RABBITMQ_CTL_ERL_ARGS",
    "RABBITMQ_DIST_PORT",
    "RABBITMQ_IO_THREAD_POOL_SIZE",
    "RABBITMQ_MAX_NUMBER_OF_ATOMS",
    "RABBITMQ_MAX_NUMBER_OF_PROCESSES",
    "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
    "RABBITMQ_SERVER_ERL_ARGS",
    "RABBITMQ_SERVER_START_ARGS",
];

/// Variables that the image no longer takes.
const DEPRECATED: &[&str] = &[
    "RABBITMQ_DEFAULT_PASS_FILE",
    "RABBITMQ_DEFAULT_USER_FILE",
    "RABBITMQ_MANAGEMENT_SSL_CACERTFILE",
    "RABBITMQ_MANAGEMENT_SSL_CERTFILE",
    "RABBITMQ_MANAGEMENT_SSL_DEPTH",
    "RABBITMQ_MANAGEMENT_SSL_FAIL_IF_NO_PEER_CERT",
    "RABBITMQ_MANAGEMENT_SSL_KEYFILE",
    "RABBITMQ_MANAGEMENT_SSL_VERIFY",
    "RABBITMQ_SSL_CACERTFILE",
    "RABBITMQ_SSL_CERTFILE",
    "RABBITMQ_SSL_DEPTH",
    "RABBITMQ_SSL_FAIL_IF_NO_PEER_CERT",
    "RABBITMQ_SSL_KEYFILE",
    "RABBITMQ_SSL_VERIFY",
    "RABBITMQ_VM_MEMORY_HIGH_WATERMARK",
];

/// What the environment says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// What a package or an image has in place of the built-in defaults.
    pub defaults_file: Option<PathBuf>,
    /// RabbitMQ's main file, which need not be there; it may lack its `.conf`.
    pub main_file: Option<PathBuf>,
    /// What comes after it: a directory, or a pattern of files.
    pub more_files: Option<PathBuf>,
    /// This broker's file.
    pub own_file: Option<PathBuf>,
    /// Erlang terms.
    pub advanced_file: Option<PathBuf>,
    /// Variables, the keys that they set, the values.
    settings: Vec<(&'static str, &'static str, String)>,
    /// What is worth a warning.
    notes: Vec<String>,
}

impl Environment {
    /// Reads what `variable` finds. As in RabbitMQ, one that is empty is not set.
    ///
    /// # Errors
    /// Variables that the official image refuses, with its text.
    pub fn from_env(variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let deprecated: Vec<&str> = DEPRECATED.iter().filter(|name| variable(name).is_some()).copied().collect();
        if !deprecated.is_empty() {
            let each: String = deprecated.iter().map(|name| format!("error: {name} is set but deprecated\n")).collect();
            return Err(format!(
                "{each}error: deprecated environment variables detected\n\nPlease use a configuration file instead; \
                 visit https://www.rabbitmq.com/configure.html to learn more\n"
            ));
        }
        let path = |name: &str| variable(name).map(PathBuf::from);
        let mut environment = Self {
            defaults_file: path("LEVERET_DEFAULTS"),
            main_file: path("RABBITMQ_CONFIG_FILE"),
            more_files: path("RABBITMQ_CONFIG_FILES"),
            own_file: path("LEVERET_CONFIG"),
            advanced_file: path("RABBITMQ_ADVANCED_CONFIG_FILE"),
            ..Self::default()
        };
        environment.node(&variable);
        environment.listener(&variable);
        for (name, key) in KEYS {
            if let Some(value) = variable(name) {
                environment.settings.push((name, key, value));
            }
        }
        environment.collector(&variable);
        if let Some(value) = variable("RABBITMQ_LOGS") {
            environment.logs(&value);
        }
        if let Some(value) = variable("RABBITMQ_LOG") {
            environment.log(&value);
        }
        let ignored: Vec<&str> = IGNORED.iter().filter(|name| variable(name).is_some()).copied().collect();
        if !ignored.is_empty() {
            environment.notes.push(format!("variables of RabbitMQ that mean nothing here: {}", ignored.join(", ")));
        }
        Ok(environment)
    }

    /// The name of the node, which has a host in any case, and the directory that RabbitMQ keeps one for each node in.
    fn node(&mut self, variable: &dyn Fn(&str) -> Option<String>) {
        let mut name = super::NODE_NAME.to_owned();
        if let Some(given) = variable("RABBITMQ_NODENAME") {
            let host = || variable("HOSTNAME").unwrap_or_else(|| "localhost".to_owned());
            name = if given.contains('@') { given } else { format!("{given}@{}", host()) };
            self.settings.push(("RABBITMQ_NODENAME", "node_name", name.clone()));
        }
        if let Some(base) = variable("RABBITMQ_MNESIA_BASE") {
            let dir = Path::new(&base).join(name).to_string_lossy().into_owned();
            self.settings.push(("RABBITMQ_MNESIA_BASE", "data_dir", dir));
        }
    }

    /// Where every program of a machine may be told to send its telemetry. What cannot be done is no reason not to start.
    fn collector(&mut self, variable: &dyn Fn(&str) -> Option<String>) {
        const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
        let Some(endpoint) = variable(ENDPOINT) else { return };
        if variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return;
        }
        if endpoint.starts_with("http://") {
            self.settings.push((ENDPOINT, "opentelemetry.endpoint", endpoint));
        } else {
            self.notes.push(format!("{ENDPOINT}: nothing is sent to {endpoint}, which is not http://host:port"));
        }
    }

    /// One of the two is enough: the port of all interfaces, or the usual port of one.
    fn listener(&mut self, variable: &dyn Fn(&str) -> Option<String>) {
        let (ip, port) = (variable("RABBITMQ_NODE_IP_ADDRESS"), variable("RABBITMQ_NODE_PORT"));
        let set = match (ip, port) {
            (None, None) => return,
            (None, Some(port)) => ("RABBITMQ_NODE_PORT", port),
            (Some(ip), port) => {
                let port = port.unwrap_or_else(|| "5672".to_owned());
                ("RABBITMQ_NODE_IP_ADDRESS", if ip == "auto" { port } else { format!("{ip}:{port}") })
            }
        };
        self.settings.push((set.0, LISTENER, set.1));
    }

    /// `-` is the console, `-stderr` its other half; anything else is a file in place of the console.
    fn logs(&mut self, value: &str) {
        let mut set = |key, value: &str| self.settings.push(("RABBITMQ_LOGS", key, value.to_owned()));
        match value {
            "-" | "-stderr" => {
                set("log.console", "true");
                set("log.console.stdio", if value == "-" { "stdout" } else { "stderr" });
                set("log.file", "false");
            }
            path => {
                set("log.console", "false");
                set("log.file", path);
            }
        }
    }

    /// Levels, `+color`, and levels of categories, which do not exist here: `debug,+color,connection=info`.
    fn log(&mut self, value: &str) {
        let mut left_out = Vec::new();
        for part in value.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let mut set = |key, value: &str| self.settings.push(("RABBITMQ_LOG", key, value.to_owned()));
            match part {
                "+color" => set("log.console.use_colors", "on"),
                "-color" => set("log.console.use_colors", "off"),
                level_name if level(level_name).is_ok() => {
                    ["log.default.level", "log.console.level", "log.file.level"].into_iter().for_each(|key| set(key, level_name));
                }
                other => left_out.push(other),
            }
        }
        if !left_out.is_empty() {
            self.notes.push(format!("RABBITMQ_LOG: '{}' means nothing here", left_out.join(",")));
        }
    }
}

impl Sources {
    /// Adds the files that the environment names: defaults, RabbitMQ's main one, what comes after it, this broker's.
    pub fn read_files_of(&mut self, environment: &Environment) {
        if let Some(path) = &environment.defaults_file {
            self.read(path);
        }
        if let Some(path) = &environment.main_file {
            self.main_file(path);
        }
        if let Some(path) = &environment.more_files {
            if path.exists() || path.to_string_lossy().contains('*') {
                self.read(path);
            } else {
                self.note(format!("RABBITMQ_CONFIG_FILES: {} does not exist", path.display()));
            }
        }
        if let Some(path) = &environment.own_file {
            self.read(path);
        }
        if let Some(path) = environment.advanced_file.as_ref().filter(|path| says_something(path)) {
            self.note(format!("RABBITMQ_ADVANCED_CONFIG_FILE: {} has Erlang terms, which are not read", path.display()));
        }
    }

    /// RabbitMQ starts without the file, too.
    fn main_file(&mut self, path: &Path) {
        let with = |extension: &str| PathBuf::from(format!("{}.{extension}", path.display()));
        let terms = |path: &Path| path.extension().is_some_and(|extension| extension == "config");
        if path.is_file() && !terms(path) {
            self.read(path);
        } else if with("conf").is_file() {
            self.read(&with("conf"));
        } else if let Some(path) = [path.to_owned(), with("config")].into_iter().find(|path| terms(path) && path.is_file()) {
            self.note(format!("RABBITMQ_CONFIG_FILE: {} has Erlang terms, which are not read", path.display()));
        } else {
            self.note(format!("RABBITMQ_CONFIG_FILE: {} does not exist", path.display()));
        }
    }

    /// Sets what the environment says, over the files; but as in RabbitMQ, its listener is there only where the files have none.
    pub fn apply_environment(&mut self, environment: &Environment) {
        for (variable, key, value) in &environment.settings {
            if *key != LISTENER || !self.has("listeners.tcp") {
                self.set(key, value, Origin::Environment(variable));
            }
        }
        environment.notes.iter().for_each(|note| self.note(note.clone()));
    }
}

/// Whether there are Erlang terms in a file other than the empty list.
fn says_something(path: &Path) -> bool {
    let Ok(text) = std::fs::read_to_string(path) else { return false };
    let code = text.lines().map(|line| line.split('%').next().unwrap_or_default());
    let code: String = code.flat_map(str::chars).filter(|c| !c.is_whitespace()).collect();
    !matches!(code.as_str(), "" | "[]." | "[[]].")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn environment(variables: &[(&str, &str)]) -> Result<Environment, String> {
        Environment::from_env(|name| variables.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned()))
    }

    fn sources(files: &[(&str, &str)], variables: &[(&str, &str)]) -> Sources {
        let mut sources = Sources::new(|_| None);
        for (key, value) in files {
            sources.set(key, value, Origin::Text(1));
        }
        sources.apply_environment(&environment(variables).expect("an environment"));
        sources
    }

    fn config(files: &[(&str, &str)], variables: &[(&str, &str)]) -> Config {
        sources(files, variables).config().expect("a configuration")
    }

    #[test]
    fn a_collector_may_be_anywhere() {
        const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
        let said = |variables: &[(&str, &str)]| {
            let environment = environment(variables).expect("nothing is refused");
            (environment.settings, environment.notes)
        };
        let (settings, notes) = said(&[(ENDPOINT, "http://collector:4318")]);
        assert_eq!((&settings[..], &notes[..]), (&[(ENDPOINT, "opentelemetry.endpoint", "http://collector:4318".to_owned())][..], &[][..]));
        assert_eq!(said(&[(ENDPOINT, "http://collector:4318"), ("OTEL_SDK_DISABLED", "TRUE")]), (Vec::new(), Vec::new()));
        let (settings, notes) = said(&[(ENDPOINT, "https://collector")]);
        assert!(settings.is_empty() && notes.len() == 1, "{notes:?}");
    }

    #[test]
    fn an_empty_environment_says_nothing() {
        assert_eq!(environment(&[]), Ok(Environment::default()));
        assert_eq!(environment(&[("RABBITMQ_NODENAME", ""), ("RABBITMQ_SSL_VERIFY", "")]), Ok(Environment::default()));
    }

    #[test]
    fn the_default_user_goes_before_the_files() {
        let files = [("default_user", "file"), ("default_pass", "file"), ("heartbeat", "5")];
        let config =
            config(&files, &[("RABBITMQ_DEFAULT_USER", "hare"), ("RABBITMQ_DEFAULT_PASS", "$(x)#'"), ("RABBITMQ_DEFAULT_VHOST", "meadow")]);
        let got = (config.default_user.as_str(), config.default_pass.as_str(), config.default_vhost.as_str(), config.heartbeat_s);
        assert_eq!(got, ("hare", "$(x)#'", "meadow", 5));
    }

    #[test]
    fn the_listener_is_there_where_the_files_have_none() {
        let amqp = |files: &[(&str, &str)], variables: &[(&str, &str)]| config(files, variables).amqp.to_string();
        assert_eq!(amqp(&[], &[("RABBITMQ_NODE_PORT", "5673")]), "0.0.0.0:5673");
        assert_eq!(amqp(&[], &[("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.2")]), "127.0.0.2:5672");
        assert_eq!(amqp(&[], &[("RABBITMQ_NODE_IP_ADDRESS", "::1"), ("RABBITMQ_NODE_PORT", "5673")]), "[::1]:5673");
        assert_eq!(amqp(&[], &[("RABBITMQ_NODE_IP_ADDRESS", "auto")]), "0.0.0.0:5672");
        assert_eq!(amqp(&[("listeners.tcp.1", "127.0.0.1:1")], &[("RABBITMQ_NODE_PORT", "5673")]), "127.0.0.1:1");
        assert!(!config(&[("listeners.tcp", "none")], &[("RABBITMQ_NODE_PORT", "5673")]).tcp);
    }

    #[test]
    fn the_name_of_the_node_and_its_directory() {
        let of = |variables: &[(&str, &str)]| {
            let config = config(&[], variables);
            (config.node_name, config.data_dir.map(|dir| dir.display().to_string()).unwrap_or_default())
        };
        let pair = |name: &str, dir: &str| (name.to_owned(), dir.to_owned());
        assert_eq!(of(&[("RABBITMQ_NODENAME", "rabbit@hare")]), pair("rabbit@hare", ""));
        assert_eq!(of(&[("RABBITMQ_NODENAME", "rabbit"), ("HOSTNAME", "burrow")]), pair("rabbit@burrow", ""));
        assert_eq!(of(&[("RABBITMQ_NODENAME", "rabbit")]), pair("rabbit@localhost", ""));
        assert_eq!(of(&[("RABBITMQ_MNESIA_BASE", "/m")]), pair("leveret@localhost", "/m/leveret@localhost"));
        assert_eq!(of(&[("RABBITMQ_MNESIA_BASE", "/m"), ("RABBITMQ_MNESIA_DIR", "/d")]).1, "/d");
        assert_eq!(of(&[("RABBITMQ_MNESIA_DIR", "/d"), ("LEVERET_DATA_DIR", "/l")]).1, "/l");
        assert_eq!(config(&[], &[("RABBITMQ_PID_FILE", "/p")]).pid_file, Some("/p".into()));
    }

    #[test]
    fn the_log() {
        use tracing::level_filters::LevelFilter;
        let log = |variables: &[(&str, &str)]| config(&[("log.file", "f.log"), ("log.console.level", "error")], variables).log;
        let console = log(&[("RABBITMQ_LOGS", "-")]);
        assert_eq!((console.console.on, console.stdout, console.file_path()), (true, true, None));
        assert!(!log(&[("RABBITMQ_LOGS", "-stderr")]).stdout);
        let file = log(&[("RABBITMQ_LOGS", "/x.log"), ("RABBITMQ_LOG", "debug,+color")]);
        assert_eq!((file.console.on, file.file_path(), file.colors), (false, Some("/x.log".into()), Some(true)));
        assert_eq!(file.filter(file.file), LevelFilter::DEBUG);
        assert_eq!(log(&[("RABBITMQ_LOG_BASE", "/logs")]).file_path(), Some("/logs/f.log".into()));
        let warnings = sources(&[], &[("RABBITMQ_LOG", "connection=debug,info,nonsense")]).warnings();
        assert_eq!(warnings, ["RABBITMQ_LOG: 'connection=debug,nonsense' means nothing here"]);
    }

    #[test]
    fn what_means_nothing_here_is_named_once() {
        let set = [("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "+S 1"), ("RABBITMQ_ERLANG_COOKIE", "c"), ("RABBITMQ_ENABLED_PLUGINS", "p")];
        let warnings = sources(&[("mqtt.vhost", "/"), ("net_ticktime", "60")], &set).warnings();
        assert_eq!(
            warnings,
            [
                "keys of RabbitMQ that mean nothing here: mqtt.vhost, net_ticktime",
                "variables of RabbitMQ that mean nothing here: RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS"
            ]
        );
    }

    #[test]
    fn what_the_image_refuses() {
        let refused = environment(&[("RABBITMQ_SSL_VERIFY", "verify_peer"), ("RABBITMQ_DEFAULT_PASS_FILE", "/run/secrets/p")]);
        assert_eq!(
            refused,
            Err("error: RABBITMQ_DEFAULT_PASS_FILE is set but deprecated\n\
                 error: RABBITMQ_SSL_VERIFY is set but deprecated\n\
                 error: deprecated environment variables detected\n\n\
                 Please use a configuration file instead; visit https://www.rabbitmq.com/configure.html to learn more\n"
                .to_owned())
        );
        for name in DEPRECATED {
            assert!(environment(&[(name, "1")]).is_err(), "{name}");
        }
    }

    #[test]
    fn a_wrong_value_names_its_variable() {
        let error = sources(&[], &[("RABBITMQ_NODE_PORT", "many")]).config().expect_err("no port");
        let why = "environment: RABBITMQ_NODE_PORT: listeners.tcp.default: 'many' is neither a port nor an address with a port";
        assert_eq!(error.to_string(), why);
    }
}

//! The options of rabbitmqadmin, from the command line and a file of hosts.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::super::place::Variable;
use super::Failed;

/// Options with a value: short, long, the name in a file.
const VALUES: &[(&str, &str, &str)] = &[
    ("-c", "--config", "config"),
    ("-N", "--node", "node"),
    ("-H", "--host", "hostname"),
    ("-P", "--port", "port"),
    ("", "--path-prefix", "path_prefix"),
    ("-V", "--vhost", "vhost"),
    ("-u", "--username", "username"),
    ("-p", "--password", "password"),
    ("-U", "--base-uri", "base_uri"),
    ("-t", "--request-timeout", "request_timeout"),
    ("-f", "--format", "format"),
    ("-S", "--sort", "sort"),
    ("-d", "--depth", "depth"),
    ("-D", "--declare-vhost", "declare_vhost"),
    ("", "--ssl-key-file", "ssl_key_file"),
    ("", "--ssl-cert-file", "ssl_cert_file"),
    ("", "--ssl-ca-cert-file", "ssl_ca_cert_file"),
];

const FLAGS: &[(&str, &str, &str)] = &[
    ("-q", "--quiet", "quiet"),
    ("-R", "--sort-reverse", "sort_reverse"),
    ("-s", "--ssl", "ssl"),
    ("-k", "--ssl-insecure", "ssl_insecure"),
    ("", "--ssl-disable-hostname-verification", "ssl_disable_hostname_verification"),
    ("-h", "--help", "help"),
    ("", "--version", "version"),
];

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    set: BTreeMap<String, String>,
    pub(super) words: Vec<String>,
}

impl Options {
    /// # Errors
    /// Options that there are not, and a file that cannot be read.
    pub(super) fn read(given: &[String], variable: &Variable) -> Result<Self, Failed> {
        let mut options = Self::default();
        let mut rest = given.iter();
        while let Some(word) = rest.next() {
            if word.len() < 2 || !word.starts_with('-') {
                options.words.push(word.clone());
                continue;
            }
            // `--host=x` and `-Hx` are the same as `-H x`.
            let (name, attached) = match word.split_once('=') {
                Some((name, value)) if word.starts_with("--") => (name, Some(value.to_owned())),
                _ if word.starts_with("--") || word.chars().count() == 2 => (word.as_str(), None),
                _ => word.split_at_checked(2).map_or((word.as_str(), None), |(name, value)| (name, Some(value.to_owned()))),
            };
            let of = |table: &[(&str, &str, &'static str)]| {
                table.iter().find(|(short, long, _)| *short == name || *long == name).map(|(_, _, key)| *key)
            };
            if let Some(key) = of(VALUES) {
                let value = attached.or_else(|| rest.next().cloned());
                let value = value.ok_or_else(|| Failed::Usage(format!("{name} option requires 1 argument")))?;
                options.set.insert(key.to_owned(), value);
            } else if let Some(key) = of(FLAGS) {
                options.set.insert(key.to_owned(), "True".to_owned());
            } else {
                return Err(Failed::Usage(format!("no such option: {name}")));
            }
        }
        options.read_file(variable)?;
        options.read_uri()?;
        Ok(options)
    }

    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.set.get(key).map(String::as_str)
    }

    pub(super) fn is_set(&self, key: &str) -> bool {
        self.get(key) == Some("True")
    }

    fn or(&self, key: &str, default: &str) -> String {
        self.get(key).unwrap_or(default).to_owned()
    }

    pub(super) fn host(&self) -> String {
        self.or("hostname", "localhost")
    }

    /// # Errors
    /// What is no port.
    pub(super) fn port(&self) -> Result<u16, Failed> {
        self.or("port", "15672").parse().map_err(|_| Failed::Usage("the port is no number".to_owned()))
    }

    pub(super) fn username(&self) -> String {
        self.or("username", "guest")
    }

    pub(super) fn password(&self) -> String {
        self.or("password", "guest")
    }

    pub(super) fn path_prefix(&self) -> String {
        self.or("path_prefix", "")
    }

    pub(super) fn format(&self) -> String {
        self.or("format", "table")
    }

    /// # Errors
    /// What is no number.
    pub(super) fn depth(&self) -> Result<usize, Failed> {
        self.or("depth", "1").parse().map_err(|_| Failed::Usage("the depth is no number".to_owned()))
    }

    /// # Errors
    /// What is no number.
    pub(super) fn timeout(&self) -> Result<Duration, Failed> {
        let seconds = self.or("request_timeout", "120").parse();
        seconds.map(Duration::from_secs).map_err(|_| Failed::Usage("the request timeout is no number".to_owned()))
    }

    /// Where something is declared or deleted.
    pub(super) fn declare_vhost(&self) -> String {
        self.get("vhost").or(self.get("declare_vhost")).unwrap_or("/").to_owned()
    }

    /// A section of a file with hosts; what the command line says has the last word.
    fn read_file(&mut self, variable: &Variable) -> Result<(), Failed> {
        let default = variable("HOME").map(|home| PathBuf::from(home).join(".rabbitmqadmin.conf")).filter(|path| path.is_file());
        let named = self.get("config").map(PathBuf::from);
        if let Some(path) = named.as_ref().filter(|path| !path.is_file()) {
            return Err(Failed::Usage(format!("Could not read config file '{}'", path.display())));
        }
        let Some(path) = named.or(default) else { return Ok(()) };
        let text = std::fs::read_to_string(&path).map_err(|error| Failed::Died(format!("{}: {error}", path.display())))?;
        let wanted = self.or("node", "default");
        let Some(section) = section(&text, &wanted) else {
            let missing = format!("Could not read section '{wanted}' in config file '{}'", path.display());
            return if wanted == "default" { Ok(()) } else { Err(Failed::Usage(missing)) };
        };
        for (key, value) in section {
            self.set.entry(key).or_insert(value);
        }
        Ok(())
    }

    fn read_uri(&mut self) -> Result<(), Failed> {
        let Some(uri) = self.get("base_uri").map(str::to_owned) else { return Ok(()) };
        let wrong = || Failed::Usage(format!("{uri} is no URI"));
        let uri: hyper::Uri = uri.parse().map_err(|_| wrong())?;
        let authority = uri.authority().ok_or_else(wrong)?;
        if let Some((credentials, _)) = authority.as_str().rsplit_once('@') {
            let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
            self.set.insert("username".to_owned(), user.to_owned());
            self.set.insert("password".to_owned(), password.to_owned());
        }
        self.set.insert("hostname".to_owned(), authority.host().to_owned());
        if let Some(port) = authority.port_u16() {
            self.set.insert("port".to_owned(), port.to_string());
        }
        Ok(())
    }
}

/// Of a file in the syntax of ini files.
fn section(text: &str, wanted: &str) -> Option<Vec<(String, String)>> {
    let mut found = None;
    let mut inside = false;
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', ';'])) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            inside = name == wanted;
            if inside {
                found.get_or_insert_with(Vec::new);
            }
        } else if let (true, Some((key, value))) = (inside, line.split_once(['=', ':'])) {
            found.get_or_insert_with(Vec::new).push((key.trim().to_owned(), value.trim().to_owned()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Options, Failed> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let nothing: Variable = std::rc::Rc::new(|_| None);
        Options::read(&words, &nothing)
    }

    #[test]
    fn where_and_who() {
        let options = read("-H h -P1 --username=u -p s -V v list queues").expect("options");
        assert_eq!((options.host(), options.port().ok()), ("h".to_owned(), Some(1)));
        assert_eq!((options.username(), options.password(), options.declare_vhost()), ("u".into(), "s".into(), "v".into()));
        assert_eq!(options.words, ["list", "queues"]);
        let options = read("-U http://a:b@c:2/x list").expect("options");
        assert_eq!(
            (options.host(), options.port().ok(), options.username(), options.password()),
            ("c".into(), Some(2), "a".into(), "b".into())
        );
        assert!(read("--nope").is_err() && read("-P").is_err() && read("-c /nope list").is_err());
    }

    #[test]
    fn sections() {
        let text = "[a]\nhostname = x\n# no\n[b]\nport: 5\nssl = True\n";
        assert_eq!(section(text, "b"), Some(vec![("port".into(), "5".into()), ("ssl".into(), "True".into())]));
        assert_eq!(section(text, "c"), None);
    }
}

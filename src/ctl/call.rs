//! One command being carried out: what it was told, the node that it talks to, what it writes.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value as Json;

use super::arguments::{Arguments, Formatter};
use super::failure::{Failure, UNAVAILABLE};
use super::format::Rows;
use super::http::{Answer, Http, Target, segment};
use super::place::Place;

/// As long as RabbitMQ's tools wait where nothing is said.
pub(super) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

pub(super) struct Call {
    pub(super) arguments: Arguments,
    pub(super) formatter: Formatter,
    pub(super) timeout: Option<Duration>,
    pub(super) place: Place,
    http: Option<Http>,
}

impl Call {
    /// # Errors
    /// A formatter or a timeout that are none.
    pub(super) fn new(arguments: Arguments, place: Place) -> Result<Self, Failure> {
        let (formatter, timeout) = (arguments.formatter()?, arguments.timeout()?);
        Ok(Self { arguments, formatter, timeout, place, http: None })
    }

    /// What stands behind the name of the command; empty where there is nothing.
    pub(super) fn word(&self, index: usize) -> &str {
        self.arguments.words.get(index + 1).map_or("", String::as_str)
    }

    pub(super) fn words(&self) -> &[String] {
        self.arguments.words.get(1..).unwrap_or_default()
    }

    pub(super) fn vhost(&self) -> String {
        self.arguments.get("vhost").unwrap_or("/").to_owned()
    }

    pub(super) fn node_name(&self) -> &str {
        &self.place.node
    }

    fn is_quiet(&self) -> bool {
        self.arguments.has("quiet") || self.arguments.has("silent") || matches!(self.formatter, Formatter::Json | Formatter::Csv)
    }

    /// Says what is about to happen.
    pub(super) fn banner(&self, text: impl AsRef<str>) {
        if !self.is_quiet() {
            write(&format!("{}\n", text.as_ref()));
        }
    }

    /// A line of the result.
    pub(super) fn line(&self, text: impl AsRef<str>) {
        write(&format!("{}\n", text.as_ref()));
    }

    pub(super) fn rows(&self, rows: &Rows) {
        write(&rows.write(self.formatter, !self.arguments.has("silent") && !self.arguments.has("no-table-headers")));
    }

    /// What was found, as JSON where that is asked for, and as text elsewhere.
    pub(super) fn found(&self, json: &Json, text: impl AsRef<str>) {
        if self.formatter == Formatter::Json { self.line(json.to_string()) } else { self.line(text) }
    }

    /// Connects to the node.
    ///
    /// # Errors
    /// Nobody there.
    pub(super) fn http(&mut self) -> Result<&mut Http, Failure> {
        if self.http.is_none() {
            let timeout = Some(self.timeout.unwrap_or(DEFAULT_TIMEOUT));
            let mut tried = Vec::new();
            for path in &self.place.sockets {
                match Http::connect(Target::Socket(path.clone()), timeout) {
                    Ok(http) => {
                        self.http = Some(http);
                        break;
                    }
                    Err(error) => tried.push((path.clone(), error)),
                }
            }
            if self.http.is_none() {
                return Err(self.unreachable(&tried));
            }
        }
        self.http.as_mut().ok_or_else(|| self.place.lost("no connection"))
    }

    fn unreachable(&self, tried: &[(PathBuf, io::Error)]) -> Failure {
        let each: Vec<String> = tried.iter().map(|(path, error)| format!("{} ({error})", path.display())).collect();
        Failure::plain(
            UNAVAILABLE,
            format!(
                "Error: unable to perform an operation on node '{}'. Please see diagnostics information and suggestions below.\n\n\
                 No node answers at its control socket; tried: {}",
                self.place.node,
                each.join(", ")
            ),
        )
    }

    /// Asks the node, which may refuse.
    ///
    /// # Errors
    /// Nobody there, or no answer.
    pub(super) fn send(&mut self, method: &str, path: &str, body: Option<&Json>) -> Result<Answer, Failure> {
        self.send_bytes(method, path, &[], body.map(|body| body.to_string().into_bytes()).unwrap_or_default())
    }

    pub(super) fn send_bytes(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&'static str, &str)],
        body: Vec<u8>,
    ) -> Result<Answer, Failure> {
        let answer = self.http()?.request(method, path, headers, body);
        answer.map_err(|error| match error.kind() {
            io::ErrorKind::TimedOut => self.timed_out(),
            _ => self.place.lost(error),
        })
    }

    pub(super) fn timed_out(&self) -> Failure {
        let (command, node) = (self.arguments.words.first().map_or("", String::as_str), &self.place.node);
        let ms = self.timeout.unwrap_or(DEFAULT_TIMEOUT).as_millis();
        Failure::plain(super::failure::TIMEOUT, format!("Error: operation {command} on node {node} timed out. Timeout value used: {ms}"))
    }

    /// JSON that is there to be read.
    ///
    /// # Errors
    /// What the node refuses, in its words.
    pub(super) fn get(&mut self, path: &str) -> Result<Json, Failure> {
        let answer = self.send("GET", path, None)?;
        refused(&answer)?;
        Ok(answer.json())
    }

    /// Has something done.
    ///
    /// # Errors
    /// What the node refuses, in its words.
    pub(super) fn have(&mut self, method: &str, path: &str, body: Option<&Json>) -> Result<(), Failure> {
        refused(&self.send(method, path, body)?)
    }

    /// # Errors
    /// When there is no virtual host of this name.
    pub(super) fn need_vhost(&mut self, vhost: &str) -> Result<(), Failure> {
        let answer = self.send("GET", &format!("/api/vhosts/{}", segment(vhost)), None)?;
        if answer.is_ok() { Ok(()) } else { Err(Failure::no_vhost(vhost)) }
    }

    pub(super) fn has_user(&mut self, user: &str) -> Result<bool, Failure> {
        Ok(self.send("GET", &format!("/api/users/{}", segment(user)), None)?.is_ok())
    }

    /// What /api/leveret/node says.
    pub(super) fn node(&mut self) -> Result<Json, Failure> {
        self.get("/api/leveret/node")
    }
}

/// # Errors
/// What the node refuses, in its words.
pub(super) fn refused(answer: &Answer) -> Result<(), Failure> {
    if answer.is_ok() {
        return Ok(());
    }
    // The API writes some texts as RabbitMQ's does, for pages in HTML.
    let reason = answer.reason().replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&");
    Err(Failure::error(UNAVAILABLE, reason))
}

/// To standard output. Whoever does not read it any more does not want it.
pub(super) fn write(text: &str) {
    let _ = io::stdout().lock().write_all(text.as_bytes());
}

/// To standard error.
pub(super) fn write_error(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Letters that stand out, for who looks at them.
pub(super) fn bold(text: &str) -> String {
    if io::stdout().is_terminal() { format!("\u{1b}[1m{text}\u{1b}[0m") } else { text.to_owned() }
}

/// How far work is that takes a while: a bar on the terminal, nothing where nobody watches.
pub(super) struct Progress {
    what: &'static str,
    shown: bool,
}

impl Progress {
    const WIDTH: usize = 40;

    pub(super) fn new(call: &Call, what: &'static str) -> Self {
        Self { what, shown: !call.is_quiet() && io::stderr().is_terminal() }
    }

    pub(super) fn at(&self, done: usize, of: usize) {
        if self.shown {
            write_error(&Self::bar(self.what, done, of));
        }
    }

    fn bar(what: &str, done: usize, of: usize) -> String {
        let of = of.max(1);
        let full = Self::WIDTH * done.min(of) / of;
        format!("\r{what} [{}{}] {done}/{of}", "#".repeat(full), ".".repeat(Self::WIDTH - full))
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            write_error("\r\u{1b}[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_full_at_the_end() {
        assert_eq!(Progress::bar("x", 1, 4), format!("\rx [{}{}] 1/4", "#".repeat(10), ".".repeat(30)));
        assert_eq!(Progress::bar("x", 4, 4), format!("\rx [{}] 4/4", "#".repeat(40)));
        assert_eq!(Progress::bar("x", 0, 0), format!("\rx [{}] 0/1", ".".repeat(40)));
    }
}

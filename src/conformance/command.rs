//! `leveret conformance`: the command line of the suite.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use super::json;
use super::report::Played;
use super::rows::{SECTIONS, is_row};
use super::run::{Options, run_all};
use super::suite::Transcript;
use super::table::Table;
use super::transport::Tcp;

/// What `leveret conformance` takes.
#[derive(Debug, clap::Args)]
pub struct Conformance {
    /// The broker: amqp://HOST[:PORT]. The transcripts log in as guest with the password guest, and delete what they declare
    #[arg(value_name = "URL", value_parser = url)]
    url: String,
    /// How to say what came of it
    #[arg(long, value_name = "FORMAT", value_parser = ["table", "json"], default_value = "table")]
    format: String,
    /// Only these rows: Q13, or Q for all of a section; several with commas
    #[arg(long, value_name = "ROWS", value_delimiter = ',', value_parser = row)]
    only: Vec<String>,
    /// The release to hold it to, instead of the one that it says it is
    #[arg(long, value_name = "PROFILE", value_parser = ["permissive", "3.13", "4.0", "4.1", "4.3"])]
    profile: Option<String>,
    /// A command that takes rabbitmqctl's words, for what needs an administrator; without it, that is left out
    #[arg(long, value_name = "COMMAND", default_value = "")]
    ctl: String,
    /// How long to wait for an answer
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "3")]
    timeout: Duration,
    /// Show every difference, and what was left out
    #[arg(long, short)]
    verbose: bool,
}

impl Conformance {
    /// Exit codes: 0 when the broker does all that was played as it is written, 1 when it does not, or when it could not be asked.
    #[must_use]
    pub fn run(&self) -> u8 {
        let broker = match Tcp::new(&self.url, &self.ctl) {
            Ok(broker) => broker.with_patience(self.timeout),
            Err(why) => return refuse(&why),
        };
        let transcripts = Transcript::embedded();
        let options = Options { rows: self.only.clone(), release: self.profile.clone(), ..Options::default() };
        let mut progress = Progress::new();
        let report = run_all(&broker, &transcripts, &options, &mut |played| progress.played(played));
        progress.clear();
        if let (true, Some(why)) = (report.scenarios.is_empty(), &report.stopped) {
            return refuse(why);
        }
        if report.scenarios.is_empty() {
            return refuse(&format!("no scenario shows {}", self.only.join(", ")));
        }
        let text = match self.format.as_str() {
            "json" => format!("{:#}\n", json::report(&report, &self.url)),
            _ => Table { report: &report, target: &self.url, verbose: self.verbose }.to_string(),
        };
        // Whoever does not want all of it, such as `head`, closes the pipe.
        let _ = io::stdout().write_all(text.as_bytes());
        u8::from(!report.is_success())
    }
}

fn refuse(why: &str) -> u8 {
    let _ = writeln!(io::stderr(), "leveret: {why}");
    1
}

/// Other users and virtual hosts would stand in the broker's texts, where the transcripts have `guest` and `/`.
fn url(text: &str) -> Result<String, String> {
    if text.starts_with("amqps://") {
        return Err("the transcripts are played over plain TCP: amqp://".to_owned());
    }
    let rest = text.strip_prefix("amqp://").unwrap_or(text);
    let (place, vhost) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, host) = place.rsplit_once('@').unwrap_or(("guest:guest", place));
    if user != "guest:guest" || !matches!(vhost, "" | "/" | "%2f" | "%2F") {
        return Err("the transcripts log in as guest with the password guest, into the virtual host /".to_owned());
    }
    if host.is_empty() {
        return Err("there is no host in it".to_owned());
    }
    Ok(format!("amqp://{host}"))
}

fn row(text: &str) -> Result<String, String> {
    let letters = SECTIONS.map(|(letter, _)| letter);
    let is_known = text.starts_with(letters);
    if is_known && (text.len() == 1 || is_row(text)) {
        return Ok(text.to_owned());
    }
    let letters: Vec<String> = letters.iter().map(char::to_string).collect();
    Err(format!("a row is one of the letters {}, or such a letter and a number", letters.join(" ")))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().map_err(|error| error.to_string())?;
    let duration = Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())?;
    if (0.05..=600.0).contains(&seconds) { Ok(duration) } else { Err("from 0.05 to 600".to_owned()) }
}

/// How far it has come, for who looks on.
struct Progress {
    is_shown: bool,
    played: usize,
    failed: usize,
}

impl Progress {
    fn new() -> Self {
        Self { is_shown: io::stderr().is_terminal(), played: 0, failed: 0 }
    }

    fn played(&mut self, played: &Played) {
        self.played += 1;
        self.failed += usize::from(played.verdict.is_failure());
        if self.is_shown {
            let (count, failed) = (self.played, self.failed);
            let _ = write!(io::stderr(), "\r\x1b[K{count} scenarios, {failed} not fulfilled: {}", played.file);
        }
    }

    fn clear(&self) {
        if self.is_shown {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

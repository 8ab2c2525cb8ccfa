//! `leveret record` and `leveret replay`: their command lines.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use super::file::Recording;
use super::pcapng;
use super::replay::{self, Pace, Target};
use super::show::Shown;

/// What `leveret record` takes.
#[derive(Debug, clap::Args)]
pub struct Record {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Print a recording: a line for each frame
    Show {
        /// The recording
        file: PathBuf,
        /// Bodies in full
        #[arg(long)]
        full: bool,
    },
    /// Make a capture of packets of it, for Wireshark
    Export {
        /// The recording
        file: PathBuf,
        /// The capture to write
        #[arg(long, value_name = "OUT")]
        pcapng: PathBuf,
    },
}

impl Record {
    /// Exit codes: 0, or 1 when the recording cannot be read or the capture not be written.
    #[must_use]
    pub fn run(&self) -> u8 {
        let outcome = match &self.action {
            Action::Show { file, full } => Recording::open(file).map(|recording| {
                // Whoever does not want all of it, such as `head`, closes the pipe.
                let _ = write!(io::BufWriter::new(io::stdout()), "{}", Shown { recording: &recording, full: *full });
            }),
            Action::Export { file, pcapng } => Recording::open(file).and_then(|recording| {
                fs::write(pcapng, pcapng::export(&recording)).map_err(|error| format!("{}: {error}", pcapng.display()))
            }),
        };
        outcome.map_or_else(|why| refuse(&why), |()| 0)
    }
}

/// What `leveret replay` takes.
#[derive(Debug, clap::Args)]
pub struct Replay {
    /// The recording
    file: PathBuf,
    /// The broker: amqp://[USER:PASSWORD@]HOST[:PORT][/VHOST]. Without a virtual host, that of each recorded connection
    #[arg(value_name = "URL", value_parser = Target::parse)]
    target: Target,
    /// How many times as fast as it was recorded
    #[arg(long, value_name = "X", value_parser = speed, default_value = "1")]
    speed: f64,
    /// Without waiting for anything but replies
    #[arg(long, conflicts_with = "speed")]
    as_fast_as_possible: bool,
    /// How long to wait for what the broker said in the recording
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "5")]
    timeout: Duration,
}

impl Replay {
    /// Exit codes: 0 when the broker said what it says in the recording, 1 when it did not, or when nothing could be played.
    #[must_use]
    pub fn run(&self) -> u8 {
        let pace = if self.as_fast_as_possible { Pace::AsFastAsPossible } else { Pace::Times(self.speed) };
        let recording = match Recording::open(&self.file) {
            Ok(recording) => recording,
            Err(why) => return refuse(&why),
        };
        match replay::play(&recording, &self.target, pace, self.timeout) {
            Ok(report) => {
                let _ = writeln!(io::stdout(), "{report}");
                u8::from(!report.is_same())
            }
            Err(why) => refuse(&why),
        }
    }
}

fn refuse(why: &str) -> u8 {
    let _ = writeln!(io::stderr(), "leveret: {why}");
    1
}

fn speed(text: &str) -> Result<f64, String> {
    let speed = text.parse::<f64>().map_err(|error| error.to_string())?;
    if (0.001..=1_000_000.0).contains(&speed) { Ok(speed) } else { Err("from 0.001 to 1000000".to_owned()) }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().map_err(|error| error.to_string())?;
    let duration = Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())?;
    if (0.05..=3600.0).contains(&seconds) { Ok(duration) } else { Err("from 0.05 to 3600".to_owned()) }
}

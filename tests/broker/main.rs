//! The core without sockets: scenarios, properties, simulation.

#![allow(clippy::print_stdout, reason = "the report of a comparison is for whoever reads the log")]

mod accounts;
mod administrator;
mod asking;
mod bad_arguments;
mod client;
#[path = "../core/mod.rs"]
mod core;
mod coverage;
mod delayed;
mod faults;
mod hostile;
mod in_process;
mod journal;
mod paging;
mod permissions;
mod properties;
mod simulation;
mod spans;
mod views;

use std::path::{Path, PathBuf};
use std::{env, fs};

use leveret::broker::Profile;
use leveret::conformance::{self, Broker, Options, Tcp, Transcript};

fn transcripts_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/broker/scenarios")
}

/// Those of the disk: an edit counts without a build.
fn transcripts(folder: &str) -> Vec<Transcript> {
    let entries = fs::read_dir(transcripts_folder().join(folder)).expect("the transcripts");
    let paths = entries.map(|entry| entry.expect("an entry").path()).filter(|path| path.is_file());
    let mut transcripts: Vec<_> = paths
        .map(|path| Transcript {
            name: path.strip_prefix(transcripts_folder()).expect("below").to_string_lossy().into_owned(),
            text: fs::read_to_string(&path).expect("a transcript"),
        })
        .collect();
    transcripts.sort_by(|left, right| left.name.cmp(&right.name));
    transcripts
}

/// `UPDATE_EXPECT=1` writes what the broker said into the transcripts, `SCENARIO` plays a part of them.
fn judge(broker: &dyn Broker, release: Option<&str>, transcripts: &[Transcript]) {
    let options = Options {
        update: env::var_os("UPDATE_EXPECT").is_some(),
        filter: env::var("SCENARIO").ok(),
        release: release.map(str::to_owned),
        ..Options::default()
    };
    let report = conformance::run_all(broker, transcripts, &options, &mut |_| {});
    for transcript in &report.rewritten {
        fs::write(transcripts_folder().join(&transcript.name), &transcript.text).expect("written");
    }
    assert!(report.is_success(), "{report}");
    println!("{report}");
}

fn broker(profile: &str, pages: bool) -> in_process::InProcess {
    in_process::InProcess::new(Profile::named(profile).expect("a profile"), pages)
}

fn play(profile: &str, folder: &str) {
    judge(&broker(profile, false), Some(profile), &transcripts(folder));
}

/// Every transcript against the broker in this process, in its default profile.
#[test]
fn scenarios() {
    play("permissive", "");
}

/// Those that hold for all releases hold for each; the others say so.
#[test]
fn scenarios_in_every_profile() {
    for profile in ["3.13", "4.0", "4.1", "4.3"] {
        // Never recorded: that is the run without a profile.
        let options = Options { release: Some(profile.to_owned()), ..Options::default() };
        let report = conformance::run_all(&broker(profile, false), &transcripts(""), &options, &mut |_| {});
        assert!(report.is_success(), "{profile}: {report}");
    }
}

/// The same over a storage, with nothing in memory that can be on disk: nobody may notice.
#[test]
fn scenarios_with_messages_on_disk() {
    judge(&broker("permissive", true), None, &transcripts(""));
}

/// The transcripts of what `--compat 3.13` does otherwise.
#[test]
fn scenarios_of_profile_3_13() {
    play("3.13", "profile-3.13");
}

/// The transcripts of what `--compat 4.0` and `4.1` do otherwise.
#[test]
fn scenarios_of_profile_4_0() {
    play("4.0", "profile-4.0");
    play("4.1", "profile-4.0");
}

/// The transcripts of what `--compat 4.3` does otherwise.
#[test]
fn scenarios_of_profile_4_3() {
    play("4.3", "profile-4.3");
}

/// The same transcripts against a broker over TCP, RabbitMQ for one: `LEVERET_SCENARIOS_URL=amqp://…`, and for its administrator
/// `LEVERET_SCENARIOS_CTL=rabbitmqctl`.
/// Without an address there is nothing to compare with, and the in-process run above has done the judging.
#[test]
fn scenarios_over_tcp() {
    let Ok(url) = std::env::var("LEVERET_SCENARIOS_URL") else { return };
    let ctl = std::env::var("LEVERET_SCENARIOS_CTL").unwrap_or_default();
    judge(&Tcp::new(&url, &ctl).expect("an address"), None, &transcripts(""));
}

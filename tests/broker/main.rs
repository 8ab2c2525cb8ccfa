//! The core without sockets: scenarios, properties, simulation.

#![allow(clippy::print_stdout, reason = "the report of a comparison is for whoever reads the log")]

mod accounts;
mod administrator;
mod asking;
mod bad_arguments;
#[path = "../core/mod.rs"]
mod core;
mod coverage;
mod delayed;
mod hostile;
mod in_process;
mod journal;
mod paging;
mod permissions;
mod properties;
#[path = "../../src/conformance/mod.rs"]
mod scenario;
mod simulation;
mod views;

use std::path::Path;

use leveret::broker::Profile;

fn play(profile: &str, directory: &str) {
    play_with(profile, directory, false);
}

fn play_with(profile: &str, directory: &str, pages: bool) {
    let profile = Profile::named(profile).expect("a profile");
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/broker").join(directory);
    let report = scenario::run_all(&in_process::InProcess::new(profile, pages), &directory, &scenario::Options::from_env());
    assert!(report.is_success(), "{report}");
    println!("{report}");
}

/// Every transcript against the broker in this process, in its default profile.
#[test]
fn scenarios() {
    play("permissive", "scenarios");
}

/// The same over a storage, with nothing in memory that can be on disk: nobody may notice.
#[test]
fn scenarios_with_messages_on_disk() {
    play_with("permissive", "scenarios", true);
}

/// The transcripts of what `--compat 3.13` does otherwise.
#[test]
fn scenarios_of_profile_3_13() {
    play("3.13", "scenarios/profile-3.13");
}

/// The transcripts of what `--compat 4.0` and `4.1` do otherwise.
#[test]
fn scenarios_of_profile_4_0() {
    play("4.0", "scenarios/profile-4.0");
    play("4.1", "scenarios/profile-4.0");
}

/// The transcripts of what `--compat 4.3` does otherwise.
#[test]
fn scenarios_of_profile_4_3() {
    play("4.3", "scenarios/profile-4.3");
}

/// The same transcripts against a broker over TCP, RabbitMQ for one: `LEVERET_SCENARIOS_URL=amqp://…`, and for its administrator
/// `LEVERET_SCENARIOS_CTL=rabbitmqctl`.
/// Without an address there is nothing to compare with, and the in-process run above has done the judging.
#[test]
fn scenarios_over_tcp() {
    let Ok(url) = std::env::var("LEVERET_SCENARIOS_URL") else { return };
    let ctl = std::env::var("LEVERET_SCENARIOS_CTL").unwrap_or_default();
    let broker = scenario::Tcp::new(&url, &ctl).expect("an address");
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/broker/scenarios");
    let report = scenario::run_all(&broker, &directory, &scenario::Options::from_env());
    assert!(report.is_success(), "{report}");
    println!("{report}");
}

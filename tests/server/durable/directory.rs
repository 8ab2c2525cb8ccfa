//! The data directory: who may have it, what is said when it cannot be used, and when it is synced.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use super::Client;
use crate::command_line::one_line;
use crate::support::broker::{Broker, End, Home, Scratch, leveret};
use crate::support::raw::Raw;

/// What a command that ends up as the broker's says instead of serving from this directory.
fn refusal(broker: &Command, data: &Path) -> String {
    // One that serves after all is not waited for.
    let mut command = Command::new("timeout");
    command.arg("20").arg(broker.get_program()).args(broker.get_args());
    one_line(command.args(["--amqp", "127.0.0.1:0", "--http", "127.0.0.1:0", "--log", "error", "--data-dir"]).arg(data), 1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn only_one_process_has_it() {
    let home = Home::new();
    let broker = home.start();
    let client = Client::of(&broker).await;
    client.queue("q", &[]).await;
    client.fill("q", &["1"]).await;
    let said = refusal(&leveret(), &home.data());
    assert_eq!(said, format!("leveret: data directory {} is in use by another process", home.data().display()));
    // The first one did not notice.
    client.fill("q", &["2"]).await;
    broker.end(End::Killed);
    let broker = home.start();
    assert_eq!(Client::of(&broker).await.bodies("q").await, ["1", "2"]);
}

#[test]
fn it_is_created_with_the_folders_above_it() {
    let scratch = Scratch::new();
    let data = scratch.path("some/where/else");
    let mut command = leveret();
    command.arg("--data-dir").arg(&data);
    let broker = Broker::launch(command, scratch);
    Raw::channel(&broker).round_trip_on_new_queue("q");
    assert!(data.is_dir());
}

#[test]
fn one_that_cannot_be_is_named_in_one_line() {
    let scratch = Scratch::new();
    let file = scratch.file("file", "");
    for data in [file.join("data"), file] {
        let said = refusal(&leveret(), &data);
        assert!(said.contains(&data.display().to_string()), "{said}");
        assert!(said.contains("Not a directory") || said.contains("File exists"), "{said}");
    }
}

/// The broker's command line, without what lets an administrator write where nobody may.
fn unprivileged(folder: &Path) -> Command {
    if fs::write(folder.join("probe"), "").is_err() {
        return leveret();
    }
    let _ = fs::remove_file(folder.join("probe"));
    let mut command = Command::new("setpriv");
    command.args(["--inh-caps=-all", "--bounding-set=-all", "--"]).arg(leveret().get_program());
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn one_that_is_read_only_is_named_in_one_line() {
    let home = Home::new();
    let broker = home.start();
    let client = Client::of(&broker).await;
    client.queue("q", &[]).await;
    client.fill("q", &["1"]).await;
    broker.end(End::InOrder);
    let empty = home.scratch().path("empty");
    fs::create_dir(&empty).expect("a folder");
    for data in [&home.data(), &empty] {
        fs::set_permissions(data, fs::Permissions::from_mode(0o555)).expect("no longer to be written");
        let said = refusal(&unprivileged(data), data);
        fs::set_permissions(data, fs::Permissions::from_mode(0o755)).expect("to be written again");
        assert!(said.contains("Permission denied") && said.contains(&data.display().to_string()), "{said}");
    }
    // Nothing has become of what was there.
    let broker = home.start();
    assert_eq!(Client::of(&broker).await.bodies("q").await, ["1"]);
}

/// The end of a process takes nothing from the system's memory, whenever that is synced.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn every_setting_of_fsync_outlives_a_killed_process() {
    for fsync in ["never", "200", "always"] {
        for how in super::BOTH {
            let home = Home::with_config(&format!("fsync = {fsync}\n"));
            let broker = home.start();
            let client = Client::of(&broker).await;
            client.queue("q", &[]).await;
            client.fill("q", &["1", "2", "3"]).await;
            assert!(client.get("q").await.is_some());
            broker.end(how);
            let broker = home.start();
            assert_eq!(Client::of(&broker).await.marked("q").await[0], "again: 1", "fsync = {fsync}, {how:?}");
        }
    }
}

#[test]
fn settings_that_are_none() {
    let scratch = Scratch::new();
    for (line, why) in [
        ("fsync = sometimes", "'sometimes' is neither always nor never nor a number of milliseconds"),
        ("fsync = 0", "'0' is neither always nor never nor a number of milliseconds"),
        ("fsync = -5", "'-5' is neither always nor never nor a number of milliseconds"),
        ("disk_free_limit.absolute = plenty", "'plenty' is no amount of bytes"),
        ("disk_free_limit.relative = -1", "'-1' is not a number from 0 on"),
        ("disk_free_limit.relative = lots", "'lots' is not a number in range"),
    ] {
        let path = scratch.file("leveret.conf", line);
        let said = one_line(leveret().arg("--config").arg(&path), 1);
        let key = line.split(" = ").next().unwrap();
        assert_eq!(said, format!("leveret: {}: line 1: {key}: {why}", path.display()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn in_memory_goes_before_the_file() {
    let scratch = Scratch::new();
    let data = scratch.path("data");
    let config = scratch.file("leveret.conf", &format!("data_dir = {}\n", data.display()));
    let mut command = leveret();
    command.arg("--in-memory").arg("--config").arg(config);
    let broker = Broker::launch(command, scratch);
    let client = Client::of(&broker).await;
    client.queue("q", &[]).await;
    client.fill("q", &["1"]).await;
    assert!(!data.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_file_names_it() {
    let scratch = std::sync::Arc::new(Scratch::new());
    let config = scratch.file("leveret.conf", &format!("data_dir = {}\n", scratch.path("named").display()));
    let start = || {
        let mut command = leveret();
        command.arg("--config").arg(&config);
        Broker::launch(command, std::sync::Arc::clone(&scratch))
    };
    let broker = start();
    let client = Client::of(&broker).await;
    client.queue("q", &[]).await;
    client.fill("q", &["1"]).await;
    broker.end(End::Killed);
    assert_eq!(Client::of(&start()).await.bodies("q").await, ["1"]);
}

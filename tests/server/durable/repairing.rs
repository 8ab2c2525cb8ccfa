//! A damaged data directory: the broker says where, `leveret repair` what it would cost, and drops it only when told to.

use std::fs;
use std::path::Path;

use super::Client;
use crate::command_line::one_line;
use crate::support::broker::{End, Home, leveret};

/// What `leveret repair` says, and how it ends.
fn repair(data: &Path, drop: bool) -> (String, Option<i32>) {
    let mut command = leveret();
    command.arg("repair").arg("--data-dir").arg(data).args(drop.then_some("--drop"));
    let output = command.output().expect("the binary");
    (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.code())
}

fn only_segment(data: &Path) -> std::path::PathBuf {
    let entries = fs::read_dir(data).expect("a directory").map(|entry| entry.expect("an entry").path());
    let named = |path: &std::path::PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("segment-"));
    entries.filter(named).max_by_key(|path| fs::metadata(path).map_or(0, |metadata| metadata.len())).expect("a segment")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn damage_is_named_shown_and_dropped() {
    let home = Home::new();
    let broker = home.start();
    let client = Client::of(&broker).await;
    client.queue("q", &[]).await;
    client.queue("other", &[]).await;
    let bodies: Vec<String> = (0..200).map(|n| format!("message {n} {}", "x".repeat(500))).collect();
    let bodies: Vec<&str> = bodies.iter().map(String::as_str).collect();
    client.fill("q", &bodies).await;
    broker.end(End::Killed);
    // The second start folds the log into a segment.
    let broker = home.start();
    broker.end(End::Killed);
    let data = home.data();
    assert_eq!(repair(&data, false).1, Some(0), "nothing is damaged yet");
    let segment = only_segment(&data);
    let mut bytes = fs::read(&segment).expect("a segment");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&segment, &bytes).expect("written");
    let name = segment.file_name().expect("a name").to_string_lossy().into_owned();

    let (shown, code) = repair(&data, false);
    assert_eq!(code, Some(1), "{shown}");
    assert!(shown.contains(&format!("{name}: damaged at byte ")), "{shown}");
    assert!(shown.contains("lost: ") && shown.contains("messages of queue"), "{shown}");
    assert_eq!(repair(&data, false), (shown.clone(), code), "looking changes nothing");
    let (dropped, code) = repair(&data, true);
    assert_eq!((dropped, code), (shown, Some(0)), "what was shown is what is dropped");
    assert_eq!(repair(&data, false).1, Some(0));

    let broker = home.start();
    let client = Client::of(&broker).await;
    let left = client.bodies("q").await;
    assert!(left.len() < bodies.len() && left.iter().all(|body| bodies.contains(&body.as_str())), "{} are left", left.len());
    client.fill("q", &["new"]).await;
    assert_eq!(client.bodies("q").await, ["new"]);
    assert!(client.has_queue("other").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_damaged_manifest_stops_the_start() {
    let home = Home::new();
    let broker = home.start();
    let client = Client::of(&broker).await;
    for queue in ["a", "b", "c"] {
        client.queue(queue, &[]).await;
    }
    broker.end(End::Killed);
    home.start().end(End::Killed);
    home.start().end(End::Killed);
    let data = home.data();
    let manifest = fs::read_dir(&data).expect("a directory").map(|entry| entry.expect("an entry").path());
    let manifest = manifest.into_iter().find(|path| path.to_string_lossy().contains("manifest-")).expect("a manifest");
    let mut bytes = fs::read(&manifest).expect("a manifest");
    bytes[60] ^= 0xff;
    fs::write(&manifest, &bytes).expect("written");
    let mut command = leveret();
    let said = one_line(command.args(["--amqp", "127.0.0.1:0", "--http", "127.0.0.1:0", "--log", "error", "--data-dir"]).arg(&data), 1);
    let name = manifest.file_name().expect("a name").to_string_lossy().into_owned();
    assert!(said.contains(&name) && said.contains("damaged at byte") && said.contains("leveret repair"), "{said}");
}

#[test]
fn a_directory_in_use_or_missing_is_not_repaired() {
    let home = Home::new();
    let broker = home.start();
    let mut command = leveret();
    let said = one_line(command.arg("repair").arg("--data-dir").arg(home.data()), 1);
    assert!(said.contains("is in use by another process"), "{said}");
    broker.end(End::Killed);
    let mut command = leveret();
    let said = one_line(command.args(["repair", "--data-dir", "/nowhere/at/all"]), 1);
    assert_eq!(said, "leveret: /nowhere/at/all: no such directory");
}

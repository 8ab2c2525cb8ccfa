//! The architecture as a test: who may import whom, what the core must not know, what every file must have.

use std::fs;
use std::path::{Path, PathBuf};

/// Each layer with what it may import of the others.
const LAYERS: &[(&str, &[&str])] = &[
    ("amqp", &[]),
    ("broker", &["amqp"]),
    ("client", &["amqp"]),
    ("node", &["amqp", "broker"]),
    ("config", &["broker", "node"]),
    ("storage", &["amqp", "broker"]),
    ("server", &["amqp", "broker", "node", "config", "storage", "recording", "telemetry"]),
    ("telemetry", &["broker", "config"]),
    ("shovel", &["amqp", "broker", "node", "config", "server", "client"]),
    ("management", &["amqp", "broker", "node", "config", "server", "client", "shovel"]),
    ("embed", &["node", "broker", "config", "server", "shovel", "management"]),
    ("ctl", &["config"]),
    ("transcript", &[]),
    ("conformance", &["transcript"]),
    ("recording", &["transcript"]),
];

/// What reads a clock, blocks, shares or surprises.
const IMPURE: &[&str] = &[
    "tokio",
    "async ",
    "std::fs",
    "std::net",
    "std::thread",
    "std::io",
    "std::env",
    "std::process",
    "Instant",
    "SystemTime",
    "Mutex",
    "RwLock",
    "RandomState",
    "Rc<",
    "parking_lot",
    "println!",
];

fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut found = Vec::new();
    let mut folders = vec![root];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = fs::read_to_string(&path).expect("text");
                found.push((path, text));
            }
        }
    }
    assert!(!found.is_empty(), "{folder} has no source");
    found
}

/// Lines of code: comments and strings of documentation are left out.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")).map(|(n, line)| (n + 1, line))
}

#[test]
fn layers_import_only_what_is_below_them() {
    let mut wrong = Vec::new();
    for (layer, may) in LAYERS {
        for (path, text) in sources(&format!("src/{layer}")) {
            for (number, line) in code(&text) {
                for (other, _) in LAYERS.iter().filter(|(other, _)| other != layer && !may.contains(other)) {
                    if line.contains(&format!("crate::{other}")) {
                        wrong.push(format!("{}:{number}: {layer} imports {other}", path.display()));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_core_is_pure() {
    let mut wrong = Vec::new();
    for layer in ["amqp", "broker", "node"] {
        for (path, text) in sources(&format!("src/{layer}")) {
            for (number, line) in code(&text) {
                for word in IMPURE.iter().filter(|word| line.contains(**word)) {
                    wrong.push(format!("{}:{number}: {word}", path.display()));
                }
                // A map without a fixed hasher has another order in every process.
                if line.contains("HashMap<") && !line.contains("FixedState") {
                    wrong.push(format!("{}:{number}: a HashMap in random order", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_says_what_it_is() {
    for folder in ["src", "tests", "benches", "examples"] {
        for (path, text) in sources(folder) {
            assert!(text.starts_with("//!"), "{} has no //! header", path.display());
        }
    }
}

#[test]
fn nothing_is_left_unfinished() {
    let marks = ["TO".to_owned() + "DO", "FIX".to_owned() + "ME", "todo".to_owned() + "!(", "#[ign".to_owned() + "ore"];
    for folder in ["src", "tests", "benches", "examples"] {
        for (path, text) in sources(folder) {
            for mark in &marks {
                assert!(!text.contains(mark), "{}: {mark}", path.display());
            }
        }
    }
}

/// Long files are looked at: the limit goes down, never up.
#[test]
fn no_file_has_grown_out_of_hand() {
    for (path, text) in sources("src") {
        let lines = text.lines().count();
        assert!(lines <= 560, "{}: {lines} lines", path.display());
    }
}

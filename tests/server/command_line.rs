//! The command line: what it prints, what it writes, how it fails.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};

use crate::support::broker::{Broker, Scratch, leveret};
use crate::support::eventually;
use crate::support::raw::Raw;

/// What a command that cannot start says: its exit code and the lines on standard error.
fn refused(command: &mut Command) -> (Option<i32>, Vec<String>) {
    let Output { status, stdout, stderr } = command.stdin(Stdio::null()).output().expect("the broker runs");
    assert_eq!(String::from_utf8_lossy(&stdout), "", "nothing is announced");
    let lines = String::from_utf8_lossy(&stderr).lines().map(str::to_owned).collect();
    (status.code(), lines)
}

pub(crate) fn one_line(command: &mut Command, code: i32) -> String {
    let (status, lines) = refused(command);
    assert_eq!((status, lines.len()), (Some(code), 1), "{lines:?}");
    lines.into_iter().next().expect("a line")
}

#[test]
fn one_line_on_standard_output_names_the_real_address() {
    let scratch = Scratch::new();
    let ready = scratch.path("ready.json");
    let mut child = leveret()
        .args(["serve", "--amqp", "127.0.0.1:0", "--http", "127.0.0.1:0", "--ready-file"])
        .arg(&ready)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the broker starts");
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).expect("a line");
    let text = eventually("a ready file", || fs::read_to_string(&ready).ok());
    let told: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let address: SocketAddr = told["amqp"].as_str().unwrap().parse().expect("an address");
    let connected = TcpStream::connect(address).is_ok();
    child.kill().expect("killed");
    child.wait().expect("ended");
    let mut more = String::new();
    output.read_to_string(&mut more).expect("the rest");

    assert!(connected, "served at {address}");
    assert_ne!(address.port(), 0);
    assert!(line.contains(&address.to_string()), "{line}");
    assert_eq!(more, "", "one line only");
    assert_eq!(told["pid"], child.id());
}

#[test]
fn the_ready_file_replaces_an_old_one_whole_and_leaves_nothing_beside_it() {
    let scratch = Scratch::new();
    let ready = scratch.file("ready.json", "left by an earlier broker");
    let mut command = leveret();
    command
        .args(["--amqp", "127.0.0.1:0", "--http", "127.0.0.1:0", "--ready-file"])
        .arg(&ready)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut child = command.spawn().expect("the broker starts");
    let text = eventually("a new ready file", || {
        let text = fs::read_to_string(&ready).expect("there is a file at every moment");
        (text != "left by an earlier broker").then_some(text)
    });
    let names: Vec<_> = fs::read_dir(ready.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    child.kill().expect("killed");
    child.wait().expect("ended");

    let told: serde_json::Value = serde_json::from_str(&text).expect("the first new content is complete");
    let keys: Vec<&str> = told.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["amqp", "http", "pid"]);
    assert_eq!(names, ["ready.json"]);
}

#[test]
fn a_ready_file_that_cannot_be_written_is_an_error() {
    let scratch = Scratch::new();
    let ready = scratch.path("no/such/folder/ready.json");
    let output =
        leveret().args(["--amqp", "127.0.0.1:0", "--http", "127.0.0.1:0", "--ready-file"]).arg(&ready).output().expect("the broker runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(told.contains(ready.to_str().unwrap()), "{told}");
}

#[test]
fn a_port_in_use_is_one_line_and_exit_code_1() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().unwrap().to_string();
    let line = one_line(leveret().args(["--amqp", &address, "--http", "127.0.0.1:0"]), 1);
    assert!(line.contains(&address) && line.contains("in use"), "{line}");
}

#[test]
fn an_unreadable_configuration_is_one_line_and_exit_code_1() {
    let scratch = Scratch::new();
    let path = scratch.path("missing.conf");
    let line = one_line(leveret().arg("--config").arg(&path), 1);
    assert!(line.contains("missing.conf") && line.contains("No such file"), "{line}");
}

#[test]
fn a_wrong_key_is_named_with_its_line_and_the_nearest_key() {
    let scratch = Scratch::new();
    let path = scratch.file("leveret.conf", "# a comment\nheartbeat = 5\nmax_mesage_size = 5\n");
    let line = one_line(leveret().arg("--config").arg(&path), 1);
    for part in ["leveret.conf", "line 3", "'max_mesage_size'", "'max_message_size'"] {
        assert!(line.contains(part), "{line}");
    }
}

#[test]
fn a_wrong_value_is_named_with_its_line() {
    let scratch = Scratch::new();
    for (lines, part) in [
        ("\nheartbeat = often\n", "line 2"),
        ("channel_max = 70000\n", "70000"),
        ("compat = 5.0\n", "5.0"),
        ("vm_memory_high_watermark.absolute = 64 gallons\n", "gallons"),
        ("just words\n", "key = value"),
    ] {
        let path = scratch.file("leveret.conf", lines);
        let line = one_line(leveret().arg("--config").arg(&path), 1);
        assert!(line.contains(part) && line.contains("line "), "{line}");
    }
}

#[test]
fn a_bad_flag_is_one_line_and_exit_code_2() {
    for flags in [&["--nope"][..], &["--amqp", "somewhere"], &["--log", "loud"], &["serve", "extra"], &["--data-dir", "d", "--in-memory"]] {
        let line = one_line(leveret().args(flags), 2);
        assert!(flags.iter().any(|flag| line.contains(flag)), "{flags:?}: {line}");
    }
}

#[test]
fn an_unknown_profile_is_answered_with_those_that_exist() {
    let line = one_line(leveret().args(["--compat", "2.8"]), 2);
    for part in ["2.8", "permissive", "3.13", "4.3"] {
        assert!(line.contains(part), "{line}");
    }
}

#[test]
fn the_profile_decides_the_version_that_clients_see() {
    for (profile, version) in [("3.13", "3.13.7"), ("4.0", "4.0.9"), ("4.3", "4.3.5"), ("permissive", "4.3.5")] {
        let mut command = leveret();
        command.args(["--compat", profile]);
        let broker = Broker::launch(command, Scratch::new());
        let mut raw = Raw::connect(&broker);
        raw.send(b"AMQP\x00\x00\x09\x01");
        let start = raw.next().expect("connection.start");
        let told = String::from_utf8_lossy(&start.payload).into_owned();
        assert!(told.contains("RabbitMQ") && told.contains(version), "{profile}: {told}");
    }
}

#[test]
fn a_data_directory_is_made_and_named() {
    let scratch = Scratch::new();
    let folder = scratch.path("new/data");
    let mut command = leveret();
    command.arg("--data-dir").arg(&folder);
    let broker = Broker::launch(command, scratch);
    Raw::channel(&broker).round_trip_on_new_queue("q");
    let log = broker.log();
    assert!(log.contains(folder.to_str().unwrap()), "{log}");
    assert!(folder.is_dir());
}

#[test]
fn the_command_line_goes_before_the_file() {
    let scratch = Scratch::new();
    let config = scratch.file("leveret.conf", "listeners.tcp.default = 127.0.0.1:1\ncompat = 3.13\nlog.console.level = error\n");
    let mut command = leveret();
    command.args(["--compat", "4.1", "--log", "debug", "--config"]).arg(&config);
    let broker = Broker::launch(command, scratch);
    let mut raw = Raw::connect(&broker);
    raw.send(b"AMQP\x00\x00\x09\x01");
    let start = raw.next().expect("connection.start");
    assert!(String::from_utf8_lossy(&start.payload).contains("4.1.8"));
    drop(raw);
    eventually("a debug line about the connection", || broker.log().contains("DEBUG").then_some(()));
}

/// With them is who has no password; beside the HTTP API is not.
#[test]
fn metrics_are_served_where_the_command_line_says() {
    let scratch = Scratch::new();
    let mut command = leveret();
    command.args(["--metrics", "127.0.0.1:0"]);
    let broker = Broker::launch(command, scratch);
    let status = |address: SocketAddr| {
        let mut stream = TcpStream::connect(address).expect("a connection");
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").expect("written");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer.lines().next().map(str::to_owned)
    };
    assert_eq!(status(broker.metrics()).as_deref(), Some("HTTP/1.1 200 OK"));
    assert_eq!(status(broker.http()).as_deref(), Some("HTTP/1.1 401 Unauthorized"));
}

#[test]
fn help_and_version_are_answered() {
    for (flag, part) in [("--help", "--ready-file"), ("--version", env!("CARGO_PKG_VERSION"))] {
        let output = leveret().arg(flag).output().expect("the broker runs");
        assert_eq!(output.status.code(), Some(0));
        assert!(String::from_utf8_lossy(&output.stdout).contains(part), "{flag}");
    }
}

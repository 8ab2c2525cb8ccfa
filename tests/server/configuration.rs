//! Where settings come from, how they are printed, where the log goes.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};

use crate::command_line::one_line;
use crate::support::broker::{Broker, Scratch, leveret};
use crate::support::eventually;
use crate::support::raw::Raw;
use crate::support::wire;

/// `leveret config` with more arguments: the exit code, standard output, standard error.
fn printed(command: &mut Command) -> (Option<i32>, String, String) {
    let output = command.stdin(Stdio::null()).output().expect("the command runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn line<'a>(text: &'a str, key: &str) -> &'a str {
    let mut found = text.lines().filter(|line| line.strip_prefix(key).is_some_and(|rest| rest.starts_with(" = ")));
    let line = found.next().unwrap_or_else(|| panic!("{key} is not in {text}"));
    assert_eq!(found.next(), None, "{key} is there once");
    line
}

#[test]
fn each_source_goes_before_those_before_it() {
    let scratch = Scratch::new();
    let first = scratch.file("first.conf", "heartbeat = 11\nframe_max = 9000\nchannel_max = 5\ndefault_user = file\ncompat = 3.13\n");
    let second = scratch.file("second.conf", "channel_max = 6\n");
    let mut command = leveret();
    command.arg("config").arg("--config").arg(&first).arg("--config").arg(&second).args(["--compat", "4.1", "--amqp", "127.0.0.1:0"]);
    command.env("RABBITMQ_DEFAULT_USER", "hare").env("RABBITMQ_DEFAULT_PASS", "carrot").env("RABBITMQ_NODE_PORT", "5673");
    let (code, text, complaints) = printed(&mut command);
    assert_eq!((code, complaints.as_str()), (Some(0), ""));
    assert_eq!(line(&text, "heartbeat"), format!("heartbeat = 11    # {}: line 1", first.display()));
    assert_eq!(line(&text, "channel_max"), format!("channel_max = 6    # {}: line 1", second.display()));
    assert_eq!(line(&text, "default_user"), "default_user = hare    # environment: RABBITMQ_DEFAULT_USER");
    assert_eq!(line(&text, "compat"), "compat = 4.1    # command line: --compat");
    assert_eq!(line(&text, "listeners.tcp.default"), "listeners.tcp.default = 127.0.0.1:0    # command line: --amqp");
    assert_eq!(line(&text, "outbox_high"), "outbox_high = 1048576");
    assert_eq!(line(&text, "# default_pass"), "# default_pass = [redacted]    # environment: RABBITMQ_DEFAULT_PASS");
    assert!(!text.contains("carrot"));

    let again = scratch.file("again.conf", &text);
    let mut command = leveret();
    command.args(["config", "--config"]).arg(&again);
    let (code, text_again, _) = printed(&mut command);
    assert_eq!(code, Some(0));
    let values = |text: &str| {
        text.lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.split('#').next().unwrap().trim_end().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(values(&text_again), values(&text));
}

#[test]
fn the_environment_names_files() {
    let scratch = Scratch::new();
    let defaults = scratch.file("defaults.conf", "heartbeat = 9\nvhost_max = 9\n");
    let main = scratch.file("rabbitmq.conf", "heartbeat = 1\nframe_max = 9001\nchannel_max = 1\n");
    let more = scratch.path("conf.d");
    fs::create_dir(&more).expect("a folder");
    fs::write(more.join("20.conf"), "channel_max = 20\n").expect("a file");
    fs::write(more.join("10.conf"), "channel_max = 10\nframe_max = 9010\n").expect("a file");
    let advanced = scratch.file("advanced.config", "%% nothing\n[{rabbit, [{heartbeat, 7}]}].\n");
    let mut command = leveret();
    command.arg("config").env("RABBITMQ_CONFIG_FILE", main.with_extension("")).env("RABBITMQ_CONFIG_FILES", &more);
    command.env("RABBITMQ_ADVANCED_CONFIG_FILE", &advanced).env("LEVERET_DEFAULTS", &defaults);
    let (code, text, complaints) = printed(&mut command);
    assert_eq!(code, Some(0));
    let warning = format!("leveret: warning: RABBITMQ_ADVANCED_CONFIG_FILE: {} has Erlang terms, which are not read\n", advanced.display());
    assert_eq!(complaints, warning);
    assert_eq!(line(&text, "vhost_max"), format!("vhost_max = 9    # {}: line 2", defaults.display()));
    assert_eq!(line(&text, "heartbeat"), format!("heartbeat = 1    # {}: line 1", main.display()));
    assert_eq!(line(&text, "frame_max"), format!("frame_max = 9010    # {}: line 2", more.join("10.conf").display()));
    assert_eq!(line(&text, "channel_max"), format!("channel_max = 20    # {}: line 1", more.join("20.conf").display()));

    fs::write(&advanced, "%% nothing\n[ ].\n").expect("a file");
    assert_eq!(printed(&mut command).2, "");
    command.env("RABBITMQ_CONFIG_FILE", scratch.path("gone")).env_remove("RABBITMQ_CONFIG_FILES");
    let (code, _, complaints) = printed(&mut command);
    assert_eq!(code, Some(0), "RabbitMQ starts without it, too");
    assert!(complaints.contains("gone does not exist"), "{complaints}");
}

#[test]
fn a_file_is_checked() {
    let scratch = Scratch::new();
    let good = scratch.file("good.conf", "heartbeat = 5\nmqtt.vhost = /\n");
    let (code, text, complaints) = printed(leveret().args(["config", "--check"]).arg(&good));
    assert_eq!((code, text.as_str()), (Some(0), ""));
    assert_eq!(complaints, "leveret: warning: keys of RabbitMQ that mean nothing here: mqtt.vhost\n");
    let bad = scratch.file("bad.conf", "heartbeats = 5\n\nframe_max = large\n");
    let (code, text, complaints) = printed(leveret().args(["config", "--check"]).arg(&bad));
    assert_eq!((code, text.as_str()), (Some(1), ""));
    let path = bad.display();
    assert_eq!(
        complaints,
        format!(
            "leveret: {path}: line 1: unknown key 'heartbeats'; did you mean 'heartbeat'?\n\
             {path}: line 3: frame_max: 'large' is no amount of bytes\n"
        )
    );
}

#[test]
fn keys_are_explained() {
    let (code, text, _) = printed(leveret().args(["config", "--explain"]));
    assert_eq!(code, Some(0));
    assert!(text.contains("\n## How many channels a connection may have; 0 is no limit.\nchannel_max = 2047\n"), "{text}");
}

#[test]
fn what_the_official_image_refuses_is_refused_in_its_words() {
    for arguments in [&[][..], &["config"]] {
        let mut command = leveret();
        command.args(arguments).env("RABBITMQ_DEFAULT_PASS_FILE", "/run/secrets/p");
        let (code, text, complaints) = printed(&mut command);
        assert_eq!((code, text.as_str()), (Some(1), ""));
        assert!(
            complaints.starts_with(
                "error: RABBITMQ_DEFAULT_PASS_FILE is set but deprecated\nerror: deprecated environment variables detected\n\nPlease use"
            ),
            "{complaints}"
        );
    }
}

#[test]
fn the_environment_of_a_container() {
    let scratch = Scratch::new();
    let (pid, data) = (scratch.path("pid"), scratch.path("data"));
    let mut command = leveret();
    command.env("RABBITMQ_DEFAULT_USER", "hare").env("RABBITMQ_DEFAULT_PASS", "carrot").env("RABBITMQ_PID_FILE", &pid);
    command.env("RABBITMQ_MNESIA_BASE", &data).env("RABBITMQ_NODENAME", "rabbit@burrow").env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "+S 1");
    let broker = Broker::launch(command, scratch);
    let mut raw = Raw::connect(&broker);
    raw.send(wire::HEADER);
    raw.expect(wire::START);
    raw.send(&wire::start_ok("hare", "carrot"));
    raw.expect(wire::TUNE);
    assert_eq!(fs::read_to_string(&pid).expect("a pid file"), format!("{}\n", broker.pid()));
    assert!(data.join("rabbit@burrow").is_dir());
    let log = broker.log();
    assert_eq!(log.matches("mean nothing here").count(), 1, "{log}");
    assert!(log.contains("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS"), "{log}");
}

#[test]
fn every_listener_serves() {
    let free = || TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let (first, second) = (free(), free());
    let scratch = Scratch::new();
    let config = scratch.file("leveret.conf", &format!("listeners.tcp.a = {first}\nlisteners.tcp.b = {second}\n"));
    let mut command = leveret();
    command.args(["--http", "127.0.0.1:0", "--config"]).arg(config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().expect("the broker starts");
    let served = [first, second].map(|address| {
        let mut stream = eventually("a listener", || TcpStream::connect(address).ok());
        stream.write_all(wire::HEADER).expect("sent");
        let mut answer = [0; 11];
        stream.read_exact(&mut answer).map(|()| answer)
    });
    child.kill().expect("killed");
    child.wait().expect("ended");
    for answer in served {
        assert_eq!(answer.expect("connection.start")[7..], [0, 10, 0, 10]);
    }
}

#[test]
fn the_log_goes_to_a_file_as_json() {
    let scratch = Scratch::new();
    let path = scratch.file("broker.log", "what was there\n");
    let lines = format!(
        "log.dir = {}\nlog.file = broker.log\nlog.file.level = debug\nlog.file.formatter = json\nlog.console.level = none\n",
        path.parent().unwrap().display()
    );
    let config = scratch.file("leveret.conf", &lines);
    let mut command = leveret();
    command.arg("--config").arg(config);
    let broker = Broker::launch(command, scratch);
    drop(Raw::channel(&broker));
    // The end of somebody who has not said who they are is not worth more than a debug line.
    drop(Raw::connect(&broker));
    let text = eventually("the ends of both connections in the log", || {
        fs::read_to_string(&path).ok().filter(|text| text.lines().filter(|line| line.contains("closing AMQP connection")).count() == 2)
    });
    let mut log = text.lines();
    assert_eq!(log.next(), Some("what was there"));
    for line in log {
        let entry: serde_json::Value = serde_json::from_str(line).expect("JSON");
        for key in ["time", "level", "msg", "domain"] {
            assert!(entry[key].is_string(), "{line}");
        }
    }
    assert!(text.contains(r#""level":"debug""#), "{text}");
    assert_eq!(broker.log(), "");
}

#[test]
fn the_console_can_be_json_on_standard_output() {
    let scratch = Scratch::new();
    let config =
        scratch.file("leveret.conf", "log.console.stdio = stdout\nlog.console.formatter = json\nmqtt.vhost = /\ndefault_user = a\n");
    let mut child = leveret()
        .args(["--amqp", "127.0.0.1:0", "--http", "127.0.0.1:0", "--config"])
        .arg(config)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the broker starts");
    let mut first = String::new();
    let read = std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut first);
    child.kill().expect("killed");
    child.wait().expect("ended");
    read.expect("a line");
    let entry: serde_json::Value = serde_json::from_str(&first).expect("JSON");
    assert_eq!(
        (entry["level"].as_str(), entry["msg"].as_str()),
        (Some("warning"), Some("keys of RabbitMQ that mean nothing here: mqtt.vhost"))
    );
}

#[test]
fn a_log_file_that_cannot_be_opened_is_an_error() {
    let scratch = Scratch::new();
    let config = scratch.file("leveret.conf", "log.file = /no/such/folder/x.log\n");
    let line = one_line(leveret().arg("--config").arg(config), 1);
    assert_eq!(line, "leveret: cannot write the log to /no/such/folder/x.log: No such file or directory (os error 2)");
}

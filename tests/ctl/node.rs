//! Limits, alarms, stopping and starting: what clients notice of it. And the ways to a node.

use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;

use super::http::Http;
use super::support::broker::{Broker, Scratch, leveret};
use super::support::eventually;
use super::support::raw::Raw;
use super::tools::{Tools, running};

pub(crate) fn limits(tools: &Tools, broker: &Broker) {
    let said = |words: &[&str]| tools.run(&[&["rabbitmq-diagnostics"], words].concat());
    let node = "leveret@localhost";
    tools.ctl_says(&["set_vm_memory_high_watermark", "0.000000001"], &format!("Setting memory threshold on {node} to 0.000000001 ...\n"));
    let alarm = said(&["-q", "check_local_alarms"]);
    assert_eq!((alarm.code, alarm.err), (69, format!("Error:\nMemory alarm on node {node}\n")));
    assert_eq!(said(&["-q", "alarms"]).out, format!("Memory alarm on node {node}\n"));
    tools.ctl_says(&["set_vm_memory_high_watermark", "absolute", "1GB"], &format!("Setting memory threshold on {node} to 1GB bytes ...\n"));
    assert_eq!(said(&["-q", "check_local_alarms"]).code, 0);
    for (words, why) in [
        (&["set_vm_memory_high_watermark", "1.5"][..], "Bad argument: The threshold should be a fraction between 0.0 and 1.0"),
        (&["set_vm_memory_high_watermark", "absolute", "1.5"], "Bad argument: The threshold should be an integer."),
        (&["set_disk_free_limit", "xx"], "Bad argument."),
    ] {
        let refused = tools.run(&[&["rabbitmqctl"], words].concat());
        assert_eq!(refused.code, 65);
        assert!(refused.err.starts_with(&format!("Error (argument validation): {why}\nArguments given:\n\t")), "{refused:?}");
    }
    tools.ctl_says(&["set_disk_free_limit", "1000TB"], &format!("Setting disk free limit on {node} to 1000TB bytes ...\n"));
    assert_eq!(said(&["check_alarms"]).err, format!("Free disk space alarm on node {node}\n"));
    tools.ctl_says(&["deactivate_free_disk_space_monitoring"], &format!("Deactivating free disk space monitoring on node {node}...\n"));
    assert_eq!(said(&["check_alarms"]).code, 0);
    tools.ctl_says(&["activate_free_disk_space_monitoring"], &format!("Activating free disk space monitoring on node {node}...\n"));
    assert_eq!(said(&["check_alarms"]).code, 69);
    tools.ctl_says(
        &["set_disk_free_limit", "mem_relative", "0.0"],
        &format!("Setting disk free limit on {node} to 0.0 times the total RAM ...\n"),
    );
    assert_eq!(said(&["check_alarms"]).code, 0);
    tools.ctl_says(&["eval", "rabbit_alarm:set_alarm({{resource_limit, memory, node()}, []})."], "ok\n");
    assert_eq!(said(&["check_alarms"]).code, 69);
    tools.ctl_says(&["eval", "rabbit_alarm:clear_alarm({resource_limit, memory, node()})."], "ok\n");
    assert_eq!(said(&["check_alarms"]).code, 0);
    tools.ctl_fails(&["eval", "1+1."], 64, "Error: eval is not available: leveret has no Erlang runtime\n");
    tools.ctl_says(&["set_log_level", "debug"], "Setting log level to \"debug\" ...\n");
    drop(std::net::TcpStream::connect(broker.address()).expect("connected"));
    eventually("a line for debugging", || broker.log().contains("DEBUG").then_some(()));
    let no_level = "Error:\nlevel nope is not supported. Try one of debug, info, warning, error, critical, none\n";
    tools.ctl_fails(&["set_log_level", "nope"], 69, no_level);
}

pub(crate) fn stopping_and_starting(tools: &Tools, broker: &Broker) {
    let refused = |words: &[&str], is: &str, verb: &str, command: &str| {
        let said = tools.run(&[&["rabbitmqctl"], words].concat());
        let text = format!(
            "Error: this command requires the 'rabbit' app to be {is} on the target node. {verb} it with 'rabbitmqctl {command}'.\n"
        );
        assert_eq!(said.code, 64);
        assert!(said.err.starts_with(&text), "{said:?}");
    };
    let mut open = Raw::channel(broker);
    open.declare("kept", 0);
    let is_refused = || TcpStream::connect(broker.address()).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused);
    tools.ctl(&["suspend_listeners"]);
    assert!(is_refused(), "the port is closed");
    open.round_trip("kept");
    let reached = tools.run(&["rabbitmq-diagnostics", "check_port_connectivity"]);
    assert_eq!(reached.code, 69, "{reached:?}");
    tools.ctl(&["resume_listeners"]);
    drop(Raw::channel(broker));
    // Somebody else takes the port.
    tools.ctl(&["suspend_listeners"]);
    let taken = TcpListener::bind(broker.address()).expect("the port is free");
    let refused_to = tools.run(&["rabbitmqctl", "resume_listeners"]);
    let text = format!("Error:\ncannot listen for AMQP on {}: ", broker.address());
    assert!(refused_to.code == 69 && refused_to.err.starts_with(&text), "{refused_to:?}");
    drop(taken);
    tools.ctl(&["resume_listeners"]);
    drop(Raw::channel(broker));

    let http = Http::nobody(broker.http());
    let service =
        |http: &Http| ["is-in-service", "ready-to-serve-clients"].map(|check| http.get(&format!("/api/health/checks/{check}")).status);
    assert_eq!(service(&http), [200, 200]);
    let node = "leveret@localhost";
    let draining = format!("Will put node {node} into maintenance mode. The node will no longer serve any client traffic!\n");
    assert_eq!(tools.run(&["rabbitmq-upgrade", "drain"]).out, draining);
    let told = open.closed();
    assert_eq!((told.code, told.text.as_str()), (320, "CONNECTION_FORCED - Node was put into maintenance mode"));
    assert!(is_refused(), "nobody new is let in");
    assert_eq!(service(&http), [503, 503]);
    let unserved = "the rabbit node is not currently available to serve";
    assert_eq!(http.get("/api/health/checks/ready-to-serve-clients").json()["reason"], unserved);
    let drained = |value: bool| {
        assert_eq!(Http::guest(broker.http()).get(&format!("/api/nodes/{node}")).json()["being_drained"], value);
        let status = if value { "marked for maintenance" } else { "not under maintenance" };
        assert!(tools.ctl(&["cluster_status"]).contains(&format!("Node: {node}, status: {status}\n")));
        assert!(tools.ctl(&["status"]).contains(&format!("Is under maintenance?: {value}\n")));
    };
    drained(true);
    let reviving = format!(
        "Will put node {node} back into regular operating mode. The node will again serve client traffic and host primary queue replicas.\n"
    );
    assert_eq!(tools.run(&["rabbitmq-upgrade", "revive"]).out, reviving);
    drained(false);
    assert_eq!(service(&http), [200, 200]);
    open = Raw::channel(broker);
    open.round_trip("kept");
    // Who suspends listeners alone has the node in service.
    tools.ctl(&["suspend_listeners"]);
    assert_eq!(service(&http), [200, 503]);
    tools.ctl(&["resume_listeners"]);

    refused(&["reset"], "stopped", "Stop", "stop_app");
    tools.ctl_says(&["stop_app"], "Stopping rabbit application on node leveret@localhost ...\n");
    assert_eq!(open.closed().code, 320);
    assert!(is_refused(), "nobody new is let in");
    refused(&["list_queues"], "running", "Start", "start_app");
    let stopped = tools.run(&["rabbitmq-diagnostics", "-q", "check_running"]);
    let text = "Error:\nRabbitMQ on node leveret@localhost is not running or has not fully booted yet (check with is_booting)\n";
    assert_eq!((stopped.code, stopped.err.as_str()), (69, text));
    tools.ctl_says(&["start_app"], "Starting node leveret@localhost ...\n");
    assert!(tools.ctl(&["-s", "list_queues", "name"]).contains("kept\n"), "nothing is lost");

    tools.ctl(&["add_vhost", "gone"]);
    tools.ctl(&["stop_app"]);
    tools.ctl_fails(&["change_cluster_node_type", "ram"], 70, "Error:\nNon-clustered nodes can only be disc nodes.\n");
    tools.ctl_says(&["reset"], "Resetting node leveret@localhost ...\n");
    tools.ctl_says(&["force_reset"], "Forcefully resetting node leveret@localhost ...\n");
    tools.ctl(&["start_app"]);
    tools.ctl_says(&["-s", "list_queues"], "");
    tools.ctl_says(&["-s", "list_vhosts"], "/\n");
    tools.ctl_says(&["-s", "list_users"], "guest\t[administrator]\n");
    tools.ctl_says(&["await_startup", "-t", "20"], "");
    let pid = broker.pid().to_string();
    assert!(tools.ctl(&["wait", "--pid", &pid]).ends_with("are running on node 'leveret@localhost'\n"));
    drop(Raw::channel(broker));
}

pub(crate) fn ending(tools: &Tools, broker: &mut Broker) {
    tools.ctl_says(&["stop"], "Stopping and halting node leveret@localhost ...\n");
    assert_eq!(broker.ended().code(), Some(0));
    assert!(!tools.home.data().join("leveret.sock").exists(), "nothing is left");
    let nobody = tools.run(&["rabbitmqctl", "list_queues"]);
    assert_eq!(nobody.code, 69);
    let text =
        "Error: unable to perform an operation on node 'leveret@localhost'. Please see diagnostics information and suggestions below.\n";
    assert!(nobody.err.starts_with(text), "{nobody:?}");
    let ping = tools.run(&["rabbitmq-diagnostics", "-q", "ping"]);
    assert_eq!((ping.code, ping.err.as_str()), (69, "Error:\nFailed to connect and authenticate to leveret@localhost in 60000 ms\n"));
    let late = tools.run(&["rabbitmqctl", "await_startup", "-t", "0.1"]);
    let text = "Error: operation await_startup on node leveret@localhost timed out. Timeout value used: 100\n";
    assert_eq!((late.code, late.err.as_str()), (75, text));

    let mut broker = tools.home.start();
    let said = tools.ctl(&["shutdown"]);
    assert!(said.ends_with("successfully shut down\n"), "{said}");
    assert_eq!(broker.ended().code(), Some(0));
}

#[test]
fn what_was_reset_stays_so() {
    let (tools, broker) = running();
    Raw::channel(&broker).declare("durable", 2);
    tools.ctl(&["add_user", "u", "p"]);
    tools.ctl(&["stop_app"]);
    tools.ctl(&["reset"]);
    broker.end(super::support::broker::End::Killed);
    let _broker = tools.home.start();
    tools.ctl_says(&["-s", "list_queues"], "");
    tools.ctl_says(&["-s", "list_users"], "guest\t[administrator]\n");
}

#[test]
fn a_log_file_is_followed_and_rotated() {
    let scratch = Scratch::new();
    let log = scratch.path("leveret.log");
    let config = format!("log.file = {}\nlog.file.level = info\ncontrol_socket = {}\n", log.display(), scratch.path("c").display());
    let config = scratch.file("leveret.conf", &config);
    let mut command = leveret();
    command.arg("--in-memory").arg("--config").arg(config);
    let socket = scratch.path("c").display().to_string();
    let old = scratch.path("leveret.log.0");
    let broker = Broker::launch(command, scratch);
    let tools = Tools::new();
    let ctl = |words: &[&str]| tools.ctl(&[&["--socket", socket.as_str()], words].concat());
    assert!(ctl(&["-q", "log_location"]).starts_with(&log.display().to_string()));
    assert!(ctl(&["-q", "log_tail", "-N", "100"]).contains("started TCP listener on "));
    let stream =
        tools.program("rabbitmq-diagnostics").args(["--socket", &socket, "log_tail_stream", "-d", "3"]).spawn().expect("a program");
    // It begins at the end of the file, so that it has to be there first.
    let begun = std::time::Instant::now();
    while begun.elapsed() < std::time::Duration::from_secs(2) {
        drop(Raw::channel(&broker));
    }
    assert!(ctl(&["rotate_logs"]).starts_with("Rotating logs for node "));
    drop(Raw::channel(&broker));
    let said = stream.wait_with_output().expect("it ends");
    let said = String::from_utf8(said.stdout).expect("text");
    assert!(said.starts_with("Streaming logs from node ") && said.contains("accepting AMQP connection "), "{said}");
    assert!(std::fs::read_to_string(old).expect("an old file").contains("started TCP listener on "));
    let new = std::fs::read_to_string(&log).expect("a new file");
    assert!(new.contains("accepting AMQP connection ") && !new.contains("started TCP listener on "), "{new}");
}

#[test]
fn a_command_line_that_is_wrong_is_explained() {
    let tools = Tools::new();
    for (words, code, text) in [
        (
            &["add_user"][..],
            64,
            "Error (argument validation): not enough arguments.\nArguments given:\n\tadd_user\n\nUsage\n\nrabbitmqctl [--node <node>] [--longnames] [--quiet] add_user <username> <password>\n",
        ),
        (
            &["add_user", "a", "b", "c"],
            64,
            "Error (argument validation): too many arguments.\nArguments given:\n\tadd_user a b c\n\nUsage\n\nrabbitmqctl [--node <node>] [--longnames] [--quiet] add_user <username> <password>\n",
        ),
        (&["list_quues"], 64, "\nCommand 'list_quues' not found. \nDid you mean 'list_queues'? \n"),
        (&["help", "nope"], 64, "Error:\n\nCommand 'nope' not found.\n"),
    ] {
        tools.ctl_fails(words, code, text);
    }
    let options = tools.run(&["rabbitmqctl", "list_queues", "--nope"]);
    assert_eq!(options.code, 64);
    assert!(options.err.starts_with("Error (argument validation): Invalid options for this command:\n--nope : \n"), "{options:?}");
    assert_eq!(tools.run(&["rabbitmqctl"]).code, 64);
    assert!(tools.ctl(&["help"]).contains("\n   list_queues "));
    assert!(tools.ctl(&["help", "list_queues"]).contains("Lists queues and their properties."));
    assert!(tools.ctl(&["list_queues", "--help"]).contains("Lists queues and their properties."));
    assert_eq!(tools.ctl(&["version"]), format!("{}\n", env!("CARGO_PKG_VERSION")));
}

/// As its own program, through its options, and for a node that keeps everything in memory.
#[test]
fn the_ways_to_a_node() {
    let (tools, _broker) = running();
    let socket = tools.home.data().join("leveret.sock").display().to_string();
    let said = tools.run(&["leveret", "ctl", "-q", "ping"]);
    assert_eq!((said.code, said.out.as_str()), (0, "Ping succeeded\n"));
    let plugins = tools.run(&["leveret", "ctl", "plugins", "-s", "list", "rabbitmq_prom"]);
    assert_eq!((plugins.code, plugins.out.as_str()), (0, "rabbitmq_prometheus\n"));
    let elsewhere = |words: &[&str]| {
        let mut command = tools.program("rabbitmqctl");
        command.env_remove("LEVERET_DATA_DIR").env("RABBITMQ_NODE_PORT", "1");
        command.args(words).output().expect("the program ends").status.code()
    };
    assert_eq!(elsewhere(&["ping"]), Some(69));
    assert_eq!(elsewhere(&["ping", "--socket", &socket]), Some(0));
    assert_eq!(elsewhere(&["ping", "--data-dir", &tools.home.data().display().to_string(), "-n", "rabbit@x"]), Some(0));
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&socket).expect("a socket").permissions());
    assert_eq!(mode & 0o777, 0o600);

    let scratch = Scratch::new();
    let config = scratch.file("leveret.conf", &format!("control_socket = {}\n", scratch.path("c").display()));
    let mut command = leveret();
    command.arg("--in-memory").arg("--config").arg(config);
    let path = scratch.path("c").display().to_string();
    let _broker = Broker::launch(command, scratch);
    assert_eq!(elsewhere(&["ping", "--socket", &path]), Some(0));
}

#[test]
fn rabbitmq_server_is_the_broker() {
    let tools = Tools::new();
    let scratch = Scratch::new();
    let config = scratch.file("rabbitmq.conf", "listeners.tcp.default = 127.0.0.1:0\nmanagement.tcp.port = 127.0.0.1:0\n");
    let mut command = tools.program("rabbitmq-server");
    command.arg("-detached").env("RABBITMQ_CONFIG_FILE", config).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().expect("the program starts");
    tools.ctl(&["await_startup", "-t", "20"]);
    tools.ctl(&["stop"]);
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

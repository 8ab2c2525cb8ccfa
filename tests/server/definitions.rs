//! The definitions file: what is there from the start, what SIGHUP changes, files that are refused.

use lapin::Channel;
use lapin::options::QueueDeclareOptions;

use crate::support::broker::{Broker, End, Home, Scratch, leveret};
use crate::support::client::{channel, confirming, connect, declare, publish, ready, soon};
use crate::support::eventually;

/// A broker with this definitions file, and where the file is.
fn start(definitions: &str) -> (Broker, std::path::PathBuf) {
    let scratch = Scratch::new();
    let file = scratch.file("definitions.json", definitions);
    let config = scratch.file("leveret.conf", &format!("load_definitions = {}\n", file.display()));
    let mut command = leveret();
    command.arg("--config").arg(config);
    (Broker::launch(command, scratch), file)
}

fn max_length(name: &str, pattern: &str, length: u32) -> String {
    format!(r#"{{"vhost": "/", "name": "{name}", "pattern": "{pattern}", "apply-to": "queues", "definition": {{"max-length": {length}}}}}"#)
}

/// With a definitions file nobody is there who is not in it.
pub(crate) const GUEST: &str = r#""users": [{"name": "guest", "password": "guest", "tags": "administrator"}],
    "permissions": [{"user": "guest", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}]"#;

/// A definitions file with these sections.
fn file(sections: &str) -> String {
    format!(r#"{{"rabbit_version": "3.13.7", {GUEST}, {sections}}}"#)
}

/// One with these policies.
fn policies(policies: &[String]) -> String {
    file(&format!(r#""policies": [{}]"#, policies.join(",")))
}

async fn publish_three(channel: &Channel, queue: &str) {
    for body in ["a", "b", "c"] {
        publish(channel, "", queue, body.as_bytes()).await;
    }
}

/// Has the file loaded again and waits until the log says what came of it.
fn reload(broker: &Broker, said: &str) {
    broker.signal("HUP");
    eventually(said, || broker.log().contains(said).then_some(()));
}

#[tokio::test]
async fn policies_are_there_from_the_start() {
    let operator =
        r#"{"vhost": "/", "component": "operator_policy", "name": "o", "value": {"pattern": "^o", "definition": {"max-length": 1}}}"#;
    let users = max_length("p", "^p", 2);
    let (broker, _) = start(&file(&format!(r#""policies": [{users}], "parameters": [{operator}]"#)));
    let connection = connect(&broker).await;
    let channel = confirming(&connection).await;
    for (queue, kept) in [("p", 2), ("o", 1), ("free", 3)] {
        declare(&channel, queue).await;
        publish_three(&channel, queue).await;
        assert_eq!(ready(&channel, queue).await, kept, "{queue}");
    }
}

/// A queue, an exchange and what binds them, with policies over them from the start.
fn topology(queues: &str) -> String {
    file(&format!(
        r#""policies": [{}],
        "exchanges": [{{"name": "x", "vhost": "/", "type": "topic", "durable": true, "auto_delete": false, "internal": false, "arguments": {{}}}}],
        "queues": [{queues}],
        "bindings": [
            {{"source": "x", "vhost": "/", "destination": "q", "destination_type": "queue", "routing_key": "a.*", "arguments": {{}}}},
            {{"source": "x", "vhost": "/", "destination": "not exported", "destination_type": "queue", "routing_key": "", "arguments": {{}}}}
        ]"#,
        max_length("p", "^q", 2)
    ))
}

#[tokio::test]
async fn exchanges_queues_and_bindings_are_there_from_the_start_and_after_a_hangup() {
    let q = r#"{"name": "q", "vhost": "/", "durable": true, "auto_delete": false, "arguments": {}}"#;
    let (broker, file) = start(&topology(q));
    let connection = connect(&broker).await;
    let channel = confirming(&connection).await;
    for body in ["a", "b", "c"] {
        publish(&channel, "x", "a.b", body.as_bytes()).await;
    }
    assert_eq!(ready(&channel, "q").await, 2);
    assert!(broker.log().contains("binding 'x' is left out: not_found: no queue 'not exported' in vhost '/'"), "{}", broker.log());
    std::fs::write(&file, topology(&format!(r#"{q}, {{"name": "r", "vhost": "/", "durable": true, "auto_delete": false}}"#)))
        .expect("written");
    reload(&broker, "definitions loaded again");
    assert_eq!(ready(&channel, "r").await, 0);
    assert_eq!(ready(&channel, "q").await, 2, "what is there stays as it is");
}

/// What somebody has deleted meanwhile stays deleted, until the file is another one.
#[tokio::test]
async fn a_file_that_has_not_changed_may_be_left_alone() {
    for (skips, queues) in [(true, vec!["of the file"]), (false, vec!["deleted", "of the file"])] {
        let home = Home::new();
        let queues_of = |names: &[&str]| {
            let all: Vec<String> = names.iter().map(|name| format!(r#"{{"name": "{name}", "vhost": "/", "durable": true}}"#)).collect();
            file(&format!(r#""queues": [{}]"#, all.join(",")))
        };
        let path = home.scratch().file("definitions.json", &queues_of(&["deleted", "of the file"]));
        home.configure(&format!("load_definitions = {}\ndefinitions.skip_if_unchanged = {skips}\n", path.display()));
        let broker = home.start();
        let connection = connect(&broker).await;
        let there = channel(&connection).await;
        soon(there.queue_delete("deleted".into(), Default::default())).await.expect("deleted");
        broker.end(End::Killed);
        let broker = home.start();
        assert_eq!(existing(&broker, &["deleted", "of the file", "new"]).await, queues, "skips: {skips}");
        broker.end(End::Killed);
        home.scratch().file("definitions.json", &queues_of(&["new"]));
        let broker = home.start();
        let mut all = queues.clone();
        all.push("new");
        assert_eq!(existing(&broker, &["deleted", "of the file", "new"]).await, all, "skips: {skips}");
    }
}

/// Which of these queues there are.
async fn existing<'a>(broker: &Broker, names: &[&'a str]) -> Vec<&'a str> {
    let connection = connect(broker).await;
    let mut existing = Vec::new();
    for name in names {
        let asking = channel(&connection).await;
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        if soon(asking.queue_declare((*name).into(), passive, Default::default())).await.is_ok() {
            existing.push(*name);
        }
    }
    existing
}

#[tokio::test]
async fn a_hangup_applies_what_has_changed() {
    let (broker, file) = start(&policies(&[max_length("changes", "^changed", 2), max_length("goes", "^gone", 1)]));
    let connection = connect(&broker).await;
    let channel = confirming(&connection).await;
    for (queue, kept) in [("changed", 2), ("gone", 1), ("new", 3)] {
        declare(&channel, queue).await;
        publish_three(&channel, queue).await;
        assert_eq!(ready(&channel, queue).await, kept, "{queue}");
    }
    std::fs::write(&file, policies(&[max_length("changes", "^changed", 1), max_length("comes", "^new", 1)])).expect("written");
    reload(&broker, "definitions loaded again");
    for (queue, kept) in [("changed", 1), ("new", 1)] {
        assert_eq!(ready(&channel, queue).await, kept, "{queue}");
    }
    publish_three(&channel, "gone").await;
    assert_eq!(ready(&channel, "gone").await, 4);
}

#[tokio::test]
async fn a_file_that_is_refused_changes_nothing() {
    let (broker, file) = start(&policies(&[max_length("p", "^q", 1)]));
    let connection = connect(&broker).await;
    let channel = confirming(&connection).await;
    declare(&channel, "q").await;
    std::fs::write(&file, "{").expect("written");
    reload(&broker, "definitions not loaded, what was loaded before stays");
    publish_three(&channel, "q").await;
    assert_eq!(ready(&channel, "q").await, 1);
}

#[tokio::test]
async fn a_hangup_without_definitions_is_survived() {
    let broker = Broker::start();
    reload(&broker, "SIGHUP: load_definitions is not set");
    let connection = connect(&broker).await;
    assert!(connection.status().connected());
}

/// What the broker says instead of starting with this definitions file, with the name of the file.
fn refusal(definitions: Option<&str>) -> (String, String) {
    let scratch = Scratch::new();
    let file = scratch.path("definitions.json");
    if let Some(definitions) = definitions {
        std::fs::write(&file, definitions).expect("written");
    }
    let config = scratch.file("leveret.conf", &format!("load_definitions = {}\n", file.display()));
    let output = leveret().args(["--amqp", "127.0.0.1:0", "--http", "127.0.0.1:0", "--config"]).arg(config).output().expect("the broker");
    assert_eq!(output.status.code(), Some(1));
    (String::from_utf8_lossy(&output.stderr).into_owned(), file.display().to_string())
}

#[test]
fn a_file_that_is_refused_at_the_start() {
    let bad_value = policies(&[r#"{"name": "p", "pattern": "q", "definition": {"max-length": "3"}}"#.to_owned()]);
    let bad_vhost = policies(&[r#"{"name": "p", "vhost": "v", "pattern": "q", "definition": {"max-length": 3}}"#.to_owned()]);
    for (definitions, why) in [
        (None, "No such file or directory (os error 2)"),
        (Some("{"), "EOF while parsing an object at line 1 column 1"),
        (Some(&*bad_value), "policy 'p': Validation failed\n\n<<\"3\">> is not a valid maximum length\n"),
        (Some(&*bad_vhost), "policy 'p': Please create virtual host \"v\" prior to importing definitions."),
        (
            Some(r#"{"queues": [{"name": "q", "vhost": "/", "durable": true, "arguments": {"x-max-length": "many"}}]}"#),
            "queue 'q': precondition_failed: invalid arg 'x-max-length' for queue 'q' in vhost '/': \
             \"expected integer, got longstr\"",
        ),
    ] {
        let (said, file) = refusal(definitions);
        assert_eq!(said, format!("leveret: {file}: {why}\n"));
    }
}

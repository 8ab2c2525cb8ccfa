//! rabbitmqadmin: what test containers do with it, its formats, its errors, as those of 3.10.8.

use serde_json::json;

use super::tools::{Said, Tools, running};

struct Admin<'a> {
    tools: &'a Tools,
    port: String,
}

impl Admin<'_> {
    fn run(&self, words: &[&str]) -> Said {
        self.tools.run(&[&["rabbitmqadmin", "-P", self.port.as_str()], words].concat())
    }

    #[track_caller]
    fn says(&self, words: &[&str], out: &str) {
        assert_eq!(self.run(words), Said { code: 0, out: out.to_owned(), err: String::new() }, "{words:?}");
    }

    #[track_caller]
    fn fails(&self, words: &[&str], err: &str) {
        let said = self.run(words);
        assert_eq!((said.code, said.err.as_str()), (1, err), "{words:?}");
    }
}

#[test]
fn what_test_containers_declare() {
    let (tools, broker) = running();
    let admin = Admin { tools: &tools, port: broker.http().port().to_string() };
    admin.says(&["declare", "vhost", "name=vv"], "vhost declared\n");
    admin.says(&["declare", "vhost_limit", "vhost=vv", "name=max-queues", "value=5"], "vhost_limit declared\n");
    admin.says(&["declare", "user", "name=uu", "password=pp", "tags=administrator"], "user declared\n");
    admin.says(&["declare", "user_limit", "user=uu", "name=max-channels", "value=5"], "user_limit declared\n");
    admin.says(&["declare", "permission", "vhost=vv", "user=uu", "configure=.*", "write=.*", "read=.*"], "permission declared\n");
    let arguments = r#"arguments={"x-max-length":5}"#;
    admin.says(&["declare", "queue", "name=q1", "auto_delete=false", "durable=true", arguments], "queue declared\n");
    admin.says(&["declare", "queue", "name=q2", "queue_type=quorum"], "queue declared\n");
    admin.says(&["declare", "exchange", "name=x1", "type=topic", "arguments={}"], "exchange declared\n");
    admin.says(&["declare", "binding", "source=x1", "destination=q1", "routing_key=k.#"], "binding declared\n");
    let policy = ["name=pp", "pattern=^q1", r#"definition={"max-length-bytes":100}"#, "priority=2", "apply-to=queues"];
    admin.says(&[&["declare", "policy"][..], &policy].concat(), "policy declared\n");
    let operator = ["name=oo", "pattern=^q1", r#"definition={"max-length":9}"#];
    admin.says(&[&["declare", "operator_policy"][..], &operator].concat(), "operator_policy declared\n");
    tools.ctl_says(
        &["-s", "list_queues", "name", "type", "policy", "arguments"],
        "q1\tclassic\tpp\t[{\"x-max-length\",5}]\nq2\tquorum\t\t[{\"x-queue-type\",\"quorum\"}]\n",
    );
    assert_eq!(
        admin.run(&["list", "policies"]).out,
        "+-------+------+----------+---------------------------+---------+----------+\n\
         | vhost | name | apply-to |        definition         | pattern | priority |\n\
         +-------+------+----------+---------------------------+---------+----------+\n\
         | /     | pp   | queues   | {\"max-length-bytes\": 100} | ^q1     | 2        |\n\
         +-------+------+----------+---------------------------+---------+----------+\n"
    );
    admin.says(&["-u", "uu", "-p", "pp", "-V", "vv", "declare", "queue", "name=theirs"], "queue declared\n");
    admin.says(&["-f", "tsv", "-V", "vv", "list", "queues", "vhost", "name"], "vhost\tname\nvv\ttheirs\n");
    for (words, name) in [
        (&["binding", "source=x1", "destination_type=queue", "destination=q1", "properties_key=k.%23"][..], "binding"),
        (&["exchange", "name=x1"], "exchange"),
        (&["queue", "name=q1"], "queue"),
        (&["policy", "name=pp"], "policy"),
        (&["operator_policy", "name=oo"], "operator_policy"),
        (&["vhost_limit", "vhost=vv", "name=max-queues"], "vhost_limit"),
        (&["permission", "vhost=vv", "user=uu"], "permission"),
        (&["user", "name=uu"], "user"),
        (&["vhost", "name=vv"], "vhost"),
    ] {
        // The key of a binding has an escape of its own, which is not to be escaped again by the caller.
        if name != "binding" {
            admin.says(&[&["delete"], words].concat(), &format!("{name} deleted\n"));
        }
    }
    assert_eq!(admin.run(&["list", "parameters"]).out, "No items\n");
}

#[test]
fn messages_and_formats() {
    let (tools, broker) = running();
    let admin = Admin { tools: &tools, port: broker.http().port().to_string() };
    admin.says(&["declare", "queue", "name=q1"], "queue declared\n");
    admin.says(&["publish", "routing_key=q1", "payload=hello"], "Message published\n");
    admin.says(&["publish", "routing_key=nope", "payload=hello"], "Message published but NOT routed\n");
    let said = tools.run_with(&["rabbitmqadmin", "-P", &admin.port, "publish", "routing_key=q1"], "from a pipe");
    assert_eq!((said.code, said.out.as_str()), (0, "Message published\n"));
    admin.says(
        &["get", "queue=q1"],
        "+-------------+----------+---------------+---------+---------------+------------------+------------+-------------+\n\
         | routing_key | exchange | message_count | payload | payload_bytes | payload_encoding | properties | redelivered |\n\
         +-------------+----------+---------------+---------+---------------+------------------+------------+-------------+\n\
         | q1          |          | 1             | hello   | 5             | string           |            | False       |\n\
         +-------------+----------+---------------+---------+---------------+------------------+------------+-------------+\n",
    );
    let file = tools.file("payload");
    assert_eq!(admin.run(&["get", "queue=q1", "ackmode=ack_requeue_false", &format!("payload_file={file}")]).code, 0);
    assert_eq!(std::fs::read(&file).expect("a file"), b"hello");
    admin.says(
        &["list", "queues"],
        "+------+----------+\n| name | messages |\n+------+----------+\n| q1   | 1        |\n+------+----------+\n",
    );
    admin.says(&["-f", "kvp", "list", "queues", "name", "durable"], "name=\"q1\" durable=\"True\"\n");
    admin.says(&["-f", "bash", "list", "queues"], "q1\n");
    admin.says(&["-f", "raw_json", "list", "queues", "name"], "[{\"name\":\"q1\"}]\n");
    admin.says(&["-f", "pretty_json", "list", "queues", "name"], "[\n  {\n    \"name\": \"q1\"\n  }\n]\n");
    assert!(admin.run(&["-f", "tsv", "show", "overview", "object_totals.queues"]).out.ends_with("\n1\n"));
    assert!(admin.run(&["-f", "tsv", "list", "exchanges", "-S", "name", "-R"]).out.starts_with("name\ttype\namq.topic\ttopic\n"));
    admin.says(&["purge", "queue", "name=q1"], "queue purged\n");
    let definitions = tools.file("x.json");
    admin.says(&["export", &definitions], &format!("Exported definitions for localhost to \"{definitions}\"\n"));
    admin.says(&["delete", "queue", "name=q1"], "queue deleted\n");
    assert_eq!(admin.run(&["-q", "import", &definitions]).out, "");
    let exported: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&definitions).expect("a file")).expect("JSON");
    assert_eq!(exported["queues"][0]["name"], json!("q1"));
    tools.ctl_says(&["-s", "list_queues", "name"], "q1\n");
}

#[test]
fn what_it_refuses() {
    let (tools, broker) = running();
    let admin = Admin { tools: &tools, port: broker.http().port().to_string() };
    let usage = |text: &str| format!("\nERROR: {text}\n\nrabbitmqadmin --help for help\n\n");
    admin.fails(&[], &usage("Action not specified"));
    admin.fails(&["nope"], &usage("Action nope not understood"));
    admin.fails(&["list"], &usage("Don't know how to list "));
    admin.fails(&["list", "nope"], &usage("Don't know how to list nope"));
    admin.fails(&["declare"], &usage("Type not specified"));
    admin.fails(&["declare", "nope", "name=1"], &usage("Type nope not recognised"));
    admin.fails(&["declare", "queue"], &usage("mandatory argument \"name\" is required"));
    admin.fails(&["-u", "nobody", "list", "queues"], "*** Access refused: /api/queues?columns=name,messages\n\n");
    admin.fails(&["purge", "queue", "name=nope"], "*** Not found: /api/queues/%2F/nope/contents\n\n");
    admin.fails(&["close", "connection", "name=nope"], "*** Not found: /api/connections/nope\n\n");
    let nobody = tools.run(&["rabbitmqadmin", "-P", "1", "list", "queues"]);
    assert_eq!(nobody.code, 1);
    assert!(nobody.err.starts_with("*** Could not connect: "), "{nobody:?}");
    assert!(admin.run(&["help"]).out.contains("declare queue name=..."));
}

/// The commands act as nobody who can log in, whatever somebody is called.
#[test]
fn a_user_with_the_name_of_the_commands_is_a_user() {
    let (tools, broker) = running();
    let admin = Admin { tools: &tools, port: broker.http().port().to_string() };
    admin.says(&["declare", "queue", "name=q"], "queue declared\n");
    admin.says(&["declare", "user", "name=rmq-cli", "password=p", "tags=management"], "user declared\n");
    admin.says(&["declare", "permission", "vhost=/", "user=rmq-cli", "configure=", "write=", "read="], "permission declared\n");
    assert_eq!(tools.run(&["rabbitmqctl", "purge_queue", "q"]).code, 0);
    let refused = admin.run(&["-u", "rmq-cli", "-p", "p", "purge", "queue", "name=q"]);
    assert!(refused.code != 0 && refused.err.contains("Access refused"), "{refused:?}");
}

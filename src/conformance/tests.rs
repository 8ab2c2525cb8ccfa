//! The runner against itself and against amq-protocol: what it does not read right it cannot judge.

use std::cell::RefCell;
use std::time::Instant;

use amq_protocol::frame::{AMQPFrame, parsing::parse_frame};

use super::ctl::{Undo, words};
use super::handshake::Server;
use super::janitor::Janitor;
use super::names::Names;
use super::play::Player;
use super::release::{Release, matches};
use super::rows;
use super::script::{Action, File};
use super::suite::Transcript;
use super::transport::{Arrival, Broker, Transport};
use super::wildcard::fits;
use crate::transcript::codec::{
    Argument, Arguments, decode_header, decode_method, encode_header, encode_method, frame, kind_of, print_method, property_kind,
};
use crate::transcript::schema::{METHODS, Method};
use crate::transcript::text::Text;
use crate::transcript::value::{Reader, Value};

/// amq-protocol reads every method the schema writes, as the same method, and so does the runner.
#[test]
fn schema_agrees_with_amq_protocol() {
    for method in &METHODS {
        let payload = encode_method(method, &Arguments::default());
        let bytes = frame(1, 7, &payload);
        let Ok((rest, AMQPFrame::Method(7, class))) = parse_frame(bytes.as_slice()) else {
            panic!("{} is no method to amq-protocol", method.name);
        };
        assert!(rest.is_empty(), "{}", method.name);
        assert_eq!((class.get_amqp_class_id(), class.get_amqp_method_id()), (method.class_id, method.method_id), "{}", method.name);
        let (read, _) = decode_method(&payload).expect("a method");
        assert_eq!(read.name, method.name);
    }
}

#[test]
fn method_lines_are_read_and_printed() {
    for line in [
        "queue.declare queue=q durable=true auto_delete=true arguments={\"x-max-length\": 2}",
        "queue.declare-ok queue=\"two words\" message_count=0 consumer_count=4294967295",
        "basic.deliver consumer_tag=t delivery_tag=18446744073709551615 redelivered=true exchange=x routing_key=a.b",
        "channel.close reply_code=404 reply_text=\"it's \\\"gone\\\"\\r\\n\" class_id=50 method_id=10",
    ] {
        let mut text = Text::new(line);
        let method = Method::by_name(&text.bare()).expect("a method");
        let arguments = Arguments::parse(&mut text, |name| kind_of(method, name)).expect("arguments");
        let (method, arguments) = decode_method(&encode_method(method, &arguments)).expect("a method");
        assert_eq!(print_method(method, &arguments), line);
    }
}

#[test]
fn values_are_read_and_printed() {
    for text in [
        "true",
        "null",
        "-2147483648",
        "255:B",
        "-1:b",
        "-9223372036854775808:l",
        "18446744073709551615:T",
        "1.5",
        "1.5:f",
        "15:D1",
        "\"größe\\x00\\xff\"",
        "x\"00ff\"",
        "\"a\"*100",
        "[1, \"x\", [], {}]",
        "{\"b\": {\"c\": null}, \"a\": 1:s}",
    ] {
        let value = Value::parse(&mut Text::new(text)).expect(text);
        assert_eq!(value.print(), text);
        let mut bytes = Vec::new();
        value.encode(&mut bytes);
        assert_eq!(Value::decode(&mut Reader(&bytes)), Some(value));
    }
}

#[test]
fn content_headers_keep_empty_properties() {
    let mut text = Text::new("content_type=\"\" headers={\"b\": 1, \"a\": 2} priority=0 timestamp=5");
    let properties = Arguments::parse(&mut text, property_kind).expect("properties");
    let (body_size, read) = decode_header(&encode_header(60, 9, &properties)).expect("a header");
    assert_eq!(body_size, 9);
    assert_eq!(read.get("content_type"), Some(&Argument::String(Vec::new())));
    assert_eq!(read, properties);
}

#[test]
fn wildcards_fit_what_they_should() {
    assert!(fits("a …", "a b c"));
    assert!(fits("a … c", "a b c"));
    assert!(fits("a…b…c", "a1b2c"));
    assert!(fits("same", "same"));
    assert!(!fits("a … d", "a b c"));
    assert!(!fits("same", "same and more"));
    assert!(!fits("a…b…b", "ab"));
}

#[test]
fn made_up_names_have_rabbitmqs_shape() {
    let mut names = Names::default();
    let name = "amq.gen-AAAAAAAAAAAAAAAAAAAA_-";
    assert_eq!(names.hide(&format!("queue.declare-ok queue={name}")), "queue.declare-ok queue=$gen1");
    assert_eq!(names.hide("queue.declare-ok queue=amq.gen-short"), "queue.declare-ok queue=amq.gen-short");
    assert_eq!(names.reveal("queue.delete queue=$gen1"), format!("queue.delete queue=\"{name}\""));
}

/// Answers are replaced where they belong, everything else stays.
#[test]
fn transcripts_are_rewritten_in_place() {
    let before = "# file\n\n=== A1 title\n# why\nc1> a\nc1< old\n# between\nc1< older\n\nc1.2>~ b\nc1: drop\n";
    let file = File::parse(before).expect("a transcript");
    let [scenario] = file.scenarios.as_slice() else { panic!("one scenario") };
    let groups = &scenario.variant("4.0.0").expect("a variant").groups;
    let [first, second] = groups.as_slice() else { panic!("two groups") };
    assert_eq!(first.expected, ["c1< old", "c1< older"]);
    assert_eq!(second.steps[0].action, Action::Repeat);
    assert_eq!(second.steps[0].channel, 2);
    let answers = [(first.last_line(), vec!["c1< new".to_owned()]), (second.last_line(), vec!["c1.2< closed".to_owned()])];
    let after = "# file\n\n=== A1 title\n# why\nc1> a\nc1< new\n# between\n\nc1.2>~ b\nc1: drop\nc1.2< closed\n";
    assert_eq!(file.rewrite(&answers.into_iter().collect()), after);
}

#[test]
fn administrators_words_are_split_as_a_shell_would() {
    let line = "set_policy p \"^a b=\\\"\" {\"k\": [\"}\", {\"\\\"\": 1}]} --apply-to queues";
    let expected = ["set_policy", "p", "^a b=\"", "{\"k\": [\"}\", {\"\\\"\": 1}]}", "--apply-to", "queues"];
    assert_eq!(words(line).expect("words"), expected);
    words("set_policy p \"^a").expect_err("a quote is missing");
    words("set_policy p ^a {\"k\": {}").expect_err("a brace is missing");
}

#[test]
fn what_was_set_is_taken_back_unless_it_was_cleared() {
    let mut undo = Undo::default();
    let mut note = |line: &str| undo.note(&words(line).expect("words"));
    for line in ["set_policy a ^a {}", "set_policy a ^b {}", "set_operator_policy a ^a {}", "trace_on", "trace_off", "set_policy b ^b {}"] {
        note(line).expect(line);
    }
    note("clear_policy b").expect("a command");
    note("set_policy --priority 1 c ^c {}").expect_err("no name");
    note("set_permissions u a b c").expect_err("a user who was there before");
    note("add_user u p").expect("a command");
    note("set_permissions u a b c").expect("a command");
    note("set_cluster_name x").expect_err("no way back");
    assert_eq!(undo.commands(), [["clear_policy", "a"], ["clear_operator_policy", "a"], ["delete_user", "u"]]);
}

/// A broker that only takes note of what it is asked beside AMQP.
#[derive(Default)]
struct Notebook {
    takes_ctl: bool,
    notes: RefCell<Vec<String>>,
}

impl Broker for Notebook {
    fn connect(&self) -> Box<dyn Transport> {
        Box::new(Silence)
    }

    fn answers_at_once(&self) -> bool {
        true
    }

    fn wait(&self, milliseconds: u64) {
        self.notes.borrow_mut().push(format!("wait {milliseconds}"));
    }

    fn takes_ctl(&self) -> bool {
        self.takes_ctl
    }

    fn ctl(&self, words: &[String]) -> Result<(), String> {
        self.notes.borrow_mut().push(words.join(" "));
        if words.iter().any(|word| word == "bad") { Err("no".to_owned()) } else { Ok(()) }
    }
}

/// Nobody is at the other end.
struct Silence;

impl Transport for Silence {
    fn write(&mut self, _bytes: &[u8]) {}

    fn read(&mut self, _into: &mut Vec<u8>, _deadline: Instant) -> Arrival {
        Arrival::Nothing
    }

    fn abandon(&mut self) {}
}

/// Time and the administrator need no connection; what was set is taken back, also after a failure.
#[test]
fn waits_and_administrators_words_reach_the_broker_in_order() {
    let text = "=== A1 title\nc1: ctl set_policy a ^a {\"x\": 1}\nc1: wait 300\n\nc1: ctl trace_on\nc1: ctl set_policy bad ^b {}\n";
    let file = File::parse(text).expect("a transcript");
    let variant = file.scenarios[0].variant("4.0.0").expect("a variant");
    assert!(variant.needs_ctl());
    let broker = Notebook::default();
    let mut janitor = Janitor::default();
    let played = Player::new(&broker, &mut janitor, false).play(variant);
    assert_eq!(played.err().as_deref(), Some("line 6: no"));
    let expected =
        ["set_policy a ^a {\"x\": 1}", "wait 300", "trace_on", "set_policy bad ^b {}", "clear_policy a", "trace_off", "clear_policy bad"];
    assert_eq!(*broker.notes.borrow(), expected);
}

#[test]
fn scenarios_for_an_administrator_are_known_by_their_variant() {
    let text =
        "=== A1 title\n# differs: 3.10 why\nc1: wait 1\n--- 3.10\nc1: ctl trace_on\n=== A2 title\nc1> queue.declare queue=\"ctl x\"\n";
    let file = File::parse(text).expect("a transcript");
    let needs = |index: usize, version: &str| file.scenarios[index].variant(version).expect("a variant").needs_ctl();
    assert_eq!((needs(0, "4.0.0"), needs(0, "3.10.8"), needs(1, "4.0.0")), (false, true, false));
}

#[test]
fn every_row_of_a_transcript_has_a_name() {
    for transcript in Transcript::embedded() {
        let file = File::parse(&transcript.text).expect("a transcript");
        for scenario in &file.scenarios {
            let (rows, _) = rows::split(&scenario.title);
            assert!(!rows.is_empty(), "{}: {}", transcript.name, scenario.title);
            for row in rows {
                assert!(rows::name(row).is_some(), "{}: {row}", transcript.name);
            }
        }
    }
}

#[test]
fn releases_are_told_by_what_a_broker_says() {
    let release = |product: &str, version: &str, is_leveret, is_strict| {
        let server = Server { product: product.to_owned(), version: version.to_owned(), is_leveret };
        Release::of(&server, is_strict)
    };
    let plays = |release: &Release, folder: &str| release.plays(&Transcript { name: format!("{folder}/x.txt"), text: String::new() });
    let old = release("RabbitMQ", "3.10.8", false, false);
    assert_eq!((old.name(), plays(&old, "profile-3.13"), plays(&old, "profile-4.0")), ("3.10.8", true, false));
    assert!(plays(&release("RabbitMQ", "4.2.1", false, false), "profile-4.0"));
    assert!(plays(&release("RabbitMQ", "4.3.5", false, false), "profile-4.3"));
    assert_eq!(release("RabbitMQ", "4.3.5", true, false), Release::permissive());
    assert_eq!(release("RabbitMQ", "4.3.5", true, true).name(), "4.3.5");
    assert_eq!(release("LavinMQ", "2.9.1", false, false), Release::permissive());
    assert!(matches("3.10.8", "3.10") && matches("4.0", "4.0") && !matches("3.1.8", "3.10") && !matches("3.10.8", "3.1"));
}

#[test]
fn markers_name_one_version_or_several() {
    let text = "=== A1 title\n# differs: 3.10,4.0 why\n# differs: 4.1 why else\n# exact: by the millisecond\nc1: wait 7\nc1: wait 5\n";
    let file = File::parse(text).expect("a transcript");
    let scenario = &file.scenarios[0];
    assert_eq!(scenario.differs, ["3.10", "4.0", "4.1"]);
    assert!(scenario.exact && !scenario.strict);
    assert!(scenario.variant("4.0.9").is_none() && scenario.variant("4.1").is_none());
    assert_eq!(scenario.variant("4.3.5").expect("a variant").waits_ms(), 12);
}

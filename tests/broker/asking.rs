//! What is asked of somebody beside the broker: every method asks for what it needs and for nothing else, has no effect before it is
//! answered, and everything behind it waits; and what a token grants, until it expires (behaviour C28, P11).

use std::sync::Arc;

use leveret::amqp::{AMQPClass, Command, FieldTable, Message, Method, connection};
use leveret::broker::{
    Access, Answer, ConnectionId, Enquiry, Error, Grant, Grants, Input, Permission, Question, Rights, Settings, Source, Subject, Timestamp,
    Verdict, Wildcard,
};

use crate::core::{Core, publish};
use crate::permissions::{
    ADMINISTRATOR, METHODS, Need, USER, basic_consume, basic_get, basic_publish, queue_declare, queue_delete, state, tried, world,
};

/// As needs are written, with a `…` where a generated name is.
fn written(question: &Question) -> String {
    let Question::Access(Access { permission, subject }) = question else { panic!("{question:?}") };
    let about = match subject {
        Subject::Queue(name) if name.starts_with("amq.gen-") => "queue amq.gen-…".to_owned(),
        Subject::Queue(name) => format!("queue {name}"),
        Subject::Exchange(name) => format!("exchange {name}"),
        Subject::Topic { exchange, key } => format!("topic {key} {exchange}"),
    };
    format!("{} {about}", permission.name())
}

fn answer(core: &mut Core, enquiry: &Enquiry, answer: Answer) {
    core.handle(Input::Answered { connection: enquiry.connection, number: enquiry.number, answer });
}

fn allow(core: &mut Core, enquiry: &Enquiry) {
    answer(core, enquiry, Answer::Access(Verdict::Allowed));
}

/// Answers all questions there are, refusing one thing; what was asked, and the text of the refusal.
fn served(core: &mut Core, refused: Option<(&str, &str)>) -> (Vec<String>, Option<String>) {
    let mut asked = Vec::new();
    loop {
        let enquiries = core.enquiries();
        if enquiries.is_empty() {
            return (asked, core.refusals().pop().map(|refusal| refusal.reply_text));
        }
        for enquiry in enquiries {
            let question = written(&enquiry.question);
            let verdict = match refused {
                Some((what, more)) if what == question => Verdict::Refused(more.to_owned()),
                _ => Verdict::Allowed,
            };
            asked.push(question);
            answer(core, &enquiry, Answer::Access(verdict));
        }
    }
}

fn service() -> Rights {
    Rights::said_by(Source::Service)
}

#[test]
fn every_method_asks_for_what_it_needs_in_order() {
    for (attempt, needs) in METHODS {
        let mut core = world("permissive", service());
        assert_eq!(tried(&mut core, attempt()), None, "nothing happens yet");
        let (asked, refusal) = served(&mut core, None);
        let needed: Vec<&str> = needs.iter().map(|need| need.0).collect();
        assert_eq!((asked, refusal), (needed.iter().map(|&need| need.to_owned()).collect(), None), "{:?}", attempt());
    }
}

#[test]
fn every_method_that_is_refused_one_thing_does_nothing() {
    for (attempt, needs) in METHODS {
        for missing in *needs {
            let mut core = world("permissive", service());
            let before = state(&core);
            tried(&mut core, attempt());
            assert_eq!(state(&core), before, "it waits: {:?}", attempt());
            let (_, refusal) = served(&mut core, Some((missing.0, ": too late today")));
            let expected = format!("{}: too late today", missing.refusal("permissive"));
            let told = refusal.expect("a refusal");
            let told = match told.split_once("amq.gen-") {
                Some((start, rest)) => format!("{start}amq.gen-…{}", rest.trim_start_matches(|c: char| c != '\'')),
                None => told,
            };
            assert_eq!(told, expected, "{:?}", attempt());
            assert_eq!(state(&core), before, "{:?}", attempt());
        }
    }
}

#[test]
fn what_was_allowed_is_not_asked_again_and_what_was_refused_is() {
    let mut core = world("permissive", service());
    for round in 0..3 {
        assert_eq!(tried(&mut core, basic_publish("x", "bound")), None);
        let expected: &[&str] = if round == 0 { &["write exchange x"] } else { &[] };
        assert_eq!(served(&mut core, None).0, expected);
    }
    let refused = |core: &mut Core| {
        tried(core, basic_get("q"));
        served(core, Some(("read queue q", ""))).0
    };
    assert_eq!(refused(&mut core), ["read queue q"]);
    core.connect(ConnectionId(2), "u", service());
    assert_eq!(core.command(ConnectionId(2), basic_publish("x", "bound")), None);
    assert_eq!(served(&mut core, None).0, ["write exchange x"], "another connection asks for itself");
    let mut core = world("permissive", service());
    for expected in [&["read queue q"][..], &["read queue q"]] {
        assert_eq!(refused(&mut core), expected);
        core.connect(USER, "u", service());
    }
}

#[test]
fn what_comes_behind_a_question_waits_in_order() {
    let mut core = world("permissive", service());
    let mut batch = vec![
        queue_declare("n", false, FieldTable::default()),
        basic_publish("", "n"),
        basic_publish("", "n"),
        basic_get("n"),
        queue_delete("n"),
    ];
    core.handle(Input::Received(USER, &mut batch));
    core.handle(Input::Received(USER, &mut vec![queue_declare("last", false, FieldTable::default())]));
    let (asked, refusal) = served(&mut core, None);
    assert_eq!(refusal, None);
    assert_eq!(asked, ["configure queue n", "write exchange amq.default", "read queue n", "configure queue last"]);
    assert!(core.broker.has_queue("last") && !core.broker.has_queue("n"));
    // Others do not wait.
    tried(&mut core, basic_get("q"));
    assert_eq!(core.command(ADMINISTRATOR, queue_declare("theirs", false, FieldTable::default())), None);
    assert!(core.broker.has_queue("theirs"));
}

/// Whoever has the place of a connection that is gone does not get its answers.
#[test]
fn answers_that_come_too_late_mean_nothing() {
    let mut core = world("permissive", service());
    tried(&mut core, queue_declare("n", false, FieldTable::default()));
    let enquiries = core.enquiries();
    core.handle(Input::Disconnected(USER));
    allow(&mut core, &enquiries[0]);
    core.connect(USER, "another", service());
    tried(&mut core, queue_declare("m", false, FieldTable::default()));
    let waiting = core.enquiries();
    allow(&mut core, &enquiries[0]);
    assert!(!core.broker.has_queue("n") && !core.broker.has_queue("m"));
    allow(&mut core, &waiting[0]);
    allow(&mut core, &waiting[0]);
    assert!(core.broker.has_queue("m"));
}

/// More than a connection remembers: it comes to an end all the same.
#[test]
fn a_method_may_need_any_number_of_answers() {
    let mut core = world("permissive", service());
    let keys: Vec<u8> = (0..200u8).flat_map(|number| [&b"S\0\0\0\x01"[..], &[number & 0x7F | 1 << 4]].concat()).collect();
    let array = [&u32::try_from(keys.len()).expect("short").to_be_bytes()[..], &keys].concat();
    let table = [b"\x02CCA", &array[..]].concat();
    let headers = [&u32::try_from(table.len()).expect("short").to_be_bytes()[..], &table].concat();
    let properties = [&(1u16 << 13).to_be_bytes()[..], &headers].concat();
    tried(&mut core, publish(Message::new(b"t", b"first", &properties, b"message")));
    let (asked, refusal) = served(&mut core, None);
    assert_eq!(refusal, None);
    assert!(asked.len() > 64, "{}", asked.len());
    tried(&mut core, basic_publish("x", "bound"));
    assert_eq!(served(&mut core, None), (vec!["write exchange x".to_owned()], None));
}

/// A name that the broker makes up is the one that was asked about.
#[test]
fn a_queue_without_a_name_keeps_the_one_that_it_has_got() {
    let mut core = world("permissive", service());
    core.connect(ConnectionId(2), "u", service());
    tried(&mut core, queue_declare("", false, FieldTable::default()));
    core.command(ConnectionId(2), queue_declare("", false, FieldTable::default()));
    let enquiries = core.enquiries();
    assert_ne!(enquiries[0].question, enquiries[1].question);
    for enquiry in enquiries.iter().rev() {
        allow(&mut core, enquiry);
        let Question::Access(Access { subject: Subject::Queue(name), .. }) = &enquiry.question else { panic!("{enquiry:?}") };
        assert!(core.broker.has_queue(name));
    }
    assert!(core.enquiries().is_empty());
    tried(&mut core, queue_declare("", false, FieldTable::default()));
    assert_eq!(served(&mut core, None).0.len(), 1);
    assert_eq!(core.broker.queue_snapshots().len(), 4, "a third one, beside q");
}

#[test]
fn what_an_administrator_says_is_for_users_of_the_node() {
    let mut core = world("permissive", service());
    core.handle(Input::SetRights { user: "u", rights: Arc::new(Rights::all()) });
    tried(&mut core, basic_get("q"));
    assert_eq!(served(&mut core, None).0, ["read queue q"]);
}

// Tokens.

fn permission(name: &str) -> Permission {
    [Permission::Configure, Permission::Write, Permission::Read].into_iter().find(|known| known.name() == name).expect("a permission")
}

/// What covers these and nothing else.
fn token(needs: &[Need], expires: Timestamp) -> Rights {
    let wildcard = |text: &str| Wildcard::new(&text.replace('…', "*")).expect("well formed");
    let grant = |need: &Need| match need.words().as_slice() {
        [of, "topic", key, exchange] => Grant { permission: permission(of), name: wildcard(exchange), key: Some(wildcard(key)) },
        [of, _, name] => Grant { permission: permission(of), name: wildcard(name), key: None },
        other => panic!("no need: {other:?}"),
    };
    Rights::said_by(Source::Token(Arc::new(Grants { all: needs.iter().map(grant).collect(), expires })))
}

#[test]
fn every_method_is_taken_with_a_token_that_grants_what_it_needs() {
    for (attempt, needs) in METHODS {
        let mut core = world("permissive", token(needs, Timestamp::NEVER));
        assert_eq!(tried(&mut core, attempt()), None, "{:?} with {needs:?}", attempt());
        assert!(core.enquiries().is_empty());
    }
}

#[test]
fn every_method_is_refused_with_a_token_that_lacks_something() {
    for (attempt, needs) in METHODS {
        for granted in 0..needs.len() {
            let mut core = world("permissive", token(&needs[..granted], Timestamp::NEVER));
            let before = state(&core);
            let refusal = tried(&mut core, attempt());
            // A grant for a topic is one for its exchange as well.
            assert_eq!(refusal, Some(needs[granted].refusal("permissive")), "{:?}", attempt());
            assert_eq!(state(&core), before);
        }
    }
}

const ALL: &[Need] = &[Need("configure queue *"), Need("write queue *"), Need("read queue *")];

fn update_secret() -> Command {
    let update = connection::UpdateSecret { new_secret: "carrot".into(), reason: "".into() };
    let class = AMQPClass::Connection(connection::AMQPMethod::UpdateSecret(update));
    Command::Method(0, Box::new(Method { class_method: (10, 70), class }))
}

fn secret(core: &mut Core) -> Enquiry {
    assert_eq!(core.command(USER, update_secret()), None);
    let mut enquiries = core.enquiries();
    let enquiry = enquiries.pop().expect("a question");
    assert_eq!(enquiry.question, Question::Secret(b"carrot"[..].into()));
    assert_eq!(format!("{:?}", enquiry.question), "Secret", "it is not shown");
    enquiry
}

#[test]
fn a_connection_ends_with_its_token() {
    let mut core = Core::with(Settings::default());
    let expires = core.now.after(5000);
    core.connect(USER, "u", token(ALL, expires));
    assert_eq!(core.broker.next_deadline(), Some(expires));
    core.pass(4999);
    assert_eq!(tried(&mut core, queue_declare("n", false, FieldTable::default())), None);
    core.pass(1);
    let refusals = core.refusals();
    assert_eq!((refusals.len(), refusals[0].channel), (1, 0));
    assert_eq!(refusals[0].reply_text, "CONNECTION_FORCED - credential expired");
    core.pass(10_000);
    assert_eq!(core.refusals().len(), 0);
}

#[test]
fn a_new_token_puts_the_end_off() {
    let mut core = Core::with(Settings::default());
    let (soon, later) = (core.now.after(5000), core.now.after(9000));
    core.connect(USER, "u", token(ALL, soon));
    let enquiry = secret(&mut core);
    answer(&mut core, &enquiry, Answer::Secret(Ok(Some(Arc::new(token(ALL, later))))));
    core.pass(8999);
    assert_eq!(core.refusals().len(), 0);
    core.pass(1);
    assert_eq!(core.refusals().pop().map(|refusal| refusal.reply_text).as_deref(), Some("CONNECTION_FORCED - credential expired"));
}

#[test]
fn a_new_token_says_what_may_be_done_from_now_on() {
    let mut core = world("permissive", token(ALL, Timestamp::NEVER));
    assert_eq!(core.command(ADMINISTRATOR, queue_declare("r", false, FieldTable::default())), None);
    for queue in ["q", "r"] {
        assert_eq!(tried(&mut core, basic_consume(queue)), None);
    }
    let consumers = |core: &Core, name: &str| {
        let all = core.broker.queue_snapshots();
        all.iter().find(|queue| *queue.name == *name).expect("a queue").consumers
    };
    let enquiry = secret(&mut core);
    // It waits, as everything behind a question.
    assert_eq!(tried(&mut core, basic_get("r")), None);
    answer(&mut core, &enquiry, Answer::Secret(Ok(Some(Arc::new(token(&[Need("read queue r")], Timestamp::NEVER))))));
    assert_eq!((consumers(&core, "q"), consumers(&core, "r")), (0, 1));
    assert_eq!(core.refusals().len(), 0);
    let refusal = tried(&mut core, queue_delete("q"));
    assert_eq!(refusal.as_deref(), Some("ACCESS_REFUSED - configure access to queue 'q' in vhost '/' refused for user 'u'"));
}

#[test]
fn a_secret_that_is_refused_ends_the_connection() {
    for (error, text) in [
        (Error::secret_refused(), "NOT_ALLOWED - New secret was refused by one of the backends"),
        (Error::secret_update_failed(), "NOT_ALLOWED - Secret update failed"),
        (Error::vhost_access_refused("/", "u", ""), "NOT_ALLOWED - access to vhost '/' refused for user 'u'"),
    ] {
        let mut core = world("permissive", token(ALL, Timestamp::NEVER));
        let enquiry = secret(&mut core);
        answer(&mut core, &enquiry, Answer::Secret(Err(error)));
        assert_eq!(core.refusals().pop().map(|refusal| refusal.reply_text).as_deref(), Some(text));
    }
}

#[test]
fn users_of_the_node_have_no_secret_to_update() {
    let mut core = world("permissive", Rights::all());
    let before = core.sent;
    assert_eq!(core.command(USER, update_secret()), None);
    assert!(core.enquiries().is_empty() && core.sent > before, "it is answered at once");
}

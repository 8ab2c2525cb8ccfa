//! A service that is asked who somebody is and what it may do, as RabbitMQ asks it over HTTP.

use std::time::{Duration, Instant};

use serde_json::json;

use super::http::Http;
use super::service::{Question, Reply, Service, text};
use super::support::broker::{Broker, Scratch, leveret};
use super::support::raw::{Close, Raw};
use super::support::wire;

const REFUSED: &str = "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile.";

/// Where a service is asked about everything.
pub(crate) fn paths(service: &Service) -> String {
    let path = |of: &str| format!("auth_http.{of}_path = http://{}/auth/{of}\n", service.address);
    ["user", "vhost", "resource", "topic"].map(path).concat()
}

/// A broker whose every question goes to the service.
pub(crate) fn broker(service: &Service, more: &str) -> Broker {
    Broker::with_config(&format!("auth_backends.1 = http\n{}{more}", paths(service)))
}

/// `secret` is everybody's password, and what nothing is said about is allowed.
fn lenient(question: &Question) -> Reply {
    match (&*question.path, question.get("username")) {
        (_, "silent") => Reply::Silence,
        (_, "broken") => Reply::Status(500, "allow"),
        (_, "odd") => text("perhaps"),
        ("/auth/user", "boss") => text("allow Administrator"),
        ("/auth/user", "manager") => text("allow management hare"),
        ("/auth/user", _) if question.get("password") != "secret" => text("deny"),
        _ => text("allow"),
    }
}

/// Logs in and opens the virtual host, all at once as some clients do; the text of the refusal otherwise.
pub(crate) fn login(broker: &Broker, name: &str, password: &str) -> Result<Raw, String> {
    let mut raw = Raw::connect(broker);
    raw.send(wire::HEADER);
    raw.expect(wire::START);
    let all = [wire::start_ok(name, password), wire::tune_ok(2047, 131_072, 0), wire::open(), wire::channel_open(1)];
    raw.send(&all.concat());
    // Refused at any point: what was let in may expire before its channel is open.
    for id in [wire::TUNE, wire::OPEN_OK, wire::CHANNEL_OPEN_OK] {
        let frame = raw.next().expect("an answer");
        if frame.id() == wire::CLOSE {
            return Err(Close::of(&frame).text);
        }
        assert_eq!(frame.id(), id);
    }
    Ok(raw)
}

fn refused(broker: &Broker, name: &str, password: &str) -> String {
    login(broker, name, password).err().expect("a refusal")
}

/// The text with which the channel is closed.
pub(crate) fn channel_closed(raw: &mut Raw) -> String {
    let text = Close::of(&raw.expect(wire::CHANNEL_CLOSE)).text;
    raw.send(&wire::method(1, wire::CHANNEL_CLOSE_OK, &wire::Fields::new()));
    raw.open_channel(1);
    text
}

#[test]
fn it_is_asked_about_everything_with_rabbitmq_s_parameters() {
    let service = Service::start(lenient);
    let broker = broker(&service, "");
    let mut raw = login(&broker, "manager", "secret").expect("let in");
    let user = "username=manager";
    let tags = "tags=management%20hare";
    assert_eq!(
        service.lines(),
        [format!("GET /auth/user?{user}&password=secret"), format!("GET /auth/vhost?{user}&vhost=%2F&ip=127%2E0%2E0%2E1&{tags}"),]
    );
    raw.send(&wire::queue_declare(1, "q 1", 0));
    raw.expect(wire::QUEUE_DECLARE_OK);
    let resource = |kind: &str, name: &str, permission: &str| {
        format!("GET /auth/resource?{user}&vhost=%2F&resource={kind}&name={name}&permission={permission}&{tags}")
    };
    assert_eq!(service.lines(), [resource("queue", "q%201", "configure")]);
    let bind = wire::Fields::new().short(0).text("q 1").text("amq.topic").text("a.*").byte(0).bytes(&[]);
    raw.send(&wire::method(1, wire::QUEUE_BIND, &bind));
    raw.expect(wire::QUEUE_BIND_OK);
    let topic = |permission: &str, key: &str| {
        format!(
            "GET /auth/topic?{user}&vhost=%2F&resource=topic&name=amq%2Etopic&permission={permission}&{tags}&routing_key={key}\
             &variable_map.username=manager&variable_map.vhost=%2F"
        )
    };
    assert_eq!(
        service.lines(),
        [resource("queue", "q%201", "write"), resource("exchange", "amq%2Etopic", "read"), topic("read", "a%2E%2A")]
    );
    raw.send(&wire::publish(1, "amq.topic", "a.b", b"hello"));
    raw.send(&wire::publish(1, "", "q 1", b"hello"));
    raw.send(&wire::get(1, "q 1"));
    raw.expect(wire::GET_OK);
    assert_eq!(
        service.lines(),
        [
            resource("exchange", "amq%2Etopic", "write"),
            topic("write", "a%2Eb"),
            resource("exchange", "amq%2Edefault", "write"),
            resource("queue", "q%201", "read"),
        ]
    );
}

#[test]
fn a_connection_asks_once_for_each_thing() {
    let service = Service::start(lenient);
    let broker = broker(&service, "auth_http.http_method = post\n");
    let mut raw = login(&broker, "hare", "secret").expect("let in");
    let user = "POST /auth/user username=hare&password=secret";
    assert_eq!(service.lines()[0], user);
    raw.send(&wire::queue_declare(1, "q", 0));
    raw.expect(wire::QUEUE_DECLARE_OK);
    super::confirm(&mut raw);
    let all: Vec<u8> = (0..100).flat_map(|_| wire::publish(1, "amq.topic", "key", b"hello")).collect();
    raw.send(&all);
    let mut confirmed = 0;
    while confirmed < 100 {
        confirmed = wire::delivery_tag(raw.expect(wire::ACK).arguments());
    }
    let asked: Vec<String> = service.was_asked().iter().map(|question| question.path.clone()).collect();
    assert_eq!(asked, ["/auth/resource", "/auth/resource", "/auth/topic"]);
    let mut another = login(&broker, "hare", "secret").expect("let in");
    another.send(&wire::queue_declare(1, "q", 0));
    another.expect(wire::QUEUE_DECLARE_OK);
    assert_eq!(service.was_asked().len(), 3, "a user, a virtual host, a queue");
}

/// `deny` to what is called so.
fn strict(question: &Question) -> Reply {
    match (question.get("name"), question.get("routing_key")) {
        ("denied", _) => text("deny"),
        ("explained", _) => text("deny too late today"),
        ("broken", _) => Reply::Status(500, "oops"),
        ("odd", _) => text("perhaps"),
        (_, "denied") => text("deny"),
        _ if question.get("vhost") == "/" && question.get("username") == "nobody" => text("deny"),
        _ => text("allow"),
    }
}

#[test]
fn refusals_are_rabbitmq_s() {
    let service = Service::start(strict);
    for (disclosure, told) in [(false, ""), (true, " by backend rabbit_auth_backend_http: too late today")] {
        let broker = broker(&service, &format!("auth_http.authorization_failure_disclosure = {disclosure}\n"));
        assert_eq!(refused(&broker, "nobody", "x"), "NOT_ALLOWED - access to vhost '/' refused for user 'nobody'");
        let mut raw = login(&broker, "hare", "x").expect("let in");
        let error = ", backend rabbit_auth_backend_http returned an error:";
        for (bytes, text) in [
            (wire::queue_declare(1, "denied", 0), "configure access to queue 'denied' in vhost '/' refused for user 'hare'".to_owned()),
            (wire::get(1, "denied"), "read access to queue 'denied' in vhost '/' refused for user 'hare'".to_owned()),
            (
                wire::queue_declare(1, "explained", 0),
                format!("configure access to queue 'explained' in vhost '/' refused for user 'hare'{told}"),
            ),
            (
                wire::publish(1, "amq.topic", "denied", b""),
                "write access to topic 'denied' in exchange 'amq.topic' in vhost '/' refused for user 'hare'".to_owned(),
            ),
            (wire::get(1, "broken"), format!("read access to queue 'broken' in vhost '/' refused for user 'hare'{error} {{500,\"oops\"}}")),
            (
                wire::get(1, "odd"),
                format!("read access to queue 'odd' in vhost '/' refused for user 'hare'{error} {{bad_response,\"perhaps\"}}"),
            ),
        ] {
            raw.send(&bytes);
            assert_eq!(channel_closed(&mut raw), format!("ACCESS_REFUSED - {text}"));
        }
        assert!(broker.log().contains("configure access to queue 'explained' in vhost '/' refused for user 'hare': too late today"));
    }
}

#[test]
fn a_service_that_is_gone_refuses_and_is_logged() {
    let service = Service::start(lenient);
    let broker = broker(&service, "auth_http.request_timeout = 300\n");
    for name in ["silent", "broken", "odd"] {
        assert_eq!(refused(&broker, name, "secret"), REFUSED, "{name}");
        assert!(broker.log().contains(&format!("rabbit_auth_backend_http failed authenticating {name}: ")), "{}", broker.log());
    }
    assert!(!broker.log().contains("secret"), "passwords are not logged");
    // A port that nobody listens on.
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let lines = paths(&service).replace(&format!("{}/auth/resource", service.address), &format!("{free}/auth/resource"));
    let broker = Broker::with_config(&format!("auth_backends.1 = http\n{lines}"));
    let mut raw = login(&broker, "hare", "secret").expect("let in");
    raw.send(&wire::get(1, "q"));
    let why = format!("{{failed_connect,[{{to_address,{{\"127.0.0.1\",{}}}}},{{inet,[inet],econnrefused}}]}}", free.port());
    let expected = format!(
        "ACCESS_REFUSED - read access to queue 'q' in vhost '/' refused for user 'hare', backend rabbit_auth_backend_http returned an \
         error: {why}"
    );
    assert_eq!(channel_closed(&mut raw), expected);
}

/// What a connection sends behind a question waits, and so does nobody else.
#[test]
fn a_slow_service_holds_up_its_connection_alone() {
    let service = Service::start(|question| match question.get("name") {
        "slow" => Reply::Silence,
        _ => lenient(question),
    });
    let broker = broker(&service, "auth_http.request_timeout = 1500\n");
    let (mut slow, mut quick) = (login(&broker, "hare", "secret").expect("in"), login(&broker, "tortoise", "secret").expect("in"));
    let began = Instant::now();
    slow.send(&[wire::queue_declare(1, "slow", 0), wire::queue_declare(1, "behind", 0)].concat());
    quick.send(&wire::queue_declare(1, "quick", 0));
    quick.expect(wire::QUEUE_DECLARE_OK);
    assert!(began.elapsed() < Duration::from_millis(1500), "{:?}", began.elapsed());
    assert!(channel_closed(&mut slow).ends_with("returned an error: timeout"));
    slow.send(&wire::get(1, "behind"));
    assert_eq!(channel_closed(&mut slow), "NOT_FOUND - no queue 'behind' in vhost '/'", "a closed channel hears nothing more");
}

// Who somebody is and what it may do, said by different ones.

const SPLIT: &str = "auth_backends.1.authn = http\nauth_backends.1.authz = internal\nauth_backends.2 = internal\n";

/// Users of the node that the service knows, too.
fn split(service: &Service, lines: &str) -> Broker {
    let broker = Broker::with_config(&format!("{lines}{}", paths(service)));
    let guest = Http::guest(broker.http());
    for name in ["hare", "boss", "a&b c"] {
        let user = name.replace('&', "%26").replace(' ', "%20");
        guest.put(&format!("/api/users/{user}"), &json!({"password": "of the node", "tags": "management"})).is(201);
        let all = json!({"configure": "^q", "write": ".*", "read": ".*"});
        guest.put(&format!("/api/permissions/%2F/{user}"), &all).is(201);
    }
    service.was_asked();
    broker
}

#[test]
fn it_says_who_somebody_is_and_the_node_what_it_may_do() {
    let service = Service::start(lenient);
    let broker = split(&service, SPLIT);
    let mut raw = login(&broker, "hare", "secret").expect("let in");
    assert_eq!(service.lines(), ["GET /auth/user?username=hare&password=secret"]);
    raw.send(&wire::queue_declare(1, "x", 0));
    assert_eq!(channel_closed(&mut raw), "ACCESS_REFUSED - configure access to queue 'x' in vhost '/' refused for user 'hare'");
    assert_eq!(refused(&broker, "a&b c", "wrong=?"), REFUSED);
    assert_eq!(service.lines(), ["GET /auth/user?username=a%26b%20c&password=wrong%3D%3F"]);
    // The node is asked as well, behind it.
    assert!(login(&broker, "hare", "of the node").is_ok());
    // Whom only the service knows is nobody.
    assert_eq!(refused(&broker, "stranger", "secret"), REFUSED);
}

#[test]
fn what_comes_before_it_is_asked_first() {
    let service = Service::start(lenient);
    let broker = split(&service, "auth_backends.1 = internal\nauth_backends.7 = http\n");
    assert!(login(&broker, "hare", "of the node").is_ok());
    assert_eq!(service.lines(), [""; 0]);
    assert!(login(&broker, "hare", "secret").is_ok());
    assert_eq!(service.was_asked().len(), 2);
}

#[test]
fn the_node_says_who_somebody_is_and_the_service_what_it_may_do() {
    let service = Service::start(|question| match (&*question.path, question.get("name")) {
        ("/auth/user", _) => text("allow administrator"),
        (_, "denied") => text("deny"),
        _ => text("allow"),
    });
    let broker = split(&service, "auth_backends.1 = internal\nauth_backends.2.authn = internal\nauth_backends.2.authz = http\n");
    // The first one lets it in, with the permissions of the node.
    let mut raw = login(&broker, "hare", "of the node").expect("let in");
    raw.send(&wire::queue_declare(1, "x", 0));
    channel_closed(&mut raw);
    let broker = split_after(&service, broker);
    let mut raw = login(&broker, "guest", "guest").expect("let in");
    let asked = service.lines();
    assert_eq!(asked[0], "GET /auth/user?username=guest&password=guest", "it has to know the user as well");
    assert!(asked[1].ends_with("&tags=administrator"), "{asked:?}: those of the node");
    raw.send(&wire::queue_declare(1, "denied", 0));
    assert_eq!(channel_closed(&mut raw), "ACCESS_REFUSED - configure access to queue 'denied' in vhost '/' refused for user 'guest'");
}

/// A broker where only the split counts.
fn split_after(service: &Service, before: Broker) -> Broker {
    drop(before);
    service.was_asked();
    Broker::with_config(&format!("auth_backends.1.authn = internal\nauth_backends.1.authz = http\n{}", paths(service)))
}

// The HTTP API.

#[test]
fn the_http_api_asks_it_too() {
    let service = Service::start(|question| match (question.get("username"), question.get("vhost")) {
        ("manager", "closed") => text("deny"),
        _ => lenient(question),
    });
    let broker = broker(&service, "");
    let boss = Http::new(broker.http(), "boss", "any");
    assert_eq!(boss.get("/api/whoami").ok(), json!({"name": "boss", "tags": ["administrator"], "is_internal_user": false}));
    boss.put("/api/vhosts/closed", &json!({})).is(201);
    let manager = Http::new(broker.http(), "manager", "any");
    assert_eq!(manager.get("/api/whoami").ok()["tags"], json!(["management", "hare"]));
    assert_eq!(super::all(&manager.get("/api/vhosts").ok(), "name"), [json!("/")]);
    manager.get("/api/queues/closed").refuses(401, "not_authorised", "User not authorised to access virtual host");
    manager.get("/api/users").refuses(401, "not_authorised", "Not administrator user");
    manager.put("/api/queues/%2F/made", &json!({})).is(201);
    let asked = service.was_asked();
    assert!(asked.iter().any(|question| question.get("name") == "made" && question.get("permission") == "configure"));
    assert_eq!(manager.get("/api/queues/%2F/made").ok()["name"], "made");
    Http::new(broker.http(), "hare", "secret").get("/api/whoami").refuses(401, "not_authorised", "Not management user");
    Http::new(broker.http(), "hare", "wrong").get("/api/whoami").refuses(401, "not_authorized", "Not_Authorized");
    Http::guest(broker.http()).get("/api/whoami").refuses(401, "not_authorized", "Not_Authorized");
}

#[test]
fn tags_are_those_of_the_service_and_of_the_node_together() {
    let service = Service::start(lenient);
    let broker = split(&service, SPLIT);
    let boss = Http::new(broker.http(), "boss", "any");
    let whoami = json!({"name": "boss", "tags": ["administrator", "management"], "is_internal_user": true});
    assert_eq!(boss.get("/api/whoami").ok(), whoami);
    boss.get("/api/users").ok();
}

#[test]
fn what_would_mean_something_else_does_not_start() {
    let scratch = Scratch::new();
    let config = scratch.file("leveret.conf", "auth_backends.1 = ldap\n");
    let output = leveret().args(["--amqp", "127.0.0.1:0", "--log", "none", "--config"]).arg(config).output().expect("it ends");
    let expected = "leveret: auth_backends.1: 'ldap' is not supported; internal, http, oauth2 and cache are\n";
    assert_eq!(String::from_utf8_lossy(&output.stderr), expected);
    assert_eq!(output.status.code(), Some(1));
}

//! What a builder makes, and what it refuses.

use std::io::{Read, Write};
use std::net::TcpStream;

use leveret::Broker;
use leveret::client::{Connection, Error, Options};

use crate::support::{alone, connect, connect_to, declare, soon, start};

async fn login(broker: &Broker, user: &str, password: &str, vhost: &str) -> Result<(), String> {
    let stream = tokio::net::TcpStream::connect(broker.amqp_addr().expect("TCP")).await.expect("served");
    Connection::open(stream, Options::plain(user, password, vhost)).await.map(drop).map_err(|error| error.to_string())
}

#[tokio::test]
async fn guest_is_there_unless_there_are_users() {
    let broker = start(Broker::builder()).await;
    assert_eq!(login(&broker, "guest", "guest", "/").await, Ok(()));
    let port = broker.amqp_addr().expect("TCP").port();
    assert_eq!(broker.amqp_url(), format!("amqp://guest:guest@127.0.0.1:{port}/%2F"));
    assert_eq!(broker.http_url(), None);

    let broker = start(Broker::builder().user("a/b", "p@ss").user("other", "secret").vhost("one two")).await;
    let port = broker.amqp_addr().expect("TCP").port();
    assert_eq!(broker.amqp_url(), format!("amqp://a%2Fb:p%40ss@127.0.0.1:{port}/%2F"));
    assert_eq!(broker.amqp_url_of("one two"), format!("amqp://a%2Fb:p%40ss@127.0.0.1:{port}/one%20two"));
    for (user, password) in [("a/b", "p@ss"), ("other", "secret")] {
        for vhost in ["/", "one two"] {
            assert_eq!(login(&broker, user, password, vhost).await, Ok(()), "{user} {vhost}");
        }
    }
    let refused = login(&broker, "guest", "guest", "/").await.expect_err("nobody is called guest");
    assert!(refused.contains("ACCESS_REFUSED"), "{refused}");
    let refused = login(&broker, "other", "secret", "elsewhere").await.expect_err("no such virtual host");
    assert!(refused.contains("elsewhere"), "{refused}");
}

#[tokio::test]
async fn definitions_are_there_from_the_start() {
    let definitions = r##"{
        "vhosts": [{"name": "shop"}],
        "exchanges": [{"name": "events", "type": "topic", "durable": true}],
        "queues": [{"name": "all", "durable": true, "arguments": {}}, {"name": "orders", "vhost": "shop", "durable": true, "arguments": {}}],
        "bindings": [{"source": "events", "destination": "all", "destination_type": "queue", "routing_key": "#", "arguments": {}}],
        "users": [{"name": "reader", "password": "read", "tags": []}],
        "permissions": [{"user": "reader", "vhost": "shop", "configure": "", "write": "", "read": ".*"}]
    }"##;
    let broker = start(Broker::builder().definitions(definitions).vhost("more")).await;
    for (vhost, queue) in [("/", "all"), ("shop", "orders")] {
        assert!(broker.queue(vhost, queue).await.is_some(), "{queue}");
    }
    assert_eq!(broker.queue("more", "all").await, None);
    assert_eq!(login(&broker, "reader", "read", "shop").await, Ok(()));
    assert!(connect_to(&broker, "more").await.is_ok(), "guest may do everything in virtual hosts that were added");
    let channel = connect(&broker).await.channel().await.expect("a channel");
    channel.publish(leveret::client::Publication::new("events", "order.new", "1")).await.expect("published");
    assert_eq!(soon(broker.queue_until("/", "all", |queue| queue.ready == 1)).await.map(|queue| queue.ready), Some(1));
}

#[tokio::test]
async fn keys_are_set_and_methods_count_more() {
    let builder = Broker::builder().config_text("default_user = someone\ndefault_pass = text").config_text("channel_max = 7");
    let broker = start(builder.clone()).await;
    assert_eq!(login(&broker, "someone", "text", "/").await, Ok(()));
    assert!(broker.amqp_url().starts_with("amqp://someone:text@"));
    let broker = start(builder.user("method", "more").compat("3.13")).await;
    assert_eq!(login(&broker, "method", "more", "/").await, Ok(()));
    assert!(login(&broker, "someone", "text", "/").await.is_err());
    let handle = broker.handle();
    assert_eq!((handle.config().channel_max, handle.node().settings.profile.version), (7, "3.13.7"));

    let kept = std::env::temp_dir().join("leveret-is-not-made");
    let broker = start(Broker::builder().config_text(format!("data_dir = {}", kept.display())).in_memory()).await;
    assert!(broker.handle().disk().is_none() && !kept.exists());
}

#[tokio::test]
async fn what_is_wrong_is_said_at_the_start() {
    let broker = start(Broker::builder()).await;
    let taken = broker.amqp_addr().expect("TCP");
    for (builder, why) in [
        (Broker::builder().amqp("here"), "'here' is no address to serve AMQP on, such as 127.0.0.1:0".to_owned()),
        (Broker::builder().http("there"), "'there' is no address to serve HTTP on, such as 127.0.0.1:0".to_owned()),
        (Broker::builder().amqp(taken), format!("cannot listen for AMQP on {taken}: Address already in use")),
        (Broker::builder().http(taken), format!("cannot listen for HTTP on {taken}: Address already in use")),
        (Broker::builder().compat("5.0"), "unknown profile '5.0'".to_owned()),
        (Broker::builder().config_text("chanel_max = 1"), "unknown key 'chanel_max'; did you mean 'channel_max'?".to_owned()),
        (Broker::builder().definitions("[]"), "definitions: invalid type".to_owned()),
        (Broker::builder().definitions(r#"{"users": {}}"#).user("a", "a").user("b", "b"), "definitions: users is no list".to_owned()),
        (Broker::builder().definitions(r#"{"queues": [{"name": "q", "vhost": "none"}]}"#), "definitions: queue 'q'".to_owned()),
        (Broker::builder().data_dir("/proc/nothing"), "/proc/nothing".to_owned()),
    ] {
        let refused = builder.start().await.expect_err(&why).to_string();
        assert!(refused.contains(&why), "{refused}");
    }
}

/// The status and the body of an answer.
fn get(url: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(url.strip_prefix("http://").expect("a URL")).expect("served");
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("read");
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_http_api_is_served_where_it_is_wanted() {
    let broker = start(Broker::builder().no_amqp().http("127.0.0.1:0")).await;
    assert_eq!((broker.amqp_addr(), broker.amqp_url()), (None, "amqp://guest:guest@localhost/%2F".to_owned()));
    let channel = connect(&broker).await.channel().await.expect("a channel");
    declare(&channel, "seen", false).await;
    let url = broker.http_url().expect("HTTP");
    let answer = get(&url, "/api/queues/%2F/seen");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(r#""name":"seen""#), "{answer}");
    broker.stop().await;
    assert!(TcpStream::connect(url.strip_prefix("http://").expect("a URL")).is_err());
}

/// The signals that the process catches.
fn caught() -> String {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc");
    status.lines().find(|line| line.starts_with("SigCgt:")).expect("a mask").to_owned()
}

#[tokio::test]
async fn no_signal_is_caught() {
    if alone("starting::no_signal_is_caught") {
        let before = caught();
        let broker = start(Broker::builder().http("127.0.0.1:0")).await;
        let channel = connect(&broker).await.channel().await.expect("a channel");
        declare(&channel, "q", false).await;
        assert_eq!(caught(), before);
        broker.stop().await;
    }
}

#[tokio::test]
async fn nobody_gets_in_without_the_password() {
    let broker = start(Broker::builder().no_amqp()).await;
    let stream = broker.connect().expect("a stream");
    match Connection::open(stream, Options::plain("guest", "wrong", "/")).await {
        Err(Error::Closed { code, .. }) => assert_eq!(code, 403),
        Err(Error::Refused(why)) => assert!(why.contains("ACCESS_REFUSED"), "{why}"),
        other => panic!("{other:?}"),
    }
}

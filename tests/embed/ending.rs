//! Nothing is left of a broker that has ended.

use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Instant;

use leveret::amqp::basic::AMQPProperties;
use leveret::client::{Connection, Consume, Options, Publication};
use leveret::{Broker, Builder};
use tokio::runtime::Handle;

use crate::support::{Held, PATIENCE, alone, connect, declare, held, publish, soon, start};

/// A directory that is not there yet.
fn directory(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("leveret-embed-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    path
}

fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

/// Lets the runtime do what it has to.
async fn until(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "{what}: {} tasks, {:?}", tasks(), held());
        tokio::task::yield_now().await;
    }
}

/// A connection over TCP that consumes, and one within the process.
async fn busy(broker: &Broker) -> (Connection, Connection) {
    let stream = tokio::net::TcpStream::connect(broker.amqp_addr().expect("TCP")).await.expect("served");
    let over_tcp = Connection::open(stream, Options::plain("guest", "guest", "/")).await.expect("a connection");
    let consuming = over_tcp.channel().await.expect("a channel");
    declare(&consuming, "q", true).await;
    let mut consumer = consuming.consume(Consume::from("q")).await.expect("a consumer");
    let within = connect(broker).await;
    let channel = within.channel().await.expect("a channel");
    channel.confirm_select().await.expect("confirms");
    publish(&channel, "q", "hello").await;
    soon(consumer.next()).await.expect("open").expect("a delivery");
    (over_tcp, within)
}

#[tokio::test]
async fn who_is_connected_is_told() {
    for stops in [true, false] {
        let broker = start(Broker::builder()).await;
        let (over_tcp, within) = busy(&broker).await;
        if stops {
            broker.stop().await;
        } else {
            drop(broker);
        }
        for connection in [over_tcp, within] {
            let why = soon(connection.closed()).await;
            assert_eq!(why.code(), Some(320), "{why}");
            assert!(why.to_string().contains("broker forced connection closure with reason 'shutdown'"), "{why}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ports_are_free_at_once() {
    let broker = start(Broker::builder().http("127.0.0.1:0")).await;
    let amqp = broker.amqp_addr().expect("TCP");
    let http = broker.http_url().expect("HTTP").strip_prefix("http://").expect("a URL").to_owned();
    assert!(TcpListener::bind(amqp).is_err() && TcpListener::bind(&http).is_err());
    let clients = busy(&broker).await;
    drop(broker);
    let (a, b) = (TcpListener::bind(amqp), TcpListener::bind(&http));
    assert!(a.is_ok() && b.is_ok(), "{a:?} {b:?}");
    drop((a, b, clients));
    let broker = start(Broker::builder().amqp(amqp)).await;
    broker.stop().await;
    assert!(TcpListener::bind(amqp).is_ok());
}

/// A broker with connections, over and over: files, threads and tasks are as many as before.
async fn over_and_over(builder: impl Fn() -> Builder, stops: bool) {
    // What is made once and kept, by the runtime as well.
    drop(busy(&start(builder()).await).await);
    until("the first one", || tasks() == 0).await;
    let before = held();
    for _ in 0..100 {
        let broker = start(builder()).await;
        let clients = busy(&broker).await;
        if stops {
            broker.stop().await;
            let all = held();
            assert_eq!(all.threads, before.threads, "at once");
        } else {
            drop(broker);
        }
        drop(clients);
        until("one of many", || tasks() == 0).await;
    }
    until("all", || held() == before).await;
}

#[tokio::test]
async fn a_hundred_stops_leave_nothing() {
    if alone("ending::a_hundred_stops_leave_nothing") {
        over_and_over(|| Broker::builder().http("127.0.0.1:0"), true).await;
    }
}

#[tokio::test]
async fn a_hundred_drops_leave_nothing() {
    if alone("ending::a_hundred_drops_leave_nothing") {
        over_and_over(|| Broker::builder().http("127.0.0.1:0"), false).await;
    }
}

#[test]
fn nothing_is_left_of_a_data_directory_but_the_data() {
    if alone("ending::nothing_is_left_of_a_data_directory_but_the_data") {
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        // The first one of a process opens what all of them share.
        drop(runtime());
        let Held { files, threads } = held();
        let runtime = runtime();
        let dir = directory("kept");
        runtime.block_on(async {
            for n in 0..10 {
                let broker = start(Broker::builder().data_dir(&dir).config_text("fsync = never")).await;
                assert!(held().threads >= threads + 3, "its own three");
                let channel = connect(&broker).await.channel().await.expect("a channel");
                channel.confirm_select().await.expect("confirms");
                declare(&channel, "kept", true).await;
                assert_eq!(broker.queue("/", "kept").await.map(|queue| queue.ready), Some(n));
                let persistent = AMQPProperties::default().with_delivery_mode(2);
                let publication = Publication::new("", "kept", "hello").with_properties(&persistent);
                channel.publish(publication).await.expect("confirmed");
                // One way and the other: the next one finds the directory free, and the message in it.
                if n % 2 == 0 { drop(broker) } else { broker.stop().await }
            }
            until("all tasks", || tasks() == 0).await;
        });
        drop(runtime);
        assert_eq!(held(), Held { files, threads });
        let _ = std::fs::remove_dir_all(&dir);
    }
}

#[tokio::test]
async fn a_start_that_fails_leaves_nothing() {
    let busy = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = busy.local_addr().expect("an address");
    let (dir, before) = (directory("failed"), tasks());
    let failed = Broker::builder().data_dir(&dir).amqp(taken).start().await.expect_err("the port is taken");
    assert!(failed.to_string().contains("Address already in use"), "{failed}");
    let failed = Broker::builder().data_dir(&dir).http(taken).start().await.expect_err("the port is taken");
    assert!(failed.to_string().contains("Address already in use"), "{failed}");
    until("what has been started", || tasks() == before).await;
    drop(busy);
    start(Broker::builder().data_dir(&dir).amqp(taken)).await.stop().await;
    let _ = std::fs::remove_dir_all(&dir);
}

#[test]
fn it_may_be_dropped_outside_its_runtime_and_after_it() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let broker = runtime.block_on(start(Broker::builder()));
    let address = broker.amqp_addr().expect("TCP");
    drop(broker);
    assert!(TcpListener::bind(address).is_ok());
    let dir = directory("outlives");
    let broker = runtime.block_on(start(Broker::builder().data_dir(&dir)));
    let address = broker.amqp_addr().expect("TCP");
    let clients = runtime.block_on(busy(&broker));
    drop(runtime);
    drop(broker);
    drop(clients);
    assert!(TcpListener::bind(address).is_ok());
    let _ = std::fs::remove_dir_all(&dir);
}

#[tokio::test]
async fn shovels_end_with_it() {
    let (before, to) = (tasks(), start(Broker::builder()).await);
    let definitions = format!(
        r#"{{"queues": [{{"name": "from", "durable": true, "arguments": {{}}}}],
             "parameters": [{{"component": "shovel", "name": "moves", "vhost": "/", "value":
                {{"src-uri": "amqp://", "src-queue": "from", "dest-uri": "{}", "dest-queue": "to"}}}}]}}"#,
        to.amqp_url()
    );
    let from = start(Broker::builder().definitions(definitions)).await;
    let channel = connect(&from).await.channel().await.expect("a channel");
    publish(&channel, "from", "hello").await;
    soon(to.queue_until("/", "to", |queue| queue.ready == 1)).await.expect("moved");
    drop(channel);
    from.stop().await;
    to.stop().await;
    until("all tasks", || tasks() == before).await;
}

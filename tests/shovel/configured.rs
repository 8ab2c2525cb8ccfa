//! Shovels of the configuration.

use serde_json::json;

use super::http::Http;
use super::support::broker::{Broker, Scratch, leveret};
use super::support::client::connect;
use super::two::{Two, durable, fill, numbers, talk, uri};

#[tokio::test]
async fn it_shovels_from_the_start() {
    let source = Broker::start();
    let (from, filling) = talk(&source).await;
    durable(&from, "q").await;
    fill(&filling, "", "q", 0..100).await;
    let uri = uri(&source);
    let here = Broker::with_config(&format!(
        "shovel.in\\.order.src-uri = amqp://127.0.0.1:1 {uri}\n\
         shovel.in\\.order.src-queue = q\n\
         shovel.in\\.order.src-prefetch-count = 10\n\
         shovel.in\\.order.dest-uri = amqp://\n\
         shovel.in\\.order.dest-queue = r\n\
         shovel.in\\.order.dest-queue-args = {{\"x-max-length\": 60}}\n\
         shovel.in\\.order.src-delete-after = queue-length\n"
    ));
    let two = Two { http: Http::guest(here.http()), source, here };
    let row = two.until("in.order", "has done its work", |row| row["state"] == "terminated");
    assert_eq!((&row["type"], &row["reason"], &row["forwarded"]), (&json!("static"), &json!("all messages have gone over"), &json!(100)));
    assert!(row.get("vhost").is_none(), "{row}");
    assert_eq!(numbers(&connect(&two.here).await, "r", 60).await, (40..100).collect::<Vec<u32>>());
    assert_eq!(two.http.get("/api/parameters").ok(), json!([]));
}

#[test]
fn what_is_no_shovel_is_refused_at_the_start() {
    let scratch = Scratch::new();
    let config = scratch.file(
        "leveret.conf",
        "shovel.s.src-uri = amqp://\nshovel.s.ack-mode = never\nshovel.t.src-queue = q\nshovel.t.src-uri = amqp://\nshovel.t.dest-uri = http://h\n",
    );
    let output = leveret().args(["--in-memory", "--config"]).arg(config).output().expect("it ends");
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    for line in [
        "shovel.s: Must specify 'src-exchange' or 'src-queue'; Key \"dest-uri\" not found in s; ack-mode should be one of \
         [<<\"no-ack\">>,<<\"on-publish\">>,<<\"on-confirm\">>], actually was <<\"never\">>",
        "shovel.t: \"http://h\" not a valid URI: {{unexpected_uri_scheme,\"http\"},\"http://h\"}",
    ] {
        assert!(text.contains(line), "{text}");
    }
}

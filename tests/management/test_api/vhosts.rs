//! Virtual hosts that are made when they are opened, and gone with their last connection.

use lapin::{Connection, ConnectionProperties};
use serde_json::{Value as Json, json};

use super::{declare, get, persistent, publish, virtual_broker};
use crate::support::broker::Broker;
use crate::support::client::{confirming, connect, soon};
use crate::support::eventually;

async fn open(broker: &Broker, user: &str, vhost: &str) -> Result<Connection, lapin::Error> {
    let uri = format!("amqp://{user}:guest@{}/{vhost}", broker.address());
    soon(Connection::connect(&uri, ConnectionProperties::default())).await
}

fn vhosts(http: &crate::Http) -> Json {
    http.get("/api/vhosts").ok().as_array().expect("a list").iter().map(|vhost| vhost["name"].clone()).collect()
}

#[tokio::test]
async fn they_begin_as_their_template_and_end_with_their_last_connection() {
    let (broker, http) = virtual_broker();
    let first = connect(&broker).await;
    let channel = confirming(&first).await;
    declare(&channel, "q", &[]).await;
    publish(&channel, "", "q", "from the template", persistent()).await;
    assert!(open(&broker, "guest", "test-1").await.is_err(), "not before they are asked for");
    http.put("/api/test/vhosts", &json!({"pattern": "test-*", "template": "/"})).is(204);
    http.put("/api/users/u", &json!({"password": "guest", "tags": ""})).is(201);
    // Several at once, of two tests.
    let opened = futures_lite::future::zip(
        futures_lite::future::zip(open(&broker, "guest", "test-1"), open(&broker, "guest", "test-1")),
        open(&broker, "u", "test-2"),
    );
    let ((one, again), other) = opened.await;
    let (one, again, other) = (one.expect("opened"), again.expect("opened"), other.expect("opened"));
    assert_eq!(http.get("/api/test/vhosts").ok(), json!({"pattern": "test-*", "template": "/", "made": ["test-1", "test-2"]}));
    for connection in [&one, &other] {
        let channel = confirming(connection).await;
        assert_eq!(get(&channel, "q").await, Some(("from the template".to_owned(), false)));
    }
    soon(one.close(200, "done".into())).await.expect("closed");
    assert_eq!(vhosts(&http), json!(["/", "test-1", "test-2"]), "somebody is left");
    soon(again.close(200, "done".into())).await.expect("closed");
    eventually("it is gone with the last one", || (vhosts(&http) == json!(["/", "test-2"])).then_some(()));
    // The next one begins anew.
    for _ in 0..5 {
        let next = open(&broker, "guest", "test-1").await.expect("opened");
        let channel = confirming(&next).await;
        assert_eq!(get(&channel, "q").await, Some(("from the template".to_owned(), false)));
        soon(next.close(200, "done".into())).await.expect("closed");
        eventually("it is gone", || (vhosts(&http) == json!(["/", "test-2"])).then_some(()));
    }
    soon(other.close(200, "done".into())).await.expect("closed");
    eventually("all are gone", || (vhosts(&http) == json!(["/"])).then_some(()));
    assert!(open(&broker, "guest", "another").await.is_err(), "other names are not made");
    http.delete("/api/test/vhosts").is(204);
    assert!(open(&broker, "guest", "test-1").await.is_err());
    http.put("/api/test/vhosts", &json!({})).is(400);
    http.put("/api/test/vhosts", &json!({"pattern": "test-*", "template": "nowhere"})).is(404);
}

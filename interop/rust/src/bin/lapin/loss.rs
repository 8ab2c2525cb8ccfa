//! What a lost connection leaves to others.

use super::*;

pub async fn survives_loss(own: &Own) {
    let channel = own.channel().await;
    let queue = own.shared_queue(&channel, "loss").await;
    publish_numbers(&channel, &queue, 1..=3).await;
    let relay = Relay::start().unwrap();
    let lost = connect(&format!("amqp://guest:guest@127.0.0.1:{}/%2f", relay.port)).await;
    let lost_channel = lost.create_channel().await.unwrap();
    let mut inbox = consume(&lost_channel, &queue).await;
    take(&mut inbox).await.ack(BasicAckOptions::default()).await.unwrap();
    take(&mut inbox).await;
    take(&mut inbox).await;
    message_count(&lost_channel, &queue).await; // its answer proves that the ack before it arrived
    relay.cut();

    let mut again = consume(&channel, &queue).await;
    for expected in ["2", "3"] {
        let delivery = take(&mut again).await;
        assert_eq!(expected, text(&delivery));
        assert!(delivery.redelivered);
    }
    delete_queue(&channel, &queue).await.unwrap();
    let error = timeout(WAIT, inbox.next()).await.unwrap().unwrap().unwrap_err();
    assert!(error.is_io_error(), "{error}");
}

pub async fn recovers_automatically(own: &Own) {
    let channel = own.channel().await;
    let queue = own.shared_queue(&channel, "again").await;
    let relay = Relay::start().unwrap();
    let properties = ConnectionProperties::default().enable_auto_recover().configure_backoff(|backoff| backoff.with_max_times(20));
    let uri = format!("amqp://guest:guest@127.0.0.1:{}/%2f", relay.port);
    let connection = Connection::connect(&uri, properties).await.unwrap();
    let recovering = connection.create_channel().await.unwrap();
    let mut inbox = consume(&recovering, &queue).await;
    relay.cut();
    publish_numbers(&channel, &queue, 1..=1).await;
    let delivery = loop {
        // The consumer first tells of the loss.
        match timeout(WAIT, inbox.next()).await.expect("no delivery came").expect("consumer ended") {
            Ok(delivery) => break delivery,
            Err(error) => assert!(error.is_io_error(), "{error}"),
        }
    };
    assert_eq!("1", text(&delivery));
    delivery.ack(BasicAckOptions::default()).await.unwrap();
    connection.close(200, "done".into()).await.unwrap();
    delete_queue(&channel, &queue).await.unwrap();
}

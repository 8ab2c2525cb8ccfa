//! What a lost connection leaves to others.

use super::*;

pub async fn survives_loss(own: &Own) {
    let (channel, _events) = own.channel().await;
    let queue = own.shared_queue(&channel, "loss").await;
    publish_numbers(&channel, &queue, 1..=3).await;
    let relay = Relay::start().unwrap();
    let lost = connect(OpenConnectionArguments::new("127.0.0.1", relay.port, "guest", "guest").heartbeat(0)).await;
    let lost_channel = lost.open_channel(None).await.unwrap();
    let mut inbox = consume(&lost_channel, &queue, "").await;
    let first = take(&mut inbox).await;
    lost_channel.basic_ack(BasicAckArguments::new(first.tag, false)).await.unwrap();
    take(&mut inbox).await;
    take(&mut inbox).await;
    message_count(&lost_channel, &queue).await; // its answer proves that the ack before it arrived
    relay.cut();
    assert!(timeout(WAIT, lost.listen_network_io_failure()).await.expect("the loss went unnoticed"));

    let mut again = consume(&channel, &queue, "").await;
    for expected in ["2", "3"] {
        let delivery = take(&mut again).await;
        assert_eq!(expected, delivery.body);
        assert!(delivery.redelivered);
    }
    channel.queue_delete(QueueDeleteArguments::new(&queue)).await.unwrap();
}

package examples;

import com.rabbitmq.client.AMQP.BasicProperties;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.ConnectionFactory;
import com.rabbitmq.client.Delivery;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import leveret.Leveret;

/** What the examples share: a connection that recovers, and a consumer that acknowledges what its handler has done. */
final class Shop implements AutoCloseable {
  interface Handler {
    void handle(Channel channel, Delivery delivery) throws Exception;
  }

  private final Connection connection;
  final Channel channel;

  Shop(Leveret broker) throws Exception {
    var factory = new ConnectionFactory();
    factory.setUri(broker.amqpUrl());
    factory.setNetworkRecoveryInterval(20);
    connection = factory.newConnection();
    channel = connection.createChannel();
  }

  void declare(String queue, Map<String, Object> arguments) throws IOException {
    channel.queueDeclare(queue, true, false, false, arguments);
  }

  void publish(String queue, String messageId, String body) throws IOException {
    var properties = new BasicProperties.Builder().messageId(messageId).deliveryMode(2).build();
    channel.basicPublish("", queue, properties, body.getBytes(StandardCharsets.UTF_8));
  }

  /** Consumes on a channel of its own; what the handler throws rejects the message. */
  void work(String queue, String consumerTag, Handler handler) throws IOException {
    var own = connection.createChannel();
    own.basicQos(1);
    own.basicConsume(queue, false, consumerTag, (tag, delivery) -> {
      try {
        handler.handle(own, delivery);
      } catch (Exception e) {
        own.basicReject(delivery.getEnvelope().getDeliveryTag(), false);
        return;
      }
      own.basicAck(delivery.getEnvelope().getDeliveryTag(), false);
    }, tag -> { });
  }

  static String text(Delivery delivery) {
    return new String(delivery.getBody(), StandardCharsets.UTF_8);
  }

  @Override
  public void close() {
    connection.abort();
  }
}

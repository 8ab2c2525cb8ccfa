package examples;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.rabbitmq.client.AMQP.BasicProperties;
import com.rabbitmq.client.ConnectionFactory;
import com.rabbitmq.client.ShutdownSignalException;
import java.io.IOException;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import leveret.Leveret;
import leveret.LeveretExtension;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/** A broker that dies and comes back: what was confirmed is there, and what was not is published again. */
@ExtendWith(LeveretExtension.class)
class RestartTest {
  private static final List<String> ORDERS = IntStream.range(0, 200).mapToObj(number -> "order-" + number).toList();

  /** Publishes until each is confirmed, over as many connections as that takes, and returns how many those were. */
  private static int publishAll(ConnectionFactory factory, List<String> names) {
    var pending = new ArrayDeque<>(names);
    int connections = 0;
    while (!pending.isEmpty()) {
      try (var connection = factory.newConnection()) {
        connections++;
        var channel = connection.createChannel();
        channel.queueDeclare("orders", true, false, false, Map.of());
        channel.confirmSelect();
        while (!pending.isEmpty()) {
          channel.basicPublish("", "orders", new BasicProperties.Builder().messageId(pending.peek()).deliveryMode(2).build(), new byte[0]);
          channel.waitForConfirmsOrDie(10_000);
          pending.remove();
        }
      } catch (ShutdownSignalException | IOException e) {
        // The next connection goes on with the first that is not confirmed.
      } catch (Exception e) {
        throw new IllegalStateException(e);
      }
    }
    return connections;
  }

  @Test
  void everyOrderArrivesThoughTheBrokerCrashesTwice(Leveret broker) throws Exception {
    var factory = new ConnectionFactory();
    factory.setUri(broker.amqpUrl());
    factory.setAutomaticRecoveryEnabled(false);
    var connections = CompletableFuture.supplyAsync(() -> publishAll(factory, ORDERS));
    for (int confirmed : new int[] {20, 40}) {
      broker.waitFor(confirmed, "confirmed");
      broker.crash();
    }
    // The second crash may come before the publisher is back from the first.
    assertTrue(connections.get(30, TimeUnit.SECONDS) >= 2);

    var arrived = new ConcurrentLinkedQueue<String>();
    try (var shop = new Shop(broker)) {
      shop.work("orders", "till", (channel, delivery) -> arrived.add(delivery.getProperties().getMessageId()));
      broker.settle("orders");
    }
    // An order whose confirm was lost with its connection comes twice; none is lost, and they come in order.
    assertEquals(ORDERS, new ArrayList<>(new LinkedHashSet<>(arrived)));
    assertTrue(arrived.size() <= ORDERS.size() + 2, "twice: " + arrived.size());
  }

  @Test
  void whatIsToSurviveMustBePersistent(Leveret broker) throws Exception {
    var arrived = new ConcurrentLinkedQueue<String>();
    try (var shop = new Shop(broker)) {
      shop.declare("orders", Map.of());
      shop.channel.confirmSelect();
      shop.channel.basicPublish("", "orders", new BasicProperties.Builder().messageId("transient").deliveryMode(1).build(), new byte[0]);
      shop.publish("orders", "persistent", "");
      shop.channel.waitForConfirmsOrDie(10_000);
    }
    broker.crash();
    try (var shop = new Shop(broker)) {
      shop.work("orders", "till", (channel, delivery) -> arrived.add(delivery.getProperties().getMessageId()));
      broker.settle("orders");
    }
    assertEquals(List.of("persistent"), List.copyOf(arrived));
  }
}

package examples;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import leveret.Leveret;
import leveret.LeveretExtension;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/** A consumer that is gone before it has acknowledged: the message comes back, and its work is not done twice. */
@ExtendWith(LeveretExtension.class)
class ConsumerCrashTest {
  @Test
  void anOrderIsChargedOnceThoughItComesTwice(Leveret broker) throws Exception {
    Set<String> seen = ConcurrentHashMap.newKeySet();
    var charged = new ConcurrentLinkedQueue<String>();
    var hasCharged = new CountDownLatch(1);
    var mayGoOn = new CountDownLatch(1);
    try (var shop = new Shop(broker)) {
      shop.declare("orders", Map.of());
      shop.work("orders", "till", (channel, delivery) -> {
        var order = delivery.getProperties().getMessageId();
        if (seen.add(order)) {
          charged.add(order);
          hasCharged.countDown();
          assertTrue(mayGoOn.await(10, TimeUnit.SECONDS));
        }
      });
      shop.publish("orders", "order-1", "two carrots");
      assertTrue(hasCharged.await(10, TimeUnit.SECONDS));
      // It has done its work, and its connection is lost before it can say so.
      broker.disconnect((String) broker.messages("orders", "unacked").get(0).get("connection"));
      assertEquals("connection-closed", broker.waitFor(1, "requeued", "queue", "orders").get(0).get("reason"));
      mayGoOn.countDown();
      broker.settle("orders");
    }
    var deliveries = broker.journal("queue", "orders", "event", "delivered");
    assertEquals(2, deliveries.size());
    assertEquals(true, deliveries.get(1).get("redelivered"));
    assertEquals(deliveries.get(0).get("message"), deliveries.get(1).get("message"));
    assertNotEquals(deliveries.get(0).get("connection"), deliveries.get(1).get("connection"));
    assertEquals(List.of("order-1"), List.copyOf(charged));
  }
}

package examples;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentLinkedQueue;
import leveret.Leveret;
import leveret.LeveretExtension;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/** A dead-letter flow: an invoice that nobody can read, that waits too long, or that is one too many ends where somebody looks. */
@ExtendWith(LeveretExtension.class)
class DeadLetterTest {
  private static final Duration PATIENCE = Duration.ofHours(1);
  private static final int LONGEST = 3;

  private static void declare(Shop shop) throws IOException {
    shop.channel.exchangeDeclare("dead", "fanout", true);
    shop.declare("invoices.dead", Map.of());
    shop.channel.queueBind("invoices.dead", "dead", "");
    shop.declare("invoices",
        Map.of("x-dead-letter-exchange", "dead", "x-message-ttl", PATIENCE.toMillis(), "x-max-length", LONGEST));
  }

  /** Who is there, and why. */
  private static List<String> dead(Leveret broker) {
    return broker.messages("invoices.dead").stream().map(message -> Leveret.object(message.get("properties")))
        .map(properties -> properties.get("message_id") + " " + Leveret.object(properties.get("headers")).get("x-first-death-reason"))
        .toList();
  }

  @Test
  void whatCannotBeReadIsPutAsideAndTheRestGoesOn(Leveret broker) throws Exception {
    var amounts = new ConcurrentLinkedQueue<Integer>();
    try (var shop = new Shop(broker)) {
      declare(shop);
      shop.publish("invoices", "broken", "twelve");
      shop.publish("invoices", "good", "12");
      shop.work("invoices", "accountant", (channel, delivery) -> amounts.add(Integer.valueOf(Shop.text(delivery))));
      broker.waitFor(1, "acked", "queue", "invoices");
      broker.settle("invoices");
    }
    assertEquals(List.of(12), List.copyOf(amounts));
    assertEquals(List.of("broken rejected"), dead(broker));
  }

  @Test
  void whatNobodyTakesForAnHourIsPutAside(Leveret broker) throws Exception {
    try (var shop = new Shop(broker)) {
      declare(shop);
      shop.publish("invoices", "forgotten", "12");
      broker.waitFor(1, "enqueued", "queue", "invoices");
      broker.advance(PATIENCE.minusMillis(1));
      assertEquals(List.of(), dead(broker));
      broker.advance(Duration.ofMillis(1));
    }
    assertEquals(List.of("forgotten expired"), dead(broker));
    assertTrue(broker.story("forgotten").contains("dead-lettered"));
  }

  @Test
  void theOldestGivesWayWhereThereAreTooMany(Leveret broker) throws Exception {
    try (var shop = new Shop(broker)) {
      declare(shop);
      for (int number = 0; number <= LONGEST; number++) {
        shop.publish("invoices", "invoice-" + number, "12");
      }
      broker.waitFor(1, "enqueued", "queue", "invoices.dead");
    }
    assertEquals(List.of("invoice-0 maxlen"), dead(broker));
  }
}

package examples;

import static org.junit.jupiter.api.Assertions.assertEquals;

import com.rabbitmq.client.AMQP.BasicProperties;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Delivery;
import java.io.IOException;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicInteger;
import leveret.Leveret;
import leveret.LeveretExtension;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/** Retry with back-off: a failed order waits 1, 10 and 60 seconds for its next attempt, and is put aside after the last. */
@ExtendWith(LeveretExtension.class)
class RetryTest {
  private static final List<Integer> WAITS = List.of(1, 10, 60);

  private static void declare(Shop shop) throws IOException {
    shop.declare("orders", Map.of());
    shop.declare("orders.failed", Map.of());
    for (int seconds : WAITS) {
      // An order waits here until it expires, which takes it back to its queue.
      shop.declare("orders.retry." + seconds,
          Map.of("x-message-ttl", seconds * 1000, "x-dead-letter-exchange", "", "x-dead-letter-routing-key", "orders"));
    }
  }

  /** What fails is published again, to where it waits, and acknowledged. */
  private static Shop.Handler withRetries(Shop.Handler handler) {
    return (channel, delivery) -> {
      try {
        handler.handle(channel, delivery);
      } catch (Exception e) {
        putAside(channel, delivery, e);
      }
    };
  }

  private static void putAside(Channel channel, Delivery delivery, Exception why) throws IOException {
    var headers = delivery.getProperties().getHeaders();
    int attempts = headers == null ? 0 : (int) headers.getOrDefault("attempts", 0);
    var queue = attempts < WAITS.size() ? "orders.retry." + WAITS.get(attempts) : "orders.failed";
    BasicProperties properties =
        delivery.getProperties().builder().headers(Map.of("attempts", attempts + 1, "error", why.getMessage())).build();
    channel.basicPublish("", queue, properties, delivery.getBody());
  }

  @Test
  void threeMoreAttemptsWithGrowingDistance(Leveret broker) throws Exception {
    try (var shop = new Shop(broker)) {
      declare(shop);
      shop.work("orders", "till", withRetries((channel, delivery) -> {
        throw new IllegalStateException("the shop is closed");
      }));
      shop.publish("orders", "order-1", "two carrots");
      for (int attempt = 1; attempt <= WAITS.size(); attempt++) {
        int seconds = WAITS.get(attempt - 1);
        broker.waitFor(attempt, "acked", "queue", "orders");
        // Not a millisecond earlier.
        assertEquals(List.of(), broker.advance(Duration.ofSeconds(seconds).minusMillis(1)));
        var fired = broker.advance(Duration.ofMillis(1));
        assertEquals(List.of("orders.retry." + seconds), fired.stream().map(each -> each.get("queue")).toList());
      }
      broker.waitFor(1, "enqueued", "queue", "orders.failed");
    }
    var starts = broker.journal("queue", "orders", "event", "delivered").stream().map(event -> (Long) event.get("time")).toList();
    assertEquals(List.of(0L, 1000L, 11_000L, 71_000L), starts.stream().map(start -> start - starts.get(0)).toList());
    var failed = Leveret.object(broker.messages("orders.failed").get(0).get("properties"));
    assertEquals("the shop is closed", Leveret.object(failed.get("headers")).get("error"));
  }

  @Test
  void noAttemptAfterASuccess(Leveret broker) throws Exception {
    var attempts = new AtomicInteger();
    try (var shop = new Shop(broker)) {
      declare(shop);
      shop.work("orders", "till", withRetries((channel, delivery) -> {
        if (attempts.incrementAndGet() == 1) {
          throw new IllegalStateException("the shop is closed");
        }
      }));
      shop.publish("orders", "order-1", "two carrots");
      broker.waitFor(1, "acked", "queue", "orders");
      broker.advance(Duration.ofSeconds(1));
      broker.settle();
      // Nothing is due in the next year either.
      assertEquals(List.of(), broker.advance(Duration.ofDays(365)));
    }
    assertEquals(2, attempts.get());
  }
}

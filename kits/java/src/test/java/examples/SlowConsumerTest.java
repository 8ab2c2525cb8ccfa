package examples;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import leveret.Leveret;
import leveret.LeveretExtension;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/** A slow consumer: it keeps one job from the others and no more, and that one only until it is given up. */
@ExtendWith(LeveretExtension.class)
class SlowConsumerTest {
  @Test
  void aConsumerThatHangsNeitherHoldsUpTheOthersNorKeepsItsJob(Leveret broker) throws Exception {
    var done = new ConcurrentLinkedQueue<String>();
    var hanging = new CountDownLatch(1);
    var mayGoOn = new CountDownLatch(1);
    try (var slow = new Shop(broker); var fast = new Shop(broker)) {
      slow.declare("jobs", Map.of("x-queue-type", "quorum"));
      slow.work("jobs", "slow", (channel, delivery) -> {
        hanging.countDown();
        assertTrue(mayGoOn.await(10, TimeUnit.SECONDS));
      });
      fast.publish("jobs", "0", "0");
      assertTrue(hanging.await(10, TimeUnit.SECONDS));
      fast.work("jobs", "fast", (channel, delivery) -> done.add(Shop.text(delivery)));
      for (var job : List.of("1", "2", "3", "4")) {
        fast.publish("jobs", job, job);
      }
      // All the others are done meanwhile.
      broker.waitFor(4, "acked", "queue", "jobs", "consumer_tag", "fast");
      assertEquals(List.of("1", "2", "3", "4"), List.copyOf(done));
      var unacked = broker.messages("jobs", "unacked");
      assertEquals(List.of("slow"), unacked.stream().map(message -> message.get("consumer_tag")).toList());

      // After half an hour the broker takes it for dead, and its job goes to who works.
      var fired = broker.advance(Duration.ofMinutes(31));
      assertTrue(fired.stream().anyMatch(each -> each.get("what").equals("consumer-timeout")), fired::toString);
      broker.waitFor(5, "acked", "queue", "jobs", "consumer_tag", "fast");
      assertEquals(List.of("1", "2", "3", "4", "0"), List.copyOf(done));
      mayGoOn.countDown();
    }
  }
}

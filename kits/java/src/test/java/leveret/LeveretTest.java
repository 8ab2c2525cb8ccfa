package leveret;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import com.rabbitmq.client.AMQP.BasicProperties;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.ConnectionFactory;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.ConnectException;
import java.net.InetAddress;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CountDownLatch;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.RepeatedTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.RegisterExtension;
import org.junit.jupiter.api.io.TempDir;

class LeveretTest {
  @RegisterExtension
  static final LeveretExtension leveret = new LeveretExtension("--log", "none");

  private Connection connection;
  private Channel channel;

  @BeforeEach
  void connect(Leveret broker) throws Exception {
    var factory = new ConnectionFactory();
    factory.setUri(broker.amqpUrl());
    factory.setAutomaticRecoveryEnabled(false);
    connection = factory.newConnection();
    channel = connection.createChannel();
  }

  @AfterEach
  void disconnect() {
    connection.abort();
  }

  private static List<Object> queues(Leveret broker) {
    return ((List<?>) broker.request("GET", "/api/queues", null)).stream().map(queue -> Leveret.object(queue).get("name")).toList();
  }

  @RepeatedTest(2)
  void nothingOfAnotherTestIsThere(Leveret broker) throws Exception {
    assertEquals(broker, leveret.broker());
    assertEquals(List.of(), queues(broker));
    assertEquals(List.of(), broker.journal());
    var node = Leveret.object(((List<?>) broker.request("GET", "/api/nodes", null)).get(0));
    assertEquals(false, node.get("mem_alarm"));
    channel.queueDeclare("left", true, false, false, null);
    broker.alarms(true, false);
  }

  @Test
  void timePassesWhenTold(Leveret broker) throws Exception {
    channel.queueDeclare("q", true, false, false, Map.of("x-message-ttl", 60_000));
    channel.basicPublish("", "q", null, new byte[0]);
    broker.waitFor(1, "enqueued", "queue", "q");
    var start = broker.now();
    assertEquals(List.of(), broker.advance(Duration.ofMillis(59_999)));
    var fired = broker.advanceToNext().get(0);
    assertEquals(List.of("message-expired", "q", 1L), List.of(fired.get("what"), fired.get("queue"), fired.get("count")));
    assertEquals(start.plusSeconds(60), broker.now());
    broker.advanceTo(start.plusSeconds(3600));
    assertEquals(start.plusSeconds(3600), broker.now());
    assertEquals(400, assertThrows(LeveretException.class, () -> broker.advanceTo(start)).status());
    broker.unfreeze();
    assertEquals(false, Leveret.object(broker.request("GET", "/api/test/clock", null)).get("frozen"));
    broker.freeze();
    assertEquals(true, Leveret.object(broker.request("GET", "/api/test/clock", null)).get("frozen"));
  }

  @Test
  void statesComeBack(Leveret broker) throws Exception {
    channel.queueDeclare("durable", true, false, false, null);
    channel.queueDeclare("transient", false, false, false, null);
    var snapshot = broker.snapshot();
    broker.crash();
    assertEquals(List.of("durable"), queues(broker));
    broker.restore(snapshot);
    assertEquals(List.of("durable", "transient"), queues(broker));
    broker.resetMessages();
    assertEquals(List.of("durable", "transient"), queues(broker));
    assertEquals(404, assertThrows(LeveretException.class, () -> broker.restore("unknown")).status());
  }

  @Test
  void theJournalTells(Leveret broker) throws Exception {
    channel.queueDeclare("a/b c", true, false, false, null);
    var properties = new BasicProperties.Builder().messageId("hase \u00fc \"1\"").build();
    channel.basicPublish("", "a/b c", properties, "body\n".getBytes(StandardCharsets.UTF_8));
    var event = broker.waitFor(1, "enqueued", "queue", "a/b c").get(0);
    assertEquals("hase \u00fc \"1\"", Leveret.object(event.get("properties")).get("message_id"));
    assertEquals(List.of("published", "routed", "enqueued"),
        broker.journal("message_id", "hase \u00fc \"1\"").stream().map(each -> each.get("event")).toList());
    assertTrue(broker.story(event.get("message")).contains("enqueued in \"a/b c\""));
    assertEquals("body\n", broker.messages("a/b c").get(0).get("payload"));
    broker.patience(Duration.ofMillis(10));
    var late = assertThrows(NotInTime.class, () -> broker.waitFor(2, "enqueued", "queue", "a/b c"));
    assertTrue(late.getMessage().startsWith("expected 2"), late.getMessage());
    channel.basicGet("a/b c", true);
    broker.settle();
  }

  @Test
  void faultsHappenWhenTold(Leveret broker) throws Exception {
    channel.queueDeclare("q", true, false, false, null);
    channel.confirmSelect();
    broker.addFault(Map.of("match", Map.of("routing_key", "q"), "times", 1, "action", Map.of("kind", "nack")));
    channel.basicPublish("", "q", null, new byte[0]);
    assertFalse(channel.waitForConfirms(10_000));
    channel.basicPublish("", "q", null, new byte[0]);
    assertTrue(channel.waitForConfirms(10_000));
    broker.reset();
    assertEquals(List.of(), broker.request("GET", "/api/test/faults", null));
  }

  @Test
  void brokersOfTheirOwn() {
    try (var one = Leveret.start("--clock", "real"); var other = Leveret.start()) {
      assertNotEquals(one.port(), other.port());
      assertEquals(false, Leveret.object(one.request("GET", "/api/test/clock", null)).get("virtual"));
      other.close();
      assertFalse(ProcessHandle.of(other.pid()).map(ProcessHandle::isAlive).orElse(false));
    }
    var failure = assertThrows(IllegalStateException.class, () -> Leveret.start("--no-such-option"));
    assertTrue(failure.getMessage().contains("--no-such-option"), failure.getMessage());
  }

  /** A program that starts two brokers, says which, and waits to be killed. */
  static final class StartsTwo {
    public static void main(String[] arguments) throws InterruptedException {
      var brokers = List.of(Leveret.start(), Leveret.start());
      System.out.println(Json.write(brokers.stream().map(broker -> Map.of("pid", broker.pid(), "port", (long) broker.port())).toList()));
      new CountDownLatch(1).await();
    }
  }

  @Test
  void brokersEndWithTheProcessThatIsKilled(@TempDir Path scratch) throws Exception {
    var command = new ArrayList<>(List.of(System.getProperty("java.home") + "/bin/java", "-cp", System.getProperty("java.class.path"),
        "-Djava.io.tmpdir=" + scratch));
    Optional.ofNullable(System.getProperty("leveret.binary")).ifPresent(binary -> command.add("-Dleveret.binary=" + binary));
    command.add(StartsTwo.class.getName());
    var starter = new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT).start();
    List<Map<String, Object>> brokers = new ArrayList<>();
    try {
      var told = new BufferedReader(new InputStreamReader(starter.getInputStream(), StandardCharsets.UTF_8)).readLine();
      ((List<?>) Json.read(told)).forEach(broker -> brokers.add(Leveret.object(broker)));
      // Halted, it would keep the first one's pipe open if it had been given it.
      signal("STOP", brokers.get(1));
      starter.destroyForcibly().waitFor();
      awaitRefusal(brokers.get(0));
      signal("CONT", brokers.get(1));
      awaitRefusal(brokers.get(1));
    } finally {
      starter.destroyForcibly();
      brokers.forEach(broker -> ProcessHandle.of((Long) broker.get("pid")).ifPresent(ProcessHandle::destroyForcibly));
    }
  }

  private static void signal(String name, Map<String, Object> broker) throws Exception {
    assertEquals(0, new ProcessBuilder("kill", "-" + name, broker.get("pid").toString()).inheritIO().start().waitFor());
  }

  /** Until nobody serves at its port. */
  private static void awaitRefusal(Map<String, Object> broker) throws Exception {
    var port = Math.toIntExact((Long) broker.get("port"));
    var deadline = System.nanoTime() + Duration.ofSeconds(20).toNanos();
    while (System.nanoTime() < deadline) {
      try (var socket = new Socket(InetAddress.getLoopbackAddress(), port)) {
        Thread.sleep(5);
      } catch (ConnectException e) {
        return;
      }
    }
    fail("port " + port + " still serves");
  }

  @Test
  void jsonIsReadAndWritten() {
    var text = "{\"a\":[1,-2.5,true,null,\"\\u0022\\u000a\",{},[]],\"b\":{\"c\":12345678901}}";
    assertEquals(text, Json.write(Json.read(" " + text + "\n")));
    assertEquals(Arrays.asList("/\"\\\b\t", 1e3), Json.read("[\"\\/\\\"\\\\\\b\\t\", 1E3]"));
    for (var wrong : List.of("", "{", "[1", "{\"a\" 1}", "\"", "1 2", "nul")) {
      assertThrows(IllegalArgumentException.class, () -> Json.read(wrong), wrong);
    }
  }
}

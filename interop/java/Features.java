import com.rabbitmq.client.AMQP.BasicProperties;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.Delivery;
import com.rabbitmq.client.LongString;
import com.rabbitmq.client.MessageProperties;
import com.rabbitmq.client.Return;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Date;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.Callable;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/** What queues can do beyond keeping messages: time, dead letters, priorities, other types of queue. */
class Features {
  private Features() {}

  static void checkAll() {
    Interop.check("time to live: queue's and message's, the shorter of both, only at the head",
        Features::expiresMessages);
    Interop.check("x-expires: an unused queue goes, one with a consumer stays",
        Features::expiresQueues);
    Interop.check("dead letters: rejected, expired, overflowing; x-death as List of Map",
        Features::deadLetters);
    Interop.check("delayed retry: TTL and back, deaths counted, parked after three attempts",
        Features::retriesLater);
    Interop.check("priorities: higher first, in order within one", Features::ordersByPriority);
    Interop.check("consumer priority: the higher one gets all until it is full",
        Features::prefersConsumers);
    Interop.check("single active consumer: the next one takes over", Features::takesOver);
    Interop.check("quorum queue: x-delivery-count, delivery limit, dead-lettered",
        Features::limitsDeliveries);
    Interop.check("quorum queue: what it refuses", Features::refusesOnQuorum);
    Interop.check("stream: first, last, next, offset, timestamp and interval; offsets in headers",
        Features::readsStream);
    Interop.check("stream: groups that keep their own place over the same messages",
        Features::keepsGroupsApart);
    Interop.check("406 for wrong arguments", Features::refusesArguments);
  }

  // Time

  static void expiresMessages(Channel channel) throws Exception {
    String brief = queue(channel, "brief", Map.of("x-message-ttl", 100));
    String plain = Interop.exclusiveQueue(channel);
    String live = Interop.exclusiveQueue(channel);
    Interop.publish(channel, live, "live");
    publish(channel, live, new BasicProperties.Builder().expiration("1").build(), "dead");
    publish(channel, brief, new BasicProperties.Builder().expiration("60000").build(), "long");
    publish(channel, plain, new BasicProperties.Builder().expiration("100").build(), "short");
    for (String queue : List.of(brief, plain)) {
      until(() -> channel.queueDeclarePassive(queue).getMessageCount() == 0);
    }
    // The one behind the live message was dead long before, and is still counted.
    Interop.equal(2, channel.queueDeclarePassive(live).getMessageCount());
    Interop.equal(List.of("live"), Interop.drain(channel, live));
  }

  static void expiresQueues(Channel channel) throws Exception {
    String idle = sharedQueue(channel, "idle", Map.of("x-expires", 400));
    String used = sharedQueue(channel, "used", Map.of("x-expires", 400));
    String tag = channel.basicConsume(used, (t, delivery) -> {}, t -> {});
    Channel publisher = channel.getConnection().createChannel();
    publisher.confirmSelect();
    BlockingQueue<Return> returns = new LinkedBlockingQueue<>();
    publisher.addReturnListener((Return returned) -> returns.add(returned));
    until(() -> isGone(publisher, returns, idle));
    Interop.equal(false, isGone(publisher, returns, used));
    channel.basicCancel(tag);
    until(() -> isGone(publisher, returns, used));
  }

  /** A mandatory message is no use of the queue, a declaration is. */
  static boolean isGone(Channel publisher, BlockingQueue<Return> returns, String queue)
      throws Exception {
    publisher.basicPublish("", queue, true, null, Interop.bytes("anyone there?"));
    publisher.waitForConfirmsOrDie(Interop.WAIT_SECONDS * 1000);
    return returns.poll() != null;
  }

  // Dead letters

  static void deadLetters(Channel channel) throws Exception {
    String exchange = Interop.RUN + ".dead";
    Interop.exchanges.add(exchange);
    channel.exchangeDeclare(exchange, "fanout", false, true, null);
    BlockingQueue<Delivery> inbox =
        Interop.consume(channel, Interop.boundQueue(channel, exchange, ""));
    Map<String, Map<String, Object>> reasons = new LinkedHashMap<>();
    reasons.put("rejected", Map.of());
    reasons.put("expired", Map.of("x-message-ttl", 10));
    reasons.put("maxlen", Map.of("x-max-length", 0));
    for (String reason : reasons.keySet()) {
      Map<String, Object> arguments = new HashMap<>(reasons.get(reason));
      arguments.put("x-dead-letter-exchange", exchange);
      arguments.put("x-dead-letter-routing-key", "was." + reason);
      String source = queue(channel, reason, arguments);
      BasicProperties sent = new BasicProperties.Builder().messageId(reason).expiration("60000")
          .headers(Map.of("mine", 1, "CC", List.of("copied"))).build();
      publish(channel, source, sent, reason);
      if (reason.equals("rejected")) {
        long tag = channel.basicGet(source, false).getEnvelope().getDeliveryTag();
        channel.basicReject(tag, false);
      }
      Delivery dead = Interop.take(inbox);
      Interop.equal(reason, Interop.text(dead));
      Interop.equal(exchange, dead.getEnvelope().getExchange());
      Interop.equal("was." + reason, dead.getEnvelope().getRoutingKey());
      Interop.equal(false, dead.getEnvelope().isRedeliver());
      Interop.equal(reason, dead.getProperties().getMessageId());
      Interop.equal(null, dead.getProperties().getExpiration());
      Map<String, Object> headers = dead.getProperties().getHeaders();
      Interop.equal(1, headers.get("mine"));
      Interop.equal(reason, text(headers.get("x-first-death-reason")));
      Interop.equal(source, text(headers.get("x-first-death-queue")));
      Interop.equal("", text(headers.get("x-first-death-exchange")));
      List<Map<String, Object>> deaths = deaths(dead);
      Interop.equal(1, deaths.size());
      Map<String, Object> death = new HashMap<>(deaths.get(0));
      long age = System.currentTimeMillis() - ((Date) death.remove("time")).getTime();
      Interop.equal(true, Math.abs(age) < 60_000);
      List<String> keys = new ArrayList<>();
      for (Object key : (List<?>) death.remove("routing-keys")) {
        keys.add(text(key));
      }
      Interop.equal(List.of(source, "copied"), keys);
      Interop.equal(1L, death.remove("count"));
      Map<String, String> texts = new HashMap<>();
      death.forEach((key, value) -> texts.put(key, text(value)));
      Interop.equal(Map.of("reason", reason, "queue", source, "exchange", "",
          "original-expiration", "60000"), texts);
    }
  }

  static void retriesLater(Channel channel) throws Exception {
    String work = Interop.RUN + ".work";
    String wait = queue(channel, "wait", Map.of("x-message-ttl", 20,
        "x-dead-letter-exchange", "", "x-dead-letter-routing-key", work));
    queue(channel, "work",
        Map.of("x-dead-letter-exchange", "", "x-dead-letter-routing-key", wait));
    String parking = Interop.exclusiveQueue(channel);
    BlockingQueue<Delivery> inbox = Interop.consume(channel, work);
    Interop.publish(channel, work, "job");
    for (long attempt = 0; attempt < 3; attempt++) {
      Delivery job = Interop.take(inbox);
      Map<String, Object> counts = new HashMap<>();
      deaths(job).forEach(it ->
          counts.put(text(it.get("queue")) + " " + text(it.get("reason")), it.get("count")));
      Map<String, Object> expected = attempt == 0 ? Map.of()
          : Map.of(work + " rejected", attempt, wait + " expired", attempt);
      Interop.equal(expected, counts);
      long tag = job.getEnvelope().getDeliveryTag();
      if (attempt < 2) {
        channel.basicNack(tag, false, false);
      } else {
        channel.basicPublish("", parking, job.getProperties(), job.getBody());
        channel.basicAck(tag, false);
      }
    }
    Interop.equal("job", Interop.text(Interop.take(Interop.consume(channel, parking))));
  }

  // Order among messages and consumers

  static void ordersByPriority(Channel channel) throws Exception {
    String queue = queue(channel, "priorities", Map.of("x-max-priority", 5));
    Interop.publish(channel, queue, "none");
    for (int priority : List.of(2, 5, 200, 2, 0)) {
      publish(channel, queue, new BasicProperties.Builder().priority(priority).build(),
          "" + priority);
    }
    long first = channel.basicGet(queue, false).getEnvelope().getDeliveryTag();
    channel.basicReject(first, true);
    Interop.equal(List.of("5", "200", "2", "2", "none", "0"), Interop.drain(channel, queue));
  }

  static void prefersConsumers(Channel channel) throws Exception {
    String queue = Interop.exclusiveQueue(channel);
    channel.basicQos(2);
    BlockingQueue<Delivery> spare = Interop.consume(channel, queue);
    BlockingQueue<Delivery> preferred = consume(channel, queue, Map.of("x-priority", 10));
    Interop.publish(channel, queue, "1", "2", "3");
    Interop.equal("1", Interop.text(Interop.take(preferred)));
    Interop.equal("2", Interop.text(Interop.take(preferred)));
    Interop.equal("3", Interop.text(Interop.take(spare)));
  }

  static void takesOver(Channel channel) throws Exception {
    String queue = sharedQueue(channel, "single", Map.of("x-single-active-consumer", true));
    BlockingQueue<Delivery> waiting;
    try (Connection other = Interop.factory().newConnection()) {
      Channel first = other.createChannel();
      BlockingQueue<Delivery> active = Interop.consume(first, queue);
      waiting = Interop.consume(channel, queue);
      Interop.publish(channel, queue, "1", "2");
      first.basicAck(Interop.take(active).getEnvelope().getDeliveryTag(), false);
      Interop.take(active);
      Interop.equal(null, waiting.poll(Interop.QUIET_MILLIS, TimeUnit.MILLISECONDS));
    }
    Delivery taken = Interop.take(waiting);
    Interop.equal("2", Interop.text(taken));
    Interop.equal(true, taken.getEnvelope().isRedeliver());
    channel.queueDelete(queue);
  }

  // Quorum queues

  static void limitsDeliveries(Channel channel) throws Exception {
    String dead = sharedQueue(channel, "limit-dead", Map.of());
    String queue = sharedQueue(channel, "limit", Map.of("x-queue-type", "quorum",
        "x-delivery-limit", 2, "x-dead-letter-exchange", "", "x-dead-letter-routing-key", dead));
    channel.confirmSelect();
    publish(channel, queue, MessageProperties.PERSISTENT_BASIC, "poison");
    channel.waitForConfirmsOrDie(Interop.WAIT_SECONDS * 1000);
    BlockingQueue<Delivery> inbox = Interop.consume(channel, queue);
    for (long turn = 0; turn < 3; turn++) {
      Delivery delivery = Interop.take(inbox);
      Map<String, Object> headers = delivery.getProperties().getHeaders();
      Object count = headers == null ? null : headers.get("x-delivery-count");
      // Some versions leave the 0 of the first delivery out.
      Interop.equal(turn, Objects.requireNonNullElse(count, 0L));
      Interop.equal(turn > 0, delivery.getEnvelope().isRedeliver());
      channel.basicReject(delivery.getEnvelope().getDeliveryTag(), true);
    }
    Delivery buried = Interop.take(Interop.consume(channel, dead));
    Map<String, Object> death = deaths(buried).get(0);
    Interop.equal("delivery_limit", text(death.get("reason")));
    Interop.equal(queue, text(death.get("queue")));
    Interop.equal(1L, death.get("count"));
    Interop.equal(null, inbox.poll(Interop.QUIET_MILLIS, TimeUnit.MILLISECONDS));
    channel.queueDelete(queue);
    channel.queueDelete(dead);
  }

  static void refusesOnQuorum(Channel channel) throws Exception {
    Connection connection = channel.getConnection();
    String name = Interop.RUN + ".refused";
    Interop.queues.add(name);
    Map<String, Object> quorum = Map.of("x-queue-type", "quorum");
    String where = " for queue '" + name + "' in vhost '/'";
    Interop.channelCloses(406, "PRECONDITION_FAILED - invalid property 'exclusive-owner'" + where,
        () -> connection.createChannel().queueDeclare(name, true, true, false, quorum));
    Interop.channelCloses(406, "PRECONDITION_FAILED - invalid property 'auto-delete'" + where,
        () -> connection.createChannel().queueDeclare(name, true, false, true, quorum));
  }

  // Streams

  static void readsStream(Channel channel) throws Exception {
    String queue = sharedQueue(channel, "stream",
        Map.of("x-queue-type", "stream", "x-max-age", "7D", "x-max-length-bytes", 10_000_000));
    channel.confirmSelect();
    publishConfirmed(channel, queue, 0, 3);
    // A time of the protocol has whole seconds.
    Thread.sleep(1100);
    Date between = new Date();
    Thread.sleep(1100);
    publishConfirmed(channel, queue, 3, 5);
    Map<Object, Integer> starts = new LinkedHashMap<>();
    starts.put("first", 0);
    starts.put("last", 4);
    starts.put("next", 5);
    starts.put(2L, 2);
    starts.put(between, 3);
    starts.put("1h", 0);
    List<Channel> readers = new ArrayList<>();
    List<BlockingQueue<Delivery>> inboxes = new ArrayList<>();
    for (Object start : starts.keySet()) {
      Channel reader = channel.getConnection().createChannel();
      reader.basicQos(2);
      readers.add(reader);
      inboxes.add(consume(reader, queue, Map.of("x-stream-offset", start)));
    }
    publishConfirmed(channel, queue, 5, 6);
    int index = 0;
    for (int first : starts.values()) {
      BlockingQueue<Delivery> inbox = inboxes.get(index);
      for (int offset = first; offset < 6; offset++) {
        Delivery delivery = Interop.take(inbox);
        Interop.equal("" + offset, Interop.text(delivery));
        Interop.equal((long) offset, delivery.getProperties().getHeaders().get("x-stream-offset"));
        readers.get(index).basicAck(delivery.getEnvelope().getDeliveryTag(), false);
      }
      Interop.equal(null, inbox.poll(Interop.QUIET_MILLIS, TimeUnit.MILLISECONDS));
      index++;
    }
    channel.queueDelete(queue);
  }

  static void keepsGroupsApart(Channel channel) throws Exception {
    String queue = sharedQueue(channel, "log", Map.of("x-queue-type", "stream"));
    channel.confirmSelect();
    publishConfirmed(channel, queue, 0, 10);
    Map<String, Long> places = new LinkedHashMap<>(Map.of("billing", 0L, "search", 0L));
    for (int round = 0; round < 2; round++) {
      for (String group : places.keySet()) {
        int portion = group.equals("billing") ? 3 : 5;
        try (Connection connection = Interop.factory().newConnection()) {
          Channel reader = connection.createChannel();
          reader.basicQos(portion);
          BlockingQueue<Delivery> inbox =
              consume(reader, queue, Map.of("x-stream-offset", places.get(group)));
          for (int i = 0; i < portion; i++) {
            Delivery delivery = Interop.take(inbox);
            long offset = (Long) delivery.getProperties().getHeaders().get("x-stream-offset");
            Interop.equal(places.get(group), offset);
            Interop.equal("" + offset, Interop.text(delivery));
            places.put(group, offset + 1);
          }
          Interop.equal(null, inbox.poll(Interop.QUIET_MILLIS, TimeUnit.MILLISECONDS));
        }
      }
    }
    Interop.equal(Map.of("billing", 6L, "search", 10L), places);
    channel.queueDelete(queue);
  }

  // Errors

  static void refusesArguments(Channel channel) throws Exception {
    Connection connection = channel.getConnection();
    String name = Interop.RUN + ".wrong";
    Interop.queues.add(name);
    Map<Map<String, Object>, String> refusals = new LinkedHashMap<>();
    refusals.put(Map.of("x-message-ttl", -1), "{value_negative,-1}");
    refusals.put(Map.of("x-message-ttl", "100"), "\"expected integer, got longstr\"");
    refusals.put(Map.of("x-expires", 0), "{value_zero,0}");
    refusals.put(Map.of("x-max-priority", 256), "{max_value_exceeded,256}");
    refusals.put(Map.of("x-dead-letter-routing-key", "k"), "routing_key_but_no_dlx_defined");
    refusals.put(Map.of("x-queue-type", "heap"), "\"unsupported queue type 'heap'\"");
    for (Map<String, Object> arguments : refusals.keySet()) {
      String argument = arguments.keySet().iterator().next();
      Interop.channelCloses(406, "PRECONDITION_FAILED - invalid arg '" + argument + "' for queue '"
          + name + "' in vhost '/': " + refusals.get(arguments),
          () -> connection.createChannel().queueDeclare(name, true, false, false, arguments));
    }
  }

  // Small words the checks are written in

  static String queue(Channel channel, String name, Map<String, Object> arguments)
      throws IOException {
    String queue = Interop.RUN + "." + name;
    Interop.queues.add(queue);
    channel.queueDeclare(queue, false, true, false, arguments);
    return queue;
  }

  static String sharedQueue(Channel channel, String name, Map<String, Object> arguments)
      throws IOException {
    String queue = Interop.RUN + "." + name;
    Interop.queues.add(queue);
    channel.queueDeclare(queue, true, false, false, arguments);
    return queue;
  }

  static void publish(Channel channel, String queue, BasicProperties properties, String body)
      throws IOException {
    channel.basicPublish(Interop.NO_EXCHANGE, queue, properties, Interop.bytes(body));
  }

  static void publishConfirmed(Channel channel, String queue, int first, int end)
      throws Exception {
    for (int number = first; number < end; number++) {
      Interop.publish(channel, queue, "" + number);
      // One by one: some versions write what comes together as one piece, and deliver it whole.
      channel.waitForConfirmsOrDie(Interop.WAIT_SECONDS * 1000);
    }
  }

  static BlockingQueue<Delivery> consume(Channel channel, String queue,
      Map<String, Object> arguments) throws IOException {
    BlockingQueue<Delivery> inbox = new LinkedBlockingQueue<>();
    channel.basicConsume(queue, false, arguments, (tag, delivery) -> inbox.add(delivery), tag -> {});
    return inbox;
  }

  @SuppressWarnings("unchecked")
  static List<Map<String, Object>> deaths(Delivery delivery) {
    Map<String, Object> headers = delivery.getProperties().getHeaders();
    Object deaths = headers == null ? null : headers.get("x-death");
    return deaths == null ? List.of() : (List<Map<String, Object>>) deaths;
  }

  static String text(Object longString) {
    return ((LongString) longString).toString();
  }

  static void until(Callable<Boolean> holds) throws Exception {
    long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(Interop.WAIT_SECONDS);
    while (!holds.call()) {
      if (System.nanoTime() > deadline) {
        throw new AssertionError("not within " + Interop.WAIT_SECONDS + " s");
      }
    }
  }
}

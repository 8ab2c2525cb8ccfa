import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.AMQP.BasicProperties;
import com.rabbitmq.client.AuthenticationFailureException;
import com.rabbitmq.client.BuiltinExchangeType;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.ConnectionFactory;
import com.rabbitmq.client.DefaultConsumer;
import com.rabbitmq.client.Delivery;
import com.rabbitmq.client.Envelope;
import com.rabbitmq.client.GetResponse;
import com.rabbitmq.client.MessageProperties;
import com.rabbitmq.client.Recoverable;
import com.rabbitmq.client.RecoveryListener;
import com.rabbitmq.client.Return;
import com.rabbitmq.client.RpcClient;
import com.rabbitmq.client.RpcClientParams;
import com.rabbitmq.client.RpcServer;
import com.rabbitmq.client.ShutdownSignalException;
import com.rabbitmq.client.impl.ClientVersion;
import com.rabbitmq.client.impl.LongStringHelper;
import java.io.IOException;
import java.math.BigDecimal;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Date;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.UUID;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/** What a Java program does with a broker, checked one promise at a time. */
public class Interop {
  static final String RUN = "java." + UUID.randomUUID().toString().substring(0, 8);
  static final String NO_EXCHANGE = "";
  static final long WAIT_SECONDS = 10;
  /** Long enough for a message that must not come to have come. */
  static final long QUIET_MILLIS = 200;

  static final List<String> queues = new ArrayList<>();
  static final List<String> exchanges = new ArrayList<>();
  static boolean failed = false;

  interface Body {
    void run(Channel channel) throws Exception;
  }

  interface Step {
    void run() throws Exception;
  }

  public static void main(String[] args) {
    System.out.println("client: Java amqp-client " + ClientVersion.VERSION);

    check("publish, consume, ack: in order, not redelivered", Interop::consumesInOrder);
    check("nack with requeue: back to the original order, redelivered", Interop::requeues);
    check("reject without requeue: the message is gone", Interop::rejects);
    check("a cancelled consumer's unacked messages can still be acked", Interop::acksAfterCancel);
    check("basic.get: message, remaining count, empty", Interop::gets);
    check("qos: at most prefetch messages unacked", Interop::prefetches);
    check("recover: everything unacked comes back redelivered", Interop::recovers);
    check("purge and delete report their message counts", Interop::countsOnPurge);
    check("publisher confirms: every publish confirmed", Interop::confirms);
    check("mandatory: returned with 312 NO_ROUTE, then confirmed", Interop::returns);
    check("reject-publish: a full queue's publish is nacked", Interop::nacks);
    check("fanout exchange: a copy for every queue", Interop::fansOut);
    check("topic exchange: the patterns choose the queues", Interop::routesTopics);
    check("headers exchange: x-match all and any", Interop::routesHeaders);
    check("exchange bound to exchange, alternate exchange", Interop::routesOnward);
    check("load balancing: prefetch 1, a busy consumer gets no more", Interop::balances);
    check("rpc over an exclusive server-named queue", Interop::callsOverOwnQueue);
    check("rpc over direct reply-to", Interop::callsOverDirectReplyTo);
    check("connection loss: unacked messages come back redelivered", Interop::survivesLoss);
    check("connection loss: automatic recovery of queue, binding and consumer",
        Interop::recoversAutomatically);
    check("404 for a missing queue, the connection stays usable", Interop::refusesMissingQueue);
    check("404 for a publish to a missing exchange", Interop::refusesMissingExchange);
    check("406 for an inequivalent declare", Interop::refusesInequivalent);
    check("406 for an unknown delivery tag", Interop::refusesUnknownTag);
    check("406 for deleting a queue in use if-unused", Interop::refusesDeleteInUse);
    check("405 for another connection's exclusive queue", Interop::refusesForeignExclusive);
    check("403 for declaring an amq. name", Interop::refusesReservedName);
    check("403 for a second consumer beside an exclusive one", Interop::refusesSecondExclusive);
    check("540 for immediate closes the connection with its reason", Interop::refusesImmediate);
    check("a wrong password is an AuthenticationFailureException", Interop::refusesPassword);
    check("530 for an unknown vhost", Interop::refusesVhost);
    check("1 MiB body, every property and header type, unchanged", Interop::carriesEverything);
    check("an empty body", Interop::carriesNothing);
    check("heartbeat negotiated to 1 s, idle connection stays open", Interop::keepsIdleOpen);
    check("tx: commit publishes and acks, rollback does neither", Interop::transacts);
    check("consumer cancel notification when its queue is deleted", Interop::notifiesCancel);
    Features.checkAll();
    check("nothing left behind", Interop::leavesNothing);

    System.exit(failed ? 1 : 0);
  }

  /** Runs a check on a connection and channel of its own and prints how it went. */
  static void check(String what, Body body) {
    try {
      Connection connection = factory().newConnection();
      body.run(connection.createChannel());
      if (connection.isOpen()) {
        connection.close();
      }
      System.out.println("ok " + what);
    } catch (Throwable thrown) {
      failed = true;
      Throwable reason = thrown; // an IOException says nothing, the close it wraps does
      while (reason.getCause() != null) {
        reason = reason.getCause();
      }
      System.out.println("not ok " + what + " - " + reason.toString().replace('\n', ' '));
      thrown.printStackTrace();
    }
  }

  // Delivery and settlement

  static void consumesInOrder(Channel channel) throws Exception {
    String queue = exclusiveQueue(channel);
    publish(channel, queue, "1", "2", "3");
    BlockingQueue<Delivery> inbox = consume(channel, queue);
    for (String expected : List.of("1", "2", "3")) {
      Delivery delivery = take(inbox);
      equal(expected, text(delivery));
      equal(false, delivery.getEnvelope().isRedeliver());
      equal(queue, delivery.getEnvelope().getRoutingKey());
      channel.basicAck(delivery.getEnvelope().getDeliveryTag(), false);
    }
    equal(0, channel.queueDeclarePassive(queue).getMessageCount());
  }

  static void requeues(Channel channel) throws Exception {
    String queue = exclusiveQueue(channel);
    publish(channel, queue, "1", "2", "3", "4", "5");
    BlockingQueue<Delivery> inbox = new LinkedBlockingQueue<>();
    String tag = channel.basicConsume(queue, false, (t, delivery) -> inbox.add(delivery), t -> {});
    Map<String, Long> tags = new HashMap<>();
    for (int i = 0; i < 5; i++) {
      Delivery delivery = take(inbox);
      tags.put(text(delivery), delivery.getEnvelope().getDeliveryTag());
    }
    channel.basicCancel(tag);
    channel.basicAck(tags.get("2"), false);
    for (String body : List.of("5", "1", "4", "3")) {
      channel.basicNack(tags.get(body), false, true);
    }
    for (String expected : List.of("1", "3", "4", "5")) {
      GetResponse got = channel.basicGet(queue, true);
      equal(expected, text(got));
      equal(true, got.getEnvelope().isRedeliver());
    }
    equal(null, channel.basicGet(queue, true));
  }

  static void rejects(Channel channel) throws Exception {
    String queue = exclusiveQueue(channel);
    publish(channel, queue, "1", "2", "3");
    channel.basicReject(channel.basicGet(queue, false).getEnvelope().getDeliveryTag(), false);
    channel.basicGet(queue, false);
    long last = channel.basicGet(queue, false).getEnvelope().getDeliveryTag();
    channel.basicNack(last, true, false);
    equal(null, channel.basicGet(queue, true));
  }

  static void acksAfterCancel(Channel channel) throws Exception {
    String queue = exclusiveQueue(channel);
    publish(channel, queue, "1");
    BlockingQueue<Delivery> inbox = new LinkedBlockingQueue<>();
    String tag = channel.basicConsume(queue, false, (t, delivery) -> inbox.add(delivery), t -> {});
    Delivery delivery = take(inbox);
    channel.basicCancel(tag);
    channel.basicAck(delivery.getEnvelope().getDeliveryTag(), false);
    AMQP.Queue.DeclareOk now = channel.queueDeclarePassive(queue);
    equal(0, now.getMessageCount());
    equal(0, now.getConsumerCount());
  }

  static void gets(Channel channel) throws Exception {
    String queue = exclusiveQueue(channel);
    publish(channel, queue, "1", "2");
    GetResponse first = channel.basicGet(queue, false);
    equal("1", text(first));
    equal(1, first.getMessageCount());
    channel.basicAck(first.getEnvelope().getDeliveryTag(), false);
    equal("2", text(channel.basicGet(queue, true)));
    equal(null, channel.basicGet(queue, true));
  }

  static void prefetches(Channel channel) throws Exception {
    String queue = exclusiveQueue(channel);
    publish(channel, queue, "1", "2", "3", "4");
    channel.basicQos(2);
    BlockingQueue<Delivery> inbox = consume(channel, queue);
    equal("1", text(take(inbox)));
    Delivery second = take(inbox);
    equal(null, inbox.poll(QUIET_MILLIS, TimeUnit.MILLISECONDS));
    channel.basicAck(second.getEnvelope().getDeliveryTag(), true);
    equal("3", text(take(inbox)));
    equal("4", text(take(inbox)));
  }

  static void recovers(Channel channel) throws Exception {
    String queue = exclusiveQueue(channel);
    publish(channel, queue, "1", "2");
    BlockingQueue<Delivery> inbox = consume(channel, queue);
    take(inbox);
    take(inbox);
    channel.basicRecover(true);
    for (String expected : List.of("1", "2")) {
      Delivery delivery = take(inbox);
      equal(expected, text(delivery));
      equal(true, delivery.getEnvelope().isRedeliver());
    }
  }

  static void countsOnPurge(Channel channel) throws Exception {
    String queue = exclusiveQueue(channel);
    publish(channel, queue, "1", "2", "3");
    equal(3, channel.queuePurge(queue).getMessageCount());
    publish(channel, queue, "4");
    equal(1, channel.queueDelete(queue).getMessageCount());
  }

  // Publisher confirms and returns

  static void confirms(Channel channel) throws Exception {
    String queue = exclusiveQueue(channel);
    channel.confirmSelect();
    for (int i = 0; i < 500; i++) {
      equal((long) i + 1, channel.getNextPublishSeqNo());
      channel.basicPublish(NO_EXCHANGE, queue, MessageProperties.PERSISTENT_BASIC, bytes("" + i));
    }
    channel.waitForConfirmsOrDie(WAIT_SECONDS * 1000);
    equal(500, channel.queueDeclarePassive(queue).getMessageCount());
  }

  static void returns(Channel channel) throws Exception {
    channel.confirmSelect();
    BlockingQueue<Object> events = new LinkedBlockingQueue<>();
    channel.addReturnListener((Return returned) -> events.add(returned));
    channel.addConfirmListener((tag, multiple) -> events.add("ack " + tag), (t, m) -> {});
    channel.basicPublish("amq.direct", RUN + ".nowhere", true, null, bytes("back"));
    Return returned = (Return) take(events);
    equal(312, returned.getReplyCode());
    equal("NO_ROUTE", returned.getReplyText());
    equal("amq.direct", returned.getExchange());
    equal(RUN + ".nowhere", returned.getRoutingKey());
    equal("back", new String(returned.getBody(), StandardCharsets.UTF_8));
    equal("ack 1", take(events));
  }

  static void nacks(Channel channel) throws Exception {
    Map<String, Object> full = Map.of("x-max-length", 1, "x-overflow", "reject-publish");
    String queue = channel.queueDeclare("", false, true, false, full).getQueue();
    queues.add(queue);
    channel.confirmSelect();
    BlockingQueue<String> events = new LinkedBlockingQueue<>();
    channel.addConfirmListener((tag, m) -> events.add("ack " + tag), (tag, m) -> events.add("nack " + tag));
    publish(channel, queue, "kept");
    equal("ack 1", take(events));
    publish(channel, queue, "refused");
    equal("nack 2", take(events));
    equal(List.of("kept"), drain(channel, queue));
  }

  // Routing

  static void fansOut(Channel channel) throws Exception {
    String exchange = exchange(channel, "fanout", BuiltinExchangeType.FANOUT, null);
    List<BlockingQueue<Delivery>> inboxes = new ArrayList<>();
    for (int i = 0; i < 3; i++) {
      String queue = exclusiveQueue(channel);
      channel.queueBind(queue, exchange, "");
      inboxes.add(consume(channel, queue));
    }
    channel.basicPublish(exchange, "ignored", null, bytes("for all"));
    for (BlockingQueue<Delivery> inbox : inboxes) {
      Delivery delivery = take(inbox);
      equal("for all", text(delivery));
      equal(exchange, delivery.getEnvelope().getExchange());
    }
    channel.exchangeDelete(exchange);
  }

  static void routesTopics(Channel channel) throws Exception {
    String exchange = exchange(channel, "topic", BuiltinExchangeType.TOPIC, null);
    String errors = boundQueue(channel, exchange, "*.error");
    String orders = boundQueue(channel, exchange, "orders.#");
    String all = boundQueue(channel, exchange, "#");
    channel.queueBind(all, exchange, "orders.*");
    for (String key : List.of("orders.error", "orders.eu.paid", "orders", "stock.error", "")) {
      channel.basicPublish(exchange, key, null, bytes(key));
    }
    equal(List.of("orders.error", "stock.error"), drain(channel, errors));
    equal(List.of("orders.error", "orders.eu.paid", "orders"), drain(channel, orders));
    equal(List.of("orders.error", "orders.eu.paid", "orders", "stock.error", ""),
        drain(channel, all));
    channel.queueUnbind(errors, exchange, "*.error");
    channel.basicPublish(exchange, "late.error", null, bytes("late.error"));
    equal(List.of(), drain(channel, errors));
    channel.exchangeDelete(exchange);
  }

  static void routesHeaders(Channel channel) throws Exception {
    String exchange = exchange(channel, "headers", BuiltinExchangeType.HEADERS, null);
    String both = exclusiveQueue(channel);
    String either = exclusiveQueue(channel);
    channel.queueBind(both, exchange, "", Map.of("x-match", "all", "kind", "a", "size", 1));
    channel.queueBind(either, exchange, "", Map.of("x-match", "any", "kind", "a", "size", 1));
    publishWithHeaders(channel, exchange, Map.of("kind", "a", "size", 1), "both");
    publishWithHeaders(channel, exchange, Map.of("kind", "a", "size", 2), "one");
    publishWithHeaders(channel, exchange, Map.of("kind", "b"), "none");
    equal(List.of("both"), drain(channel, both));
    equal(List.of("both", "one"), drain(channel, either));
    channel.exchangeDelete(exchange);
  }

  static void routesOnward(Channel channel) throws Exception {
    String spare = exchange(channel, "spare", BuiltinExchangeType.FANOUT, null);
    String first = exchange(channel, "first", BuiltinExchangeType.DIRECT,
        Map.of("alternate-exchange", spare));
    String second = exchange(channel, "second", BuiltinExchangeType.TOPIC, null);
    channel.exchangeBind(second, first, "go");
    String reached = boundQueue(channel, second, "go");
    String stray = boundQueue(channel, spare, "");
    channel.basicPublish(first, "go", null, bytes("onward"));
    channel.basicPublish(first, "elsewhere", true, null, bytes("stray"));
    equal(List.of("onward"), drain(channel, reached));
    equal(List.of("stray"), drain(channel, stray));
    channel.exchangeUnbind(second, first, "go");
    channel.basicPublish(first, "go", null, bytes("unbound"));
    equal(List.of("unbound"), drain(channel, stray));
    for (String exchange : List.of(first, second, spare)) {
      channel.exchangeDelete(exchange);
    }
  }

  // Patterns of work

  static void balances(Channel channel) throws Exception {
    String queue = exclusiveQueue(channel);
    Channel busy = channel.getConnection().createChannel();
    Channel quick = channel.getConnection().createChannel();
    busy.basicQos(1);
    quick.basicQos(1);
    BlockingQueue<Delivery> kept = consume(busy, queue);
    BlockingQueue<String> done = new LinkedBlockingQueue<>();
    quick.basicConsume(queue, false, (tag, delivery) -> {
      quick.basicAck(delivery.getEnvelope().getDeliveryTag(), false);
      done.add(text(delivery));
    }, tag -> {});
    for (int i = 0; i < 10; i++) {
      publish(channel, queue, "" + i);
    }
    equal("0", text(take(kept)));
    for (int i = 1; i < 10; i++) {
      equal("" + i, take(done));
    }
    equal(null, kept.poll());
  }

  static void callsOverOwnQueue(Channel channel) throws Exception {
    String requests = exclusiveQueue(channel);
    serveUpperCase(channel, requests);
    String replies = channel.queueDeclare().getQueue();
    equal(true, replies.startsWith("amq.gen-"));
    BlockingQueue<Delivery> inbox = consume(channel, replies);
    BasicProperties call =
        new BasicProperties.Builder().replyTo(replies).correlationId("call-7").build();
    channel.basicPublish(NO_EXCHANGE, requests, call, bytes("hare"));
    Delivery reply = take(inbox);
    equal("HARE", text(reply));
    equal("call-7", reply.getProperties().getCorrelationId());
  }

  static void callsOverDirectReplyTo(Channel channel) throws Exception {
    String requests = exclusiveQueue(channel);
    serveUpperCase(channel, requests);
    Channel own = channel.getConnection().createChannel();
    RpcClient client = new RpcClient(new RpcClientParams()
        .channel(own).exchange(NO_EXCHANGE).routingKey(requests)
        .replyTo("amq.rabbitmq.reply-to").timeout((int) WAIT_SECONDS * 1000));
    for (String request : List.of("hare", "leveret")) {
      equal(request.toUpperCase(), client.stringCall(request));
    }
    client.close();
  }

  static void serveUpperCase(Channel channel, String requests) throws IOException {
    Channel own = channel.getConnection().createChannel();
    RpcServer server = new RpcServer(own, requests) {
      @Override
      public byte[] handleCall(Delivery request, BasicProperties reply) {
        return bytes(text(request).toUpperCase());
      }
    };
    Thread thread = new Thread(() -> {
      try {
        server.mainloop();
      } catch (IOException | ShutdownSignalException ended) {
        // The check is over and its connection closed.
      }
    });
    thread.setDaemon(true);
    thread.start();
  }

  // Connection loss

  static void survivesLoss(Channel channel) throws Exception {
    String queue = sharedQueue(channel, "loss");
    publish(channel, queue, "1", "2", "3");
    BlockingQueue<Socket> sockets = new LinkedBlockingQueue<>();
    ConnectionFactory factory = factory();
    factory.setSocketConfigurator(sockets::add);
    Channel lost = factory.newConnection().createChannel();
    BlockingQueue<Delivery> inbox = consume(lost, queue);
    lost.basicAck(take(inbox).getEnvelope().getDeliveryTag(), false);
    take(inbox);
    take(inbox);
    lost.queueDeclarePassive(queue); // its answer proves that the ack before it arrived
    take(sockets).close();

    BlockingQueue<Delivery> again = consume(channel, queue);
    for (String expected : List.of("2", "3")) {
      Delivery delivery = take(again);
      equal(expected, text(delivery));
      equal(true, delivery.getEnvelope().isRedeliver());
    }
    channel.queueDelete(queue);
  }

  static void recoversAutomatically(Channel channel) throws Exception {
    BlockingQueue<Socket> sockets = new LinkedBlockingQueue<>();
    ConnectionFactory factory = factory();
    factory.setAutomaticRecoveryEnabled(true);
    factory.setNetworkRecoveryInterval(100);
    factory.setSocketConfigurator(sockets::add);
    try (Connection connection = factory.newConnection()) {
      CountDownLatch recovered = new CountDownLatch(1);
      ((Recoverable) connection).addRecoveryListener(new RecoveryListener() {
        @Override
        public void handleRecovery(Recoverable recoverable) {
          recovered.countDown();
        }

        @Override
        public void handleRecoveryStarted(Recoverable recoverable) {}
      });
      Channel own = connection.createChannel();
      String queue = own.queueDeclare().getQueue();
      own.queueBind(queue, "amq.direct", RUN + ".again");
      BlockingQueue<Delivery> inbox = consume(own, queue);
      take(sockets).close();
      equal(true, recovered.await(WAIT_SECONDS, TimeUnit.SECONDS));
      channel.basicPublish("amq.direct", RUN + ".again", null, bytes("after"));
      Delivery delivery = take(inbox);
      equal("after", text(delivery));
      own.basicAck(delivery.getEnvelope().getDeliveryTag(), false);
    }
  }

  // Errors

  static void refusesMissingQueue(Channel channel) throws Exception {
    String missing = RUN + ".missing";
    channelCloses(404, "NOT_FOUND - no queue '" + missing + "' in vhost '/'",
        () -> channel.queueDeclarePassive(missing));
    equal(false, channel.isOpen());
    Connection connection = channel.getConnection();
    channelCloses(404, "NOT_FOUND - no queue '" + missing + "' in vhost '/'",
        () -> connection.createChannel().basicConsume(missing, (t, d) -> {}, t -> {}));
    exclusiveQueue(connection.createChannel());
  }

  static void refusesMissingExchange(Channel channel) throws Exception {
    BlockingQueue<ShutdownSignalException> closed = new LinkedBlockingQueue<>();
    channel.addShutdownListener(closed::add);
    channel.basicPublish(RUN + ".missing", "", null, bytes("lost"));
    AMQP.Channel.Close close = (AMQP.Channel.Close) take(closed).getReason();
    equal(404, close.getReplyCode());
    equal("NOT_FOUND - no exchange '" + RUN + ".missing' in vhost '/'", close.getReplyText());
    equal(60, close.getClassId());
    equal(40, close.getMethodId());
  }

  static void refusesInequivalent(Channel channel) throws Exception {
    String queue = sharedQueue(channel, "plain");
    Connection connection = channel.getConnection();
    channelCloses(406, "PRECONDITION_FAILED - inequivalent arg 'durable' for queue '" + queue
        + "' in vhost '/': received 'false' but current is 'true'",
        () -> connection.createChannel().queueDeclare(queue, false, false, false, null));
    channelCloses(406, "PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue '" + queue
        + "' in vhost '/': received the value '9' of type 'signedint' but current is none",
        () -> connection.createChannel()
            .queueDeclare(queue, true, false, false, Map.of("x-max-length", 9)));
    channelCloses(406, "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'amq.topic'"
        + " in vhost '/': received 'fanout' but current is 'topic'",
        () -> connection.createChannel().exchangeDeclare("amq.topic", "fanout", true));
    channel.queueDelete(queue);
  }

  static void refusesUnknownTag(Channel channel) throws Exception {
    BlockingQueue<ShutdownSignalException> closed = new LinkedBlockingQueue<>();
    channel.addShutdownListener(closed::add);
    channel.basicAck(99, false);
    AMQP.Channel.Close close = (AMQP.Channel.Close) take(closed).getReason();
    equal(406, close.getReplyCode());
    equal("PRECONDITION_FAILED - unknown delivery tag 99", close.getReplyText());
  }

  static void refusesDeleteInUse(Channel channel) throws Exception {
    String queue = exclusiveQueue(channel);
    consume(channel, queue);
    channelCloses(406, "PRECONDITION_FAILED - queue '" + queue + "' in vhost '/' in use",
        () -> channel.getConnection().createChannel().queueDelete(queue, true, false));
  }

  static void refusesForeignExclusive(Channel channel) throws Exception {
    String queue = RUN + ".private";
    queues.add(queue);
    channel.queueDeclare(queue, false, true, false, null);
    try (Connection other = factory().newConnection()) {
      channelCloses(405, "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '"
          + queue + "' in vhost '/'. It could be originally declared on another connection or the"
          + " exclusive property value does not match that of the original declaration.",
          () -> other.createChannel().basicConsume(queue, (t, d) -> {}, t -> {}));
    }
  }

  static void refusesReservedName(Channel channel) throws Exception {
    channelCloses(403, "ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'",
        () -> channel.queueDeclare("amq.mine", false, true, false, null));
    channelCloses(403, "ACCESS_REFUSED - exchange name 'amq.mine' contains reserved prefix 'amq.*'",
        () -> channel.getConnection().createChannel().exchangeDeclare("amq.mine", "direct"));
  }

  static void refusesSecondExclusive(Channel channel) throws Exception {
    String queue = exclusiveQueue(channel);
    channel.basicConsume(queue, true, "", false, true, null, new DefaultConsumer(channel));
    channelCloses(403, "ACCESS_REFUSED - queue '" + queue + "' in vhost '/' in exclusive use",
        () -> consume(channel.getConnection().createChannel(), queue));
  }

  static void refusesImmediate(Channel channel) throws Exception {
    BlockingQueue<ShutdownSignalException> closed = new LinkedBlockingQueue<>();
    channel.getConnection().addShutdownListener(closed::add);
    channel.basicPublish(NO_EXCHANGE, RUN, false, true, null, bytes("now"));
    AMQP.Connection.Close close = (AMQP.Connection.Close) take(closed).getReason();
    equal(540, close.getReplyCode());
    equal("NOT_IMPLEMENTED - immediate=true", close.getReplyText());
  }

  static void refusesPassword(Channel channel) throws Exception {
    ConnectionFactory factory = factory();
    factory.setPassword("wrong");
    try (Connection connection = factory.newConnection()) {
      throw new AssertionError("the wrong password was accepted");
    } catch (AuthenticationFailureException refused) {
      equal("ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN."
          + " For details see the broker logfile.", refused.getMessage());
    }
  }

  static void refusesVhost(Channel channel) throws Exception {
    ConnectionFactory factory = factory();
    factory.setVirtualHost("nowhere");
    try (Connection connection = factory.newConnection()) {
      throw new AssertionError("the unknown vhost was accepted");
    } catch (IOException refused) {
      ShutdownSignalException signal = (ShutdownSignalException) refused.getCause();
      AMQP.Connection.Close close = (AMQP.Connection.Close) signal.getReason();
      equal(530, close.getReplyCode());
      equal("NOT_ALLOWED - vhost nowhere not found", close.getReplyText());
    }
  }

  // Content

  static void carriesEverything(Channel channel) throws Exception {
    Map<String, Object> headers = new HashMap<>();
    headers.put("text", LongStringHelper.asLongString("ünïcode"));
    headers.put("bool", true);
    headers.put("byte", (byte) -8);
    headers.put("short", (short) -16000);
    headers.put("int", -32);
    headers.put("long", Long.MIN_VALUE);
    headers.put("float", 1.5f);
    headers.put("double", Math.PI);
    headers.put("decimal", new BigDecimal("123.45"));
    headers.put("time", new Date(1_700_000_000_000L));
    headers.put("nothing", null);
    headers.put("list", Arrays.asList(1, LongStringHelper.asLongString("two"), 3L));
    headers.put("table", Map.of("inner", Map.of("deep", 1)));
    byte[] blob = {0, 1, (byte) 206, (byte) 255};
    headers.put("bytes", blob);
    BasicProperties sent = new BasicProperties.Builder()
        .contentType("application/octet-stream").contentEncoding("identity").headers(headers)
        .deliveryMode(2).priority(5).correlationId("correlation").replyTo("reply")
        .expiration("60000").messageId("message").timestamp(new Date(1_600_000_000_000L))
        .type("type").userId("guest").appId("app").clusterId("cluster").build();
    byte[] body = new byte[1 << 20];
    for (int i = 0; i < body.length; i++) {
      body[i] = (byte) (i * 31 >> 3);
    }
    String queue = exclusiveQueue(channel);
    channel.basicPublish(NO_EXCHANGE, queue, sent, body);
    Delivery delivery = take(consume(channel, queue));
    equal(true, Arrays.equals(body, delivery.getBody()));
    Map<String, Object> received = new HashMap<>(delivery.getProperties().getHeaders());
    equal(true, Arrays.equals(blob, (byte[]) received.put("bytes", blob)));
    equal(headers, received);
    equal(sent.builder().headers(null).build().toString(),
        delivery.getProperties().builder().headers(null).build().toString());
  }

  static void carriesNothing(Channel channel) throws Exception {
    String queue = exclusiveQueue(channel);
    publish(channel, queue, "");
    Delivery delivery = take(consume(channel, queue));
    equal(0, delivery.getBody().length);
    equal(null, delivery.getProperties().getHeaders());
  }

  // The rest

  static void keepsIdleOpen(Channel channel) throws Exception {
    ConnectionFactory factory = factory();
    factory.setRequestedHeartbeat(1);
    try (Connection connection = factory.newConnection()) {
      equal(1, connection.getHeartbeat());
      CountDownLatch closed = new CountDownLatch(1);
      connection.addShutdownListener(cause -> closed.countDown());
      // Without heartbeats either side would give up after two to three seconds.
      equal(false, closed.await(4, TimeUnit.SECONDS));
      exclusiveQueue(connection.createChannel());
    }
  }

  static void transacts(Channel channel) throws Exception {
    String queue = exclusiveQueue(channel);
    Channel observer = channel.getConnection().createChannel();
    channel.txSelect();
    publish(channel, queue, "kept");
    channel.queueDeclarePassive(queue);
    equal(0, observer.queueDeclarePassive(queue).getMessageCount());
    channel.txCommit();
    equal(1, observer.queueDeclarePassive(queue).getMessageCount());
    publish(channel, queue, "dropped");
    channel.txRollback();
    equal(1, observer.queueDeclarePassive(queue).getMessageCount());
    channel.basicAck(channel.basicGet(queue, false).getEnvelope().getDeliveryTag(), false);
    channel.txRollback();
    channel.basicRecover(true);
    channel.basicAck(channel.basicGet(queue, false).getEnvelope().getDeliveryTag(), false);
    channel.txCommit();
    channel.close();
    equal(0, observer.queueDeclarePassive(queue).getMessageCount());
  }

  static void notifiesCancel(Channel channel) throws Exception {
    String queue = exclusiveQueue(channel);
    BlockingQueue<String> cancelled = new LinkedBlockingQueue<>();
    channel.basicConsume(queue, true, "reader", new DefaultConsumer(channel) {
      @Override
      public void handleDelivery(String tag, Envelope e, BasicProperties p, byte[] body) {}

      @Override
      public void handleCancel(String tag) {
        cancelled.add(tag);
      }
    });
    channel.getConnection().createChannel().queueDelete(queue);
    equal("reader", take(cancelled));
    equal(true, channel.isOpen());
  }

  static void leavesNothing(Channel channel) throws Exception {
    Connection connection = channel.getConnection();
    for (String queue : queues) {
      channelCloses(404, "NOT_FOUND - no queue '" + queue + "' in vhost '/'",
          () -> connection.createChannel().queueDeclarePassive(queue));
    }
    for (String exchange : exchanges) {
      channelCloses(404, "NOT_FOUND - no exchange '" + exchange + "' in vhost '/'",
          () -> connection.createChannel().exchangeDeclarePassive(exchange));
    }
  }

  // Small words the checks are written in

  static ConnectionFactory factory() throws Exception {
    ConnectionFactory factory = new ConnectionFactory();
    factory.setUri(System.getenv("AMQP_URL"));
    factory.setAutomaticRecoveryEnabled(false);
    return factory;
  }

  static String exclusiveQueue(Channel channel) throws IOException {
    String queue = channel.queueDeclare("", false, true, false, null).getQueue();
    queues.add(queue);
    return queue;
  }

  static String sharedQueue(Channel channel, String name) throws IOException {
    String queue = RUN + "." + name;
    queues.add(queue);
    channel.queueDeclare(queue, true, false, false, null);
    return queue;
  }

  static String exchange(Channel channel, String name, BuiltinExchangeType type,
      Map<String, Object> arguments) throws IOException {
    String exchange = RUN + "." + name;
    exchanges.add(exchange);
    channel.exchangeDeclare(exchange, type, false, false, arguments);
    return exchange;
  }

  static String boundQueue(Channel channel, String exchange, String key) throws IOException {
    String queue = exclusiveQueue(channel);
    channel.queueBind(queue, exchange, key);
    return queue;
  }

  static void publish(Channel channel, String queue, String... bodies) throws IOException {
    for (String body : bodies) {
      channel.basicPublish(NO_EXCHANGE, queue, null, bytes(body));
    }
  }

  static void publishWithHeaders(Channel channel, String exchange, Map<String, Object> headers,
      String body) throws IOException {
    BasicProperties properties = new BasicProperties.Builder().headers(headers).build();
    channel.basicPublish(exchange, "", properties, bytes(body));
  }

  static BlockingQueue<Delivery> consume(Channel channel, String queue) throws IOException {
    BlockingQueue<Delivery> inbox = new LinkedBlockingQueue<>();
    channel.basicConsume(queue, false, (tag, delivery) -> inbox.add(delivery), tag -> {});
    return inbox;
  }

  static List<String> drain(Channel channel, String queue) throws IOException {
    List<String> bodies = new ArrayList<>();
    GetResponse got;
    while ((got = channel.basicGet(queue, true)) != null) {
      bodies.add(text(got));
    }
    return bodies;
  }

  static <T> T take(BlockingQueue<T> inbox) throws InterruptedException {
    T item = inbox.poll(WAIT_SECONDS, TimeUnit.SECONDS);
    if (item == null) {
      throw new AssertionError("nothing came within " + WAIT_SECONDS + " s");
    }
    return item;
  }

  static void channelCloses(int code, String text, Step step) throws Exception {
    try {
      step.run();
    } catch (IOException refused) {
      ShutdownSignalException signal = (ShutdownSignalException) refused.getCause();
      AMQP.Channel.Close close = (AMQP.Channel.Close) signal.getReason();
      equal(text, close.getReplyText());
      equal(code, close.getReplyCode());
      return;
    }
    throw new AssertionError("accepted, but expected: " + text);
  }

  static void equal(Object expected, Object actual) {
    if (!Objects.equals(expected, actual)) {
      throw new AssertionError("expected " + expected + ", got " + actual);
    }
  }

  static String text(Delivery delivery) {
    return new String(delivery.getBody(), StandardCharsets.UTF_8);
  }

  static String text(GetResponse got) {
    return new String(got.getBody(), StandardCharsets.UTF_8);
  }

  static byte[] bytes(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }
}

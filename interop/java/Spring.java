import com.rabbitmq.client.Channel;
import java.net.URI;
import java.net.URISyntaxException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Properties;
import java.util.Set;
import java.util.TreeSet;
import java.util.UUID;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.springframework.amqp.AmqpException;
import org.springframework.amqp.core.AcknowledgeMode;
import org.springframework.amqp.core.Binding;
import org.springframework.amqp.core.BindingBuilder;
import org.springframework.amqp.core.Declarables;
import org.springframework.amqp.core.ExchangeBuilder;
import org.springframework.amqp.core.FanoutExchange;
import org.springframework.amqp.core.HeadersExchange;
import org.springframework.amqp.core.Message;
import org.springframework.amqp.core.MessageBuilder;
import org.springframework.amqp.core.Queue;
import org.springframework.amqp.core.QueueBuilder;
import org.springframework.amqp.core.QueueInformation;
import org.springframework.amqp.core.TopicExchange;
import org.springframework.amqp.rabbit.connection.CachingConnectionFactory;
import org.springframework.amqp.rabbit.connection.CorrelationData;
import org.springframework.amqp.rabbit.connection.LocalizedQueueConnectionFactory;
import org.springframework.amqp.rabbit.connection.NodeLocator;
import org.springframework.amqp.rabbit.connection.WebFluxNodeLocator;
import org.springframework.amqp.rabbit.core.RabbitAdmin;
import org.springframework.amqp.rabbit.core.RabbitTemplate;
import org.springframework.amqp.rabbit.listener.DirectMessageListenerContainer;
import org.springframework.amqp.rabbit.listener.SimpleMessageListenerContainer;
import org.springframework.amqp.rabbit.listener.api.ChannelAwareMessageListener;
import org.springframework.amqp.support.converter.Jackson2JsonMessageConverter;
import org.springframework.context.support.GenericApplicationContext;
import org.springframework.web.reactive.function.client.WebClient;

/** What an application on Spring AMQP does: its admin, its template, its listener containers, its look at the management API. */
public class Spring {
  static final String RUN = "spring." + UUID.randomUUID().toString().substring(0, 8);
  static final long WAIT_SECONDS = 10;
  static final Set<String> queues = new TreeSet<>();
  static CachingConnectionFactory connections;
  static RabbitAdmin admin;
  static RabbitTemplate template;
  static boolean failed = false;

  interface Body {
    void run() throws Exception;
  }

  public static void main(String[] args) throws Exception {
    System.out.println("client: Spring AMQP " + RabbitAdmin.class.getPackage().getImplementationVersion());
    connections = factory();
    admin = new RabbitAdmin(connections);
    template = admin.getRabbitTemplate();
    template.setReceiveTimeout(TimeUnit.SECONDS.toMillis(WAIT_SECONDS));

    check("admin: the context's queues, exchanges and bindings exist with its first connection", Spring::declaresContext);
    check("admin: queues of all types, with the builder's arguments", Spring::declaresTypes);
    check("admin: what a queue holds: its properties, purge", Spring::countsAndPurges);
    check("admin: a queue in use or not empty stays, a missing one is nobody's", Spring::deletesWithConditions);
    check("admin: another declaration of a queue is refused", Spring::refusesInequivalent);
    check("admin: a binding taken away routes no more", Spring::unbinds);
    check("template: send, convert to JSON and back", Spring::converts);
    check("template: confirms, correlated with what was sent", Spring::confirms);
    check("template: a mandatory message is returned and confirmed", Spring::returns);
    check("template: a publish to a missing exchange closes its channel and is nacked", Spring::nacks);
    check("template: send and receive over direct reply-to", () -> calls(true));
    check("template: send and receive over a temporary queue", () -> calls(false));
    check("template: a channel transaction rolled back sends nothing", Spring::transacts);
    check("simple container: three consumers, every message once", Spring::listensSimply);
    check("direct container: manual acks, a rejected message is dead-lettered", Spring::listensDirectly);
    check("a listener that fails: the message comes again, redelivered", Spring::redelivers);
    check("a container survives its connection", Spring::reconnects);
    if (System.getenv("HTTP_URL") != null) {
      check("management: the node of a queue is located", Spring::locates);
    }
    check("nothing left behind", Spring::leavesNothing);
    connections.destroy();
    System.exit(failed ? 1 : 0);
  }

  static void check(String what, Body body) {
    try {
      body.run();
      System.out.println("ok " + what);
    } catch (Throwable thrown) {
      failed = true;
      Throwable reason = thrown; // the outer exception says nothing, the close it wraps does
      while (reason.getCause() != null) {
        reason = reason.getCause();
      }
      System.out.println("not ok " + what + " - " + reason.toString().replace('\n', ' '));
      thrown.printStackTrace();
    }
  }

  // The admin

  static void declaresContext() throws Exception {
    CachingConnectionFactory own = factory();
    Queue queue = QueueBuilder.durable(name("context")).maxLength(10L).build();
    TopicExchange topic = ExchangeBuilder.topicExchange(name("topic")).durable(true).build();
    FanoutExchange fanout = ExchangeBuilder.fanoutExchange(name("fanout")).autoDelete().build();
    HeadersExchange headers = ExchangeBuilder.headersExchange(name("headers")).alternate(fanout.getName()).build();
    try (GenericApplicationContext context = new GenericApplicationContext()) {
      context.registerBean("declarables", Declarables.class, () -> new Declarables(queue, topic, fanout, headers,
          BindingBuilder.bind(queue).to(topic).with("a.#"),
          BindingBuilder.bind(queue).to(headers).where("kind").matches("new"),
          BindingBuilder.bind(topic).to(fanout)));
      RabbitAdmin ofContext = new RabbitAdmin(own);
      ofContext.setApplicationContext(context);
      context.refresh();
      ofContext.afterPropertiesSet();
      equal(0, ofContext.getQueueInfo(queue.getName()).getMessageCount());
      template.convertAndSend(topic.getName(), "a.b.c", "1");
      template.convertAndSend(headers.getName(), "", "2", message -> header(message, "kind", "new"));
      // No match: by way of the alternate exchange, and on to the topic exchange bound to it.
      template.convertAndSend(headers.getName(), "a.d", "3", message -> header(message, "kind", "old"));
      for (String expected : List.of("1", "2", "3")) {
        equal(expected, template.receiveAndConvert(queue.getName()));
      }
      queues.add(queue.getName());
      for (String exchange : List.of(topic.getName(), headers.getName(), fanout.getName())) {
        equal(true, admin.deleteExchange(exchange));
      }
      admin.deleteQueue(queue.getName());
    } finally {
      own.destroy();
    }
  }

  static void declaresTypes() {
    for (Queue queue : List.of(
        QueueBuilder.durable(name("classic")).ttl(60000).expires(60000).maxPriority(3).lazy().build(),
        QueueBuilder.durable(name("quorum")).quorum().deliveryLimit(3).deadLetterExchange("").deadLetterRoutingKey("x").build(),
        QueueBuilder.durable(name("stream")).stream().build(),
        QueueBuilder.durable(name("single")).singleActiveConsumer().overflow(QueueBuilder.Overflow.rejectPublish).build(),
        QueueBuilder.nonDurable(name("exclusive")).exclusive().autoDelete().build())) {
      equal(queue.getName(), declare(queue));
      equal(0, admin.getQueueInfo(queue.getName()).getConsumerCount());
      equal(true, admin.deleteQueue(queue.getName()));
    }
    Queue named = admin.declareQueue();
    queues.add(named.getActualName());
    assertThat(named.getActualName().startsWith("spring.gen-") || named.getActualName().startsWith("amq.gen-"), named.getActualName());
    equal(true, admin.deleteQueue(named.getActualName()));
  }

  static void countsAndPurges() {
    String queue = declare(QueueBuilder.durable(name("counted")).build());
    for (int n = 0; n < 3; n++) {
      confirmed(queue, "m" + n);
    }
    Properties properties = admin.getQueueProperties(queue);
    equal(queue, properties.get(RabbitAdmin.QUEUE_NAME));
    equal(3, properties.get(RabbitAdmin.QUEUE_MESSAGE_COUNT));
    equal(0, properties.get(RabbitAdmin.QUEUE_CONSUMER_COUNT));
    equal(3, admin.purgeQueue(queue));
    QueueInformation information = admin.getQueueInfo(queue);
    equal(0, information.getMessageCount());
    equal(true, admin.deleteQueue(queue));
    equal(null, admin.getQueueProperties(queue));
    equal(null, admin.getQueueInfo(queue));
  }

  static void deletesWithConditions() {
    String queue = declare(QueueBuilder.durable(name("kept")).build());
    confirmed(queue, "m");
    String said = closedWith(() -> admin.deleteQueue(queue, false, true));
    equal("PRECONDITION_FAILED - queue '" + queue + "' in vhost '/' not empty", said);
    equal(1, admin.getQueueInfo(queue).getMessageCount());
    admin.purgeQueue(queue);
    admin.deleteQueue(queue, true, true);
    equal(null, admin.getQueueInfo(queue));
    equal(true, admin.deleteQueue(queue));
  }

  static void refusesInequivalent() {
    String queue = declare(QueueBuilder.durable(name("declared")).build());
    String said = closedWith(() -> admin.declareQueue(QueueBuilder.durable(queue).maxLength(5L).build()));
    equal("PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue '" + queue
        + "' in vhost '/': received the value '5' of type 'long' but current is none", said);
    admin.deleteQueue(queue);
  }

  static void unbinds() {
    String queue = declare(QueueBuilder.durable(name("bound")).build());
    Binding binding = new Binding(queue, Binding.DestinationType.QUEUE, "amq.direct", queue, Map.of());
    admin.declareBinding(binding);
    template.convertAndSend("amq.direct", queue, "routed");
    equal("routed", template.receiveAndConvert(queue));
    admin.removeBinding(binding);
    template.convertAndSend("amq.direct", queue, "lost");
    confirmed(queue, "direct");
    equal("direct", template.receiveAndConvert(queue));
    admin.deleteQueue(queue);
  }

  // The template

  static void converts() {
    String queue = declare(QueueBuilder.durable(name("json")).build());
    RabbitTemplate json = new RabbitTemplate(connections);
    json.setMessageConverter(new Jackson2JsonMessageConverter());
    json.setReceiveTimeout(TimeUnit.SECONDS.toMillis(WAIT_SECONDS));
    json.convertAndSend(queue, Map.of("n", 1, "list", List.of("a", "b")));
    Message message = json.receive(queue);
    equal("application/json", message.getMessageProperties().getContentType());
    equal(Map.of("n", 1, "list", List.of("a", "b")), json.getMessageConverter().fromMessage(message));
    template.setReceiveTimeout(0);
    equal(null, template.receive(queue));
    template.setReceiveTimeout(TimeUnit.SECONDS.toMillis(WAIT_SECONDS));
    admin.deleteQueue(queue);
  }

  static void confirms() throws Exception {
    CachingConnectionFactory own = correlated();
    try {
      RabbitTemplate sending = new RabbitTemplate(own);
      String queue = declare(QueueBuilder.durable(name("confirmed")).quorum().build());
      List<CorrelationData> sent = new ArrayList<>();
      for (int n = 0; n < 100; n++) {
        CorrelationData correlation = new CorrelationData("c" + n);
        sending.convertAndSend("", queue, "m" + n, correlation);
        sent.add(correlation);
      }
      for (CorrelationData correlation : sent) {
        equal(true, correlation.getFuture().get(WAIT_SECONDS, TimeUnit.SECONDS).isAck());
      }
      equal(100, admin.getQueueInfo(queue).getMessageCount());
      admin.deleteQueue(queue);
    } finally {
      own.destroy();
    }
  }

  static void returns() throws Exception {
    CachingConnectionFactory own = correlated();
    try {
      RabbitTemplate sending = new RabbitTemplate(own);
      sending.setMandatory(true);
      CorrelationData correlation = new CorrelationData("returned");
      sending.convertAndSend("amq.direct", RUN + ".nobody", "m", correlation);
      equal(true, correlation.getFuture().get(WAIT_SECONDS, TimeUnit.SECONDS).isAck());
      equal(312, correlation.getReturned().getReplyCode());
      equal("NO_ROUTE", correlation.getReturned().getReplyText());
      equal(RUN + ".nobody", correlation.getReturned().getRoutingKey());
    } finally {
      own.destroy();
    }
  }

  static void nacks() throws Exception {
    CachingConnectionFactory own = correlated();
    try {
      RabbitTemplate sending = new RabbitTemplate(own);
      CorrelationData correlation = new CorrelationData("missing");
      sending.convertAndSend(RUN + ".nowhere", "", "m", correlation);
      CorrelationData.Confirm confirm = correlation.getFuture().get(WAIT_SECONDS, TimeUnit.SECONDS);
      equal(false, confirm.isAck());
      assertThat(confirm.getReason().contains("no exchange '" + RUN + ".nowhere' in vhost '/'"), confirm.getReason());
    } finally {
      own.destroy();
    }
  }

  static void calls(boolean direct) throws Exception {
    String queue = declare(QueueBuilder.durable(name("rpc")).build());
    SimpleMessageListenerContainer server = new SimpleMessageListenerContainer(connections);
    server.setQueueNames(queue);
    server.setMessageListener((ChannelAwareMessageListener) (message, channel) -> channel.basicPublish(
        "", message.getMessageProperties().getReplyTo(),
        new com.rabbitmq.client.AMQP.BasicProperties.Builder()
            .correlationId(message.getMessageProperties().getCorrelationId()).contentType("text/plain").build(),
        ("re: " + text(message)).getBytes(StandardCharsets.UTF_8)));
    start(server);
    try {
      RabbitTemplate caller = new RabbitTemplate(connections);
      caller.setUseTemporaryReplyQueues(!direct);
      caller.setReplyTimeout(TimeUnit.SECONDS.toMillis(WAIT_SECONDS));
      for (int n = 0; n < 3; n++) {
        equal("re: " + n, caller.convertSendAndReceive("", queue, "" + n));
      }
      caller.destroy();
    } finally {
      server.destroy();
    }
    admin.deleteQueue(queue);
  }

  static void transacts() throws Exception {
    // A connection that confirms cannot have transactions.
    CachingConnectionFactory own = factory();
    try {
      String queue = declare(QueueBuilder.durable(name("tx")).build());
      RabbitTemplate sending = new RabbitTemplate(own);
      sending.setChannelTransacted(true);
      sending.execute(channel -> {
        channel.basicPublish("", queue, null, "rolled back".getBytes(StandardCharsets.UTF_8));
        channel.txRollback();
        return null;
      });
      sending.convertAndSend(queue, "committed");
      equal("committed", template.receiveAndConvert(queue));
      equal(0, admin.getQueueInfo(queue).getMessageCount());
      admin.deleteQueue(queue);
    } finally {
      own.destroy();
    }
  }

  // Listeners

  static void listensSimply() throws Exception {
    String queue = declare(QueueBuilder.durable(name("simple")).build());
    BlockingQueue<String> got = new LinkedBlockingQueue<>();
    SimpleMessageListenerContainer container = new SimpleMessageListenerContainer(connections);
    container.setQueueNames(queue);
    container.setConcurrentConsumers(3);
    container.setPrefetchCount(5);
    container.setMessageListener(message -> got.add(text(message)));
    start(container);
    try {
      until(() -> admin.getQueueInfo(queue).getConsumerCount() == 3);
      Set<String> expected = new TreeSet<>();
      for (int n = 0; n < 60; n++) {
        expected.add("m" + n);
        template.convertAndSend(queue, "m" + n);
      }
      List<String> all = new ArrayList<>();
      for (int n = 0; n < 60; n++) {
        all.add(take(got));
      }
      equal(expected, new TreeSet<>(all));
    } finally {
      container.destroy();
    }
    until(() -> admin.getQueueInfo(queue).getConsumerCount() == 0);
    equal(0, admin.getQueueInfo(queue).getMessageCount());
    admin.deleteQueue(queue);
  }

  static void listensDirectly() throws Exception {
    String dead = declare(QueueBuilder.durable(name("dead")).build());
    String queue = declare(QueueBuilder.durable(name("direct")).deadLetterExchange("").deadLetterRoutingKey(dead).build());
    BlockingQueue<String> got = new LinkedBlockingQueue<>();
    DirectMessageListenerContainer container = new DirectMessageListenerContainer(connections);
    container.setQueueNames(queue);
    container.setConsumersPerQueue(2);
    container.setAcknowledgeMode(AcknowledgeMode.MANUAL);
    container.setMessageListener((ChannelAwareMessageListener) (message, channel) -> settle(message, channel, got));
    container.afterPropertiesSet();
    container.start();
    try {
      template.convertAndSend(queue, "good");
      template.convertAndSend(queue, "bad");
      equal("good", take(got));
      Message rejected = template.receive(dead);
      equal("bad", text(rejected));
      Map<String, ?> death = rejected.getMessageProperties().getXDeathHeader().get(0);
      equal("rejected", death.get("reason"));
      equal(queue, death.get("queue"));
    } finally {
      container.destroy();
    }
    equal(0, admin.getQueueInfo(queue).getMessageCount());
    admin.deleteQueue(queue);
    admin.deleteQueue(dead);
  }

  static void settle(Message message, Channel channel, BlockingQueue<String> got) throws Exception {
    long tag = message.getMessageProperties().getDeliveryTag();
    if (text(message).equals("bad")) {
      channel.basicReject(tag, false);
    } else {
      channel.basicAck(tag, false);
      got.add(text(message));
    }
  }

  static void redelivers() throws Exception {
    String queue = declare(QueueBuilder.durable(name("again")).build());
    BlockingQueue<Boolean> redelivered = new LinkedBlockingQueue<>();
    SimpleMessageListenerContainer container = new SimpleMessageListenerContainer(connections);
    container.setQueueNames(queue);
    container.setMessageListener(message -> {
      redelivered.add(message.getMessageProperties().isRedelivered());
      if (!message.getMessageProperties().isRedelivered()) {
        throw new IllegalStateException("the first time fails");
      }
    });
    start(container);
    try {
      template.convertAndSend(queue, "m");
      equal(false, redelivered.poll(WAIT_SECONDS, TimeUnit.SECONDS));
      equal(true, redelivered.poll(WAIT_SECONDS, TimeUnit.SECONDS));
    } finally {
      container.destroy();
    }
    equal(0, admin.getQueueInfo(queue).getMessageCount());
    admin.deleteQueue(queue);
  }

  static void reconnects() throws Exception {
    CachingConnectionFactory own = factory();
    String queue = declare(QueueBuilder.durable(name("survives")).build());
    BlockingQueue<String> got = new LinkedBlockingQueue<>();
    SimpleMessageListenerContainer container = new SimpleMessageListenerContainer(own);
    container.setQueueNames(queue);
    container.setRecoveryInterval(100);
    container.setMessageListener(message -> got.add(text(message)));
    start(container);
    try {
      template.convertAndSend(queue, "before");
      equal("before", take(got));
      own.resetConnection();
      template.convertAndSend(queue, "after");
      String next = take(got);
      // Its ack may have been lost with the connection.
      equal("after", next.equals("before") ? take(got) : next);
    } finally {
      container.destroy();
      own.destroy();
    }
    admin.deleteQueue(queue);
  }

  // The management API

  static void locates() throws Exception {
    URI http = URI.create(System.getenv("HTTP_URL"));
    String base = "http://" + http.getHost() + ":" + http.getPort() + "/api/";
    String queue = declare(QueueBuilder.durable(name("located")).quorum().build());
    WebFluxNodeLocator locator = new WebFluxNodeLocator();
    WebClient client = locator.createClient("guest", "guest");
    // RabbitMQ's API learns of a queue some time after its declaration.
    until(() -> nodeOf(locator, client, base, queue) != null);
    Map<String, Object> found = locator.restCall(client, base, "/", queue);
    equal(queue, found.get("name"));
    equal("quorum", found.get("type"));
    String node = (String) found.get("node");

    URI amqp = URI.create(System.getenv("AMQP_URL"));
    LocalizedQueueConnectionFactory localized = new LocalizedQueueConnectionFactory(connections,
        Map.of(node, amqp.getHost() + ":" + amqp.getPort()), new String[] {base}, "/", "guest", "guest", false, null);
    localized.setNodeLocator((NodeLocator<?>) locator);
    try {
      assertThat(localized.getTargetConnectionFactory("[" + queue + "]") != connections, "the default connection was chosen");
      assertThat(localized.getTargetConnectionFactory("[" + queue + ".missing]") == connections, "a missing queue was located");
    } finally {
      localized.destroy();
    }
    admin.deleteQueue(queue);
  }

  static Object nodeOf(WebFluxNodeLocator locator, WebClient client, String base, String queue) {
    try {
      return locator.restCall(client, base, "/", queue).get("node");
    } catch (URISyntaxException exception) {
      throw new IllegalStateException(exception);
    }
  }

  static void leavesNothing() {
    for (String queue : queues) {
      equal(null, admin.getQueueInfo(queue));
    }
  }

  // Small words the checks are written in

  static CachingConnectionFactory factory() {
    CachingConnectionFactory factory = new CachingConnectionFactory();
    factory.setUri(System.getenv("AMQP_URL"));
    return factory;
  }

  static CachingConnectionFactory correlated() {
    CachingConnectionFactory factory = factory();
    factory.setPublisherConfirmType(CachingConnectionFactory.ConfirmType.CORRELATED);
    factory.setPublisherReturns(true);
    return factory;
  }

  static String name(String what) {
    return RUN + "." + what + "." + UUID.randomUUID().toString().substring(0, 4);
  }

  static String declare(Queue queue) {
    queues.add(queue.getName());
    return admin.declareQueue(queue);
  }

  /** Sends, and returns once the message is in its queue. */
  static void confirmed(String queue, String body) {
    CachingConnectionFactory own = factory();
    own.setPublisherConfirmType(CachingConnectionFactory.ConfirmType.SIMPLE);
    try {
      new RabbitTemplate(own).invoke(operations -> {
        operations.send("", queue, MessageBuilder.withBody(body.getBytes(StandardCharsets.UTF_8)).setContentType("text/plain").build());
        operations.waitForConfirmsOrDie(TimeUnit.SECONDS.toMillis(WAIT_SECONDS));
        return null;
      });
    } finally {
      own.destroy();
    }
  }

  static Message header(Message message, String name, Object value) {
    message.getMessageProperties().setHeader(name, value);
    return message;
  }

  static void start(SimpleMessageListenerContainer container) {
    container.afterPropertiesSet();
    container.start();
  }

  /** What the server said when it closed the channel over this. */
  static String closedWith(Runnable refused) {
    try {
      refused.run();
    } catch (AmqpException exception) {
      Throwable cause = exception;
      while (cause != null && !(cause instanceof com.rabbitmq.client.ShutdownSignalException)) {
        cause = cause.getCause();
      }
      if (cause instanceof com.rabbitmq.client.ShutdownSignalException signal
          && signal.getReason() instanceof com.rabbitmq.client.AMQP.Channel.Close close) {
        return close.getReplyText();
      }
      throw exception;
    }
    throw new AssertionError("was not refused");
  }

  interface Condition {
    boolean holds();
  }

  static void until(Condition condition) throws InterruptedException {
    long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(WAIT_SECONDS);
    while (!condition.holds()) {
      assertThat(System.nanoTime() < deadline, "it did not come about within " + WAIT_SECONDS + " s");
      Thread.sleep(10);
    }
  }

  static String take(BlockingQueue<String> inbox) throws InterruptedException {
    String body = inbox.poll(WAIT_SECONDS, TimeUnit.SECONDS);
    assertThat(body != null, "no message within " + WAIT_SECONDS + " s");
    return body;
  }

  static String text(Message message) {
    return new String(message.getBody(), StandardCharsets.UTF_8);
  }

  static void equal(Object expected, Object actual) {
    assertThat(Objects.equals(expected, actual), "expected " + expected + ", got " + actual);
  }

  static void assertThat(boolean holds, String otherwise) {
    if (!holds) {
      throw new AssertionError(otherwise);
    }
  }
}

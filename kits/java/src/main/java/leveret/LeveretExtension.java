package leveret;

import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.junit.jupiter.api.extension.AfterTestExecutionCallback;
import org.junit.jupiter.api.extension.BeforeEachCallback;
import org.junit.jupiter.api.extension.ExtensionContext;
import org.junit.jupiter.api.extension.ExtensionContext.Namespace;
import org.junit.jupiter.api.extension.ParameterResolver;
import org.junit.jupiter.api.extension.ParameterContext;

/**
 * One broker for all tests, as after its first start for each of them: {@code @ExtendWith(LeveretExtension.class)} and a parameter
 * {@link Leveret}, or {@code @RegisterExtension static LeveretExtension leveret = new LeveretExtension("--option")} for a broker with
 * options. Its tests run one after another. A test that fails says what the broker saw.
 */
public final class LeveretExtension implements BeforeEachCallback, AfterTestExecutionCallback, ParameterResolver {
  private static final int EVENTS_SHOWN = 100;
  private static final List<String> SHOWN =
      List.of("message", "queue", "exchange", "routing_key", "reason", "consumer_tag", "delivery_tag", "redelivered", "count");

  private final String[] options;
  private Leveret broker;

  public LeveretExtension() {
    this(new String[0]);
  }

  public LeveretExtension(String... options) {
    this.options = options.clone();
  }

  /** The broker, during a test. */
  public Leveret broker() {
    return broker;
  }

  /** Started for the first that asks, and stopped at the end of all tests. */
  private Leveret running(ExtensionContext context) {
    var store = context.getRoot().getStore(Namespace.create(LeveretExtension.class));
    broker = store.getOrComputeIfAbsent(List.of(options), ignored -> Leveret.start(options), Leveret.class);
    return broker;
  }

  @Override
  public void beforeEach(ExtensionContext context) {
    running(context).reset();
  }

  @Override
  public void afterTestExecution(ExtensionContext context) {
    context.getExecutionException().ifPresent(failure -> failure.addSuppressed(new WhatTheBrokerSaw(broker.journal())));
  }

  @Override
  public boolean supportsParameter(ParameterContext parameter, ExtensionContext context) {
    return parameter.getParameter().getType() == Leveret.class;
  }

  @Override
  public Leveret resolveParameter(ParameterContext parameter, ExtensionContext context) {
    return running(context);
  }

  /** Appears beneath a failure. */
  private static final class WhatTheBrokerSaw extends Exception {
    private static final long serialVersionUID = 1;

    WhatTheBrokerSaw(List<Map<String, Object>> events) {
      super(text(events), null, false, false);
    }

    private static String text(List<Map<String, Object>> events) {
      return events.stream()
          .skip(Math.max(0, events.size() - EVENTS_SHOWN))
          .map(event -> String.format("%+10.3f s  %-16s %s", ((Long) event.get("time") - (Long) events.get(0).get("time")) / 1000.0,
              event.get("event"), SHOWN.stream().filter(event::containsKey).map(name -> name + "=" + event.get(name))
                  .collect(Collectors.joining(" "))))
          .collect(Collectors.joining("\n", "what the broker saw:\n", ""));
    }
  }
}

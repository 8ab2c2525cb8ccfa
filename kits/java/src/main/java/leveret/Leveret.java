package leveret;

import java.io.IOException;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/**
 * A running broker on free ports of the loopback interface, with a clock that tests move. What it is asked goes over {@code /api/test};
 * docs/TEST_API.md says what there is.
 */
public final class Leveret implements AutoCloseable {
  private static final Duration PATIENCE = Duration.ofSeconds(30);
  private final HttpClient http = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).proxy(HttpClient.Builder.NO_PROXY).build();
  private final Path scratch;
  private final Process process;
  private final String amqp;
  private final String base;
  private Duration soon = Duration.ofSeconds(5);

  /** Starts it; the options go to {@code leveret serve}. */
  public static Leveret start(String... options) {
    try {
      return new Leveret(options);
    } catch (IOException e) {
      throw new IllegalStateException("cannot start leveret: " + e.getMessage(), e);
    }
  }

  private Leveret(String... options) throws IOException {
    scratch = Files.createTempDirectory("leveret-");
    var readyFile = scratch.resolve("ready.json");
    var command = new ArrayList<>(List.of(binary(), "serve", "--amqp", "127.0.0.1:0", "--http", "127.0.0.1:0", "--test-api",
        "--ready-file", readyFile.toString(), "--until-stdin-closes"));
    command.addAll(Arrays.asList(options));
    if (!command.contains("--clock")) {
      command.addAll(List.of("--clock", "virtual"));
    }
    // Standard input is a pipe to which nothing is ever written: it closes when this process ends, however it does, and the broker ends with it.
    var builder = new ProcessBuilder(command)
        .redirectOutput(ProcessBuilder.Redirect.DISCARD)
        .redirectError(scratch.resolve("log").toFile());
    // What configures brokers elsewhere on this machine is not meant for this one.
    builder.environment().keySet().removeIf(name -> name.startsWith("RABBITMQ_") || name.startsWith("LEVERET_"));
    try {
      process = builder.start();
    } catch (IOException e) {
      delete(scratch);
      throw e;
    }
    Map<String, Object> ready;
    try {
      ready = awaitReady(readyFile);
    } catch (RuntimeException | IOException e) {
      close();
      throw e;
    }
    amqp = (String) ready.get("amqp");
    base = "http://" + ready.get("http");
  }

  /** The system property {@code leveret.binary}, the variable {@code LEVERET_BINARY}, or {@code leveret} of the PATH. */
  private static String binary() {
    var told = System.getProperty("leveret.binary", System.getenv("LEVERET_BINARY"));
    return told == null ? "leveret" : told;
  }

  /** The ready file appears whole. */
  private Map<String, Object> awaitReady(Path readyFile) throws IOException {
    var deadline = System.nanoTime() + PATIENCE.toNanos();
    while (!Files.exists(readyFile)) {
      if (!process.isAlive() || System.nanoTime() > deadline) {
        throw new IOException("leveret does not serve:\n" + log());
      }
      try {
        process.waitFor(1, TimeUnit.MILLISECONDS);
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        throw new IOException(e);
      }
    }
    return object(Json.read(Files.readString(readyFile)));
  }

  /** For {@code ConnectionFactory.setUri}. */
  public String amqpUrl() {
    return "amqp://guest:guest@" + amqp + "/%2F";
  }

  public String httpUrl() {
    return base;
  }

  public String host() {
    return amqp.substring(0, amqp.lastIndexOf(':'));
  }

  public int port() {
    return Integer.parseInt(amqp.substring(amqp.lastIndexOf(':') + 1));
  }

  public long pid() {
    return process.pid();
  }

  /** What it has logged so far. */
  public String log() {
    try {
      return Files.readString(scratch.resolve("log"));
    } catch (IOException e) {
      return e.toString();
    }
  }

  /** Asks it to end, and waits until it has. */
  @Override
  public void close() {
    process.destroy();
    try {
      if (!process.waitFor(10, TimeUnit.SECONDS)) {
        process.destroyForcibly();
      }
    } catch (InterruptedException e) {
      process.destroyForcibly();
      Thread.currentThread().interrupt();
    }
    delete(scratch);
  }

  /** The answer of the HTTP API, read: {@code request("GET", "/api/queues", null)}. */
  public Object request(String method, String path, Object body) {
    return Json.read(ask(method, path, body, "application/json"));
  }

  private String ask(String method, String path, Object body, String accept) {
    var credentials = Base64.getEncoder().encodeToString("guest:guest".getBytes(StandardCharsets.UTF_8));
    var request = HttpRequest.newBuilder(URI.create(base + path))
        .timeout(PATIENCE)
        .header("Authorization", "Basic " + credentials)
        .header("Accept", accept)
        .header("Content-Type", "application/json")
        .method(method, body == null ? BodyPublishers.noBody() : BodyPublishers.ofString(Json.write(body)))
        .build();
    try {
      var response = http.send(request, BodyHandlers.ofString());
      if (response.statusCode() >= 300) {
        throw refusal(response.statusCode(), response.body());
      }
      return response.body().isEmpty() ? "null" : response.body();
    } catch (IOException e) {
      throw new IllegalStateException(method + " " + path + ": " + e, e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IllegalStateException(e);
    }
  }

  private static RuntimeException refusal(int status, String text) {
    String reason = text.isEmpty() ? "status " + status : text;
    try {
      reason = String.valueOf(object(Json.read(text)).get("reason"));
    } catch (IllegalArgumentException | ClassCastException e) {
      // It is not JSON, and so it is the reason.
    }
    if (status == 408) {
      throw new NotInTime(reason);
    }
    return new LeveretException(status, reason);
  }

  // Between tests

  /** Begins again, as after the first start: with nothing declared, no fault, no alarm, and an empty journal. */
  public void reset() {
    soon = Duration.ofSeconds(5);
    request("POST", "/api/test/reset", Map.of());
    if (object(request("GET", "/api/test", null)).get("faults") instanceof Long faults && faults > 0) {
      clearFaults();
    }
    alarms(false, false);
    request("DELETE", "/api/test/journal", null);
  }

  /** Messages go, and what is declared stays. */
  public void resetMessages() {
    request("POST", "/api/test/reset", Map.of("keep", "definitions"));
  }

  // Time

  public Instant now() {
    return Instant.ofEpochMilli((Long) object(request("GET", "/api/test/clock", null)).get("now"));
  }

  /** Lets time pass, and says what was due, with {@code what}, {@code queue}, {@code count} and so on. All of that has happened by then. */
  public List<Map<String, Object>> advance(Duration by) {
    return advance(Map.of("ms", by.toMillis()));
  }

  public List<Map<String, Object>> advanceTo(Instant time) {
    return advance(Map.of("to", time.toEpochMilli()));
  }

  /** Lets time pass until something is due. */
  public List<Map<String, Object>> advanceToNext() {
    return advance(Map.of("to_next", true));
  }

  private List<Map<String, Object>> advance(Map<String, ?> body) {
    return objects(object(request("POST", "/api/test/clock/advance", body)).get("fired"));
  }

  /** Time stands still, as it does from the start. */
  public void freeze() {
    request("PUT", "/api/test/clock", Map.of("frozen", true));
  }

  /** Time goes on by itself. */
  public void unfreeze() {
    request("PUT", "/api/test/clock", Map.of("frozen", false));
  }

  // States

  /** Takes a snapshot of all; what it returns is for {@link #restore}. */
  public String snapshot() {
    return String.valueOf(object(request("POST", "/api/test/snapshots", Map.of())).get("id"));
  }

  public void restore(String snapshot) {
    request("POST", "/api/test/snapshots/" + quoted(snapshot) + "/restore", Map.of());
  }

  /** Dies and comes back on the same ports: connections are gone, what is durable is not. */
  public void crash() {
    request("POST", "/api/test/crash", Map.of("unsynced", "lost"));
  }

  /** Closes a connection from the broker's side; {@link #journal} and {@link #messages} say their names. */
  public void disconnect(String connection) {
    request("DELETE", "/api/connections/" + quoted(connection), null);
  }

  /** Raises alarms, or clears them. Connections that publish are not read from until then, so they cannot be closed either. */
  public void alarms(boolean memory, boolean disk) {
    request("PUT", "/api/test/alarms", Map.of("memory", memory, "disk", disk));
  }

  /** Adds a rule for faults on demand, and returns its id. */
  public String addFault(Map<String, ?> rule) {
    return String.valueOf(((List<?>) object(request("POST", "/api/test/faults", rule)).get("ids")).get(0));
  }

  public void clearFaults() {
    request("DELETE", "/api/test/faults", null);
  }

  // What has happened

  /** What has become of messages: {@code journal("queue", "orders", "event", "acked")}. */
  public List<Map<String, Object>> journal(String... filters) {
    var query = new StringBuilder();
    pairs(filters).forEach((name, value) -> query.append('&').append(name).append('=').append(quoted(value)));
    return objects(object(request("GET", "/api/test/journal?limit=100000" + query, null)).get("events"));
  }

  /** All that happened to one message, as text; it is named by the journal's number or by its message_id. */
  public String story(Object message) {
    return ask("GET", "/api/test/journal/story/" + quoted(message), null, "text/plain");
  }

  /** How long {@link #waitFor} and {@link #settle} wait, 5 seconds unless told otherwise. */
  public void patience(Duration most) {
    soon = most;
  }

  /** Waits until the journal has so many events: {@code waitFor(5, "acked", "queue", "orders")}. {@link NotInTime} otherwise. */
  public List<Map<String, Object>> waitFor(int count, String event, String... filters) {
    var match = pairs(filters);
    match.put("event", event);
    var body = Map.of("match", match, "count", count, "timeout_ms", soon.toMillis());
    return objects(object(request("POST", "/api/test/journal/wait", body)).get("events"));
  }

  /** Waits until nothing is ready, unacked or unconfirmed in these queues, or in all. {@link NotInTime} otherwise. */
  public void settle(String... queues) {
    Map<String, Object> body = new LinkedHashMap<>(Map.of("vhost", "/", "timeout_ms", soon.toMillis()));
    if (queues.length > 0) {
      body.put("queues", List.of(queues));
    }
    request("POST", "/api/test/settle", body);
  }

  /** Looks at what is ready without touching it. */
  public List<Map<String, Object>> messages(String queue) {
    return messages(queue, "ready");
  }

  /** Looks at what is {@code ready} or {@code unacked}. */
  public List<Map<String, Object>> messages(String queue, String state) {
    return objects(object(request("GET", "/api/test/queues/%2F/" + quoted(queue) + "/messages?state=" + state, null)).get("messages"));
  }

  /** An object in an answer: {@code object(message.get("properties"))}. */
  @SuppressWarnings("unchecked")
  public static Map<String, Object> object(Object value) {
    return (Map<String, Object>) value;
  }

  @SuppressWarnings("unchecked")
  private static List<Map<String, Object>> objects(Object value) {
    return (List<Map<String, Object>>) value;
  }

  private static Map<String, Object> pairs(String... namesAndValues) {
    Map<String, Object> pairs = new LinkedHashMap<>();
    for (int i = 0; i < namesAndValues.length; i += 2) {
      pairs.put(namesAndValues[i], namesAndValues[i + 1]);
    }
    return pairs;
  }

  private static String quoted(Object part) {
    return URLEncoder.encode(part.toString(), StandardCharsets.UTF_8).replace("+", "%20");
  }

  private static void delete(Path folder) {
    try (var paths = Files.walk(folder)) {
      paths.sorted(Comparator.reverseOrder()).forEach(path -> path.toFile().delete());
    } catch (IOException e) {
      // It is a folder for temporary files: somebody clears it.
    }
  }
}

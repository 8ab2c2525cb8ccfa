/* What a C program does with a broker, checked one promise at a time. */

#define _GNU_SOURCE
#include <amqp.h>
#include <amqp_framing.h>
#include <amqp_tcp_socket.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { WAIT_SECONDS = 10, FRAME_MAX = 131072, MIB = 1 << 20 };
/* Long enough for a message that must not come to have come. */
enum { QUIET_MICROSECONDS = 200000 };

typedef amqp_connection_state_t Connection;

static char run[32];
static bool failed;
static Connection open_connections[4];
static int open_count;
static char *names_used[100]; /* "queue NAME" or "exchange NAME" */
static int names_count;
static jmp_buf check_failed;
static char reason[1024];

/* Small words the checks are written in */

__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(reason, sizeof reason, format, arguments);
  va_end(arguments);
  longjmp(check_failed, 1);
}

static char *text(amqp_bytes_t bytes) {
  return strndup(bytes.bytes ? bytes.bytes : "", bytes.len);
}

static amqp_bytes_t bytes(const char *text) {
  return amqp_cstring_bytes(text);
}

static void equal_text(const char *expected, amqp_bytes_t actual) {
  if (strlen(expected) != actual.len || memcmp(expected, actual.bytes, actual.len) != 0) {
    fail("expected \"%s\", got \"%s\"", expected, text(actual));
  }
}

static void equal(long expected, long actual) {
  if (expected != actual) fail("expected %ld, got %ld", expected, actual);
}

/* The reply code and text of a close that the broker sent, or of none. */
static int close_in(amqp_rpc_reply_t reply, amqp_bytes_t *reply_text) {
  *reply_text = amqp_empty_bytes;
  if (reply.reply_type != AMQP_RESPONSE_SERVER_EXCEPTION) return 0;
  if (reply.reply.id == AMQP_CHANNEL_CLOSE_METHOD) {
    amqp_channel_close_t *close = reply.reply.decoded;
    *reply_text = close->reply_text;
    return close->reply_code;
  }
  amqp_connection_close_t *close = reply.reply.decoded;
  *reply_text = close->reply_text;
  return close->reply_code;
}

static void expect_ok(amqp_rpc_reply_t reply) {
  if (reply.reply_type == AMQP_RESPONSE_NORMAL) return;
  amqp_bytes_t reply_text;
  if (close_in(reply, &reply_text)) fail("closed: %s", text(reply_text));
  fail("%s", amqp_error_string2(reply.library_error));
}

static void done(Connection connection) {
  expect_ok(amqp_get_rpc_reply(connection));
}

static void sent(int status) {
  if (status != AMQP_STATUS_OK) fail("%s", amqp_error_string2(status));
}

/* Checks that the method just called was refused, and answers the channel.close. */
__attribute__((format(printf, 4, 5))) static void refused(Connection connection, int channel, int code,
                                                          const char *format, ...) {
  char expected[512];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(expected, sizeof expected, format, arguments);
  va_end(arguments);
  amqp_bytes_t reply_text;
  int reply_code = close_in(amqp_get_rpc_reply(connection), &reply_text);
  equal_text(expected, reply_text);
  equal(code, reply_code);
  amqp_channel_close_ok_t ok = {0};
  sent(amqp_send_method(connection, channel, AMQP_CHANNEL_CLOSE_OK_METHOD, &ok));
}

static Connection new_connection(void) {
  Connection connection = amqp_new_connection();
  amqp_socket_t *socket = amqp_tcp_socket_new(connection);
  struct timeval limit = {WAIT_SECONDS, 0};
  amqp_set_rpc_timeout(connection, &limit);
  sent(amqp_socket_open(socket, getenv("AMQP_HOST"), atoi(getenv("AMQP_PORT"))));
  open_connections[open_count++] = connection;
  return connection;
}

static void open_channel(Connection connection, int channel) {
  amqp_channel_open(connection, channel);
  done(connection);
}

/* A connection that hears of its consumers' cancellation, with channel 1 open. */
static Connection connect_with(int heartbeat) {
  Connection connection = new_connection();
  amqp_table_entry_t can_cancel = {.key = bytes("consumer_cancel_notify"),
                                   .value = {.kind = AMQP_FIELD_KIND_BOOLEAN, .value.boolean = 1}};
  amqp_table_entry_t capabilities = {.key = bytes("capabilities"),
                                     .value = {.kind = AMQP_FIELD_KIND_TABLE, .value.table = {1, &can_cancel}}};
  amqp_table_t properties = {1, &capabilities};
  expect_ok(amqp_login_with_properties(connection, "/", 0, FRAME_MAX, heartbeat, &properties,
                                       AMQP_SASL_METHOD_PLAIN, "guest", "guest"));
  open_channel(connection, 1);
  return connection;
}

static Connection connect_broker(void) {
  return connect_with(0);
}

static void close_connection(Connection connection) {
  amqp_connection_close(connection, AMQP_REPLY_SUCCESS);
  amqp_destroy_connection(connection);
  for (int i = 0; i < open_count; i++) {
    if (open_connections[i] == connection) open_connections[i] = open_connections[--open_count];
  }
}

static void used(const char *kind, const char *name) {
  if (asprintf(&names_used[names_count++], "%s %s", kind, name) < 0) abort();
}

static char *name(const char *suffix) {
  char *full;
  if (asprintf(&full, "%s.%s", run, suffix) < 0) abort();
  return full;
}

static char *exclusive_queue(Connection connection, int channel) {
  amqp_queue_declare_ok_t *ok =
      amqp_queue_declare(connection, channel, amqp_empty_bytes, 0, 0, 1, 0, amqp_empty_table);
  done(connection);
  char *queue = text(ok->queue);
  used("queue", queue);
  return queue;
}

static char *shared_queue(Connection connection, const char *suffix) {
  char *queue = name(suffix);
  used("queue", queue);
  amqp_queue_declare(connection, 1, bytes(queue), 0, 1, 0, 0, amqp_empty_table);
  done(connection);
  return queue;
}

static char *exchange(Connection connection, const char *type, const char *suffix, amqp_table_t arguments) {
  char *exchange = name(suffix);
  used("exchange", exchange);
  amqp_exchange_declare(connection, 1, bytes(exchange), bytes(type), 0, 0, 0, 0, arguments);
  done(connection);
  return exchange;
}

static void delete_exchange(Connection connection, const char *exchange) {
  amqp_exchange_delete(connection, 1, bytes(exchange), 0);
  done(connection);
}

static char *bound_queue(Connection connection, const char *exchange, const char *key, amqp_table_t arguments) {
  char *queue = exclusive_queue(connection, 1);
  amqp_queue_bind(connection, 1, bytes(queue), bytes(exchange), bytes(key), arguments);
  done(connection);
  return queue;
}

static int message_count(Connection connection, int channel, const char *queue) {
  amqp_queue_declare_ok_t *ok = amqp_queue_declare(connection, channel, bytes(queue), 1, 0, 0, 0, amqp_empty_table);
  done(connection);
  return ok->message_count;
}

static void publish_to(Connection connection, const char *exchange, const char *key,
                       const amqp_basic_properties_t *properties, const char *body) {
  sent(amqp_basic_publish(connection, 1, bytes(exchange), bytes(key), 0, 0, properties, bytes(body)));
}

static void publish(Connection connection, const char *queue, const char *body) {
  publish_to(connection, "", queue, NULL, body);
}

static void publish_numbers(Connection connection, const char *queue, int first, int last) {
  for (int number = first; number <= last; number++) {
    char body[12];
    snprintf(body, sizeof body, "%d", number);
    publish(connection, queue, body);
  }
}

static void consume_as(Connection connection, int channel, const char *queue, const char *tag, bool no_ack) {
  amqp_basic_consume(connection, channel, bytes(queue), bytes(tag), 0, no_ack, 0, amqp_empty_table);
  done(connection);
}

static void consume(Connection connection, const char *queue) {
  consume_as(connection, 1, queue, "", false);
}

static amqp_envelope_t take(Connection connection) {
  amqp_envelope_t envelope;
  struct timeval limit = {WAIT_SECONDS, 0};
  expect_ok(amqp_consume_message(connection, &envelope, &limit, 0));
  return envelope;
}

static uint64_t take_body(Connection connection, const char *expected, bool redelivered) {
  amqp_envelope_t envelope = take(connection);
  equal_text(expected, envelope.message.body);
  equal(redelivered, envelope.redelivered);
  uint64_t tag = envelope.delivery_tag;
  amqp_destroy_envelope(&envelope);
  return tag;
}

/* The next frame, which may only be a method that no call waits for. */
static amqp_method_t take_method(Connection connection, amqp_method_number_t expected) {
  amqp_frame_t frame;
  struct timeval limit = {WAIT_SECONDS, 0};
  sent(amqp_simple_wait_frame_noblock(connection, &frame, &limit));
  if (frame.frame_type != AMQP_FRAME_METHOD || frame.payload.method.id != expected) {
    fail("expected %s, got frame type %d %s", amqp_method_name(expected), frame.frame_type,
         frame.frame_type == AMQP_FRAME_METHOD ? amqp_method_name(frame.payload.method.id) : "");
  }
  return frame.payload.method;
}

static void expect_quiet(Connection connection, struct timeval limit) {
  amqp_frame_t frame;
  equal(AMQP_STATUS_TIMEOUT, amqp_simple_wait_frame_noblock(connection, &frame, &limit));
}

/* basic.get: a body that must be there, or NULL for an empty queue. Returns the delivery tag. */
static uint64_t get(Connection connection, const char *queue, bool no_ack, const char *expected,
                    bool redelivered, int remaining) {
  amqp_rpc_reply_t reply = amqp_basic_get(connection, 1, bytes(queue), no_ack);
  expect_ok(reply);
  if (!expected) {
    equal(AMQP_BASIC_GET_EMPTY_METHOD, reply.reply.id);
    return 0;
  }
  equal(AMQP_BASIC_GET_OK_METHOD, reply.reply.id);
  amqp_basic_get_ok_t *ok = reply.reply.decoded;
  equal(redelivered, ok->redelivered);
  equal(remaining, ok->message_count);
  uint64_t tag = ok->delivery_tag;
  amqp_message_t message;
  expect_ok(amqp_read_message(connection, 1, &message, 0));
  equal_text(expected, message.body);
  amqp_destroy_message(&message);
  return tag;
}

/* Everything in the queue, in order, and nothing else. */
static void drain(Connection connection, const char *queue, int count, ...) {
  va_list expected;
  va_start(expected, count);
  for (int i = 1; i <= count; i++) get(connection, queue, true, va_arg(expected, char *), false, count - i);
  va_end(expected);
  get(connection, queue, true, NULL, false, 0);
}

static amqp_table_entry_t text_entry(const char *key, const char *value) {
  return (amqp_table_entry_t){.key = bytes(key),
                              .value = {.kind = AMQP_FIELD_KIND_UTF8, .value.bytes = bytes(value)}};
}

static amqp_table_entry_t int_entry(const char *key, int32_t value) {
  return (amqp_table_entry_t){.key = bytes(key), .value = {.kind = AMQP_FIELD_KIND_I32, .value.i32 = value}};
}

/* Delivery and settlement */

static void consumes_in_order(Connection connection) {
  char *queue = exclusive_queue(connection, 1);
  publish_numbers(connection, queue, 1, 3);
  consume(connection, queue);
  for (int number = 1; number <= 3; number++) {
    amqp_envelope_t envelope = take(connection);
    equal('0' + number, *(char *)envelope.message.body.bytes);
    equal(false, envelope.redelivered);
    equal_text(queue, envelope.routing_key);
    sent(amqp_basic_ack(connection, 1, envelope.delivery_tag, 0));
    amqp_destroy_envelope(&envelope);
  }
  equal(0, message_count(connection, 1, queue));
}

static void requeues(Connection connection) {
  char *queue = exclusive_queue(connection, 1);
  publish_numbers(connection, queue, 1, 5);
  consume_as(connection, 1, queue, "reader", false);
  uint64_t tags[6];
  const char *bodies[] = {"", "1", "2", "3", "4", "5"};
  for (int i = 1; i <= 5; i++) tags[i] = take_body(connection, bodies[i], false);
  amqp_basic_cancel(connection, 1, bytes("reader"));
  done(connection);
  sent(amqp_basic_ack(connection, 1, tags[2], 0));
  const int order[] = {5, 1, 4, 3};
  for (int i = 0; i < 4; i++) sent(amqp_basic_nack(connection, 1, tags[order[i]], 0, 1));
  get(connection, queue, true, "1", true, 3);
  get(connection, queue, true, "3", true, 2);
  get(connection, queue, true, "4", true, 1);
  get(connection, queue, true, "5", true, 0);
  get(connection, queue, true, NULL, false, 0);
}

static void rejects(Connection connection) {
  char *queue = exclusive_queue(connection, 1);
  publish_numbers(connection, queue, 1, 3);
  sent(amqp_basic_reject(connection, 1, get(connection, queue, false, "1", false, 2), 0));
  get(connection, queue, false, "2", false, 1);
  sent(amqp_basic_nack(connection, 1, get(connection, queue, false, "3", false, 0), 1, 0));
  get(connection, queue, true, NULL, false, 0);
}

static void gets(Connection connection) {
  char *queue = exclusive_queue(connection, 1);
  publish_numbers(connection, queue, 1, 2);
  sent(amqp_basic_ack(connection, 1, get(connection, queue, false, "1", false, 1), 0));
  get(connection, queue, true, "2", false, 0);
  get(connection, queue, true, NULL, false, 0);
}

static void prefetches(Connection connection) {
  char *queue = exclusive_queue(connection, 1);
  publish_numbers(connection, queue, 1, 4);
  amqp_basic_qos(connection, 1, 0, 2, 0);
  done(connection);
  consume(connection, queue);
  take_body(connection, "1", false);
  uint64_t second = take_body(connection, "2", false);
  expect_quiet(connection, (struct timeval){0, QUIET_MICROSECONDS});
  sent(amqp_basic_ack(connection, 1, second, 1));
  take_body(connection, "3", false);
  take_body(connection, "4", false);
}

static void recovers(Connection connection) {
  char *queue = exclusive_queue(connection, 1);
  publish_numbers(connection, queue, 1, 2);
  consume(connection, queue);
  take_body(connection, "1", false);
  take_body(connection, "2", false);
  amqp_basic_recover(connection, 1, 1);
  done(connection);
  take_body(connection, "1", true);
  take_body(connection, "2", true);
}

static void counts_on_purge(Connection connection) {
  char *queue = exclusive_queue(connection, 1);
  publish_numbers(connection, queue, 1, 3);
  amqp_queue_purge_ok_t *purged = amqp_queue_purge(connection, 1, bytes(queue));
  done(connection);
  equal(3, purged->message_count);
  publish(connection, queue, "4");
  amqp_queue_delete_ok_t *deleted = amqp_queue_delete(connection, 1, bytes(queue), 0, 0);
  done(connection);
  equal(1, deleted->message_count);
}

/* Publisher confirms and returns */

static void confirms(Connection connection) {
  char *queue = exclusive_queue(connection, 1);
  amqp_confirm_select(connection, 1);
  done(connection);
  amqp_basic_properties_t persistent = {._flags = AMQP_BASIC_DELIVERY_MODE_FLAG, .delivery_mode = 2};
  for (int i = 0; i < 500; i++) publish_to(connection, "", queue, &persistent, "x");
  bool confirmed[501] = {false};
  for (int left = 500; left > 0;) {
    amqp_basic_ack_t *ack = take_method(connection, AMQP_BASIC_ACK_METHOD).decoded;
    for (uint64_t tag = ack->multiple ? 1 : ack->delivery_tag; tag <= ack->delivery_tag; tag++) {
      if (tag > 500) fail("confirmed %llu of 500", (unsigned long long)tag);
      left -= !confirmed[tag];
      confirmed[tag] = true;
    }
  }
  equal(500, message_count(connection, 1, queue));
}

static void returns(Connection connection) {
  amqp_confirm_select(connection, 1);
  done(connection);
  char *key = name("nowhere");
  sent(amqp_basic_publish(connection, 1, bytes("amq.direct"), bytes(key), 1, 0, NULL, bytes("back")));
  amqp_basic_return_t *returned = take_method(connection, AMQP_BASIC_RETURN_METHOD).decoded;
  equal(312, returned->reply_code);
  equal_text("NO_ROUTE", returned->reply_text);
  equal_text("amq.direct", returned->exchange);
  equal_text(key, returned->routing_key);
  amqp_message_t message;
  expect_ok(amqp_read_message(connection, 1, &message, 0));
  equal_text("back", message.body);
  amqp_destroy_message(&message);
  amqp_basic_ack_t *ack = take_method(connection, AMQP_BASIC_ACK_METHOD).decoded;
  equal(1, ack->delivery_tag);
}

static void nacks(Connection connection) {
  amqp_table_entry_t full[] = {int_entry("x-max-length", 1), text_entry("x-overflow", "reject-publish")};
  amqp_queue_declare_ok_t *ok =
      amqp_queue_declare(connection, 1, amqp_empty_bytes, 0, 0, 1, 0, (amqp_table_t){2, full});
  done(connection);
  char *queue = text(ok->queue);
  used("queue", queue);
  amqp_confirm_select(connection, 1);
  done(connection);
  publish(connection, queue, "kept");
  amqp_basic_ack_t *ack = take_method(connection, AMQP_BASIC_ACK_METHOD).decoded;
  equal(1, ack->delivery_tag);
  publish(connection, queue, "refused");
  amqp_basic_nack_t *nack = take_method(connection, AMQP_BASIC_NACK_METHOD).decoded;
  equal(2, nack->delivery_tag);
  drain(connection, queue, 1, "kept");
}

/* Routing */

static void fans_out(Connection connection) {
  char *fanout = exchange(connection, "fanout", "fanout", amqp_empty_table);
  char *queues[3];
  for (int i = 0; i < 3; i++) queues[i] = bound_queue(connection, fanout, "", amqp_empty_table);
  publish_to(connection, fanout, "ignored", NULL, "for all");
  for (int i = 0; i < 3; i++) drain(connection, queues[i], 1, "for all");
  delete_exchange(connection, fanout);
}

static void routes_topics(Connection connection) {
  char *topic = exchange(connection, "topic", "topic", amqp_empty_table);
  char *errors = bound_queue(connection, topic, "*.error", amqp_empty_table);
  char *orders = bound_queue(connection, topic, "orders.#", amqp_empty_table);
  char *all = bound_queue(connection, topic, "#", amqp_empty_table);
  amqp_queue_bind(connection, 1, bytes(all), bytes(topic), bytes("orders.*"), amqp_empty_table);
  done(connection);
  const char *keys[] = {"orders.error", "orders.eu.paid", "orders", "stock.error", ""};
  for (int i = 0; i < 5; i++) publish_to(connection, topic, keys[i], NULL, keys[i]);
  drain(connection, errors, 2, "orders.error", "stock.error");
  drain(connection, orders, 3, "orders.error", "orders.eu.paid", "orders");
  drain(connection, all, 5, "orders.error", "orders.eu.paid", "orders", "stock.error", "");
  amqp_queue_unbind(connection, 1, bytes(errors), bytes(topic), bytes("*.error"), amqp_empty_table);
  done(connection);
  publish_to(connection, topic, "late.error", NULL, "late.error");
  drain(connection, errors, 0);
  delete_exchange(connection, topic);
}

static void routes_headers(Connection connection) {
  char *headers = exchange(connection, "headers", "headers", amqp_empty_table);
  amqp_table_entry_t all[] = {text_entry("x-match", "all"), text_entry("kind", "a"), int_entry("size", 1)};
  amqp_table_entry_t any[] = {text_entry("x-match", "any"), text_entry("kind", "a"), int_entry("size", 1)};
  char *both = bound_queue(connection, headers, "", (amqp_table_t){3, all});
  char *either = bound_queue(connection, headers, "", (amqp_table_t){3, any});
  struct {
    const char *body, *kind;
    int size;
  } messages[] = {{"both", "a", 1}, {"one", "a", 2}, {"none", "b", 2}};
  for (int i = 0; i < 3; i++) {
    amqp_table_entry_t entries[] = {text_entry("kind", messages[i].kind), int_entry("size", messages[i].size)};
    amqp_basic_properties_t properties = {._flags = AMQP_BASIC_HEADERS_FLAG, .headers = {2, entries}};
    publish_to(connection, headers, "", &properties, messages[i].body);
  }
  drain(connection, both, 1, "both");
  drain(connection, either, 2, "both", "one");
  delete_exchange(connection, headers);
}

static void routes_onward(Connection connection) {
  char *spare = exchange(connection, "fanout", "spare", amqp_empty_table);
  amqp_table_entry_t alternate = text_entry("alternate-exchange", spare);
  char *first = exchange(connection, "direct", "first", (amqp_table_t){1, &alternate});
  char *second = exchange(connection, "topic", "second", amqp_empty_table);
  amqp_exchange_bind(connection, 1, bytes(second), bytes(first), bytes("go"), amqp_empty_table);
  done(connection);
  char *reached = bound_queue(connection, second, "go", amqp_empty_table);
  char *stray = bound_queue(connection, spare, "", amqp_empty_table);
  publish_to(connection, first, "go", NULL, "onward");
  publish_to(connection, first, "elsewhere", NULL, "stray");
  drain(connection, reached, 1, "onward");
  drain(connection, stray, 1, "stray");
  amqp_exchange_unbind(connection, 1, bytes(second), bytes(first), bytes("go"), amqp_empty_table);
  done(connection);
  publish_to(connection, first, "go", NULL, "unbound");
  drain(connection, stray, 1, "unbound");
  delete_exchange(connection, first);
  delete_exchange(connection, second);
  delete_exchange(connection, spare);
}

/* Patterns of work */

static void balances(Connection connection) {
  enum { BUSY = 2, QUICK = 3 };
  char *queue = exclusive_queue(connection, 1);
  for (int channel = BUSY; channel <= QUICK; channel++) {
    open_channel(connection, channel);
    amqp_basic_qos(connection, channel, 0, 1, 0);
    done(connection);
    consume_as(connection, channel, queue, "", false);
  }
  publish_numbers(connection, queue, 0, 9);
  int kept = 0;
  for (int number = 0; number < 10; number++) {
    amqp_envelope_t envelope = take(connection);
    if (envelope.channel == BUSY) {
      equal_text("0", envelope.message.body);
      kept++;
    } else {
      sent(amqp_basic_ack(connection, QUICK, envelope.delivery_tag, 0));
    }
    amqp_destroy_envelope(&envelope);
  }
  equal(1, kept);
}

static void serve_upper_case(Connection connection) {
  amqp_envelope_t request = take(connection);
  char *body = text(request.message.body);
  for (char *c = body; *c; c++) *c -= 'a' - 'A';
  amqp_basic_properties_t properties = {._flags = AMQP_BASIC_CORRELATION_ID_FLAG,
                                        .correlation_id = request.message.properties.correlation_id};
  sent(amqp_basic_publish(connection, 1, amqp_empty_bytes, request.message.properties.reply_to, 0, 0, &properties,
                          bytes(body)));
  sent(amqp_basic_ack(connection, 1, request.delivery_tag, 0));
  amqp_destroy_envelope(&request);
  free(body);
}

static void call(Connection connection, Connection worker, const char *requests, const char *replies) {
  amqp_basic_properties_t properties = {._flags = AMQP_BASIC_REPLY_TO_FLAG | AMQP_BASIC_CORRELATION_ID_FLAG,
                                        .reply_to = bytes(replies),
                                        .correlation_id = bytes("call-7")};
  publish_to(connection, "", requests, &properties, "hare");
  serve_upper_case(worker);
  amqp_envelope_t reply = take(connection);
  equal_text("HARE", reply.message.body);
  equal_text("call-7", reply.message.properties.correlation_id);
  amqp_destroy_envelope(&reply);
}

static void calls_over_own_queue(Connection connection) {
  Connection worker = connect_broker();
  char *requests = shared_queue(worker, "requests");
  consume(worker, requests);
  char *replies = exclusive_queue(connection, 1);
  equal(0, strncmp("amq.gen-", replies, 8));
  consume(connection, replies);
  call(connection, worker, requests, replies);
  amqp_queue_delete(worker, 1, bytes(requests), 0, 0);
  done(worker);
}

static void calls_over_direct_reply_to(Connection connection) {
  Connection worker = connect_broker();
  char *requests = shared_queue(worker, "requests");
  consume(worker, requests);
  consume_as(connection, 1, "amq.rabbitmq.reply-to", "", true);
  for (int i = 0; i < 2; i++) call(connection, worker, requests, "amq.rabbitmq.reply-to");
  amqp_queue_delete(worker, 1, bytes(requests), 0, 0);
  done(worker);
}

/* Connection loss */

static void survives_loss(Connection connection) {
  char *queue = shared_queue(connection, "loss");
  publish_numbers(connection, queue, 1, 3);
  Connection lost = connect_broker();
  consume(lost, queue);
  sent(amqp_basic_ack(lost, 1, take_body(lost, "1", false), 0));
  take_body(lost, "2", false);
  take_body(lost, "3", false);
  message_count(lost, 1, queue); /* its answer proves that the ack before it arrived */
  struct linger reset = {1, 0};
  setsockopt(amqp_get_sockfd(lost), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  amqp_destroy_connection(lost);
  open_count--;

  consume(connection, queue);
  take_body(connection, "2", true);
  take_body(connection, "3", true);
  amqp_queue_delete(connection, 1, bytes(queue), 0, 0);
  done(connection);
}

/* Errors */

static void refuses_missing_queue(Connection connection) {
  amqp_bytes_t missing = bytes(name("missing"));
  amqp_queue_declare(connection, 1, missing, 1, 0, 0, 0, amqp_empty_table);
  refused(connection, 1, 404, "NOT_FOUND - no queue '%s.missing' in vhost '/'", run);
  open_channel(connection, 1);
  amqp_basic_consume(connection, 1, missing, amqp_empty_bytes, 0, 0, 0, amqp_empty_table);
  refused(connection, 1, 404, "NOT_FOUND - no queue '%s.missing' in vhost '/'", run);
  open_channel(connection, 1);
  exclusive_queue(connection, 1);
}

static void refuses_missing_exchange(Connection connection) {
  publish_to(connection, name("missing"), "", NULL, "lost");
  amqp_channel_close_t *close = take_method(connection, AMQP_CHANNEL_CLOSE_METHOD).decoded;
  char expected[100];
  snprintf(expected, sizeof expected, "NOT_FOUND - no exchange '%s.missing' in vhost '/'", run);
  equal_text(expected, close->reply_text);
  equal(404, close->reply_code);
  equal(60, close->class_id);
  equal(40, close->method_id);
}

static void refuses_inequivalent(Connection connection) {
  char *queue = shared_queue(connection, "plain");
  amqp_queue_declare(connection, 1, bytes(queue), 0, 0, 0, 0, amqp_empty_table);
  refused(connection, 1, 406, "PRECONDITION_FAILED - inequivalent arg 'durable' for queue '%s' in vhost '/': "
          "received 'false' but current is 'true'", queue);
  open_channel(connection, 1);
  amqp_table_entry_t length = int_entry("x-max-length", 9);
  amqp_queue_declare(connection, 1, bytes(queue), 0, 1, 0, 0, (amqp_table_t){1, &length});
  refused(connection, 1, 406, "PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue '%s' in vhost '/': "
          "received the value '9' of type 'signedint' but current is none", queue);
  open_channel(connection, 1);
  amqp_queue_delete(connection, 1, bytes(queue), 0, 0);
  done(connection);
}

static void refuses_unknown_tag(Connection connection) {
  sent(amqp_basic_ack(connection, 1, 99, 0));
  amqp_channel_close_t *close = take_method(connection, AMQP_CHANNEL_CLOSE_METHOD).decoded;
  equal_text("PRECONDITION_FAILED - unknown delivery tag 99", close->reply_text);
  equal(406, close->reply_code);
}

static void refuses_delete_in_use(Connection connection) {
  char *queue = exclusive_queue(connection, 1);
  consume(connection, queue);
  open_channel(connection, 2);
  amqp_queue_delete(connection, 2, bytes(queue), 1, 0);
  refused(connection, 2, 406, "PRECONDITION_FAILED - queue '%s' in vhost '/' in use", queue);
}

static void refuses_foreign_exclusive(Connection connection) {
  char *queue = exclusive_queue(connection, 1);
  Connection other = connect_broker();
  amqp_basic_consume(other, 1, bytes(queue), amqp_empty_bytes, 0, 0, 0, amqp_empty_table);
  refused(other, 1, 405, "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '%s' in vhost '/'. It could "
          "be originally declared on another connection or the exclusive property value does not match that of the "
          "original declaration.", queue);
}

static void refuses_reserved_name(Connection connection) {
  amqp_queue_declare(connection, 1, bytes("amq.mine"), 0, 0, 1, 0, amqp_empty_table);
  refused(connection, 1, 403, "ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'");
  open_channel(connection, 1);
  amqp_exchange_declare(connection, 1, bytes("amq.mine"), bytes("direct"), 0, 0, 0, 0, amqp_empty_table);
  refused(connection, 1, 403, "ACCESS_REFUSED - exchange name 'amq.mine' contains reserved prefix 'amq.*'");
}

static void refuses_second_exclusive(Connection connection) {
  char *queue = exclusive_queue(connection, 1);
  amqp_basic_consume(connection, 1, bytes(queue), amqp_empty_bytes, 0, 0, 1, amqp_empty_table);
  done(connection);
  open_channel(connection, 2);
  amqp_basic_consume(connection, 2, bytes(queue), amqp_empty_bytes, 0, 0, 0, amqp_empty_table);
  refused(connection, 2, 403, "ACCESS_REFUSED - queue '%s' in vhost '/' in exclusive use", queue);
}

static void refuses_immediate(Connection connection) {
  sent(amqp_basic_publish(connection, 1, amqp_empty_bytes, bytes(run), 0, 1, NULL, bytes("now")));
  amqp_connection_close_t *close = take_method(connection, AMQP_CONNECTION_CLOSE_METHOD).decoded;
  equal_text("NOT_IMPLEMENTED - immediate=true", close->reply_text);
  equal(540, close->reply_code);
  amqp_connection_close_ok_t ok = {0};
  sent(amqp_send_method(connection, 0, AMQP_CONNECTION_CLOSE_OK_METHOD, &ok));
}

static void refuses_login(const char *password, const char *vhost, int code, const char *expected) {
  Connection connection = new_connection();
  amqp_rpc_reply_t reply =
      amqp_login(connection, vhost, 0, FRAME_MAX, 0, AMQP_SASL_METHOD_PLAIN, "guest", password);
  amqp_bytes_t reply_text;
  int reply_code = close_in(reply, &reply_text);
  equal_text(expected, reply_text);
  equal(code, reply_code);
}

static void refuses_password(Connection unused) {
  (void)unused;
  refuses_login("wrong", "/", 403,
                "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. "
                "For details see the broker logfile.");
}

static void refuses_vhost(Connection unused) {
  (void)unused;
  refuses_login("guest", "nowhere", 530, "NOT_ALLOWED - vhost nowhere not found");
}

/* Content */

static void carries_everything(Connection connection) {
#define FIELD(name, type, member, ...) \
  { .key = {sizeof name - 1, name}, .value = {.kind = AMQP_FIELD_KIND_##type, .value.member = __VA_ARGS__} }
  amqp_field_value_t items[] = {{.kind = AMQP_FIELD_KIND_I32, .value.i32 = 1},
                                {.kind = AMQP_FIELD_KIND_UTF8, .value.bytes = {3, "two"}}};
  amqp_table_entry_t deep = FIELD("deep", I32, i32, 1);
  amqp_table_entry_t inner = FIELD("inner", TABLE, table, {1, &deep});
  amqp_table_entry_t entries[] = {
      FIELD("text", UTF8, bytes, {9, "\xC3\xBCn\xC3\xAF" "code"}),
      FIELD("bool", BOOLEAN, boolean, 1),
      FIELD("i8", I8, i8, -8),
      FIELD("u8", U8, u8, 200),
      FIELD("i16", I16, i16, -16000),
      FIELD("u16", U16, u16, 60000),
      FIELD("i32", I32, i32, -32),
      FIELD("u32", U32, u32, 4000000000u),
      FIELD("i64", I64, i64, INT64_MIN),
      FIELD("f32", F32, f32, 1.5f),
      FIELD("f64", F64, f64, 3.141592653589793),
      FIELD("decimal", DECIMAL, decimal, {2, 12345}),
      FIELD("time", TIMESTAMP, u64, 1700000000),
      FIELD("nothing", VOID, i8, 0),
      FIELD("bytes", BYTES, bytes, {4, "\x00\x01\xCE\xFF"}),
      FIELD("list", ARRAY, array, {2, items}),
      FIELD("table", TABLE, table, {1, &inner}),
  };
#undef FIELD
  amqp_basic_properties_t properties = {
      ._flags = 0xfffc, /* every one of the fourteen */
      .content_type = bytes("application/octet-stream"),
      .content_encoding = bytes("identity"),
      .headers = {sizeof entries / sizeof *entries, entries},
      .delivery_mode = 2,
      .priority = 5,
      .correlation_id = bytes("correlation"),
      .reply_to = bytes("reply"),
      .expiration = bytes("60000"),
      .message_id = bytes("message"),
      .timestamp = 1600000000,
      .type = bytes("type"),
      .user_id = bytes("guest"),
      .app_id = bytes("app"),
      .cluster_id = bytes("cluster"),
  };
  char *body = malloc(MIB);
  for (int i = 0; i < MIB; i++) body[i] = i * 31 >> 3;
  char *queue = exclusive_queue(connection, 1);
  sent(amqp_basic_publish(connection, 1, amqp_empty_bytes, bytes(queue), 0, 0, &properties,
                          (amqp_bytes_t){MIB, body}));
  consume(connection, queue);
  amqp_envelope_t envelope = take(connection);
  equal(MIB, envelope.message.body.len);
  equal(0, memcmp(body, envelope.message.body.bytes, MIB));
  free(body);

  /* The same table encodes to the same bytes: nothing was reordered, widened or dropped. */
  amqp_basic_properties_t *received = &envelope.message.properties;
  static char expected[4096], actual[4096];
  size_t expected_length = 0, actual_length = 0;
  amqp_bytes_t expected_buffer = {sizeof expected, expected}, actual_buffer = {sizeof actual, actual};
  sent(amqp_encode_table(expected_buffer, &properties.headers, &expected_length));
  sent(amqp_encode_table(actual_buffer, &received->headers, &actual_length));
  equal(expected_length, actual_length);
  equal(0, memcmp(expected, actual, actual_length));
  equal(properties._flags, received->_flags);
  equal_text("application/octet-stream", received->content_type);
  equal_text("identity", received->content_encoding);
  equal(2, received->delivery_mode);
  equal(5, received->priority);
  equal_text("correlation", received->correlation_id);
  equal_text("reply", received->reply_to);
  equal_text("60000", received->expiration);
  equal_text("message", received->message_id);
  equal(1600000000, received->timestamp);
  equal_text("type", received->type);
  equal_text("guest", received->user_id);
  equal_text("app", received->app_id);
  equal_text("cluster", received->cluster_id);
  amqp_destroy_envelope(&envelope);
}

static void carries_nothing(Connection connection) {
  char *queue = exclusive_queue(connection, 1);
  publish(connection, queue, "");
  consume(connection, queue);
  amqp_envelope_t envelope = take(connection);
  equal(0, envelope.message.body.len);
  equal(0, envelope.message.properties._flags);
  amqp_destroy_envelope(&envelope);
}

/* The rest */

static void keeps_idle_open(Connection unused) {
  (void)unused;
  Connection connection = connect_with(1);
  equal(1, amqp_get_heartbeat(connection));
  /* Without heartbeats either side would give up after two to three seconds. */
  expect_quiet(connection, (struct timeval){4, 0});
  exclusive_queue(connection, 1);
}

static void transacts(Connection connection) {
  char *queue = exclusive_queue(connection, 1);
  open_channel(connection, 2);
  amqp_tx_select(connection, 1);
  done(connection);
  publish(connection, queue, "kept");
  message_count(connection, 1, queue); /* its answer proves that the publish before it arrived */
  equal(0, message_count(connection, 2, queue));
  amqp_tx_commit(connection, 1);
  done(connection);
  equal(1, message_count(connection, 2, queue));
  publish(connection, queue, "dropped");
  amqp_tx_rollback(connection, 1);
  done(connection);
  equal(1, message_count(connection, 2, queue));
}

static void notifies_cancel(Connection connection) {
  char *queue = exclusive_queue(connection, 1);
  consume_as(connection, 1, queue, "reader", true);
  open_channel(connection, 2);
  amqp_queue_delete(connection, 2, bytes(queue), 0, 0);
  done(connection);
  amqp_basic_cancel_t *cancel = take_method(connection, AMQP_BASIC_CANCEL_METHOD).decoded;
  equal_text("reader", cancel->consumer_tag);
  exclusive_queue(connection, 1);
}

static void negotiates_frame_max(Connection unused) {
  (void)unused;
  Connection connection = new_connection();
  expect_ok(amqp_login(connection, "/", 10, 8192, 0, AMQP_SASL_METHOD_PLAIN, "guest", "guest"));
  equal(8192, amqp_get_frame_max(connection));
  equal(10, amqp_get_channel_max(connection));
  open_channel(connection, 1);
  char *queue = exclusive_queue(connection, 1);
  static char body[100000];
  memset(body, 'x', sizeof body);
  sent(amqp_basic_publish(connection, 1, amqp_empty_bytes, bytes(queue), 0, 0, NULL,
                          (amqp_bytes_t){sizeof body, body}));
  consume(connection, queue);
  amqp_envelope_t envelope = take(connection); /* the library refuses a frame above 8192 */
  equal(sizeof body, envelope.message.body.len);
  equal(0, memcmp(body, envelope.message.body.bytes, sizeof body));
  amqp_destroy_envelope(&envelope);
}

/* What queues can do beyond keeping messages */

static amqp_table_entry_t yes_entry(const char *key) {
  return (amqp_table_entry_t){.key = bytes(key), .value = {.kind = AMQP_FIELD_KIND_BOOLEAN, .value.boolean = 1}};
}

static char *queue_with(Connection connection, const char *suffix, bool exclusive, amqp_table_entry_t *arguments,
                        int count) {
  char *queue = name(suffix);
  used("queue", queue);
  amqp_queue_declare(connection, 1, bytes(queue), 0, !exclusive, exclusive, 0, (amqp_table_t){count, arguments});
  done(connection);
  return queue;
}

static void delete_queue(Connection connection, const char *queue) {
  amqp_queue_delete(connection, 1, bytes(queue), 0, 0);
  done(connection);
}

static amqp_field_value_t field(amqp_table_t table, const char *key) {
  for (int i = 0; i < table.num_entries; i++) {
    amqp_bytes_t found = table.entries[i].key;
    if (found.len == strlen(key) && memcmp(found.bytes, key, found.len) == 0) return table.entries[i].value;
  }
  return (amqp_field_value_t){.kind = AMQP_FIELD_KIND_VOID};
}

static amqp_table_t headers(const amqp_envelope_t *envelope) {
  const amqp_basic_properties_t *properties = &envelope->message.properties;
  return properties->_flags & AMQP_BASIC_HEADERS_FLAG ? properties->headers : amqp_empty_table;
}

/* How often the message died in that queue for that reason. */
static long death_count(const amqp_envelope_t *envelope, const char *queue, const char *reason) {
  amqp_field_value_t deaths = field(headers(envelope), "x-death");
  if (deaths.kind == AMQP_FIELD_KIND_VOID) return 0;
  equal(AMQP_FIELD_KIND_ARRAY, deaths.kind);
  for (int i = 0; i < deaths.value.array.num_entries; i++) {
    amqp_table_t death = deaths.value.array.entries[i].value.table;
    char *in = text(field(death, "queue").value.bytes), *why = text(field(death, "reason").value.bytes);
    if (strcmp(in, queue) == 0 && strcmp(why, reason) == 0) {
      equal(AMQP_FIELD_KIND_I64, field(death, "count").kind);
      equal(AMQP_FIELD_KIND_TIMESTAMP, field(death, "time").kind);
      equal(AMQP_FIELD_KIND_ARRAY, field(death, "routing-keys").kind);
      return field(death, "count").value.i64;
    }
  }
  return 0;
}

static void retries_later(Connection connection) {
  char *work_name = name("work"), *wait_name = name("wait");
  amqp_table_entry_t to_work[] = {text_entry("x-dead-letter-exchange", ""),
                                  text_entry("x-dead-letter-routing-key", work_name), int_entry("x-message-ttl", 20)};
  amqp_table_entry_t to_wait[] = {text_entry("x-dead-letter-exchange", ""),
                                  text_entry("x-dead-letter-routing-key", wait_name)};
  queue_with(connection, "wait", true, to_work, 3);
  queue_with(connection, "work", true, to_wait, 2);
  consume(connection, work_name);
  publish(connection, work_name, "job");
  for (int attempt = 0; attempt < 3; attempt++) {
    amqp_envelope_t job = take(connection);
    equal_text("job", job.message.body);
    equal(attempt, death_count(&job, work_name, "rejected"));
    equal(attempt, death_count(&job, wait_name, "expired"));
    if (attempt < 2) {
      sent(amqp_basic_reject(connection, 1, job.delivery_tag, 0));
    } else {
      sent(amqp_basic_ack(connection, 1, job.delivery_tag, 0));
    }
    amqp_destroy_envelope(&job);
  }
}

static void orders_by_priority(Connection connection) {
  amqp_table_entry_t levels = int_entry("x-max-priority", 5);
  char *queue = queue_with(connection, "priorities", true, &levels, 1);
  publish(connection, queue, "none");
  const uint8_t priorities[] = {2, 5, 200, 2};
  const char *bodies[] = {"2", "5", "200", "2 again"};
  for (int i = 0; i < 4; i++) {
    amqp_basic_properties_t properties = {._flags = AMQP_BASIC_PRIORITY_FLAG, .priority = priorities[i]};
    publish_to(connection, "", queue, &properties, bodies[i]);
  }
  drain(connection, queue, 5, "5", "200", "2", "2 again", "none");
}

static void takes_over(Connection connection) {
  amqp_table_entry_t single = yes_entry("x-single-active-consumer");
  char *queue = queue_with(connection, "single", true, &single, 1);
  open_channel(connection, 2);
  consume_as(connection, 2, queue, "active", false);
  consume_as(connection, 1, queue, "waiting", false);
  publish(connection, queue, "1");
  amqp_envelope_t held = take(connection);
  equal_text("active", held.consumer_tag);
  amqp_destroy_envelope(&held);
  expect_ok(amqp_channel_close(connection, 2, AMQP_REPLY_SUCCESS));
  amqp_envelope_t taken = take(connection);
  equal_text("waiting", taken.consumer_tag);
  equal(true, taken.redelivered);
  amqp_destroy_envelope(&taken);
}

static void limits_deliveries(Connection connection) {
  char *dead = shared_queue(connection, "limit-dead");
  amqp_table_entry_t arguments[] = {text_entry("x-queue-type", "quorum"), int_entry("x-delivery-limit", 1),
                                    text_entry("x-dead-letter-exchange", ""),
                                    text_entry("x-dead-letter-routing-key", dead)};
  char *queue = queue_with(connection, "limit", false, arguments, 4);
  publish(connection, queue, "poison");
  consume(connection, queue);
  for (int turn = 0; turn < 2; turn++) {
    amqp_envelope_t delivery = take(connection);
    equal(turn, delivery.redelivered);
    amqp_field_value_t count = field(headers(&delivery), "x-delivery-count");
    /* Some versions leave the 0 of the first delivery out. */
    equal(turn, count.kind == AMQP_FIELD_KIND_VOID ? 0 : count.value.i64);
    sent(amqp_basic_reject(connection, 1, delivery.delivery_tag, 1));
    amqp_destroy_envelope(&delivery);
  }
  consume(connection, dead);
  amqp_envelope_t buried = take(connection);
  equal(1, death_count(&buried, queue, "delivery_limit"));
  amqp_destroy_envelope(&buried);
  delete_queue(connection, queue);
  delete_queue(connection, dead);
}

static void reads_stream(Connection connection) {
  amqp_table_entry_t type = text_entry("x-queue-type", "stream");
  char *queue = queue_with(connection, "stream", false, &type, 1);
  amqp_confirm_select(connection, 1);
  done(connection);
  for (int number = 0; number < 4; number++) {
    publish_numbers(connection, queue, number, number);
    take_method(connection, AMQP_BASIC_ACK_METHOD);
  }
  amqp_table_entry_t starts[] = {text_entry("x-stream-offset", "first"), int_entry("x-stream-offset", 2)};
  const int firsts[] = {0, 2};
  for (int i = 0; i < 2; i++) {
    int channel = 2 + i;
    open_channel(connection, channel);
    amqp_basic_qos(connection, channel, 0, 1, 0);
    done(connection);
    amqp_basic_consume(connection, channel, bytes(queue), amqp_empty_bytes, 0, 0, 0, (amqp_table_t){1, &starts[i]});
    done(connection);
    for (int offset = firsts[i]; offset < 4; offset++) {
      amqp_envelope_t delivery = take(connection);
      equal('0' + offset, *(char *)delivery.message.body.bytes);
      equal(offset, field(headers(&delivery), "x-stream-offset").value.i64);
      sent(amqp_basic_ack(connection, channel, delivery.delivery_tag, 0));
      amqp_destroy_envelope(&delivery);
    }
  }
  delete_queue(connection, queue);
}

static void refuses_arguments(Connection connection) {
  char *queue = name("refused");
  used("queue", queue);
  amqp_table_entry_t wrong[] = {int_entry("x-message-ttl", -1), int_entry("x-expires", 0),
                                int_entry("x-max-priority", 256)};
  const char *reasons[] = {"{value_negative,-1}", "{value_zero,0}", "{max_value_exceeded,256}"};
  for (int i = 0; i < 3; i++) {
    amqp_queue_declare(connection, 1, bytes(queue), 0, 1, 0, 0, (amqp_table_t){1, &wrong[i]});
    refused(connection, 1, 406, "PRECONDITION_FAILED - invalid arg '%s' for queue '%s' in vhost '/': %s",
            text(wrong[i].key), queue, reasons[i]);
    open_channel(connection, 1);
  }
}

static void leaves_nothing(Connection connection) {
  int count = names_count;
  for (int i = 0; i < count; i++) {
    char *name = strchr(names_used[i], ' ') + 1;
    if (names_used[i][0] == 'q') {
      amqp_queue_declare(connection, 1, bytes(name), 1, 0, 0, 0, amqp_empty_table);
      refused(connection, 1, 404, "NOT_FOUND - no queue '%s' in vhost '/'", name);
    } else {
      amqp_exchange_declare(connection, 1, bytes(name), amqp_empty_bytes, 1, 0, 0, 0, amqp_empty_table);
      refused(connection, 1, 404, "NOT_FOUND - no exchange '%s' in vhost '/'", name);
    }
    open_channel(connection, 1);
  }
}

/* Runs a check on a connection of its own, channel 1 open, and prints how it went. */
static void check(const char *what, void (*body)(Connection)) {
  if (setjmp(check_failed) == 0) {
    body(connect_broker());
    printf("ok %s\n", what);
  } else {
    failed = true;
    printf("not ok %s - %s\n", what, reason);
  }
  fflush(stdout);
  while (open_count > 0) close_connection(open_connections[0]);
}

int main(void) {
  snprintf(run, sizeof run, "c.%08lx", (unsigned long)time(NULL) * 31 + getpid());
  printf("client: C librabbitmq %s\n", amqp_version());
  check("publish, consume, ack: in order, not redelivered", consumes_in_order);
  check("nack with requeue: back to the original order, redelivered", requeues);
  check("reject without requeue: the message is gone", rejects);
  check("basic.get: message, remaining count, empty", gets);
  check("qos: at most prefetch messages unacked", prefetches);
  check("recover: everything unacked comes back redelivered", recovers);
  check("purge and delete report their message counts", counts_on_purge);
  check("publisher confirms: every publish confirmed", confirms);
  check("mandatory: returned with 312 NO_ROUTE, then confirmed", returns);
  check("reject-publish: a full queue's publish is nacked", nacks);
  check("fanout exchange: a copy for every queue", fans_out);
  check("topic exchange: the patterns choose the queues", routes_topics);
  check("headers exchange: x-match all and any", routes_headers);
  check("exchange bound to exchange, alternate exchange", routes_onward);
  check("load balancing: prefetch 1, a busy consumer gets no more", balances);
  check("rpc over an exclusive server-named queue", calls_over_own_queue);
  check("rpc over direct reply-to", calls_over_direct_reply_to);
  check("connection loss: unacked messages come back redelivered", survives_loss);
  check("404 for a missing queue, the connection stays usable", refuses_missing_queue);
  check("404 for a publish to a missing exchange", refuses_missing_exchange);
  check("406 for an inequivalent declare", refuses_inequivalent);
  check("406 for an unknown delivery tag", refuses_unknown_tag);
  check("406 for deleting a queue in use if-unused", refuses_delete_in_use);
  check("405 for another connection's exclusive queue", refuses_foreign_exclusive);
  check("403 for declaring an amq. name", refuses_reserved_name);
  check("403 for a second consumer beside an exclusive one", refuses_second_exclusive);
  check("540 for immediate closes the connection with its reason", refuses_immediate);
  check("a wrong password is a connection.close 403", refuses_password);
  check("530 for an unknown vhost", refuses_vhost);
  check("1 MiB body, every property and header type, unchanged", carries_everything);
  check("an empty body", carries_nothing);
  check("heartbeat negotiated to 1 s, idle connection stays open", keeps_idle_open);
  check("tx: commit publishes, rollback does not", transacts);
  check("consumer cancel notification when its queue is deleted", notifies_cancel);
  check("frame_max 8192: a larger body is split both ways", negotiates_frame_max);
  check("delayed retry: TTL and back, deaths counted in x-death", retries_later);
  check("priorities: higher first, in order within one", orders_by_priority);
  check("single active consumer: the next one takes over", takes_over);
  check("quorum queue: x-delivery-count, and the delivery limit that dead-letters", limits_deliveries);
  check("stream: from the first and from an offset; offsets in headers", reads_stream);
  check("406 for wrong arguments", refuses_arguments);
  check("nothing left behind", leaves_nothing);
  return failed;
}

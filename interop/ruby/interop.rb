# frozen_string_literal: true

# What a Ruby program does with a broker, checked one promise at a time.

require "bigdecimal"
require "bunny"
require "securerandom"
require "timeout"

RUN = "ruby.#{SecureRandom.hex(4)}"
WAIT_SECONDS = 10
# Long enough for a message that must not come to have come.
QUIET_SECONDS = 0.2
# Bunny would print the failures that the checks provoke.
QUIET = Logger.new(File::NULL)

$queues = []
$exchanges = []
$failed = false

# Small words the checks are written in

# Runs a check on a connection and channel of its own and prints how it went.
def check(what)
  connection = connect
  yield connection.create_channel
  puts "ok #{what}"
rescue StandardError => e
  $failed = true
  puts "not ok #{what} - #{e.class}: #{e.message.tr("\n", " ")}"
  warn e.full_message
ensure
  connection.close if connection&.open?
end

# Takes what Bunny would raise in the thread that opened the connection.
class Errors < Queue
  def raise(error)
    push(error)
    nil
  end
end

def connect(**options)
  Bunny.new(ENV.fetch("AMQP_URL"), { logger: QUIET, automatically_recover: false }.merge(options)).start
end

def equal(expected, actual)
  raise "expected #{expected.inspect}, got #{actual.inspect}" unless expected == actual
end

def exclusive_queue(channel)
  channel.queue("", exclusive: true).tap { |queue| $queues << queue.name }
end

def shared_queue(channel, name)
  channel.queue("#{RUN}.#{name}", durable: true).tap { |queue| $queues << queue.name }
end

def exchange(channel, type, name, **options)
  channel.exchange("#{RUN}.#{name}", { type: type }.merge(options)).tap { |it| $exchanges << it.name }
end

def bound_queue(channel, exchange, **options)
  exclusive_queue(channel).bind(exchange, options)
end

def publish(queue, *bodies)
  bodies.each { |body| queue.channel.default_exchange.publish(body, routing_key: queue.name) }
end

Message = Struct.new(:info, :properties, :body)

def consume(queue, inbox = Queue.new)
  queue.subscribe(manual_ack: true) { |*delivery| inbox << Message.new(*delivery) }
  inbox
end

def get(queue, manual_ack: false)
  info, properties, body = queue.channel.basic_get(queue.name, manual_ack: manual_ack)
  info && Message.new(info, properties, body)
end

def drain(queue)
  bodies = []
  while (message = get(queue))
    bodies << message.body
  end
  bodies
end

def take(inbox)
  Timeout.timeout(WAIT_SECONDS, RuntimeError, "nothing came within #{WAIT_SECONDS} s") { inbox.pop }
end

def quiet(inbox)
  sleep QUIET_SECONDS
  equal 0, inbox.size
end

def refused(error, code, text)
  yield
rescue error => e
  equal text, e.message
  equal code, (e.is_a?(Bunny::ChannelLevelException) ? e.channel_close : e.connection_close).reply_code
else
  raise "accepted, but expected: #{text}"
end

puts "client: Ruby bunny #{Bunny::VERSION}"

# Delivery and settlement

check "publish, consume, ack: in order, not redelivered" do |channel|
  queue = exclusive_queue(channel)
  publish queue, "1", "2", "3"
  inbox = consume(queue)
  %w[1 2 3].each do |expected|
    message = take(inbox)
    equal expected, message.body
    equal false, message.info.redelivered?
    equal queue.name, message.info.routing_key
    channel.ack(message.info.delivery_tag)
  end
  equal 0, queue.message_count
end

check "nack with requeue: back to the original order, redelivered" do |channel|
  queue = exclusive_queue(channel)
  publish queue, "1", "2", "3", "4", "5"
  inbox = Queue.new
  consumer = queue.subscribe(manual_ack: true) { |info, _, body| inbox << [body, info.delivery_tag] }
  tags = Array.new(5) { take(inbox) }.to_h
  consumer.cancel
  channel.ack(tags["2"])
  %w[5 1 4 3].each { |body| channel.nack(tags[body], false, true) }
  %w[1 3 4 5].each do |expected|
    message = get(queue)
    equal expected, message.body
    equal true, message.info.redelivered
  end
  equal nil, get(queue)
end

check "reject without requeue: the message is gone" do |channel|
  queue = exclusive_queue(channel)
  publish queue, "1", "2", "3"
  channel.reject(get(queue, manual_ack: true).info.delivery_tag, false)
  get(queue, manual_ack: true)
  channel.nack(get(queue, manual_ack: true).info.delivery_tag, true, false)
  equal nil, get(queue)
end

check "basic.get: message, remaining count, empty" do |channel|
  queue = exclusive_queue(channel)
  publish queue, "1", "2"
  first = get(queue, manual_ack: true)
  equal "1", first.body
  equal 1, first.info.message_count
  channel.ack(first.info.delivery_tag)
  equal "2", get(queue).body
  equal nil, get(queue)
end

check "qos: at most prefetch messages unacked" do |channel|
  queue = exclusive_queue(channel)
  publish queue, "1", "2", "3", "4"
  channel.prefetch(2)
  inbox = consume(queue)
  equal "1", take(inbox).body
  second = take(inbox)
  quiet inbox
  channel.ack(second.info.delivery_tag, true)
  equal "3", take(inbox).body
  equal "4", take(inbox).body
end

check "recover: everything unacked comes back redelivered" do |channel|
  queue = exclusive_queue(channel)
  publish queue, "1", "2"
  inbox = consume(queue)
  2.times { take(inbox) }
  channel.recover(true)
  %w[1 2].each do |expected|
    message = take(inbox)
    equal expected, message.body
    equal true, message.info.redelivered?
  end
end

check "purge and delete report their message counts" do |channel|
  queue = exclusive_queue(channel)
  publish queue, "1", "2", "3"
  equal 3, channel.queue_purge(queue.name).message_count
  publish queue, "4"
  equal 1, channel.queue_delete(queue.name).message_count
end

# Publisher confirms and returns

check "publisher confirms: every publish confirmed" do |channel|
  queue = exclusive_queue(channel)
  channel.confirm_select
  500.times { |i| channel.default_exchange.publish(i.to_s, routing_key: queue.name, persistent: true) }
  equal true, Timeout.timeout(WAIT_SECONDS) { channel.wait_for_confirms }
  equal 501, channel.next_publish_seq_no
  equal 500, queue.message_count
end

check "mandatory: returned with 312 NO_ROUTE, then confirmed" do |channel|
  events = Queue.new
  channel.confirm_select(->(tag, _multiple, _nack) { events << "ack #{tag}" })
  exchange = channel.direct("amq.direct")
  exchange.on_return { |info, _, body| events << [info.reply_code, info.reply_text, info.routing_key, body] }
  exchange.publish("back", routing_key: "#{RUN}.nowhere", mandatory: true)
  equal [312, "NO_ROUTE", "#{RUN}.nowhere", "back"], take(events)
  equal "ack 1", take(events)
end

check "reject-publish: a full queue's publish is nacked" do |channel|
  queue = channel.queue("", exclusive: true, arguments: { "x-max-length" => 1, "x-overflow" => "reject-publish" })
  $queues << queue.name
  channel.confirm_select
  publish queue, "kept"
  equal true, channel.wait_for_confirms
  publish queue, "refused"
  equal false, channel.wait_for_confirms
  equal [2], channel.nacked_set.to_a
  equal ["kept"], drain(queue)
end

# Routing

check "fanout exchange: a copy for every queue" do |channel|
  fanout = exchange(channel, "fanout", "fanout")
  inboxes = Array.new(3) { consume(bound_queue(channel, fanout)) }
  fanout.publish("for all", routing_key: "ignored")
  inboxes.each do |inbox|
    message = take(inbox)
    equal "for all", message.body
    equal fanout.name, message.info.exchange
  end
  fanout.delete
end

check "topic exchange: the patterns choose the queues" do |channel|
  topic = exchange(channel, "topic", "topic")
  errors = bound_queue(channel, topic, routing_key: "*.error")
  orders = bound_queue(channel, topic, routing_key: "orders.#")
  all = bound_queue(channel, topic, routing_key: "#").bind(topic, routing_key: "orders.*")
  keys = ["orders.error", "orders.eu.paid", "orders", "stock.error", ""]
  keys.each { |key| topic.publish(key, routing_key: key) }
  equal ["orders.error", "stock.error"], drain(errors)
  equal ["orders.error", "orders.eu.paid", "orders"], drain(orders)
  equal keys, drain(all)
  errors.unbind(topic, routing_key: "*.error")
  topic.publish("late.error", routing_key: "late.error")
  equal [], drain(errors)
  topic.delete
end

check "headers exchange: x-match all and any" do |channel|
  headers = exchange(channel, "headers", "headers")
  both = bound_queue(channel, headers, arguments: { "x-match" => "all", "kind" => "a", "size" => 1 })
  either = bound_queue(channel, headers, arguments: { "x-match" => "any", "kind" => "a", "size" => 1 })
  headers.publish("both", headers: { "kind" => "a", "size" => 1 })
  headers.publish("one", headers: { "kind" => "a", "size" => 2 })
  headers.publish("none", headers: { "kind" => "b" })
  equal ["both"], drain(both)
  equal %w[both one], drain(either)
  headers.delete
end

check "exchange bound to exchange, alternate exchange" do |channel|
  spare = exchange(channel, "fanout", "spare")
  first = exchange(channel, "direct", "first", arguments: { "alternate-exchange" => spare.name })
  second = exchange(channel, "topic", "second").bind(first, routing_key: "go")
  reached = bound_queue(channel, second, routing_key: "go")
  stray = bound_queue(channel, spare)
  first.publish("onward", routing_key: "go")
  first.publish("stray", routing_key: "elsewhere", mandatory: true)
  equal ["onward"], drain(reached)
  equal ["stray"], drain(stray)
  second.unbind(first, routing_key: "go")
  first.publish("unbound", routing_key: "go")
  equal ["unbound"], drain(stray)
  [first, second, spare].each(&:delete)
end

# Patterns of work

check "load balancing: prefetch 1, a busy consumer gets no more" do |channel|
  queue = exclusive_queue(channel)
  busy = channel.connection.create_channel
  quick = channel.connection.create_channel
  [busy, quick].each { |it| it.prefetch(1) }
  kept = consume(busy.queue(queue.name, passive: true))
  done = Queue.new
  quick.queue(queue.name, passive: true).subscribe(manual_ack: true) do |info, _, body|
    quick.ack(info.delivery_tag)
    done << body
  end
  publish queue, *("0".."9")
  equal "0", take(kept).body
  ("1".."9").each { |expected| equal expected, take(done) }
  equal 0, kept.size
end

def serve_upper_case(channel)
  requests = exclusive_queue(channel)
  requests.subscribe do |_, properties, body|
    channel.default_exchange.publish(body.upcase, routing_key: properties.reply_to,
                                                  correlation_id: properties.correlation_id)
  end
  requests
end

check "rpc over an exclusive server-named queue" do |channel|
  requests = serve_upper_case(channel.connection.create_channel)
  replies = exclusive_queue(channel)
  equal true, replies.name.start_with?("amq.gen-")
  inbox = consume(replies)
  channel.default_exchange.publish("hare", routing_key: requests.name, reply_to: replies.name,
                                           correlation_id: "call-7")
  reply = take(inbox)
  equal "HARE", reply.body
  equal "call-7", reply.properties.correlation_id
end

check "rpc over direct reply-to" do |channel|
  requests = serve_upper_case(channel.connection.create_channel)
  inbox = Queue.new
  channel.basic_consume("amq.rabbitmq.reply-to", "", true) { |*delivery| inbox << Message.new(*delivery) }
  %w[hare leveret].each do |request|
    channel.default_exchange.publish(request, routing_key: requests.name, correlation_id: request,
                                              reply_to: "amq.rabbitmq.reply-to")
    reply = take(inbox)
    equal request.upcase, reply.body
    equal request, reply.properties.correlation_id
  end
end

# Connection loss

check "connection loss: unacked messages come back redelivered" do |channel|
  queue = shared_queue(channel, "loss")
  publish queue, "1", "2", "3"
  errors = Errors.new
  lost = connect(session_error_handler: errors)
  lost_queue = lost.create_channel.queue(queue.name, durable: true)
  inbox = consume(lost_queue)
  lost_queue.channel.ack(take(inbox).info.delivery_tag)
  2.times { take(inbox) }
  lost_queue.message_count # its answer proves that the ack before it arrived
  lost.transport.socket.shutdown
  equal Bunny::NetworkFailure, take(errors).class

  again = consume(queue)
  %w[2 3].each do |expected|
    message = take(again)
    equal expected, message.body
    equal true, message.info.redelivered?
  end
  queue.delete
end

check "connection loss: automatic recovery of queue, binding and consumer" do |channel|
  recovered = Queue.new
  connection = connect(automatically_recover: true, network_recovery_interval: 0.1,
                       recovery_completed: -> { recovered << true })
  own = connection.create_channel
  inbox = consume(exclusive_queue(own).bind("amq.direct", routing_key: "#{RUN}.again"))
  connection.transport.socket.shutdown
  take(recovered)
  channel.direct("amq.direct").publish("after", routing_key: "#{RUN}.again")
  message = take(inbox)
  equal "after", message.body
  own.ack(message.info.delivery_tag)
  connection.close
end

# Errors

check "404 for a missing queue, the connection stays usable" do |channel|
  text = "NOT_FOUND - no queue '#{RUN}.missing' in vhost '/'"
  refused(Bunny::NotFound, 404, text) { channel.queue("#{RUN}.missing", passive: true) }
  equal false, channel.open?
  again = channel.connection.create_channel
  refused(Bunny::NotFound, 404, text) { again.basic_consume("#{RUN}.missing") }
  exclusive_queue(channel.connection.create_channel)
end

check "404 for a publish to a missing exchange" do |channel|
  refused(Bunny::NotFound, 404, "NOT_FOUND - no exchange '#{RUN}.missing' in vhost '/'") do
    channel.basic_publish("lost", "#{RUN}.missing", "")
    exclusive_queue(channel) # the close answers the method that comes next
  end
end

check "406 for an inequivalent declare" do |channel|
  queue = shared_queue(channel, "plain")
  redeclare = ->(**options) { channel.connection.create_channel.queue_declare(queue.name, options) }
  where = "for queue '#{queue.name}' in vhost '/'"
  refused(Bunny::PreconditionFailed, 406, "PRECONDITION_FAILED - inequivalent arg 'durable' #{where}: " \
    "received 'false' but current is 'true'") { redeclare.call(durable: false) }
  refused(Bunny::PreconditionFailed, 406, "PRECONDITION_FAILED - inequivalent arg 'x-max-length' #{where}: " \
    "received the value '9' of type 'long' but current is none") do
    redeclare.call(durable: true, arguments: { "x-max-length" => 9 })
  end
  queue.delete
end

check "406 for an unknown delivery tag" do |channel|
  closes = Queue.new
  channel.on_error { |_, close| closes << close }
  channel.basic_ack(99)
  close = take(closes)
  equal 406, close.reply_code
  equal "PRECONDITION_FAILED - unknown delivery tag 99", close.reply_text
end

check "406 for deleting a queue in use if-unused" do |channel|
  queue = exclusive_queue(channel)
  consume(queue)
  refused(Bunny::PreconditionFailed, 406, "PRECONDITION_FAILED - queue '#{queue.name}' in vhost '/' in use") do
    channel.connection.create_channel.queue_delete(queue.name, if_unused: true)
  end
end

check "405 for another connection's exclusive queue" do |channel|
  queue = exclusive_queue(channel)
  other = connect
  refused(Bunny::ResourceLocked, 405, "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue " \
    "'#{queue.name}' in vhost '/'. It could be originally declared on another connection or the exclusive " \
    "property value does not match that of the original declaration.") do
    other.create_channel.basic_consume(queue.name)
  end
  other.close
end

check "403 for declaring an amq. name" do |channel|
  refused(Bunny::AccessRefused, 403,
          "ACCESS_REFUSED - exchange name 'amq.mine' contains reserved prefix 'amq.*'") do
    channel.exchange_declare("amq.mine", "direct")
  end
end

check "403 for a second consumer beside an exclusive one" do |channel|
  queue = exclusive_queue(channel)
  channel.basic_consume(queue.name, "", false, true)
  refused(Bunny::AccessRefused, 403, "ACCESS_REFUSED - queue '#{queue.name}' in vhost '/' in exclusive use") do
    channel.connection.create_channel.basic_consume(queue.name)
  end
end

check "504 for a second channel.open closes the connection with its reason" do
  errors = Errors.new
  connection = connect(session_error_handler: errors, recover_from_connection_close: false)
  connection.send_frame(AMQ::Protocol::Channel::Open.encode(connection.create_channel.id, ""))
  error = take(errors)
  equal Bunny::ChannelError, error.class
  equal "Connection-level error: CHANNEL_ERROR - second 'channel.open' seen", error.message
  equal 504, error.connection_close.reply_code
end

check "a wrong password is an AuthenticationFailureError" do
  connect(password: "wrong")
rescue Bunny::AuthenticationFailureError => e
  equal "guest", e.username
else
  raise "the wrong password was accepted"
end

check "530 for an unknown vhost" do
  refused(Bunny::NotAllowedError, 530, "Connection-level error: NOT_ALLOWED - vhost nowhere not found") do
    connect(vhost: "nowhere")
  end
end

# Content

check "1 MiB body, every property and header type, unchanged" do |channel|
  headers = {
    "text" => "ünïcode".b, "bool" => true, "long" => -(2**63), "float" => AMQ::Protocol::Float32Bit.new(1.5),
    "double" => Math::PI, "decimal" => BigDecimal("7"), "time" => Time.at(1_700_000_000), "nothing" => nil,
    "list" => [1, "two", [3.5]], "table" => { "inner" => { "deep" => 1 } }
  }
  properties = {
    content_type: "application/octet-stream", content_encoding: "identity", headers: headers,
    delivery_mode: 2, priority: 5, correlation_id: "correlation", reply_to: "reply", expiration: "60000",
    message_id: "message", timestamp: 1_600_000_000, type: "type", user_id: "guest", app_id: "app",
    cluster_id: "cluster"
  }
  body = Array.new(1 << 20) { |i| (i * 31 >> 3) & 0xff }.pack("C*")
  queue = exclusive_queue(channel)
  channel.default_exchange.publish(body, routing_key: queue.name, **properties)
  message = take(consume(queue))
  equal true, body == message.body
  received = message.properties.to_h
  headers["float"] = 1.5 # a 32-bit float comes back as Ruby's own
  equal headers, received.delete(:headers)
  received[:timestamp] = received[:timestamp].to_i # a Time
  equal properties.except(:headers), received
end

check "an empty body" do |channel|
  queue = exclusive_queue(channel)
  publish queue, ""
  equal "", get(queue).body
end

# The rest

check "heartbeat negotiated to 1 s, idle connection stays open" do
  connection = connect(heartbeat: 1)
  equal 1, connection.heartbeat
  sleep 4 # without heartbeats either side would give up after two to three seconds
  exclusive_queue(connection.create_channel)
  connection.close
end

check "tx: commit publishes, rollback does not" do |channel|
  queue = exclusive_queue(channel)
  observer = channel.connection.create_channel.queue(queue.name, passive: true)
  channel.tx_select
  publish queue, "kept"
  queue.message_count # its answer proves that the publish before it arrived
  equal 0, observer.message_count
  channel.tx_commit
  equal 1, observer.message_count
  publish queue, "dropped"
  channel.tx_rollback
  equal 1, observer.message_count
end

check "consumer cancel notification when its queue is deleted" do |channel|
  queue = exclusive_queue(channel)
  cancelled = Queue.new
  queue.subscribe(consumer_tag: "reader", on_cancellation: ->(cancel) { cancelled << cancel.consumer_tag }) {}
  channel.connection.create_channel.queue_delete(queue.name)
  equal "reader", take(cancelled)
  equal true, channel.open?
end

check "update-secret is answered" do |channel|
  equal true, channel.connection.update_secret("guest", "renewed").is_a?(AMQ::Protocol::Connection::UpdateSecretOk)
end

require_relative "features"

check "nothing left behind" do |channel|
  equal([], $queues.select { |name| channel.connection.queue_exists?(name) })
  equal([], $exchanges.select { |name| channel.connection.exchange_exists?(name) })
end

exit($failed ? 1 : 0)

# frozen_string_literal: true

# What queues can do beyond keeping messages: time, dead letters, priorities, and the other types of queue.

def queue_with(channel, name, arguments)
  channel.queue("#{RUN}.#{name}", exclusive: true, arguments: arguments).tap { |queue| $queues << queue.name }
end

def shared_queue_with(channel, name, arguments)
  channel.queue("#{RUN}.#{name}", durable: true, arguments: arguments).tap { |queue| $queues << queue.name }
end

def wait_until
  Timeout.timeout(WAIT_SECONDS, RuntimeError, "not within #{WAIT_SECONDS} s") { nil until yield }
end

# How often the message died in that queue for that reason.
def death_count(message, queue, reason)
  deaths = message.properties.headers&.fetch("x-death", nil) || []
  deaths.find { |death| death["queue"] == queue && death["reason"] == reason }&.fetch("count")
end

def consume_from(channel, queue, prefetch, arguments)
  channel.prefetch(prefetch)
  inbox = Queue.new
  channel.queue(queue, passive: true).subscribe(manual_ack: true, arguments: arguments) do |*delivery|
    inbox << Message.new(*delivery)
  end
  inbox
end

check "time to live: the queue's and the message's, the shorter of both, and only at the head" do |channel|
  brief = queue_with(channel, "brief", "x-message-ttl" => 100)
  plain, live = Array.new(2) { exclusive_queue(channel) }
  publish live, "live"
  { [live, "1"] => "dead", [brief, "60000"] => "long", [plain, "100"] => "short" }.each do |(queue, expiration), body|
    channel.default_exchange.publish(body, routing_key: queue.name, expiration: expiration)
  end
  [brief, plain].each { |queue| wait_until { queue.message_count.zero? } }
  # The one behind the live message was dead long before, and is still counted.
  equal 2, live.message_count
  equal ["live"], drain(live)
end

check "x-expires: an unused queue goes, one with a consumer stays" do |channel|
  idle, used = %w[idle used].map { |name| shared_queue_with(channel, name, "x-expires" => 400) }
  consumer = used.subscribe {}
  publisher = channel.connection.create_channel
  publisher.confirm_select
  returned = Queue.new
  anywhere = publisher.default_exchange
  anywhere.on_return { |info, *| returned << info.routing_key }
  # A mandatory message is no use of the queue, a declaration is.
  gone = lambda do |queue|
    anywhere.publish("anyone there?", routing_key: queue.name, mandatory: true)
    publisher.wait_for_confirms
    !returned.empty? && returned.pop == queue.name
  end
  wait_until { gone.call(idle) }
  equal false, gone.call(used)
  consumer.cancel
  wait_until { gone.call(used) }
end

check "dead letters: rejected, expired and overflowing messages arrive with their history" do |channel|
  dead = exchange(channel, "fanout", "dead")
  inbox = consume(bound_queue(channel, dead))
  { "rejected" => {}, "expired" => { "x-message-ttl" => 10 }, "maxlen" => { "x-max-length" => 0 } }.each do |reason, arguments|
    source = queue_with(channel, reason, arguments.merge("x-dead-letter-exchange" => dead.name))
    channel.default_exchange.publish(reason, routing_key: source.name, message_id: reason, expiration: "60000",
                                             headers: { "mine" => 1, "CC" => ["copied"] })
    channel.reject(get(source, manual_ack: true).info.delivery_tag, false) if reason == "rejected"
    message = take(inbox)
    equal [reason, dead.name, source.name, reason, nil],
          [message.body, message.info.exchange, message.info.routing_key, message.properties.message_id, message.properties.expiration]
    headers = message.properties.headers
    equal 1, headers["mine"]
    equal [reason, source.name, ""], %w[reason queue exchange].map { |it| headers["x-first-death-#{it}"] }
    death = headers["x-death"].fetch(0)
    equal true, (death.delete("time") - Time.now).abs < 60
    expected = { "count" => 1, "reason" => reason, "queue" => source.name, "exchange" => "",
                 "routing-keys" => [source.name, "copied"], "original-expiration" => "60000" }
    equal expected, death
  end
  dead.delete
end

check "delayed retry: out of a queue with a TTL and back, deaths counted, parked after three attempts" do |channel|
  names = %w[work wait].map { |name| "#{RUN}.#{name}" }
  to = ->(key) { { "x-dead-letter-exchange" => "", "x-dead-letter-routing-key" => key } }
  work = queue_with(channel, "work", to.call(names[1]))
  wait = queue_with(channel, "wait", to.call(names[0]).merge("x-message-ttl" => 20))
  parking = exclusive_queue(channel)
  inbox = consume(work)
  publish work, "job"
  [nil, 1, 2].each do |deaths|
    job = take(inbox)
    equal [deaths, deaths], [death_count(job, work.name, "rejected"), death_count(job, wait.name, "expired")]
    next channel.reject(job.info.delivery_tag, false) unless deaths == 2

    publish parking, job.body
    channel.ack(job.info.delivery_tag)
  end
  equal "job", take(consume(parking)).body
end

check "priorities: the higher first, in order within one, more than the maximum is the maximum" do |channel|
  queue = queue_with(channel, "priorities", "x-max-priority" => 5)
  publish queue, "none"
  [2, 5, 200, 2, 0].each { |it| channel.default_exchange.publish(it.to_s, routing_key: queue.name, priority: it) }
  channel.reject(get(queue, manual_ack: true).info.delivery_tag, true)
  equal %w[5 200 2 2 none 0], drain(queue)
end

check "single active consumer: the next one takes over, exclusive ones are refused" do |channel|
  queue = shared_queue_with(channel, "single", "x-single-active-consumer" => true)
  first = channel.connection.create_channel
  active = consume(first.queue(queue.name, passive: true))
  waiting = consume(queue)
  publish queue, "1", "2"
  first.ack(take(active).info.delivery_tag)
  take(active)
  quiet waiting
  first.close
  taken = take(waiting)
  equal ["2", true], [taken.body, taken.info.redelivered?]
  refused(Bunny::AccessRefused, 403, "ACCESS_REFUSED - queue '#{queue.name}' in vhost '/' in exclusive use") do
    channel.connection.create_channel.basic_consume(queue.name, "", false, true)
  end
  queue.delete
end

check "quorum queue: x-delivery-count, and the delivery limit that dead-letters" do |channel|
  dead = shared_queue_with(channel, "limit-dead", {})
  queue = shared_queue_with(channel, "limit", "x-queue-type" => "quorum", "x-delivery-limit" => 2,
                                              "x-dead-letter-exchange" => "", "x-dead-letter-routing-key" => dead.name)
  channel.confirm_select
  publish queue, "poison"
  equal true, channel.wait_for_confirms
  inbox = consume(queue)
  3.times do |turn|
    message = take(inbox)
    # Some versions leave the 0 of the first delivery out.
    equal turn, message.properties.headers&.fetch("x-delivery-count", nil) || 0
    equal turn.positive?, message.info.redelivered?
    channel.reject(message.info.delivery_tag, true)
  end
  equal 1, death_count(take(consume(dead)), queue.name, "delivery_limit")
  quiet inbox
  [queue, dead].each(&:delete)
end

check "stream: readers at their own offsets over the same messages" do |channel|
  stream = shared_queue_with(channel, "stream", "x-queue-type" => "stream")
  channel.confirm_select
  5.times do |n|
    publish stream, n.to_s
    equal true, channel.wait_for_confirms
  end
  { "first" => 0, "last" => 4, 2 => 2, "1h" => 0, Time.now - 3600 => 0 }.each do |start, first|
    reader = channel.connection.create_channel
    inbox = consume_from(reader, stream.name, 1, "x-stream-offset" => start)
    (first..4).each do |offset|
      message = take(inbox)
      equal [offset.to_s, offset], [message.body, message.properties.headers["x-stream-offset"]]
      reader.ack(message.info.delivery_tag)
    end
    quiet inbox
    reader.close
  end
  stream.delete
end

check "406 for wrong arguments" do |channel|
  name = "#{RUN}.refused"
  $queues << name
  [
    ["x-message-ttl", -1, "{value_negative,-1}"],
    ["x-message-ttl", "100", "\"expected integer, got longstr\""],
    ["x-expires", 0, "{value_zero,0}"],
    ["x-max-priority", 256, "{max_value_exceeded,256}"],
    ["x-dead-letter-routing-key", "k", "routing_key_but_no_dlx_defined"],
    ["x-overflow", "drop", "invalid_overflow"]
  ].each do |argument, value, reason|
    text = "PRECONDITION_FAILED - invalid arg '#{argument}' for queue '#{name}' in vhost '/': #{reason}"
    refused(Bunny::PreconditionFailed, 406, text) do
      channel.connection.create_channel.queue_declare(name, durable: true, arguments: { argument => value })
    end
  end
end

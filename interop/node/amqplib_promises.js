// amqplib's promise API.
'use strict'

const assert = require('node:assert/strict')
const {once} = require('node:events')
const net = require('node:net')
const amqp = require('amqplib')
const {URL, WAIT_MS, names, unique, check, soon, Inbox, run} = require('./checks')

// Gives the work a channel on a connection of its own.
async function withChannel(work, kind = 'createChannel') {
  const connection = await amqp.connect(URL)
  // A channel that the broker closes says so here and in the call that failed; the call's word is enough.
  connection.on('error', () => {})
  try {
    return await work(await quietly(connection, kind), connection)
  } finally {
    await connection.close().catch(() => {})
  }
}

async function quietly(connection, kind = 'createChannel') {
  const channel = await connection[kind]()
  channel.on('error', () => {})
  return channel
}

// Gives the work a durable queue, which outlives connections, and deletes it.
async function withSharedQueue(options, work) {
  const name = unique('queue')
  await withChannel((channel) => channel.assertQueue(name, {durable: true, ...options}))
  try {
    return await work(name)
  } finally {
    await withChannel((channel) => channel.deleteQueue(name))
  }
}

const privateQueue = async (channel) => (await channel.assertQueue('', {exclusive: true})).queue

const publish = (channel, queue, ...bodies) => bodies.forEach((body) => channel.sendToQueue(queue, Buffer.from(body)))

const seen = (message) => `${message.content} ${message.fields.redelivered}`

async function consume(channel, queue, options) {
  const inbox = new Inbox()
  inbox.tag = (await channel.consume(queue, inbox.push, options)).consumerTag
  return inbox
}

async function drain(channel, queue) {
  const bodies = []
  for (let message; (message = await channel.get(queue, {noAck: true})); ) bodies.push(String(message.content))
  return bodies
}

async function closedWith(code, text, call) {
  const error = await soon(call.then(() => assert.fail(`${code} did not come`), (error) => error))
  assert.equal(error.code, code, String(error))
  assert.ok(error.message.includes(text), error.message)
}

check('publish, consume and ack: in order, not redelivered, the queue is empty afterwards', () =>
  withSharedQueue({}, (queue) =>
    withChannel(async (channel) => {
      publish(channel, queue, '1', '2', '3')
      const inbox = await consume(channel, queue)
      const messages = await inbox.take(3)
      assert.deepEqual(messages.map(seen), ['1 false', '2 false', '3 false'])
      assert.deepEqual(messages.map((message) => message.fields.deliveryTag), [1, 2, 3])
      channel.ack(messages[2], true)
      await channel.cancel(inbox.tag)
      assert.equal((await channel.checkQueue(queue)).messageCount, 0)
    })))

check('nack and reject: messages return to their places, redelivered, or are discarded', () =>
  withChannel(async (channel) => {
    const queue = await privateQueue(channel)
    publish(channel, queue, '1', '2', '3', '4')
    const [first, second, third] = [await channel.get(queue), await channel.get(queue), await channel.get(queue)]
    channel.nack(third)
    channel.reject(second, false)
    channel.nack(first)
    const inbox = await consume(channel, queue)
    assert.deepEqual((await inbox.take(3)).map(seen), ['1 true', '3 true', '4 false'])
    channel.nackAll(true)
    assert.deepEqual((await inbox.take(3)).map(seen), ['1 true', '3 true', '4 true'])
    await channel.recover()
    assert.deepEqual((await inbox.take(3)).map(seen), ['1 true', '3 true', '4 true'])
  }))

check('publisher confirms: waitForConfirms, a return comes before its ack, a full queue nacks', () =>
  withSharedQueue({maxLength: 1, overflow: 'reject-publish'}, (queue) =>
    withChannel(async (channel) => {
      const events = []
      channel.on('return', (message) => events.push(`${message.fields.replyCode} ${message.fields.replyText} ${message.content}`))
      channel.publish('', 'nowhere', Buffer.from('lost'), {mandatory: true}, (error) => events.push(error ?? 'acked'))
      channel.publish('', 'nowhere', Buffer.from('not mandatory'))
      channel.sendToQueue(queue, Buffer.from('fits'))
      await soon(channel.waitForConfirms())
      assert.deepEqual(events, ['312 NO_ROUTE lost', 'acked'])
      channel.sendToQueue(queue, Buffer.from('too many'))
      await assert.rejects(soon(channel.waitForConfirms()), /nack/)
      for (let n = 0; n < 1000; n++) channel.publish('amq.fanout', '', Buffer.from('to nobody'))
      await soon(channel.waitForConfirms())
    }, 'createConfirmChannel')))

check('fan-out: fanout, topic, direct and headers exchanges, exchange to exchange', () =>
  withChannel(async (channel) => {
    const exchange = async (kind) => (await channel.assertExchange(unique(kind), kind, {durable: false, autoDelete: true})).exchange
    const bound = async (to, key, args) => {
      const queue = await privateQueue(channel)
      await channel.bindQueue(queue, to, key, args)
      return queue
    }
    const fanout = await exchange('fanout')
    const everyone = [await bound(fanout, ''), await bound(fanout, ''), await bound(fanout, '')]
    channel.publish(fanout, '', Buffer.from('news'))
    for (const queue of everyone) assert.deepEqual(await drain(channel, queue), ['news'])

    const topic = await exchange('topic')
    const [errors, disk] = [await bound(topic, '*.error'), await bound(topic, 'disk.#')]
    for (const key of ['disk.error', 'disk', 'net.error']) channel.publish(topic, key, Buffer.from(key))
    assert.deepEqual(await drain(channel, errors), ['disk.error', 'net.error'])
    assert.deepEqual(await drain(channel, disk), ['disk.error', 'disk'])

    const headers = await exchange('headers')
    const every = await bound(headers, '', {'x-match': 'all', a: 1, b: 'two'})
    const some = await bound(headers, '', {'x-match': 'any', a: 1, b: 'two'})
    channel.publish(headers, '', Buffer.from('both'), {headers: {a: 1, b: 'two'}})
    channel.publish(headers, '', Buffer.from('one'), {headers: {a: 1}})
    assert.deepEqual(await drain(channel, every), ['both'])
    assert.deepEqual(await drain(channel, some), ['both', 'one'])

    const direct = await exchange('direct')
    await channel.bindExchange(fanout, direct, 'copy')
    channel.publish(direct, 'copy', Buffer.from('forwarded'), {CC: ['elsewhere']})
    assert.deepEqual(await drain(channel, everyone[1]), ['forwarded'])
    await channel.unbindExchange(fanout, direct, 'copy')
  }))

check('load balancing: two consumers with prefetch 1 share a queue, each holding one message', () =>
  withSharedQueue({}, (queue) =>
    withChannel((first) =>
      withChannel(async (second) => {
        const workers = []
        for (const channel of [first, second]) {
          await channel.prefetch(1)
          workers.push({channel, inbox: await consume(channel, queue)})
        }
        const sent = [...'0123456789']
        publish(first, queue, ...sent)
        const done = []
        for (let turn = 0; turn < 5; turn++) {
          for (const {channel, inbox} of workers) {
            const [message] = await inbox.take()
            await inbox.staysEmpty()
            channel.ack(message)
            done.push(String(message.content))
          }
        }
        assert.deepEqual(done.sort(), sent)
      }))))

for (const direct of [false, true]) {
  check(`RPC over ${direct ? 'direct reply-to' : 'an exclusive server-named queue'}`, () =>
    withChannel((server) =>
      withChannel(async (client) => {
        const requests = await privateQueue(server)
        await server.consume(requests, (call) => {
          const {replyTo, correlationId} = call.properties
          server.sendToQueue(replyTo, Buffer.from(String(call.content).toUpperCase()), {correlationId})
          server.ack(call)
        })
        const replyTo = direct ? 'amq.rabbitmq.reply-to' : await privateQueue(client)
        if (!direct) assert.match(replyTo, /^amq\.gen-/)
        const inbox = await consume(client, replyTo, {noAck: true})
        for (const question of ['first', 'second']) {
          client.sendToQueue(requests, Buffer.from(question), {replyTo, correlationId: question})
          const [reply] = await inbox.take()
          assert.deepEqual([reply.properties.correlationId, String(reply.content)], [question, question.toUpperCase()])
        }
      })))
}

check('connection loss: what was not acked comes back redelivered, in order', () =>
  withSharedQueue({}, async (queue) => {
    const lost = await amqp.connect(URL)
    const channel = await quietly(lost)
    publish(channel, queue, '1', '2', '3')
    await channel.prefetch(2)
    const inbox = await consume(channel, queue)
    await inbox.take(2)
    const closed = new Promise((resolve) => lost.on('close', resolve))
    lost.on('error', () => {})
    lost.connection.stream.destroy(new Error('the cable was cut'))
    await soon(closed)

    await withChannel(async (again) => {
      // A consumer that is there before the broker has noticed would get the third message first.
      const deadline = Date.now() + WAIT_MS
      while ((await again.checkQueue(queue)).messageCount < 3) assert.ok(Date.now() < deadline, 'the broker did not notice')
      const messages = await (await consume(again, queue)).take(3)
      assert.deepEqual(messages.map(seen), ['1 true', '2 true', '3 false'])
    })
  }))

check('404, 406, 403 and 405 reject the call with the code, and leave the connection alone', () =>
  withChannel(async (owner, connection) =>
    withChannel(async (stranger) => {
      const name = unique('exclusive')
      await owner.assertQueue(name, {exclusive: true})
      const fresh = () => quietly(connection)
      await closedWith(404, "NOT_FOUND - no queue 'interop.missing' in vhost '/'", (await fresh()).checkQueue('interop.missing'))
      await closedWith(404, "NOT_FOUND - no queue 'interop.missing' in vhost '/'", (await fresh()).consume('interop.missing', () => {}))
      await closedWith(404, "NOT_FOUND - no queue 'interop.missing' in vhost '/'", (await fresh()).get('interop.missing'))
      await closedWith(404, "NOT_FOUND - no exchange 'interop.missing' in vhost '/'", (await fresh()).checkExchange('interop.missing'))
      await closedWith(406, `PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue '${name}' in vhost '/'`,
        (await fresh()).assertQueue(name, {exclusive: true, maxLength: 5}))
      await closedWith(406, "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'amq.topic' in vhost '/'",
        (await fresh()).assertExchange('amq.topic', 'direct'))
      await closedWith(403, "ACCESS_REFUSED - queue name 'amq.interop' contains reserved prefix 'amq.*'", (await fresh()).assertQueue('amq.interop'))
      await closedWith(405, `RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '${name}' in vhost '/'`, stranger.checkQueue(name))

      const late = await fresh()
      const failed = once(late, 'error')
      late.ack({fields: {deliveryTag: 99}})
      const [error] = await soon(failed)
      assert.match(error.message, /406 \(PRECONDITION-FAILED\).*unknown delivery tag 99/)
      await owner.checkQueue(name)
    })))

check('a wrong password and an unknown vhost reject the connection', async () => {
  await assert.rejects(soon(amqp.connect(URL.replace('guest:guest', 'guest:wrong'))), /403 \(ACCESS-REFUSED\)/)
  // amqplib shows the close it got instead of open-ok without the server's text.
  await assert.rejects(soon(amqp.connect(URL.replace('%2F', 'interop.missing'))), /got <ConnectionClose/)
})

check('a 1 MiB body with every property and a header of every field type comes back as it was', () =>
  withChannel(async (channel) => {
    const queue = await privateQueue(channel)
    const body = Buffer.alloc(2 ** 20, 'leveret!')
    const headers = {
      text: 'häder', bool: true, byte: -8, short: 300, int: 70000, long: 2 ** 40, double: 2.5, bytes: Buffer.from([0, 255]),
      void: null, list: [1, 'two', false, {three: 3}], table: {nested: {deep: 1}},
      time: {'!': 'timestamp', value: 1709209845}, decimal: {'!': 'decimal', value: {digits: 314, places: 2}},
      float: {'!': 'float', value: 1.5}, int8: {'!': 'int8', value: -1}, int64: {'!': 'int64', value: 5},
    }
    const properties = {
      contentType: 'application/octet-stream', contentEncoding: 'identity', priority: 9, correlationId: 'correlation',
      replyTo: 'reply', expiration: '60000', messageId: 'id', timestamp: 1709209845, type: 'type', userId: 'guest', appId: 'interop',
    }
    channel.sendToQueue(queue, body, {...properties, headers, persistent: true})
    const message = await channel.get(queue, {noAck: true})
    assert.ok(message.content.equals(body))
    // amqplib reads numbers back plain and marks only what JavaScript has no type for.
    const expected = {...headers, float: 1.5, int8: -1, int64: 5}
    assert.deepEqual({...message.properties.headers}, expected)
    const {headers: _, deliveryMode, clusterId, ...received} = message.properties
    assert.deepEqual([received, deliveryMode, clusterId], [properties, 2, undefined])
  }))

check('heartbeats of one second come from the server and keep an idle connection open', async () => {
  const connection = await amqp.connect(`${URL}?heartbeat=1`)
  assert.equal(connection.connection.heartbeat, 1)
  const beats = []
  connection.connection.stream.on('data', (data) => beats.push(data))
  connection.on('error', (error) => beats.push(error))
  const deadline = Date.now() + 10_000
  while (beats.length < 4) {
    assert.ok(Date.now() < deadline, 'no heartbeats from the server')
    await soon(once(connection.connection.stream, 'data'), 'a heartbeat')
  }
  const heartbeat = Buffer.from([8, 0, 0, 0, 0, 0, 0, 0xce])
  assert.ok(beats.every((data) => heartbeat.equals(data)))
  await privateQueue(await connection.createChannel())
  await connection.close()
})

check('frame_max and channel_max are the lower of both sides', async () => {
  const connection = await amqp.connect(`${URL}?frameMax=8192&channelMax=3`)
  connection.on('error', () => {})
  assert.deepEqual([connection.connection.frameMax, connection.connection.channelMax], [8192, 3])
  const channel = await connection.createChannel()
  const queue = await privateQueue(channel)
  publish(channel, queue, 'x'.repeat(100_000))
  assert.equal((await channel.get(queue, {noAck: true})).content.length, 100_000)
  await connection.close()
})

check('deleting a queue cancels its consumer, which gets null', () =>
  withSharedQueue({}, (queue) =>
    withChannel((channel) =>
      withChannel(async (other) => {
        const inbox = await consume(channel, queue)
        await other.deleteQueue(queue)
        assert.deepEqual(await inbox.take(), [null])
      }))))

check('basic.get counts what is left, purge and delete count what they take', () =>
  withChannel(async (channel) => {
    const queue = await privateQueue(channel)
    publish(channel, queue, '1', '2', '3', '4')
    assert.equal((await channel.get(queue)).fields.messageCount, 3)
    assert.equal((await channel.get(queue)).fields.messageCount, 2)
    assert.equal((await channel.purgeQueue(queue)).messageCount, 2)
    assert.equal(await channel.get(queue), false)
    publish(channel, queue, '5')
    assert.equal((await channel.deleteQueue(queue)).messageCount, 1)
  }))

check('qos: a consumer holds as many messages as its prefetch, a channel as many as its global one', () =>
  withChannel(async (channel) => {
    const queue = await privateQueue(channel)
    publish(channel, queue, '1', '2', '3', '4')
    await channel.prefetch(2)
    const inbox = await consume(channel, queue)
    for (let pair = 0; pair < 2; pair++) {
      const [, last] = await inbox.take(2)
      await inbox.staysEmpty()
      channel.ack(last, true)
    }
  }))

check('update-secret is answered', () => withChannel((_, connection) => soon(connection.updateSecret(Buffer.from('new'), 'rotation'))))

check('frames that reach the broker byte by byte are understood', async () => {
  const relay = net.createServer((socket) => {
    const broker = net.connect({host: process.env.AMQP_HOST, port: Number(process.env.AMQP_PORT), noDelay: true})
    socket.on('data', (data) => data.forEach((byte) => broker.write(Buffer.of(byte))))
    socket.on('close', () => broker.destroy())
    broker.pipe(socket)
  })
  await new Promise((resolve) => relay.listen(0, '127.0.0.1', resolve))
  const connection = await amqp.connect(`amqp://guest:guest@127.0.0.1:${relay.address().port}/%2F`)
  const channel = await connection.createChannel()
  const queue = await privateQueue(channel)
  publish(channel, queue, 'in pieces')
  assert.deepEqual(await drain(channel, queue), ['in pieces'])
  await connection.close()
  relay.close()
})

// Repeats the step until it holds.
async function until(step, what) {
  for (const deadline = Date.now() + WAIT_MS; !(await step()); ) assert.ok(Date.now() < deadline, what)
}

check('time to live: messageTtl and expiration, the shorter of both, and only at the head', () =>
  withChannel(async (channel) => {
    const brief = (await channel.assertQueue(unique('brief'), {exclusive: true, messageTtl: 100})).queue
    const [plain, live] = [await privateQueue(channel), await privateQueue(channel)]
    channel.sendToQueue(live, Buffer.from('live'))
    channel.sendToQueue(live, Buffer.from('dead'), {expiration: 1})
    channel.sendToQueue(brief, Buffer.from('by the queue'), {expiration: '60000'})
    channel.sendToQueue(plain, Buffer.from('by the message'), {expiration: '100'})
    for (const queue of [brief, plain]) {
      await until(async () => (await channel.checkQueue(queue)).messageCount === 0, `${queue} keeps its message`)
    }
    // The one behind the live message was dead long before, and is still counted.
    assert.equal((await channel.checkQueue(live)).messageCount, 2)
    assert.deepEqual(await drain(channel, live), ['live'])
  }))

check('expires: a queue goes when it was not used for so long, but not while it has a consumer', () =>
  withChannel(async (channel) => {
    const [idle, used] = [unique('idle'), unique('used')]
    for (const queue of [idle, used]) await channel.assertQueue(queue, {durable: true, expires: 400})
    const inbox = await consume(channel, used, {noAck: true})
    let returned
    channel.on('return', (message) => (returned = message.fields.routingKey))
    // A mandatory message is no use of the queue, a declaration is.
    const gone = async (queue) => {
      channel.sendToQueue(queue, Buffer.from(''), {mandatory: true})
      await channel.waitForConfirms()
      return returned === queue
    }
    await until(() => gone(idle), 'the idle queue stays')
    assert.equal(await gone(used), false)
    await channel.cancel(inbox.tag)
    await until(() => gone(used), 'the queue stays without its consumer')
  }, 'createConfirmChannel'))

check('dead letters: deadLetterExchange gets what is rejected, expires or overflows, with x-death', () =>
  withChannel(async (channel) => {
    const {exchange} = await channel.assertExchange(unique('dead'), 'headers', {durable: false, autoDelete: true})
    const graves = await privateQueue(channel)
    await channel.bindQueue(graves, exchange, '')
    const inbox = await consume(channel, graves, {noAck: true})
    for (const [reason, options] of [['rejected', {}], ['expired', {messageTtl: 10}], ['maxlen', {maxLength: 0}]]) {
      const arguments_ = {exclusive: true, deadLetterExchange: exchange, deadLetterRoutingKey: `was.${reason}`, ...options}
      const {queue} = await channel.assertQueue(unique(reason), arguments_)
      channel.sendToQueue(queue, Buffer.from(reason), {messageId: reason, headers: {mine: true}})
      if (reason === 'rejected') channel.reject(await channel.get(queue), false)
      const [{content, fields, properties}] = await inbox.take()
      assert.deepEqual([String(content), fields.exchange, fields.routingKey], [reason, exchange, `was.${reason}`])
      assert.deepEqual([properties.messageId, properties.headers.mine], [reason, true])
      const [{time, ...death}] = properties.headers['x-death']
      assert.equal(time['!'], 'timestamp')
      assert.ok(Math.abs(time.value - Date.now() / 1000) < 60)
      assert.deepEqual(death, {count: 1, reason, queue, exchange: '', 'routing-keys': [queue]})
      assert.equal(properties.headers['x-first-death-reason'], reason)
    }
  }))

check('delayed retry: a queue for each delay, the attempts counted in x-death, a parking queue in the end', () =>
  withChannel(async (channel) => {
    const [work, parking] = [unique('work'), await privateQueue(channel)]
    await channel.assertQueue(work, {exclusive: true})
    const delays = [20, 40]
    for (const delay of delays) {
      const options = {exclusive: true, messageTtl: delay, deadLetterExchange: '', deadLetterRoutingKey: work}
      await channel.assertQueue(`${work}.${delay}`, options)
      names.push(`${work}.${delay}`)
    }
    const attempts = []
    await channel.consume(work, (message) => {
      const deaths = message.properties.headers['x-death'] ?? []
      attempts.push(deaths.map(({queue, reason, count}) => `${queue} ${reason} ${count}`))
      const delay = delays[attempts.length - 1]
      const {headers} = message.properties
      channel.sendToQueue(delay ? `${work}.${delay}` : parking, message.content, {headers})
      channel.ack(message)
    })
    channel.sendToQueue(work, Buffer.from('job'))
    const [parked] = await (await consume(channel, parking, {noAck: true})).take()
    assert.equal(String(parked.content), 'job')
    assert.deepEqual([attempts.length, attempts[0], attempts[1]], [3, [], [`${work}.20 expired 1`]])
    assert.equal(attempts[2][0], `${work}.40 expired 1`)
  }))

check('maxPriority: the higher first, in order within one, no priority is the lowest', () =>
  withChannel(async (channel) => {
    const {queue} = await channel.assertQueue('', {exclusive: true, maxPriority: 5})
    for (const [body, priority] of [['none'], ['2', 2], ['5', 5], ['200', 200], ['2 again', 2], ['0', 0]]) {
      channel.sendToQueue(queue, Buffer.from(body), {priority})
    }
    assert.deepEqual(await drain(channel, queue), ['5', '200', '2', '2 again', 'none', '0'])
  }))

check('single active consumer: the second gets nothing until the first is cancelled', () =>
  withSharedQueue({arguments: {'x-single-active-consumer': true}}, (queue) =>
    withChannel((first) =>
      withChannel(async (second) => {
        const [active, waiting] = [await consume(first, queue), await consume(second, queue)]
        publish(first, queue, '1', '2')
        const [held] = await active.take(2)
        await waiting.staysEmpty()
        first.ack(held)
        await first.cancel(active.tag)
        publish(first, queue, '3')
        assert.deepEqual((await waiting.take()).map(seen), ['3 false'])
        // What the first one still holds is its own, until its channel ends.
        await first.close()
        assert.deepEqual((await waiting.take()).map(seen), ['2 true'])
      }))))

check('quorum queue: x-delivery-count, and the delivery limit that dead-letters', () =>
  withSharedQueue({}, (dead) => {
    const quorum = {'x-queue-type': 'quorum', 'x-delivery-limit': 2}
    return withSharedQueue({deadLetterExchange: '', deadLetterRoutingKey: dead, arguments: quorum}, (queue) =>
      withChannel(async (channel) => {
        channel.sendToQueue(queue, Buffer.from('poison'), {persistent: true})
        await channel.waitForConfirms()
        const inbox = await consume(channel, queue)
        for (let turn = 0; turn < 3; turn++) {
          const [message] = await inbox.take()
          assert.deepEqual([message.properties.headers['x-delivery-count'] ?? 0, message.fields.redelivered], [turn, turn > 0])
          channel.reject(message, true)
        }
        const [message] = await (await consume(channel, dead, {noAck: true})).take()
        assert.deepEqual([String(message.content), message.properties.headers['x-first-death-reason']], ['poison', 'delivery_limit'])
        await inbox.staysEmpty()
      }, 'createConfirmChannel'))
  }))

check('stream: groups of readers over the same messages, each from its own offset', () =>
  withSharedQueue({arguments: {'x-queue-type': 'stream'}}, (queue) =>
    withChannel(async (channel, connection) => {
      publish(channel, queue, ...'01234')
      await channel.waitForConfirms()
      const readers = []
      for (const offset of ['first', 2, 'next']) {
        const reader = await quietly(connection)
        await reader.prefetch(2)
        readers.push([reader, await consume(reader, queue, {arguments: {'x-stream-offset': offset}})])
      }
      publish(channel, queue, '5')
      for (const [index, first] of [0, 2, 5].entries()) {
        const [reader, inbox] = readers[index]
        for (let offset = first; offset < 6; offset++) {
          const [message] = await inbox.take()
          assert.deepEqual([String(message.content), message.properties.headers['x-stream-offset']], [`${offset}`, offset])
          reader.ack(message)
        }
        await inbox.staysEmpty()
      }
      await closedWith(406, 'PRECONDITION_FAILED - consumer prefetch count is not set for ', (await quietly(connection)).consume(queue, () => {}))
    }, 'createConfirmChannel')))

check('arguments that are wrong close the channel in the words of the server', () =>
  withChannel(async (_, connection) => {
    const name = unique('refused')
    const where = `for queue '${name}' in vhost '/'`
    for (const [options, text] of [
      [{messageTtl: -1}, `invalid arg 'x-message-ttl' ${where}: {value_negative,-1}`],
      [{expires: 0}, `invalid arg 'x-expires' ${where}: {value_zero,0}`],
      [{maxPriority: 256}, `invalid arg 'x-max-priority' ${where}: {max_value_exceeded,256}`],
      [{deadLetterRoutingKey: 'k'}, `invalid arg 'x-dead-letter-routing-key' ${where}: routing_key_but_no_dlx_defined`],
      [{arguments: {'x-queue-type': 'heap'}}, `invalid arg 'x-queue-type' ${where}: "unsupported queue type 'heap'"`],
      [{arguments: {'x-queue-type': 'quorum', 'x-max-priority': 5}}, `invalid arg 'x-max-priority' ${where} of queue type rabbit_quorum_queue`],
    ]) {
      await closedWith(406, `PRECONDITION_FAILED - ${text}`, (await quietly(connection)).assertQueue(name, {durable: true, ...options}))
    }
  }))

check('nothing is left behind', () =>
  withChannel(async (_, connection) => {
    for (const name of names) {
      await closedWith(404, 'NOT_FOUND', (await quietly(connection)).checkQueue(name))
      await closedWith(404, 'NOT_FOUND', (await quietly(connection)).checkExchange(name))
    }
  }))

run('amqplib (promises)', 'amqplib')

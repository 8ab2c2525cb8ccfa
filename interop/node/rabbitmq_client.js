// rabbitmq-client: no dependency, reconnects by itself, with consumers, publishers and an RPC client of its own.
'use strict'

const assert = require('node:assert/strict')
const net = require('node:net')
const {Connection, ConsumerStatus} = require('rabbitmq-client')
const {URL, names, unique, check, soon, Inbox, run} = require('./checks')

// Gives the work a connection of its own.
async function withConnection(work, options = {}) {
  const rabbit = new Connection({url: URL, retryLow: 50, ...options})
  rabbit.on('error', () => {})
  try {
    await soon(rabbit.onConnect())
    return await work(rabbit)
  } finally {
    await rabbit.close()
  }
}

const privateQueue = async (channel) => (await channel.queueDeclare({exclusive: true})).queue

async function drain(channel, queue) {
  const bodies = []
  for (let message; (message = await channel.basicGet({queue, noAck: true})); ) bodies.push(message.body)
  return bodies
}

const ready = (emitter) => soon(new Promise((resolve) => emitter.once('ready', resolve)))

check('a consumer acks, drops and requeues by what its handler returns', () =>
  withConnection(async (rabbit) => {
    const queue = unique('queue')
    const inbox = new Inbox()
    let turn = 0
    const consumer = rabbit.createConsumer({queue, queueOptions: {durable: true}, qos: {prefetchCount: 1}, concurrency: 1}, async (message) => {
      inbox.push(`${message.body} ${message.redelivered}`)
      if (++turn === 1) return ConsumerStatus.REQUEUE
      if (message.body === 'second') return ConsumerStatus.DROP
      if (message.body === 'third' && !message.redelivered) throw new Error('as asked')
    })
    consumer.on('error', () => {})
    await ready(consumer)
    const publisher = rabbit.createPublisher({confirm: true})
    for (const body of ['first', 'second', 'third']) await publisher.send(queue, body)
    assert.deepEqual(await inbox.take(5), ['first false', 'first true', 'second false', 'third false', 'third true'])
    await Promise.all([consumer.close(), publisher.close()])
    assert.equal((await rabbit.queueDeclare({queue, passive: true})).messageCount, 0)
    await rabbit.queueDelete(queue)
  }))

check('a publisher with confirms: a promise each, returns, and an error for a nack', () =>
  withConnection(async (rabbit) => {
    const queue = unique('full')
    await rabbit.queueDeclare({queue, durable: true, arguments: {'x-max-length': 1, 'x-overflow': 'reject-publish'}})
    const publisher = rabbit.createPublisher({confirm: true, maxAttempts: 1})
    const returned = new Inbox()
    publisher.on('basic.return', returned.push)
    await publisher.send({routingKey: 'nowhere', mandatory: true}, 'lost')
    const [message] = await returned.take()
    assert.deepEqual([message.replyCode, message.replyText, message.body], [312, 'NO_ROUTE', 'lost'])
    await publisher.send(queue, 'fits')
    await assert.rejects(publisher.send(queue, 'too many'), {code: 'NACK'})
    await Promise.all(Array.from({length: 1000}, (_, n) => publisher.send({exchange: 'amq.fanout'}, `${n}`)))
    await publisher.close()
    await rabbit.queueDelete(queue)
  }))

check('fan-out: a topic exchange with several queues, declared by the consumers', () =>
  withConnection(async (rabbit) => {
    const exchange = unique('topic')
    const inboxes = []
    const consumers = []
    for (const routingKey of ['*.error', 'disk.#', '#']) {
      const inbox = new Inbox()
      const consumer = rabbit.createConsumer({
        queueOptions: {exclusive: true}, noAck: true,
        exchanges: [{exchange, type: 'topic', autoDelete: true}], queueBindings: [{exchange, routingKey}],
      }, (message) => inbox.push(message.body))
      await ready(consumer)
      inboxes.push(inbox)
      consumers.push(consumer)
    }
    const publisher = rabbit.createPublisher({confirm: true})
    for (const routingKey of ['disk.error', 'disk', 'net.error']) await publisher.send({exchange, routingKey}, routingKey)
    assert.deepEqual(await inboxes[0].take(2), ['disk.error', 'net.error'])
    assert.deepEqual(await inboxes[1].take(2), ['disk.error', 'disk'])
    assert.deepEqual(await inboxes[2].take(3), ['disk.error', 'disk', 'net.error'])
    for (const inbox of inboxes) await inbox.staysEmpty()
    await Promise.all([publisher, ...consumers].map((it) => it.close()))
  }))

check('the RPC client, over direct reply-to, many calls at once', () =>
  withConnection((client) =>
    withConnection(async (rabbit) => {
      const queue = unique('rpc')
      const server = rabbit.createConsumer({queue, queueOptions: {exclusive: true}, qos: {prefetchCount: 10}}, async (message, reply) => {
        await reply({double: 2 * message.body.number})
      })
      await ready(server)
      const rpc = client.createRPCClient({confirm: true})
      const answers = await Promise.all([1, 2, 3, 4, 5].map((number) => rpc.send(queue, {number})))
      assert.deepEqual(answers.map((answer) => answer.body.double), [2, 4, 6, 8, 10])
      await rpc.close()
      await server.close()
    })))

check('connection loss: the consumer comes back by itself, and the message comes redelivered', async () => {
  const sockets = new Set()
  const relay = net.createServer((socket) => {
    const broker = net.connect(Number(process.env.AMQP_PORT), process.env.AMQP_HOST)
    for (const end of [socket, broker]) {
      sockets.add(end)
      end.on('error', () => {})
      end.on('close', () => { socket.destroy(); broker.destroy() })
    }
    socket.pipe(broker).pipe(socket)
  })
  await new Promise((resolve) => relay.listen(0, '127.0.0.1', resolve))
  const url = `amqp://guest:guest@127.0.0.1:${relay.address().port}/%2F`
  await withConnection(async (rabbit) => {
    const queue = unique('queue')
    const inbox = new Inbox()
    const consumer = rabbit.createConsumer({queue, queueOptions: {durable: true}, qos: {prefetchCount: 1}}, async (message) => {
      inbox.push(`${message.body} ${message.redelivered}`)
      // The first time the cable is cut before the handler ends, so that its ack gets lost.
      if (!message.redelivered) {
        for (const socket of sockets) socket.resetAndDestroy()
        await new Promise((resolve) => rabbit.once('connection', resolve))
      }
    })
    consumer.on('error', () => {})
    await ready(consumer)
    const publisher = rabbit.createPublisher({confirm: true})
    await publisher.send(queue, 'precious').catch(() => {})
    assert.deepEqual(await inbox.take(2), ['precious false', 'precious true'])
    await Promise.all([consumer.close(), publisher.close()])
    await rabbit.queueDelete(queue)
  }, {url})
  relay.close()
})

check('404, 406 and 403 reject with their codes, and the next call is fine', () =>
  withConnection(async (rabbit) => {
    await assert.rejects(rabbit.queueDeclare({queue: 'interop.missing', passive: true}), {code: 'NOT_FOUND'})
    await assert.rejects(rabbit.exchangeDeclare({exchange: 'amq.topic', type: 'direct'}), {code: 'PRECONDITION_FAILED'})
    await assert.rejects(rabbit.queueDeclare({queue: 'amq.interop', durable: true}), {code: 'ACCESS_REFUSED'})
    await privateQueue(rabbit)
  }))

check('a wrong password and an unknown vhost reach the error event', async () => {
  for (const [url, code] of [[URL.replace('guest:guest', 'guest:wrong'), 'ACCESS_REFUSED'], [URL.replace('%2F', 'interop.missing'), 'NOT_ALLOWED']]) {
    const rabbit = new Connection({url, retryLow: 50})
    const error = await soon(new Promise((resolve) => rabbit.on('error', resolve)))
    await rabbit.close()
    assert.equal(error.code, code, String(error))
  }
})

check('a 1 MiB body and all properties come back as they were', () =>
  withConnection(async (rabbit) => {
    const channel = await rabbit.acquire()
    const queue = await privateQueue(channel)
    const body = Buffer.alloc(2 ** 20, 'leveret!')
    const properties = {
      contentType: 'application/octet-stream', contentEncoding: 'identity', durable: true, priority: 9, correlationId: 'correlation',
      replyTo: 'reply', expiration: '60000', messageId: 'id', timestamp: 1709209845, type: 'type', userId: 'guest', appId: 'interop',
      headers: {text: 'häder', int: -7, bool: true, list: [1, 'two', null], table: {nested: {deep: 1.5}}},
    }
    await channel.basicPublish({routingKey: queue, ...properties}, body)
    const message = await channel.basicGet({queue, noAck: true})
    assert.ok(body.equals(message.body))
    for (const [name, value] of Object.entries(properties)) assert.deepEqual(message[name], value, name)
    await channel.close()
  }))

check('transactions: nothing is seen before commit, rollback forgets', () =>
  withConnection(async (rabbit) => {
    const queue = unique('queue')
    await rabbit.queueDeclare({queue, durable: true})
    const [channel, other] = [await rabbit.acquire(), await rabbit.acquire()]
    await channel.txSelect()
    await channel.basicPublish(queue, 'committed')
    assert.deepEqual(await drain(other, queue), [])
    await channel.txCommit()
    assert.deepEqual(await drain(other, queue), ['committed'])
    await channel.basicPublish(queue, 'rolled back')
    await channel.txRollback()
    assert.deepEqual(await drain(other, queue), [])
    await rabbit.queueDelete(queue)
    await channel.close()
    await other.close()
  }))

check('what the consumer of a quorum queue drops goes to its dead-letter exchange', () =>
  withConnection(async (rabbit) => {
    const [queue, dead] = [unique('quorum'), unique('dead')]
    const graves = new Inbox()
    const gravedigger = rabbit.createConsumer({queue: dead, queueOptions: {durable: true}, noAck: true}, graves.push)
    await ready(gravedigger)
    const queueArguments = {'x-queue-type': 'quorum', 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': dead}
    const consumer = rabbit.createConsumer({queue, queueOptions: {durable: true, arguments: queueArguments}},
      async ({body}) => (body === 'bad' ? ConsumerStatus.DROP : ConsumerStatus.ACK))
    await ready(consumer)
    const publisher = rabbit.createPublisher({confirm: true})
    for (const body of ['good', 'bad']) await publisher.send({routingKey: queue, durable: true}, body)
    const [{body, routingKey, headers}] = await graves.take()
    assert.deepEqual([body, routingKey], ['bad', dead])
    const [death] = headers['x-death']
    assert.deepEqual([death.reason, death.queue, death.count, death['routing-keys']], ['rejected', queue, 1, [queue]])
    await Promise.all([consumer.close(), publisher.close(), gravedigger.close()])
    await rabbit.queueDelete(queue)
    await rabbit.queueDelete(dead)
  }))

check('a stream is read from its first offset by a consumer with arguments', () =>
  withConnection(async (rabbit) => {
    const queue = unique('stream')
    const queueOptions = {durable: true, arguments: {'x-queue-type': 'stream'}}
    await rabbit.queueDeclare({queue, ...queueOptions})
    const publisher = rabbit.createPublisher({confirm: true})
    for (const body of ['0', '1', '2']) await publisher.send(queue, body)
    for (const [offset, expected] of [['first', [0, 1, 2]], [1, [1, 2]]]) {
      const inbox = new Inbox()
      const consumer = rabbit.createConsumer(
        {queue, queueOptions, qos: {prefetchCount: 1}, arguments: {'x-stream-offset': offset}},
        (message) => inbox.push([message.body, message.headers['x-stream-offset']]),
      )
      await ready(consumer)
      assert.deepEqual(await inbox.take(expected.length), expected.map((n) => [`${n}`, n]))
      await consumer.close()
    }
    await publisher.close()
    await rabbit.queueDelete(queue)
  }))

check('nothing is left behind', () =>
  withConnection(async (rabbit) => {
    for (const name of names) {
      await assert.rejects(rabbit.queueDeclare({queue: name, passive: true}), {code: 'NOT_FOUND'})
      await assert.rejects(rabbit.exchangeDeclare({exchange: name, passive: true}), {code: 'NOT_FOUND'})
    }
  }))

run('rabbitmq-client')

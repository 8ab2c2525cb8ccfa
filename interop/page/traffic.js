// A virtual host as an application would have it, with publishers and consumers, so that there is something to see.
'use strict'

const amqp = require('amqplib')

// A name that would do harm if it were taken for markup.
const HOSTILE = '<img src=x onerror="window.harmed=1">&"\'/%2F'

const EXCHANGES = [
  ['orders', 'topic', {'alternate-exchange': 'unrouted'}], ['payments', 'direct'], ['events', 'fanout'], ['audit.in', 'headers'], ['unrouted', 'fanout'], ['dead', 'topic'],
]

const dead = {'x-dead-letter-exchange': 'dead'}
const QUEUES = [
  ['orders.new', {...dead, 'x-queue-type': 'quorum'}], ['orders.eu', {}], ['orders.billing', dead], ['payments.capture', {...dead, 'x-max-length': 1000}],
  ['payments.retry', {'x-message-ttl': 600000, 'x-dead-letter-exchange': 'payments', 'x-dead-letter-routing-key': 'capture'}],
  ['emails', {...dead, 'x-message-ttl': 400}], ['search.index', {'x-single-active-consumer': true}], ['audit', {'x-queue-type': 'stream', 'x-max-age': '7D'}], ['lost', {}],
  ['dead.orders', {}], ['dead.rest', {}], [HOSTILE, {}],
]

const BINDINGS = [
  ['orders', 'q', 'orders.new', 'order.*.new'], ['orders', 'q', 'orders.eu', 'order.eu.*'], ['orders', 'q', 'orders.billing', 'order.*.paid'], ['orders', 'e', 'events', 'order.#'],
  ['payments', 'q', 'payments.capture', 'capture'], ['payments', 'q', 'payments.retry', 'retry'], ['events', 'q', 'emails', ''], ['events', 'q', 'search.index', ''], ['events', 'e', 'audit.in', ''],
  ['audit.in', 'q', 'audit', ''], ['unrouted', 'q', 'lost', ''], ['dead', 'q', 'dead.orders', 'order.#'], ['dead', 'q', 'dead.rest', 'capture'],
]

async function declare(broker) {
  const path = (...parts) => ['%2F', ...parts.map(encodeURIComponent)].join('/')
  for (const [name, type, set = {}] of EXCHANGES) await broker.put(`exchanges/${path(name)}`, {type, durable: true, arguments: set})
  for (const [name, set] of QUEUES) await broker.put(`queues/${path(name)}`, {durable: true, arguments: set})
  for (const [source, kind, destination, key] of BINDINGS) await broker.post(`bindings/${path('e', source, kind, destination)}`, {routing_key: key})
  await broker.put('policies/%2F/short-lost', {pattern: '^lost$', definition: {'max-length': 5000}, 'apply-to': 'queues'})
  await broker.put('users/ops', {password: 'ops', tags: 'monitoring,policymaker'})
  await broker.put('permissions/%2F/ops', {configure: '^orders', write: '.*', read: '.*'})
  await broker.put('vhosts/staging', {description: 'for trying things out'})
  await broker.put('permissions/staging/guest', {configure: '.*', write: '.*', read: '.*'})
}

// Publishes and consumes until it is stopped.
class Traffic {
  static async start(broker) {
    const traffic = new Traffic()
    const connect = (name) => amqp.connect(broker.amqp, {clientProperties: {connection_name: name}})
    traffic.connections = await Promise.all(['shop', 'billing', 'search', 'payments'].map(connect))
    const [shop, billing, search, payments] = traffic.connections
    await consume(shop, 'orders.new', 20, (n) => (n % 15 === 0 ? 'reject' : 'ack'))
    await consume(billing, 'orders.billing', 50, (n) => (n % 4 === 0 ? 'reject' : 'ack'))
    await consume(billing, 'orders.billing', 50, () => 'ack')
    await consume(search, 'search.index', 100, () => 'ack')
    await consume(payments, 'payments.capture', 30, (n) => (n % 10 === 0 ? 'keep' : 'ack'))
    const channel = await shop.createConfirmChannel()
    let n = 0
    traffic.timer = setInterval(() => {
      for (let k = 0; k < 6 + (n % 5); k += 1) {
        n += 1
        const key = `order.${['eu', 'us', 'asia'][n % 3]}.${n % 2 ? 'new' : 'paid'}`
        const body = {order: 10_000 + n, customer: `customer-${n % 97}`, total: (n % 200) + 0.5, lines: [{item: `item-${n % 13}`, pieces: 1 + (n % 3)}]}
        const properties = {persistent: true, contentType: 'application/json', messageId: `m-${n}`, headers: {tenant: `t${n % 5}`}}
        channel.publish('orders', n % 40 ? key : 'refund.eu', Buffer.from(JSON.stringify(body)), properties)
        if (n % 3 === 0) channel.publish('payments', n % 9 ? 'capture' : 'retry', Buffer.from(`capture ${n}`), {})
      }
    }, 100)
    return traffic
  }

  async stop() {
    clearInterval(this.timer)
    for (const connection of this.connections) await connection.close()
  }
}

async function consume(connection, queue, prefetch, decide) {
  const channel = await connection.createChannel()
  await channel.prefetch(prefetch)
  let n = 0
  await channel.consume(queue, (message) => {
    n += 1
    const decision = decide(n)
    if (decision === 'ack') channel.ack(message)
    if (decision === 'reject') channel.reject(message, false)
  })
}

module.exports = {HOSTILE, Traffic, declare}

// AMQPWebSocketClient, the client for browsers, over the WebSocket that they have.
'use strict'

const assert = require('node:assert/strict')
const {AMQPWebSocketClient, AMQPSession} = require('@cloudamqp/amqp-client')
const lock = require('./package-lock.json')

const WAIT_MS = 20_000
const URLS = process.env.WS_URLS?.split(' ')
const quiet = {debug() {}, info() {}, warn() {}, error() {}}

const checks = []
const check = (description, run) => checks.push({description, run})

const client = (options = {}) => new AMQPWebSocketClient({url: URLS[0], logger: quiet, ...options})

// Gives the work a connection of its own.
async function withConnection(work, options) {
  const connection = await client(options).connect()
  try {
    return await work(connection)
  } finally {
    await connection.close()
  }
}

const withChannel = (work, options) => withConnection(async (connection) => work(await connection.channel(), connection), options)

const privateQueue = async (channel) => (await channel.queueDeclare('', {exclusive: true})).name

// So many messages of a consumer.
async function take(channel, queue, count, params = {noAck: true}) {
  const messages = []
  await new Promise((resolve, reject) => {
    channel.basicConsume(queue, params, (message) => messages.push(message) === count && resolve()).catch(reject)
  })
  return messages
}

check('each of the paths', async () => {
  for (const url of URLS) await withChannel(privateQueue, {url})
})

check('publish with confirms, consume: in order', () =>
  withChannel(async (channel) => {
    const queue = await privateQueue(channel)
    await channel.confirmSelect()
    for (let n = 1; n <= 100; n++) assert.equal(await channel.basicPublish('', queue, `${n}`), n)
    const bodies = (await take(channel, queue, 100)).map((message) => message.bodyString())
    assert.deepEqual(bodies, Array.from({length: 100}, (_, n) => `${n + 1}`))
  }))

check('many messages at once, more than a socket takes', () =>
  withChannel(async (channel) => {
    const queue = await privateQueue(channel)
    const body = new Uint8Array(5000).fill(7)
    await Promise.all(Array.from({length: 2000}, () => channel.basicPublish('', queue, body)))
    const messages = await take(channel, queue, 2000)
    assert.ok(messages.every((message) => message.bodySize === 5000 && message.body.every((byte) => byte === 7)))
  }))

check('a body of 1 MiB with properties and headers', () =>
  withChannel(async (channel) => {
    const queue = await privateQueue(channel)
    const body = Uint8Array.from({length: 1 << 20}, (_, n) => n % 251)
    const properties = {contentType: 'a/b', correlationId: 'c', priority: 3, headers: {text: 'é', number: 5, truth: true, list: [1, 'x']}}
    await channel.confirmSelect()
    await channel.basicPublish('', queue, body, properties)
    const message = await channel.basicGet(queue, {noAck: true})
    assert.deepEqual(Buffer.from(message.body), Buffer.from(body))
    const {contentType, correlationId, priority, headers} = message.properties
    assert.deepEqual({contentType, correlationId, priority, headers}, properties)
  }))

check('nack, and what is not acked comes back when the connection ends', () =>
  withChannel(async (channel) => {
    const name = `interop.websocket.${process.pid}`
    await channel.queueDeclare(name, {durable: true})
    try {
      await channel.basicPublish('', name, 'x')
      await (await channel.basicGet(name, {noAck: false})).nack(true)
      await withChannel(async (other) => assert.equal((await other.basicGet(name, {noAck: false})).redelivered, true))
      const [message] = await take(channel, name, 1, {noAck: false})
      assert.deepEqual([message.redelivered, message.bodyString()], [true, 'x'])
      await message.ack()
    } finally {
      await channel.queueDelete(name)
    }
  }))

check('mandatory: what has no queue is returned', () =>
  withChannel(async (channel) => {
    const returned = new Promise((resolve) => {
      channel.onReturn = resolve
    })
    await channel.basicPublish('', 'interop.nowhere', 'lost', {}, true)
    const {replyCode, replyText} = await returned
    assert.deepEqual([replyCode, replyText], [312, 'NO_ROUTE'])
  }))

check('errors close the channel with their text, the connection goes on', () =>
  withConnection(async (connection) => {
    const channel = await connection.channel()
    await assert.rejects(channel.queueDeclare('interop.missing', {passive: true}), /NOT_FOUND - no queue 'interop.missing' in vhost '\/'/)
    await privateQueue(await connection.channel())
  }))

check('a wrong password and an unknown virtual host are refused', async () => {
  await assert.rejects(client({password: 'wrong'}).connect(), /ACCESS_REFUSED/)
  await assert.rejects(client({vhost: 'interop.missing'}).connect(), /NOT_ALLOWED - vhost interop.missing not found/)
})

check('heartbeats keep a connection that is silent', () =>
  withChannel(async (channel) => {
    await new Promise((resolve) => setTimeout(resolve, 3500))
    await privateQueue(channel)
  }, {heartbeat: 1}))

check('a session: a queue with a subscription', async () => {
  const session = await AMQPSession.connect(URLS[0], {username: 'guest', password: 'guest', logger: quiet})
  try {
    const queue = await session.queue(`interop.websocket.session.${process.pid}`, {durable: false, exclusive: true})
    const seen = new Promise((resolve) => queue.subscribe(async (message) => resolve(message.bodyString())))
    await queue.publish('hello')
    assert.equal(await seen, 'hello')
  } finally {
    await session.stop()
  }
})

async function soon(promise) {
  let timer
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no end within ${WAIT_MS} ms`)), WAIT_MS)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

async function main() {
  console.log(`client: AMQPWebSocketClient ${lock.packages['node_modules/@cloudamqp/amqp-client'].version}`)
  for (const {description, run} of checks) {
    try {
      await soon(run())
      console.log(`ok ${description}`)
    } catch (error) {
      console.error(error)
      console.log(`not ok ${description} - ${String(error).split(/\s+/).join(' ').slice(0, 300)}`)
    }
  }
}

if (URLS) {
  main().finally(() => process.exit())
} else {
  console.log('known everything - the broker that was named has no WebSocket')
}

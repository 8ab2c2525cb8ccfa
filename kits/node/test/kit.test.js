// What the kit promises, tried with amqplib.
import assert from 'node:assert/strict'
import {spawn} from 'node:child_process'
import {once} from 'node:events'
import {mkdtempSync, rmSync} from 'node:fs'
import {connect} from 'node:net'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {setTimeout as delay} from 'node:timers/promises'
import {after, before, beforeEach, test} from 'node:test'
import amqplib from 'amqplib'
import {LeveretError, NotInTime, startLeveret} from 'leveret'

let broker
before(async () => {
  broker = await startLeveret()
})
beforeEach(() => broker.reset())
after(() => broker.stop())

async function withChannel(use) {
  const connection = await amqplib.connect(broker.amqpUrl)
  connection.on('error', () => {})
  const channel = await connection.createConfirmChannel()
  channel.on('error', () => {})
  try {
    await use(channel)
  } finally {
    // The channel first: what it has not sent yet, acks for example, would be lost otherwise.
    await channel.close().catch(() => {})
    await connection.close().catch(() => {})
  }
}

const queues = async () => (await broker.request('GET', '/api/queues')).map(({name}) => name)

for (const _ of [1, 2]) {
  test('nothing of another test is there', async () => {
    assert.deepEqual(await queues(), [])
    assert.deepEqual(await broker.journal(), [])
    assert.equal((await broker.request('GET', '/api/nodes'))[0].mem_alarm, false)
    await withChannel((channel) => channel.assertQueue('left'))
    await broker.alarms({memory: true})
  })
}

test('time passes when told', () =>
  withChannel(async (channel) => {
    await channel.assertQueue('q', {messageTtl: 60_000})
    channel.sendToQueue('q', Buffer.from('carrot'))
    await channel.waitForConfirms()
    const start = await broker.now()
    assert.deepEqual(await broker.advance(59.999), [])
    const [{what, queue, count}] = await broker.advanceToNext()
    assert.deepEqual({what, queue, count}, {what: 'message-expired', queue: 'q', count: 1})
    assert.equal((await broker.now()) - start, 60_000)
    await broker.advanceTo(new Date(start.getTime() + 86_400_000))
    assert.equal((await broker.now()) - start, 86_400_000)
    await assert.rejects(broker.advanceTo(start), (error) => error instanceof LeveretError && error.status === 400)
    await broker.unfreeze()
    assert.equal((await broker.request('GET', '/api/test/clock')).frozen, false)
    await broker.freeze()
    assert.equal((await broker.request('GET', '/api/test/clock')).frozen, true)
  }))

test('states come back', async () => {
  await withChannel(async (channel) => {
    await channel.assertQueue('durable')
    await channel.assertQueue('transient', {durable: false})
  })
  const snapshot = await broker.snapshot()
  await broker.crash()
  assert.deepEqual(await queues(), ['durable'])
  await broker.restore(snapshot)
  assert.deepEqual(await queues(), ['durable', 'transient'])
  await broker.reset({keep: 'definitions'})
  assert.deepEqual(await queues(), ['durable', 'transient'])
  await assert.rejects(broker.restore('unknown'), (error) => error.status === 404)
})

test('a consumer that is cut off gets its message again', () =>
  withChannel(async (channel) => {
    await channel.assertQueue('a/b')
    channel.sendToQueue('a/b', Buffer.from('carrot'), {messageId: 'm-1'})
    await channel.waitForConfirms()
    await channel.get('a/b')
    const [{connection, payload}] = await broker.messages('a/b', {state: 'unacked'})
    assert.equal(payload, 'carrot')
    await broker.disconnect(connection)
    const [{reason}] = await broker.waitFor('requeued', {queue: 'a/b'})
    assert.equal(reason, 'connection-closed')
    assert.match(await broker.story('m-1'), /enqueued in "a\/b"/)
    assert.deepEqual(
      (await broker.journal({message_id: 'm-1'})).map(({event}) => event).slice(0, 3),
      ['published', 'routed', 'enqueued'],
    )
    await assert.rejects(broker.waitFor('acked', {queue: 'a/b', timeoutMs: 10}), (error) => {
      return error instanceof NotInTime && error.message.startsWith('expected 1 × event acked')
    })
    await assert.rejects(broker.settle({timeoutMs: 10}), NotInTime)
    await withChannel(async (other) => other.ack(await other.get('a/b')))
    await broker.settle({queues: ['a/b']})
  }))

test('faults happen when told', () =>
  withChannel(async (channel) => {
    await channel.assertQueue('q')
    const rule = await broker.faults.add({kind: 'nack'}, {match: {routing_key: 'q'}, times: 1})
    channel.sendToQueue('q', Buffer.from('1'))
    await assert.rejects(channel.waitForConfirms())
    channel.sendToQueue('q', Buffer.from('2'))
    await channel.waitForConfirms()
    assert.deepEqual((await broker.faults.list()).map(({hits}) => hits), [1])
    await broker.faults.remove(rule)
    assert.deepEqual(await broker.faults.list(), [])
  }))

test('a broker of its own, and one that does not start', async () => {
  const own = await startLeveret({clock: 'real', options: ['--log', 'debug']})
  assert.notEqual(own.amqpUrl, broker.amqpUrl)
  assert.equal((await own.request('GET', '/api/test/clock')).virtual, false)
  assert.match(own.log(), /started TCP listener/)
  assert.equal(await own.stop(), 0)
  await assert.rejects(startLeveret({options: ['--no-such-option']}), /--no-such-option/)
})

const STARTS_TWO = `
  import {startLeveret} from 'leveret'
  const brokers = [await startLeveret(), await startLeveret()]
  console.log(JSON.stringify(brokers.map(({pid, amqpUrl}) => ({pid, port: new URL(amqpUrl).port}))))
`

async function refuses({port}) {
  for (const deadline = Date.now() + 20_000; Date.now() < deadline; await delay(5)) {
    const socket = connect(port, '127.0.0.1')
    const refused = await once(socket, 'connect').then(() => false, ({code}) => code === 'ECONNREFUSED')
    socket.destroy()
    if (refused) return true
  }
  return false
}

test('brokers end with the process that is killed', async () => {
  const scratch = mkdtempSync(join(tmpdir(), 'leveret-test-'))
  const starter = spawn(process.execPath, ['--input-type=module', '--eval', STARTS_TWO], {
    env: {...process.env, TMPDIR: scratch},
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let brokers = []
  try {
    brokers = JSON.parse((await once(starter.stdout, 'data'))[0])
    const [first, second] = brokers
    // Halted, it would keep the first one's pipe open if it had been given it.
    process.kill(second.pid, 'SIGSTOP')
    starter.kill('SIGKILL')
    assert.ok(await refuses(first), 'the first one is there')
    process.kill(second.pid, 'SIGCONT')
    assert.ok(await refuses(second), 'the second one is there')
  } finally {
    starter.kill('SIGKILL')
    for (const {pid} of brokers) {
      try {
        process.kill(pid, 'SIGKILL')
      } catch {
        // It is gone, as it should be.
      }
    }
    rmSync(scratch, {recursive: true, force: true})
  }
})

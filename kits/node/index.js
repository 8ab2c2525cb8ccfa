// Starts the broker, stops it, and asks it over /api/test; docs/TEST_API.md says what there is. Without dependencies.
import {spawn} from 'node:child_process'
import {existsSync, mkdtempSync, openSync, closeSync, readFileSync, rmSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {fileURLToPath} from 'node:url'

const START_MS = 30_000
const STOP_MS = 10_000
const POLL_MS = 2
const CREDENTIALS = 'guest:guest'

/** What the broker refused, and with which status. */
export class LeveretError extends Error {
  /**
   * @param {number} status
   * @param {string} reason
   */
  constructor(status, reason) {
    super(reason)
    this.name = 'LeveretError'
    this.status = status
  }
}

/** What was waited for did not come about; the text says what did. */
export class NotInTime extends LeveretError {
  /** @param {string} reason */
  constructor(reason) {
    super(408, reason)
    this.name = 'NotInTime'
  }
}

/** $LEVERET_BINARY, what this package has brought along, or the first on the PATH. */
function binary() {
  const brought = fileURLToPath(new URL('bin/leveret', import.meta.url))
  return process.env.LEVERET_BINARY ?? (existsSync(brought) ? brought : 'leveret')
}

/**
 * Starts a broker on free ports of the loopback interface.
 *
 *     beforeAll(async () => { broker = await startLeveret() })
 *     beforeEach(() => broker.reset())
 *     afterAll(() => broker.stop())
 *
 * @param {{options?: string[], clock?: 'virtual' | 'real'}} [how] `options` go to `leveret serve`
 * @returns {Promise<Leveret>}
 */
export async function startLeveret({options = [], clock = 'virtual'} = {}) {
  const scratch = mkdtempSync(join(tmpdir(), 'leveret-'))
  const ready = join(scratch, 'ready.json')
  const log = openSync(join(scratch, 'log'), 'w')
  // What configures brokers elsewhere on this machine is not meant for this one.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(RABBITMQ|LEVERET)_/.test(name)))
  const child = spawn(
    binary(),
    ['serve', '--amqp', '127.0.0.1:0', '--http', '127.0.0.1:0', '--test-api', '--clock', clock, '--ready-file', ready, '--until-stdin-closes', ...options],
    // Nothing is ever written to the pipe: it closes when this process ends, however it does, and the broker ends with it.
    {env, stdio: ['pipe', 'ignore', log]},
  )
  closeSync(log)
  const ended = new Promise((resolve) => {
    child.once('error', resolve)
    child.once('exit', (code, signal) => resolve(code ?? signal))
  })
  let end
  ended.then((how) => (end = {how}))
  const deadline = Date.now() + START_MS
  while (!existsSync(ready)) {
    if (end || Date.now() > deadline) {
      child.kill('SIGKILL')
      const said = readFileSync(join(scratch, 'log'), 'utf8')
      rmSync(scratch, {recursive: true, force: true})
      throw new Error(`leveret does not serve (${end ? end.how : 'too late'}):\n${said}`)
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }
  return new Leveret(child, ended, scratch, JSON.parse(readFileSync(ready, 'utf8')))
}

/** A running broker. */
export class Leveret {
  #child
  #ended
  #scratch
  #base

  constructor(child, ended, scratch, {amqp, http}) {
    this.#child = child
    this.#ended = ended
    this.#scratch = scratch
    this.#base = `http://${http}`
    /** @type {string} */
    this.amqpUrl = `amqp://${CREDENTIALS}@${amqp}/%2F`
    /** @type {string} */
    this.httpUrl = `http://${CREDENTIALS}@${http}`
    /** @type {number} */
    this.pid = child.pid
    this.faults = new Faults(this)
  }

  /** What it has logged so far. */
  log() {
    return readFileSync(join(this.#scratch, 'log'), 'utf8')
  }

  /** Asks it to end, and waits until it has. Returns its exit code, or the name of the signal that ended it. */
  async stop() {
    this.#child.kill('SIGTERM')
    const late = setTimeout(() => this.#child.kill('SIGKILL'), STOP_MS)
    const how = await this.#ended
    clearTimeout(late)
    rmSync(this.#scratch, {recursive: true, force: true})
    return how
  }

  /**
   * The answer of the HTTP API: `request('GET', '/api/queues')`.
   *
   * @param {string} method
   * @param {string} path
   * @param {unknown} [body]
   */
  async request(method, path, body, accept = 'application/json') {
    const headers = {authorization: `Basic ${btoa(CREDENTIALS)}`, accept, 'content-type': 'application/json'}
    const response = await fetch(this.#base + path, {method, headers, body: body && JSON.stringify(body)})
    const text = await response.text()
    if (!response.ok) throw refusal(response.status, text)
    return text && response.headers.get('content-type')?.startsWith('application/json') ? JSON.parse(text) : text
  }

  // Between tests

  /**
   * Begins again, as after the first start: with nothing declared, no fault, no alarm, and an empty journal. With
   * `keep: 'definitions'` what is declared stays, and messages go; with a `vhost` only that one is reset.
   *
   * @param {{vhost?: string, keep?: 'nothing' | 'definitions', connections?: 'close' | 'keep'}} [what]
   */
  async reset(what = {}) {
    await this.request('POST', '/api/test/reset', what)
    if (what.vhost) return
    if ((await this.request('GET', '/api/test')).faults) await this.faults.clear()
    await this.alarms({})
    await this.request('DELETE', '/api/test/journal')
  }

  // Time

  /** The broker's time. */
  async now() {
    return new Date((await this.request('GET', '/api/test/clock')).now)
  }

  /**
   * Lets time pass, and says what was due: `[{what, queue, count, …}]`. All of that has happened by then.
   *
   * @param {number} seconds
   */
  async advance(seconds, {sockets = false} = {}) {
    return (await this.request('POST', '/api/test/clock/advance', {ms: Math.round(seconds * 1000), sockets})).fired
  }

  /** @param {Date} time */
  async advanceTo(time) {
    return (await this.request('POST', '/api/test/clock/advance', {to: time.getTime()})).fired
  }

  /** Lets time pass until something is due. */
  async advanceToNext() {
    return (await this.request('POST', '/api/test/clock/advance', {to_next: true})).fired
  }

  /** Time stands still, as it does from the start. */
  freeze() {
    return this.request('PUT', '/api/test/clock', {frozen: true})
  }

  /** Time goes on by itself. */
  unfreeze() {
    return this.request('PUT', '/api/test/clock', {frozen: false})
  }

  // States

  /**
   * Takes a snapshot, of a virtual host or of all; what it returns is for `restore`.
   *
   * @param {{vhost?: string, id?: string, file?: string}} [what]
   */
  async snapshot(what = {}) {
    return (await this.request('POST', '/api/test/snapshots', what)).id
  }

  restore(snapshot, {connections = 'close'} = {}) {
    return this.request('POST', `/api/test/snapshots/${encodeURIComponent(snapshot)}/restore`, {connections})
  }

  /** Dies and comes back on the same ports: connections are gone, what is durable is not. */
  crash({unsynced = 'lost', seed} = {}) {
    return this.request('POST', '/api/test/crash', {unsynced, seed})
  }

  /** Closes a connection from the broker's side; the journal and `messages` say their names. */
  disconnect(connection) {
    return this.request('DELETE', `/api/connections/${encodeURIComponent(connection)}`)
  }

  /** Raises alarms, or clears them. Connections that publish are not read from until then, so they cannot be closed either. */
  alarms({memory = false, disk = false}) {
    return this.request('PUT', '/api/test/alarms', {memory, disk})
  }

  // What has happened

  /**
   * What has become of messages: `journal({queue: 'orders', event: 'acked'})`.
   *
   * @param {Record<string, string | number>} [filters]
   */
  async journal(filters = {}) {
    return (await this.request('GET', `/api/test/journal?${new URLSearchParams(filters)}`)).events
  }

  /** All that happened to one message, as text; it is named by the journal's number or by its message_id. */
  story(message) {
    return this.request('GET', `/api/test/journal/story/${encodeURIComponent(message)}`, undefined, 'text/plain')
  }

  /**
   * Waits until the journal has so many events: `waitFor('acked', {queue: 'orders', count: 5})`. NotInTime otherwise.
   *
   * @param {string} event
   */
  async waitFor(event, {count = 1, timeoutMs = 4000, since, ...match} = {}) {
    const body = {match: {event, ...match}, count, since, timeout_ms: timeoutMs}
    return (await this.request('POST', '/api/test/journal/wait', body)).events
  }

  /** Waits until nothing is ready, unacked or unconfirmed, in `queues` or in all. NotInTime otherwise. */
  settle({queues, vhost = '/', timeoutMs = 4000} = {}) {
    return this.request('POST', '/api/test/settle', {vhost, queues, timeout_ms: timeoutMs})
  }

  /** Looks at messages without touching them; with `state: 'unacked'` at who has which. */
  async messages(queue, {vhost = '/', state = 'ready'} = {}) {
    const path = `/api/test/queues/${encodeURIComponent(vhost)}/${encodeURIComponent(queue)}/messages?state=${state}`
    return (await this.request('GET', path)).messages
  }
}

/** Faults on demand: `broker.faults.add({kind: 'close-connection', code: 320}, {match: {queue: 'orders'}, times: 1})`. */
class Faults {
  #broker

  constructor(broker) {
    this.#broker = broker
  }

  async add(action, rule = {}) {
    return (await this.#broker.request('POST', '/api/test/faults', {...rule, action})).ids[0]
  }

  list() {
    return this.#broker.request('GET', '/api/test/faults')
  }

  remove(id) {
    return this.#broker.request('DELETE', `/api/test/faults/${encodeURIComponent(id)}`)
  }

  clear() {
    return this.#broker.request('DELETE', '/api/test/faults')
  }
}

function refusal(status, text) {
  let reason = text || `status ${status}`
  try {
    reason = JSON.parse(text).reason
  } catch {
    // It is not JSON, and so it is the reason.
  }
  return status === 408 ? new NotInTime(reason) : new LeveretError(status, reason)
}

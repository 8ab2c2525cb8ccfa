// A broker of our own on free ports, and its HTTP API.
'use strict'

const {spawn} = require('node:child_process')
const {mkdtempSync, existsSync, readFileSync, rmSync, writeFileSync} = require('node:fs')
const {tmpdir} = require('node:os')
const {join} = require('node:path')

const START_MS = 30_000

// Asks until there is an answer that will do.
async function until(what, ask, most_ms = START_MS) {
  const deadline = Date.now() + most_ms
  for (;;) {
    const answer = await ask()
    if (answer) return answer
    if (Date.now() > deadline) throw new Error(`${what} did not come about within ${most_ms} ms`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

class Broker {
  static async start() {
    const broker = new Broker()
    broker.scratch = mkdtempSync(join(tmpdir(), 'leveret-page-'))
    const ready = join(broker.scratch, 'ready.json')
    const config = join(broker.scratch, 'leveret.conf')
    writeFileSync(config, 'management.rates_mode = detailed\n')
    const options = ['serve', '--config', config, '--amqp', '127.0.0.1:0', '--http', '127.0.0.1:0', '--in-memory', '--test-api', '--ready-file', ready]
    broker.process = spawn(process.env.LEVERET_BINARY, options, {stdio: ['ignore', 'ignore', 'inherit']})
    broker.process.on('error', (error) => (broker.error = error))
    await until('the broker', () => {
      if (broker.error || broker.process.exitCode !== null) throw broker.error ?? new Error('the broker ended')
      return existsSync(ready)
    })
    const {amqp, http} = JSON.parse(readFileSync(ready))
    broker.amqp = `amqp://guest:guest@${amqp}/%2F`
    broker.page = `http://${http}`
    return broker
  }

  async stop() {
    const ended = new Promise((resolve) => this.process.once('exit', resolve))
    this.process.kill('SIGTERM')
    await ended
    rmSync(this.scratch, {recursive: true, force: true})
  }

  async ask(method, path, body) {
    const headers = {authorization: `Basic ${btoa('guest:guest')}`, 'content-type': 'application/json'}
    const response = await fetch(`${this.page}/api/${path}`, {method, headers, body: body && JSON.stringify(body)})
    const text = await response.text()
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`)
    return text && JSON.parse(text)
  }

  get(path) {
    return this.ask('GET', path)
  }

  put(path, body = {}) {
    return this.ask('PUT', path, body)
  }

  post(path, body = {}) {
    return this.ask('POST', path, body)
  }
}

module.exports = {Broker, until}

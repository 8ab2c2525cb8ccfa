// The few words that the programs share: what a check is, the names it may use, and how a run reads.
'use strict'

const assert = require('node:assert/strict')
const {randomBytes} = require('node:crypto')
const lock = require('./package-lock.json')

const WAIT_MS = 10_000
// How long a program watches for what must not come.
const QUIET_MS = 200
const RUN = randomBytes(4).toString('hex')

const names = []
const checks = []

// A name that no other run has, remembered so that the last check can look for it.
function unique(kind) {
  names.push(`interop.${RUN}.${kind}.${names.length}`)
  return names.at(-1)
}

function check(description, run) {
  checks.push({description, run})
}

// The promise's value, unless it takes too long.
function soon(promise, what = 'an answer') {
  let timer
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} did not come within ${WAIT_MS} ms`)), WAIT_MS)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

const quiet = () => new Promise((resolve) => setTimeout(resolve, QUIET_MS))

// What a consumer got, to be waited for.
class Inbox {
  constructor() {
    this.items = []
    this.waiting = []
  }

  push = (item) => {
    const next = this.waiting.shift()
    if (next) next(item)
    else this.items.push(item)
  }

  async take(count = 1) {
    const taken = []
    while (taken.length < count) {
      taken.push(this.items.length ? this.items.shift() : await soon(new Promise((resolve) => this.waiting.push(resolve)), 'a message'))
    }
    return taken
  }

  async staysEmpty() {
    await quiet()
    assert.equal(this.items.length, 0)
  }
}

// Runs the checks in the order they were written and prints a line for each.
async function run(client, name = client) {
  const {version} = lock.packages[`node_modules/${name}`]
  console.log(`client: ${client} ${version}`)
  for (const {description, run} of checks) {
    try {
      await soon(run(), 'the end of the check')
      console.log(`ok ${description}`)
    } catch (error) {
      console.error(error)
      console.log(`not ok ${description} - ${String(error).split(/\s+/).join(' ').slice(0, 300)}`)
    }
  }
  // A connection that a failed check left open must not keep the program up.
  process.exit()
}

module.exports = {URL: process.env.AMQP_URL, WAIT_MS, names, unique, check, soon, quiet, Inbox, run}

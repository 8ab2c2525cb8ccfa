// Walks through the page as people do, with a mouse and with keys alone, and looks at what it shows.
'use strict'

const assert = require('node:assert/strict')
const {mkdirSync, mkdtempSync, rmSync} = require('node:fs')
const {tmpdir} = require('node:os')
const {join} = require('node:path')
const {chromium} = require('playwright-core')
const {Broker, until} = require('./broker.js')
const {HOSTILE, Traffic, declare} = require('./traffic.js')

const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium'
const FLAGS = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync',
]
const PAGES = ['overview', 'queues', 'streams', 'exchanges', 'topology', 'deadletters', 'connections', 'channels', 'policies', 'users', 'vhosts', 'journal']

const screenshots = process.argv[2]
const queue = (name) => `queues/%2F/${encodeURIComponent(name)}`

async function main() {
  if (screenshots) mkdirSync(screenshots, {recursive: true})
  const broker = await Broker.start()
  const profile = mkdtempSync(join(tmpdir(), 'leveret-chromium-'))
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: CHROMIUM, headless: true, args: FLAGS, viewport: {width: 1280, height: 800}, colorScheme: 'light',
  })
  console.log(`client: page chromium-${context.browser()?.version() ?? 'unknown'}`)
  let failed = 0
  try {
    const walk = new Walk(broker, context.pages()[0] ?? (await context.newPage()))
    failed = await walk.run()
  } finally {
    await context.close()
    await broker.stop()
    rmSync(profile, {recursive: true, force: true})
  }
  process.exit(failed ? 1 : 0)
}

class Walk {
  constructor(broker, page) {
    this.broker = broker
    this.page = page
    this.errors = []
    this.elsewhere = []
    page.setDefaultTimeout(15_000)
    page.on('console', (message) => message.type() === 'error' && this.errors.push(message.text()))
    page.on('pageerror', (error) => this.errors.push(String(error)))
    page.on('request', (request) => request.url().startsWith(`${broker.page}/`) || this.elsewhere.push(request.url()))
  }

  async run() {
    await declare(this.broker)
    const traffic = await Traffic.start(this.broker)
    const checks = Object.getOwnPropertyNames(Walk.prototype).filter((name) => name.includes(' '))
    let failed = 0
    for (const name of checks) {
      try {
        await this[name](traffic)
        console.log(`ok ${name}`)
      } catch (error) {
        failed += 1
        console.error(error)
        if (screenshots) await this.shot(`failed-${failed}`).catch(() => {})
        // The next check begins with a page without an open dialog.
        await this.page.reload().catch(() => {})
        console.log(`not ok ${name} - ${String(error).split(/\s+/).join(' ').slice(0, 300)}`)
      }
    }
    return failed
  }

  async go(...parts) {
    await this.page.goto(`${this.broker.page}/#/${parts.map(encodeURIComponent).join('/')}`)
    await this.page.locator('.status.live').waitFor()
  }

  async sees(text) {
    await this.page.getByText(text).filter({visible: true}).first().waitFor()
  }

  async shot(name, options = {}) {
    if (screenshots) await this.page.screenshot({path: join(screenshots, `${name}.png`), ...options})
  }

  async dialog(fill, button) {
    const dialog = this.page.locator('dialog')
    for (const [label, value] of Object.entries(fill)) await dialog.getByLabel(new RegExp(`^${label}`)).fill(value)
    await dialog.getByRole('button', {name: button, exact: true}).click()
    await dialog.waitFor({state: 'detached'})
  }

  async messages(name) {
    return (await this.broker.get(queue(name))).messages
  }

  async 'a wrong password is refused, the right one opens the page'() {
    await this.page.goto(this.broker.page)
    await this.page.getByLabel('User').fill('guest')
    await this.page.getByLabel('Password').fill('wrong')
    await this.page.getByRole('button', {name: 'Log in'}).click()
    await this.sees('the password is another')
    // The browser itself writes that an answer was 401.
    await until('the complaint', () => this.errors.length > 0)
    assert.match(this.errors.splice(0).join(), /401/)
    await this.page.getByLabel('Password').fill('guest')
    await this.page.keyboard.press('Enter')
    await this.sees('Longest queues')
  }

  async 'the overview has numbers, rates and charts'() {
    await until('a rate', async () => ((await this.broker.get('overview')).message_stats.publish_details?.rate ?? 0) > 0)
    await until('a rate on the page', async () => /[1-9]/.test(await this.page.locator('.tile', {hasText: 'Publish'}).innerText()))
    // Lines need some points.
    await until('a line', async () => /L/.test((await this.page.locator('.chart path.line').first().getAttribute('d').catch(() => '')) ?? ''))
    for (const text of ['Queued messages', 'Messages per second', 'Memory', 'Longest queues', 'leveret@']) await this.sees(text)
  }

  async 'every page shows its things without a complaint'() {
    const shows = {
      queues: 'orders.billing', streams: '7D', exchanges: 'audit.in', topology: 'payments.capture', deadletters: 'dead.orders', connections: 'billing', channels: 'confirms',
      policies: 'short-lost', users: 'ops', vhosts: 'for trying things out', overview: 'Ready', journal: 'enqueued',
    }
    for (const page of PAGES) {
      await this.go(page)
      await this.sees(shows[page])
    }
  }

  async 'a hostile name is a name and nothing else'() {
    await this.go('queues')
    await this.sees(HOSTILE)
    await this.go('queues', '/', HOSTILE)
    assert.equal(await this.page.locator('h1').innerText(), HOSTILE)
    await this.go('topology')
    await this.sees('<img src=x')
    assert.equal(await this.page.evaluate(() => window.harmed), undefined)
    assert.equal(await this.page.locator('main img').count(), 0)
  }

  async 'lists are filtered and sorted'() {
    await this.go('queues')
    await this.page.locator('.filter').fill('orders.')
    await until('the filter', async () => (await this.page.locator('tbody tr').count()) === 3)
    await this.page.getByRole('button', {name: 'Name', exact: true}).click()
    await until('the order', async () => (await this.page.locator('tbody tr a').first().innerText()) === 'orders.new')
    await this.page.locator('.filter').fill('nothing like it')
    await this.sees('Nothing matches')
  }

  async 'channels, exchanges and queues say with whom they have to do'() {
    const row = (title, other) => this.page.locator('.panel', {hasText: title}).locator('tr', {hasText: other}).first().waitFor()
    await this.go('queues', '/', 'orders.billing')
    await row('Comes from', 'orders')
    await row('Goes to', '(1)')
    await this.shot('breakdown-of-a-queue', {fullPage: true})
    await this.page.locator('.panel', {hasText: 'Goes to'}).getByRole('link').first().click()
    await row('Is given from', 'orders.billing')
    await this.shot('breakdown-of-a-channel', {fullPage: true})
    await this.go('exchanges', '/', 'orders')
    await row('Published by', '127.0.0.1')
    await row('Routed to', 'orders.billing')
  }

  async 'a message is published, looked at without a trace, and got'() {
    await this.broker.put('queues/%2F/walk', {durable: true})
    await this.go('queues', '/', 'walk')
    await this.page.getByText('Publish', {exact: true}).first().click()
    await this.page.getByLabel('Body').fill('{"greeting": "hello"}')
    await this.page.getByLabel('Headers').fill('{"tenant": "a"}')
    await this.page.getByRole('button', {name: 'Publish'}).click()
    await this.sees('Published.')
    assert.equal(await this.messages('walk'), 1)
    for (let twice = 0; twice < 2; twice += 1) {
      await this.page.getByRole('button', {name: 'Peek'}).click()
      await this.sees('"greeting": "hello"')
    }
    await this.page.getByText('Properties and headers').click()
    await this.sees('tenant')
    assert.equal(await this.page.locator('.message .badge', {hasText: 'redelivered'}).count(), 0)
    const [seen] = (await this.broker.get('leveret/queues/%2F/walk/peek')).messages
    assert.deepEqual([seen.redelivered, seen.payload], [false, '{"greeting": "hello"}'])
    await this.page.locator('summary', {hasText: 'Get'}).click()
    await this.page.getByRole('button', {name: 'Get', exact: true}).click()
    await this.page.locator('.message').nth(1).waitFor()
    assert.equal(await this.messages('walk'), 1)
  }

  async 'messages move to another queue'() {
    await this.broker.put('queues/%2F/walk.to', {durable: true})
    await this.page.getByRole('button', {name: 'Move…'}).click()
    await this.dialog({'To the queue': 'walk.to'}, 'Move')
    await this.sees('1 moved')
    assert.deepEqual([await this.messages('walk'), await this.messages('walk.to')], [0, 1])
  }

  async 'a queue is purged and deleted after a question'() {
    await this.go('queues', '/', 'walk.to')
    await this.page.getByRole('button', {name: 'Purge…'}).click()
    await this.dialog({}, 'Purge')
    assert.equal(await this.messages('walk.to'), 0)
    await this.page.getByRole('button', {name: 'Delete…'}).click()
    await this.dialog({}, 'Delete')
    await until('the list', () => this.page.url().endsWith('#/queues'))
    await assert.rejects(this.messages('walk.to'), /404/)
  }

  async 'things are declared, bound and deleted'() {
    await this.go('queues')
    await this.page.getByRole('button', {name: 'Declare a queue…'}).click()
    await this.dialog({Name: 'made', 'Most messages': '10'}, 'Declare')
    await this.sees('Nobody consumes from it.')
    assert.equal((await this.broker.get(queue('made'))).arguments['x-max-length'], 10)
    await this.page.getByRole('button', {name: 'Bind…'}).click()
    await this.dialog({'From the exchange': 'orders', 'Routing key': 'made.#'}, 'Bind')
    await this.page.locator('td code', {hasText: 'made.#'}).waitFor()
    await this.page.getByRole('button', {name: 'Unbind'}).click()
    await this.dialog({}, 'Unbind')
    await this.page.locator('td code', {hasText: 'made.#'}).waitFor({state: 'detached'})
    await this.go('policies')
    await this.page.getByRole('button', {name: 'Add…'}).first().click()
    await this.dialog({Name: 'made', Pattern: '^made', Sets: '{"max-length": 7}'}, 'Add')
    await this.sees('max-length: 7')
    await this.go('users')
    await this.page.getByRole('button', {name: 'Add a user…'}).click()
    await this.dialog({Name: 'made', Password: 'secret', Tags: 'management'}, 'Add')
    await this.page.getByRole('button', {name: 'Set…'}).click()
    await this.dialog({Configure: '^made'}, 'Set')
    await this.page.locator('td code', {hasText: '^made'}).waitFor()
    await this.go('vhosts')
    await this.page.getByRole('button', {name: 'Add a virtual host…'}).click()
    await this.dialog({Name: 'made'}, 'Add')
    await this.page.locator('td', {hasText: 'made'}).first().waitFor()
    await this.go('exchanges')
    await this.page.getByRole('button', {name: 'Declare an exchange…'}).click()
    await this.dialog({Name: 'made'}, 'Declare')
    await this.page.getByRole('button', {name: 'Delete…'}).click()
    await this.dialog({}, 'Delete')
  }

  async 'what is wrong in a form is said there'() {
    await this.go('queues')
    await this.page.getByRole('button', {name: 'Declare a queue…'}).click()
    const dialog = this.page.locator('dialog')
    await dialog.getByLabel('Name').fill('wrong')
    await dialog.getByLabel('More arguments').fill('{')
    await dialog.getByRole('button', {name: 'Declare', exact: true}).click()
    await dialog.getByText('is not JSON').waitFor()
    await this.page.keyboard.press('Escape')
    await dialog.waitFor({state: 'detached'})
  }

  async 'the topology brings out neighbours and can be filtered'() {
    await this.go('topology')
    const box = (name) => this.page.locator('.box', {has: this.page.locator('text', {hasText: new RegExp(`^${name}$`)})})
    await box('payments.capture').hover()
    await until('neighbours', async () => (await this.page.locator('.box.dim').count()) > 3)
    assert.equal(await this.page.locator('.box.exchange[aria-label="exchange payments"]').evaluate((one) => one.classList.contains('dim')), false)
    assert.ok((await this.page.locator('.edge.dead-letter').count()) >= 4)
    assert.ok((await this.page.locator('.edge.alternate').count()) >= 1)
    assert.match(await this.page.locator('.edge text').allTextContents().then((all) => all.join('\n')), /\/s/)
    await this.page.mouse.move(5, 500)
    await this.page.locator('.filter').fill('payments.retry')
    await until('the filter', async () => (await box('emails').count()) === 0)
    await box('payments.retry').click()
    await until('the queue', () => this.page.url().includes('payments.retry'))
  }

  async 'a thousand queues are drawn as a few'() {
    for (let n = 0; n < 1000; n += 50) {
      await Promise.all(Array.from({length: 50}, async (_, k) => {
        await this.broker.put(`queues/staging/device.${n + k}`, {durable: true})
        await this.broker.post(`bindings/staging/e/amq.topic/q/device.${n + k}`, {routing_key: `device.${n + k}.#`})
      }))
    }
    await this.go('topology')
    await this.page.getByLabel('Virtual host').selectOption('staging')
    await this.page.locator('.box.group', {hasText: '1,000 queues'}).waitFor()
    assert.ok((await this.page.locator('.box').count()) < 10)
    await this.shot('topology-1000')
    await this.go('queues')
    await this.sees('page 1 of 20')
    await this.page.getByRole('button', {name: '›'}).click()
    await this.sees('page 2 of 20')
    await this.page.getByLabel('Virtual host').selectOption('')
    await this.broker.ask('DELETE', 'vhosts/staging')
  }

  async 'keys alone go everywhere'() {
    await this.go('overview')
    const press = async (...keys) => {
      for (const key of keys) await this.page.keyboard.press(key)
    }
    await press('g', 'q')
    await this.page.locator('h1', {hasText: 'Queues'}).waitFor()
    await this.page.locator('tbody tr').first().waitFor()
    await press('/')
    await this.page.keyboard.type('orders')
    await until('the filter', async () => (await this.page.locator('tbody tr').count()) === 4)
    await press('Escape', 'j', 'j', 'k', 'j', 'Enter')
    await this.page.locator('h1', {hasText: 'orders.billing'}).waitFor()
    await press('Escape')
    await this.page.locator('h1', {hasText: 'Queues'}).waitFor()
    await press('?')
    await this.sees('next row')
    await press('Escape', 'g', 't')
    await this.page.locator('h1', {hasText: 'Topology'}).waitFor()
  }

  async 'asking again can be paused'() {
    await this.go('overview')
    await this.page.getByRole('button', {name: 'Pause'}).click()
    await this.page.locator('.status.paused').waitFor()
    const asked = []
    const listen = (request) => asked.push(request.url())
    this.page.on('request', listen)
    // Longer than the interval.
    await new Promise((resolve) => setTimeout(resolve, 6000))
    assert.deepEqual(asked, [])
    await this.page.getByRole('button', {name: 'Go on'}).click()
    await until('a request', () => asked.length > 0)
    this.page.off('request', listen)
  }

  async 'screenshots in light, dark and on a phone'() {
    const shots = [
      ['overview-light', ['overview'], 1280, 'light'], ['overview-dark', ['overview'], 1280, 'dark'], ['overview-phone', ['overview'], 390, 'light'],
      ['queues-light', ['queues'], 1280, 'light'], ['queues-phone', ['queues'], 390, 'dark'], ['queue-dark', ['queues', '/', 'dead.orders'], 1280, 'dark'],
      ['queue-phone', ['queues', '/', 'orders.billing'], 390, 'light'], ['topology-light', ['topology'], 1280, 'light'], ['topology-dark', ['topology'], 1280, 'dark'],
      ['topology-phone', ['topology'], 390, 'light'], ['deadletters-light', ['deadletters'], 1280, 'light'], ['deadletters-phone', ['deadletters'], 390, 'dark'],
      ['connections-light', ['connections'], 1280, 'light'], ['exchange-light', ['exchanges', '/', 'orders'], 1280, 'light'], ['users-dark', ['users'], 1280, 'dark'],
      ['policies-light', ['policies'], 1280, 'light'], ['streams-light', ['streams'], 1280, 'light'], ['channels-dark', ['channels'], 1280, 'dark'],
    ]
    for (const [name, parts, width, scheme] of shots) {
      await this.page.setViewportSize({width, height: width < 600 ? 844 : 800})
      await this.page.emulateMedia({colorScheme: scheme})
      await this.go(...parts)
      await this.page.locator('main table tbody tr, .tile, .box').first().waitFor()
      const overflow = await this.page.evaluate(() => document.documentElement.scrollWidth - innerWidth)
      assert.ok(overflow <= 0, `${name} is ${overflow} px too wide`)
      const style = await this.page.evaluate(() => getComputedStyle(document.body).backgroundColor)
      assert.equal(style, scheme === 'dark' ? 'rgb(18, 22, 20)' : 'rgb(245, 246, 244)')
      if (name === 'queue-dark') {
        await this.page.getByRole('button', {name: 'Peek'}).click()
        await this.page.locator('.message').first().waitFor()
        await this.page.evaluate(() => document.querySelector('.messages').closest('.panel').scrollIntoView())
        await this.page.evaluate(() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn))))
      }
      await this.shot(name)
    }
    await this.page.setViewportSize({width: 1280, height: 800})
    await this.page.emulateMedia({colorScheme: 'light'})
  }

  async 'dead letters are grouped and go back to where they died'(traffic) {
    await traffic.stop()
    await until('the last message to expire', async () => (await this.messages('emails')) === 0)
    await this.go('deadletters')
    const group = this.page.locator('tr', {hasText: 'rejected'}).filter({hasText: 'orders.billing'})
    await group.waitFor()
    const counted = Number((await group.locator('.number').innerText()).replace(/\D/g, ''))
    assert.ok(counted > 0)
    const before = [await this.messages('orders.billing'), await this.messages('dead.orders')]
    await group.getByRole('button', {name: 'Redrive…'}).click()
    await this.dialog({'How many': '2'}, 'Redrive')
    await this.sees('2 moved')
    const after = [await this.messages('orders.billing'), await this.messages('dead.orders')]
    assert.deepEqual(after, [before[0] + 2, before[1] - 2])
  }

  async 'what has become of a message is told as a story'() {
    const message = {routing_key: 'made.story', properties: {message_id: 'told-1'}, payload: 'told', payload_encoding: 'string'}
    await this.broker.put('queues/%2F/made.story', {durable: true})
    await this.broker.post('exchanges/%2F/amq.default/publish', message)
    await this.go('journal')
    await this.page.locator('.filter').fill('told-1')
    await until('the filter', async () => (await this.page.locator('tbody tr').count()) === 4)
    await this.page.locator('tbody tr').first().getByRole('link').click()
    await this.sees('enqueued in "made.story"')
    await this.sees(/^published by internal channel \d+ to the default exchange with key "made.story"$/)
    await this.shot('journal-light')
  }

  async 'who may little is shown little, and logging out forgets'() {
    await this.page.getByRole('button', {name: 'Log out'}).click()
    await this.page.getByLabel('User').fill('made')
    await this.page.getByLabel('Password').fill('secret')
    await this.page.getByRole('button', {name: 'Log in'}).click()
    await this.page.locator('.user', {hasText: 'made'}).waitFor()
    for (const page of PAGES.filter((page) => !['users', 'vhosts', 'journal'].includes(page))) await this.go(page)
    assert.equal(await this.page.getByRole('link', {name: 'Users'}).count(), 0)
    assert.equal(await this.page.evaluate(() => document.cookie), '')
    await this.page.getByRole('button', {name: 'Log out'}).click()
    assert.equal(await this.page.evaluate(() => Object.keys(sessionStorage).length), 0)
  }

  async 'nothing complained, nothing came from elsewhere'() {
    assert.deepEqual(this.errors, [])
    assert.deepEqual(this.elsewhere, [])
  }
}

main()

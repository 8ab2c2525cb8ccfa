// amqplib's callback API, as programs from before promises use it.
'use strict'

const assert = require('node:assert/strict')
const amqp = require('amqplib/callback_api')
const {URL, names, unique, check, run} = require('./checks')

// A check written with callbacks: done(error) ends it, and must(callback) hands errors of calls and callbacks to done.
function checkWith(description, work) {
  check(description, () => {
    let connection
    return new Promise((resolve, reject) => {
      const done = (error) => (error ? reject(error) : resolve())
      const must = (callback) => (error, ...results) => {
        if (error) return reject(error)
        try {
          callback(...results)
        } catch (failure) {
          reject(failure)
        }
      }
      amqp.connect(URL, must((opened) => {
        connection = opened
        connection.on('error', () => {})
        work({connection, done, must})
      }))
    }).finally(() => connection?.close(() => {}))
  })
}

// A callback whose failures go to done.
const guarded = (done, callback) => (argument) => {
  try {
    callback(argument)
  } catch (failure) {
    done(failure)
  }
}

checkWith('publish, consume, ack and nack: in order, requeued in place, redelivered', ({connection, done, must}) => {
  connection.createChannel(must((channel) => {
    channel.assertQueue('', {exclusive: true}, must(({queue}) => {
      const seen = []
      channel.prefetch(3)
      for (const body of ['1', '2', '3']) channel.sendToQueue(queue, Buffer.from(body))
      channel.consume(queue, guarded(done, (message) => {
        seen.push(`${message.content} ${message.fields.redelivered}`)
        if (seen.length === 3) {
          channel.ack({fields: {deliveryTag: 1}})
          channel.nack(message, true, true)
        }
        if (seen.length === 5) {
          assert.deepEqual(seen, ['1 false', '2 false', '3 false', '2 true', '3 true'])
          channel.ackAll()
          done()
        }
      }))
    }))
  }))
})

checkWith('publisher confirms: a callback for each publish, errors for nacked ones, a return before its ack', ({connection, done, must}) => {
  connection.createConfirmChannel(must((channel) => {
    const queue = unique('full')
    const events = []
    channel.on('return', (message) => events.push(`returned ${message.content}`))
    channel.assertQueue(queue, {durable: true, maxLength: 1, overflow: 'reject-publish'}, must(() => {
      channel.publish('', 'nowhere', Buffer.from('lost'), {mandatory: true}, (error) => events.push(error ? 'nacked' : 'acked'))
      channel.sendToQueue(queue, Buffer.from('fits'), {}, (error) => events.push(error ? 'nacked' : 'acked'))
      channel.waitForConfirms(must(() => {
        channel.sendToQueue(queue, Buffer.from('too many'), {}, (error) => {
          events.push(error ? 'nacked' : 'acked')
          channel.deleteQueue(queue, {}, must(() => {
            assert.deepEqual(events, ['returned lost', 'acked', 'acked', 'nacked'])
            done()
          }))
        })
      }))
    }))
  }))
})

checkWith('fan-out: an exchange, three queues, a consumer on each', ({connection, done, must}) => {
  connection.createChannel(must((channel) => {
    const exchange = unique('fanout')
    let consuming = 0
    const got = new Set()
    channel.assertExchange(exchange, 'fanout', {durable: false, autoDelete: true}, must(() => {
      for (let n = 0; n < 3; n++) {
        channel.assertQueue('', {exclusive: true}, must(({queue}) => {
          channel.bindQueue(queue, exchange, '', {}, must(() => {
            channel.consume(queue, guarded(done, (message) => {
              assert.equal(String(message.content), 'news')
              got.add(queue)
              if (got.size === 3) done()
            }), {noAck: true}, must(() => {
              if (++consuming === 3) channel.publish(exchange, '', Buffer.from('news'))
            }))
          }))
        }))
      }
    }))
  }))
})

checkWith('RPC over direct reply-to', ({connection, done, must}) => {
  connection.createChannel(must((channel) => {
    channel.assertQueue('', {exclusive: true}, must(({queue}) => {
      channel.consume(queue, (call) => {
        channel.sendToQueue(call.properties.replyTo, call.content.reverse(), {correlationId: call.properties.correlationId})
        channel.ack(call)
      })
      channel.consume('amq.rabbitmq.reply-to', guarded(done, (reply) => {
        assert.deepEqual([reply.properties.correlationId, String(reply.content)], ['42', 'cba'])
        done()
      }), {noAck: true}, must(() => {
        channel.sendToQueue(queue, Buffer.from('abc'), {replyTo: 'amq.rabbitmq.reply-to', correlationId: '42'})
      }))
    }))
  }))
})

checkWith('404 reaches the callback and the error event of the channel, and not the connection', ({connection, done, must}) => {
  connection.createChannel(must((channel) => {
    let answered = false
    channel.on('error', guarded(done, (error) => {
      assert.equal(error.code, 404)
      assert.ok(answered)
      connection.createChannel(must((other) => other.assertQueue('', {exclusive: true}, must(() => done()))))
    }))
    channel.checkQueue('interop.missing', guarded(done, (error) => {
      assert.match(error.message, /404 \(NOT-FOUND\).*NOT_FOUND - no queue 'interop.missing' in vhost '\/'/)
      answered = true
    }))
  }))
})

check('a wrong password reaches the callback of connect', () => new Promise((resolve, reject) => {
  amqp.connect(URL.replace('guest:guest', 'guest:wrong'), (error) => {
    if (/403 \(ACCESS-REFUSED\)/.test(error)) resolve()
    else reject(error ?? new Error('it was let in'))
  })
}))

checkWith('deleting a queue cancels its consumer, which gets null', ({connection, done, must}) => {
  connection.createChannel(must((channel) => {
    const queue = unique('queue')
    channel.assertQueue(queue, {durable: true}, must(() => {
      channel.consume(queue, (message) => done(message === null ? undefined : new Error('a message')), {}, must(() => {
        channel.deleteQueue(queue)
      }))
    }))
  }))
})

checkWith('a rejected message comes back out of a queue with a TTL, and its deaths are counted', ({connection, done, must}) => {
  connection.createChannel(must((channel) => {
    const [work, wait] = [unique('work'), unique('wait')]
    const to = (queue) => ({exclusive: true, deadLetterExchange: '', deadLetterRoutingKey: queue})
    channel.assertQueue(wait, {...to(work), messageTtl: 20})
    channel.assertQueue(work, to(wait), must(() => {
      const counts = []
      channel.consume(work, guarded(done, (message) => {
        counts.push((message.properties.headers['x-death'] ?? []).map(({reason, count}) => `${reason} ${count}`))
        if (counts.length < 3) return channel.nack(message, false, false)
        channel.ack(message)
        assert.deepEqual(counts, [[], ['expired 1', 'rejected 1'], ['expired 2', 'rejected 2']])
        done()
      }))
      channel.sendToQueue(work, Buffer.from('job'))
    }))
  }))
})

checkWith('nothing is left behind', ({connection, done, must}) => {
  const missing = [...names]
  const next = () => {
    const name = missing.pop()
    if (!name) return done()
    connection.createChannel(must((channel) => {
      channel.on('error', () => {})
      channel.checkQueue(name, (error) => {
        if (error?.code !== 404) return done(error ?? new Error(`${name} is there`))
        connection.createChannel(must((other) => {
          other.on('error', () => {})
          other.checkExchange(name, (failure) => (failure?.code === 404 ? next() : done(failure ?? new Error(`${name} is there`))))
        }))
      })
    }))
  }
  next()
})

run('amqplib (callbacks)', 'amqplib')

// How long a broker of one's own takes: start, declare, publish, consume, stop, with amqplib. Prints the median of 20.
import amqplib from 'amqplib'
import {startLeveret} from 'leveret'

const RUNS = 20

async function run() {
  const begin = performance.now()
  const broker = await startLeveret()
  const started = performance.now()
  // Without noDelay a small frame may wait 40 ms for the answer to the one before it.
  const connection = await amqplib.connect(broker.amqpUrl, {noDelay: true})
  const channel = await connection.createChannel()
  await channel.assertQueue('q')
  const carrot = new Promise((resolve) => channel.consume('q', resolve, {noAck: true}))
  channel.sendToQueue('q', Buffer.from('carrot'))
  await carrot
  await connection.close()
  const used = performance.now()
  await broker.stop()
  const stopped = performance.now()
  return [started - begin, used - started, stopped - used, stopped - begin]
}

const runs = []
for (let count = 0; count < RUNS; count++) runs.push(await run())
const median = (step) => runs.map((times) => times[step]).sort((a, b) => a - b)[RUNS / 2].toFixed(1)
console.log(`median of ${RUNS}: start ${median(0)} ms, use ${median(1)} ms, stop ${median(2)} ms, all ${median(3)} ms`)

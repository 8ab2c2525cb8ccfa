#!/usr/bin/env python3
"""How long a broker of one's own takes: start, declare, publish, consume, stop, with pika. Prints the median of 20."""

import statistics
import time

import pika
from leveret import Leveret

RUNS = 20


def milliseconds_of_steps():
    times = [time.perf_counter()]
    broker = Leveret()
    times.append(time.perf_counter())
    connection = pika.BlockingConnection(pika.URLParameters(broker.amqp_url))
    channel = connection.channel()
    channel.queue_declare("q")
    channel.basic_publish("", "q", b"carrot")
    for _, _, body in channel.consume("q", auto_ack=True):
        assert body == b"carrot"
        break
    connection.close()
    times.append(time.perf_counter())
    broker.stop()
    times.append(time.perf_counter())
    return [1000 * (end - start) for start, end in zip(times, times[1:])] + [1000 * (times[-1] - times[0])]


def main():
    runs = [milliseconds_of_steps() for _ in range(RUNS)]
    medians = [statistics.median(step) for step in zip(*runs)]
    print("median of {}: start {:.1f} ms, use {:.1f} ms, stop {:.1f} ms, all {:.1f} ms".format(RUNS, *medians))


if __name__ == "__main__":
    main()

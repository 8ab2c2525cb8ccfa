"""aio-pika: asyncio, with publisher confirms on unless told otherwise, and connections that mend themselves."""

import asyncio
import contextlib
from importlib.metadata import version

import aio_pika
import aiormq
from aio_pika import DeliveryMode, ExchangeType, Message
from aio_pika.patterns import RPC

from checks import (BODY_1_MIB, HEADERS, HOST, PORT, QUIET_S, URL, WAIT_S, WHEN, check, equal, names, raises_async, run,
                    same_headers, unique)


@contextlib.asynccontextmanager
async def channel(**options):
    async with await aio_pika.connect(URL) as connection:
        yield await connection.channel(**options)


@contextlib.asynccontextmanager
async def shared_queue(on, **arguments):
    """A durable queue that outlives connections, and is deleted on the way out."""
    name = unique("queue")
    await on.declare_queue(name, durable=True, arguments=arguments)
    try:
        yield await on.get_queue(name)
    finally:
        async with channel() as other:
            await other.queue_delete(name)


async def publish(on, key, *bodies):
    for body in bodies:
        await on.default_exchange.publish(Message(body), key)


async def drain(queue):
    bodies = []
    while message := await queue.get(no_ack=True, fail=False):
        bodies.append(message.body)
    return bodies


class Inbox(asyncio.Queue):
    """What a consumer got."""

    async def consume(self, queue, **options):
        self.tag = await queue.consume(self.put, **options)
        return self

    async def take(self, count):
        return [await asyncio.wait_for(self.get(), WAIT_S) for _ in range(count)]

    async def stays_empty(self):
        await asyncio.sleep(QUIET_S)
        equal(self.qsize(), 0)


class Cable:
    """A relay between a program and the broker that can be cut."""

    async def __aenter__(self):
        self.writers = []
        self.server = await asyncio.start_server(self.carry, "127.0.0.1", 0)
        self.url = f"amqp://guest:guest@127.0.0.1:{self.server.sockets[0].getsockname()[1]}/%2F"
        return self

    async def __aexit__(self, *_):
        self.cut()
        self.server.close()

    async def carry(self, reader, writer):
        broker_reader, broker_writer = await asyncio.open_connection(HOST, PORT)
        self.writers += [writer, broker_writer]
        await asyncio.gather(self.copy(reader, broker_writer), self.copy(broker_reader, writer))

    async def copy(self, reader, writer):
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
        writer.close()

    def cut(self):
        """Ends the connections without a word of AMQP to either side."""
        for writer in self.writers:
            writer.transport.abort()
        self.writers.clear()


@check("publish, consume, ack, nack and requeue: in order, requeued in place, redelivered")
async def consume_and_requeue():
    async with channel() as on, shared_queue(on) as queue:
        await publish(on, queue.name, b"1", b"2", b"3", b"4")
        first, second, third = [await queue.get() for _ in range(3)]
        equal([(m.body, m.redelivered) for m in [first, second, third]], [(b"1", False), (b"2", False), (b"3", False)])
        await third.nack(requeue=True)
        await second.ack()
        await first.reject(requeue=True)
        inbox = await Inbox().consume(queue)
        messages = await inbox.take(3)
        equal([(m.body, m.redelivered) for m in messages], [(b"1", True), (b"3", True), (b"4", False)])
        await messages[-1].ack(multiple=True)
        await queue.cancel(inbox.tag)
        equal(await drain(queue), [])


@check("reject without requeue discards")
async def reject():
    async with channel() as on:
        queue = await on.declare_queue(exclusive=True)
        await publish(on, queue.name, b"bad", b"good")
        await (await queue.get()).reject()
        equal(await drain(queue), [b"good"])


@check("publisher confirms: awaited, returned if mandatory and unroutable, nacked by a full queue")
async def confirms():
    async with channel() as on, shared_queue(on, **{"x-max-length": 1, "x-overflow": "reject-publish"}) as queue:
        confirmed = await on.default_exchange.publish(Message(b"fits"), queue.name)
        equal(type(confirmed).__name__, "Ack")
        await raises_async(aio_pika.exceptions.DeliveryError, on.default_exchange.publish(Message(b"too many"), queue.name))
        returned = await on.default_exchange.publish(Message(b"lost"), "nowhere", mandatory=True)
        equal((returned.delivery.reply_code, returned.delivery.reply_text, returned.body), (312, "NO_ROUTE", b"lost"))
        equal(type(await on.default_exchange.publish(Message(b""), "nowhere", mandatory=False)).__name__, "Ack")
    async with channel(on_return_raises=True) as on:
        await raises_async(aio_pika.exceptions.PublishError, on.default_exchange.publish(Message(b"lost"), "nowhere"))


@check("a thousand publishes at once are all confirmed, and arrive in order")
async def many_confirms():
    async with channel() as on:
        queue = await on.declare_queue(exclusive=True)
        sent = [str(n).encode() for n in range(1000)]
        await asyncio.gather(*(on.default_exchange.publish(Message(body), queue.name) for body in sent))
        equal(await drain(queue), sent)


@check("fan-out: fanout, topic, direct and headers exchanges with several queues")
async def fan_out():
    async with channel() as on:

        async def exchange(kind):
            return await on.declare_exchange(unique(kind.value), kind, auto_delete=True)

        async def bound(to, key="", **arguments):
            queue = await on.declare_queue(exclusive=True)
            await queue.bind(to, key, arguments=arguments)
            return queue

        fanout = await exchange(ExchangeType.FANOUT)
        everyone = [await bound(fanout) for _ in range(3)]
        await fanout.publish(Message(b"news"), "")
        equal([await drain(queue) for queue in everyone], [[b"news"]] * 3)

        topic = await exchange(ExchangeType.TOPIC)
        errors, disk = await bound(topic, "*.error"), await bound(topic, "disk.#")
        for key in ["disk.error", "disk", "net.error"]:
            await topic.publish(Message(key.encode()), key, mandatory=False)
        equal([await drain(errors), await drain(disk)], [[b"disk.error", b"net.error"], [b"disk.error", b"disk"]])

        headers = await exchange(ExchangeType.HEADERS)
        every, some = [await bound(headers, **{"x-match": match, "a": 1, "b": "two"}) for match in ["all", "any"]]
        await headers.publish(Message(b"both", headers={"a": 1, "b": "two"}), "")
        await headers.publish(Message(b"one", headers={"a": 1}), "")
        equal([await drain(every), await drain(some)], [[b"both"], [b"both", b"one"]])

        direct = await exchange(ExchangeType.DIRECT)
        await fanout.bind(direct, "copy")
        await direct.publish(Message(b"forwarded"), "copy")
        equal([await drain(queue) for queue in everyone], [[b"forwarded"]] * 3)


@check("load balancing: two consumers with prefetch 1 share a queue, each holding one message")
async def load_balancing():
    async with channel() as first, channel() as second, shared_queue(first) as queue:
        inboxes = []
        for on in [first, second]:
            await on.set_qos(prefetch_count=1)
            inboxes.append(await Inbox().consume(await on.get_queue(queue.name)))
        await publish(first, queue.name, *(str(n).encode() for n in range(10)))
        done = []
        for _ in range(5):
            for inbox in inboxes:
                [message] = await inbox.take(1)
                await inbox.stays_empty()
                await message.ack()
                done.append(message.body)
        equal(sorted(done), [str(n).encode() for n in range(10)])


@check("RPC with aio-pika's own pattern, also for a call that fails")
async def rpc_pattern():
    async with channel() as client_channel, channel() as server_channel:
        server, client = await RPC.create(server_channel), await RPC.create(client_channel)
        method = unique("method")

        async def divide(*, a, b):
            return a / b

        await server.register(method, divide, auto_delete=True)
        equal(await asyncio.wait_for(client.call(method, {"a": 6, "b": 3}), WAIT_S), 2.0)
        await raises_async(ZeroDivisionError, client.call(method, {"a": 6, "b": 0}))
        await raises_async(aio_pika.exceptions.MessageProcessError, client.call("interop.missing"))
        await server.unregister(divide)
        await asyncio.gather(server.close(), client.close())


@check("RPC over an exclusive server-named queue and over direct reply-to")
async def rpc():
    async with channel() as server, channel() as client:
        requests = await server.declare_queue(exclusive=True)

        async def answer(message):
            async with message.process():
                reply = Message(message.body.upper(), correlation_id=message.correlation_id)
                await server.default_exchange.publish(reply, message.reply_to)

        await requests.consume(answer)
        private = await client.declare_queue(exclusive=True)
        for replies in [private, await client.get_queue("amq.rabbitmq.reply-to", ensure=False)]:
            inbox = await Inbox().consume(replies, no_ack=True)
            request = Message(b"question", reply_to=replies.name, correlation_id="42")
            await client.default_exchange.publish(request, requests.name)
            [reply] = await inbox.take(1)
            equal((reply.body, reply.correlation_id), (b"QUESTION", "42"))


@check("connection loss: what was not acked comes back redelivered, in order, on a new connection")
async def connection_loss():
    async with Cable() as cable, channel() as keeper, shared_queue(keeper) as queue:
        lost = await aio_pika.connect(cable.url)
        on = await lost.channel()
        await on.set_qos(prefetch_count=2)
        await publish(on, queue.name, b"1", b"2", b"3")
        inbox = await Inbox().consume(await on.get_queue(queue.name))
        await inbox.take(2)
        closed = asyncio.get_running_loop().create_future()
        lost.close_callbacks.add(lambda _, error: closed.set_result(error))
        cable.cut()
        assert isinstance(await asyncio.wait_for(closed, WAIT_S), ConnectionError)

        # A consumer that is there before the broker has noticed would get the third message first.
        async with asyncio.timeout(WAIT_S):
            while (await keeper.declare_queue(queue.name, passive=True)).declaration_result.message_count < 3:
                pass
        messages = await (await Inbox().consume(queue)).take(3)
        equal([(m.body, m.redelivered) for m in messages], [(b"1", True), (b"2", True), (b"3", False)])


@check("connect_robust: after a cut, the exclusive queue, its binding and its consumer are back by themselves")
async def robust():
    async with Cable() as cable, await aio_pika.connect_robust(cable.url, reconnect_interval=0.1) as connection:
        on = await connection.channel()
        exchange = await on.declare_exchange(unique("robust"), ExchangeType.FANOUT, auto_delete=True)
        queue = await on.declare_queue(unique("robust"), exclusive=True)
        await queue.bind(exchange)
        inbox = await Inbox().consume(queue, no_ack=True)
        back = asyncio.Event()
        connection.reconnect_callbacks.add(lambda _: back.set())
        cable.cut()
        await asyncio.wait_for(back.wait(), WAIT_S)
        await exchange.publish(Message(b"after the cut"), "")
        equal([m.body for m in await inbox.take(1)], [b"after the cut"])


@check("404, 406, 403 and 405 raise the exceptions of their names and close only the channel")
async def channel_errors():
    exceptions = aiormq.exceptions
    async with await aio_pika.connect(URL) as connection, channel() as stranger:
        name = (await (await connection.channel()).declare_queue(unique("exclusive"), exclusive=True)).name
        for kind, action in [
            (exceptions.ChannelNotFoundEntity, lambda on: on.declare_queue("interop.missing", passive=True)),
            (exceptions.ChannelNotFoundEntity, lambda on: on.declare_exchange("interop.missing", passive=True)),
            (exceptions.ChannelNotFoundEntity, lambda on: publish_to_missing(on)),
            (exceptions.ChannelPreconditionFailed, lambda on: on.declare_queue(name, exclusive=True, arguments={"x-max-length": 1})),
            (exceptions.ChannelAccessRefused, lambda on: on.declare_queue("amq.interop", durable=True)),
            (exceptions.ChannelAccessRefused, lambda on: on.declare_exchange("amq.interop")),
        ]:
            on = await connection.channel()
            await raises_async(kind, action(on))
            assert on.is_closed and not connection.is_closed
        await raises_async(exceptions.ChannelLockedResource, stranger.declare_queue(name, passive=True))


async def publish_to_missing(on):
    exchange = await on.get_exchange("interop.missing", ensure=False)
    await exchange.publish(Message(b""), "")


@check("a wrong password and an unknown vhost are refused")
async def refused():
    url = URL.replace("guest:guest", "guest:wrong")
    await raises_async(aiormq.exceptions.ProbableAuthenticationError, aio_pika.connect(url))
    url = URL.replace("%2F", "interop.missing")
    # aiormq shows the close it got instead of open-ok as it is, without the server's text.
    error = await raises_async(aiormq.exceptions.InvalidFrameError, aio_pika.connect(url))
    assert "Connection.Close" in str(error), error


@check("a 1 MiB body with every property and a header of every field type comes back as it was")
async def large_body():
    properties = dict(
        content_type="application/octet-stream", content_encoding="identity", delivery_mode=DeliveryMode.PERSISTENT, priority=9,
        correlation_id="correlation", reply_to="reply", expiration=60, message_id="id", timestamp=WHEN, type="type",
        user_id="guest", app_id="interop",
    )
    async with channel() as on:
        queue = await on.declare_queue(exclusive=True)
        await on.default_exchange.publish(Message(BODY_1_MIB, headers=HEADERS, **properties), queue.name)
        received = await queue.get(no_ack=True)
        assert received.body == BODY_1_MIB
        same_headers(received.headers, HEADERS)
        equal({name: getattr(received, name) for name in properties}, properties)


@check("heartbeats of one second keep an idle connection open")
async def heartbeats():
    async with await aio_pika.connect(URL + "?heartbeat=1") as connection:
        equal(connection.transport.connection.connection_tune.heartbeat, 1)
        # Longer than the server lets a silent client live: aiormq's heartbeats must reach it.
        await asyncio.sleep(3.5)
        await (await connection.channel()).declare_queue(exclusive=True)


@check("transactions: nothing is seen before commit, rollback forgets")
async def transactions():
    async with channel(publisher_confirms=False) as on, channel() as other, shared_queue(on) as queue:
        there = await other.get_queue(queue.name)
        async with on.transaction():
            await publish(on, queue.name, b"committed")
            equal(await drain(there), [])
        equal(await drain(there), [b"committed"])
        with contextlib.suppress(ZeroDivisionError):
            async with on.transaction():
                await publish(on, queue.name, b"rolled back")
                raise ZeroDivisionError
        equal(await drain(there), [])


@check("deleting a queue cancels its consumer")
async def cancel_notification():
    async with channel() as on, channel() as other, shared_queue(on) as queue:
        inbox, cancelled = await Inbox().consume(queue), asyncio.Queue()
        (await on.get_underlay_channel()).on_consumer_cancel_callbacks.add(cancelled.put_nowait)
        await other.queue_delete(queue.name)
        equal((await asyncio.wait_for(cancelled.get(), WAIT_S)).consumer_tag, inbox.tag)


@check("basic.get counts what is left, purge and delete count what they take")
async def counts():
    async with channel() as on:
        queue = await on.declare_queue(exclusive=True)
        await publish(on, queue.name, b"1", b"2", b"3", b"4")
        equal([(await queue.get(no_ack=True)).message_count for _ in range(2)], [3, 2])
        equal((await queue.purge()).message_count, 2)
        await raises_async(aio_pika.exceptions.QueueEmpty, queue.get())
        await publish(on, queue.name, b"5")
        equal((await queue.delete(if_empty=False)).message_count, 1)


@check("qos: a consumer holds as many messages as its prefetch")
async def qos():
    async with channel() as on:
        queue = await on.declare_queue(exclusive=True)
        await publish(on, queue.name, b"1", b"2", b"3", b"4")
        await on.set_qos(prefetch_count=2)
        inbox = await Inbox().consume(queue)
        for _ in range(2):
            messages = await inbox.take(2)
            await inbox.stays_empty()
            await messages[-1].ack(multiple=True)


@check("time to live: expiration in seconds, and the queue's own, gone without a trace")
async def time_to_live():
    async with channel() as on:
        plain = await on.declare_queue(exclusive=True)
        brief = await on.declare_queue(exclusive=True, arguments={"x-message-ttl": 50})
        await on.default_exchange.publish(Message(b"brief", expiration=0.05), plain.name)
        await on.default_exchange.publish(Message(b"long", expiration=60), brief.name)
        async with asyncio.timeout(WAIT_S):
            while any([(await on.declare_queue(it.name, passive=True)).declaration_result.message_count for it in [plain, brief]]):
                pass


@check("dead letters: x-death as a list of tables, the latest first, with the time of each first death")
async def dead_letters():
    async with channel() as on:
        exchange = await on.declare_exchange(unique("dead"), ExchangeType.TOPIC, auto_delete=True)
        graves = await on.declare_queue(exclusive=True)
        await graves.bind(exchange, "last.#")
        arguments = {"x-dead-letter-exchange": exchange.name, "x-dead-letter-routing-key": "last.stop"}
        second = await on.declare_queue(unique("second"), exclusive=True, arguments=arguments | {"x-message-ttl": 20})
        arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": second.name}
        first = await on.declare_queue(unique("first"), exclusive=True, arguments=arguments)
        await publish(on, first.name, b"unwanted")
        await (await first.get()).reject()
        [message] = await (await Inbox().consume(graves)).take(1)
        equal((message.body, message.exchange, message.routing_key), (b"unwanted", exchange.name, "last.stop"))
        deaths = message.headers["x-death"]
        equal([type(death["time"]) for death in deaths], [type(WHEN)] * 2)
        assert deaths[0]["time"] >= deaths[1]["time"]
        equal([{name: death[name] for name in ["reason", "count", "queue", "exchange", "routing-keys"]} for death in deaths], [
            {"reason": "expired", "count": 1, "queue": second.name, "exchange": "", "routing-keys": [second.name]},
            {"reason": "rejected", "count": 1, "queue": first.name, "exchange": "", "routing-keys": [first.name]},
        ])
        equal(message.headers["x-first-death-queue"], first.name)
        await message.ack()


@check("priorities: a waiting message of higher priority goes first")
async def priorities():
    async with channel() as on:
        queue = await on.declare_queue(exclusive=True, arguments={"x-max-priority": 3})
        for body, priority in [(b"plain", None), (b"urgent", 3), (b"soon", 1), (b"as urgent", 9)]:
            await on.default_exchange.publish(Message(body, priority=priority), queue.name)
        equal(await drain(queue), [b"urgent", b"as urgent", b"soon", b"plain"])


@check("single active consumer: the second one takes over when the connection of the first is lost")
async def single_active_consumer():
    async with Cable() as cable, channel() as on, shared_queue(on, **{"x-single-active-consumer": True}) as queue:
        active = await (await aio_pika.connect(cable.url)).channel()
        first = await Inbox().consume(await active.get_queue(queue.name))
        second = await Inbox().consume(queue)
        await publish(on, queue.name, b"1", b"2")
        await first.take(2)
        await second.stays_empty()
        cable.cut()
        messages = await second.take(2)
        equal([(m.body, m.redelivered) for m in messages], [(b"1", True), (b"2", True)])


@check("quorum queue: a message that is rejected three times is dead-lettered by its delivery limit")
async def quorum():
    async with channel() as on, shared_queue(on) as dead:
        arguments = {"x-queue-type": "quorum", "x-delivery-limit": 2, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead.name}
        async with shared_queue(on, **arguments) as queue:
            await publish(on, queue.name, b"poison")
            inbox = await Inbox().consume(queue)
            for turn in range(3):
                [message] = await inbox.take(1)
                equal((message.headers.get("x-delivery-count", 0), message.redelivered), (turn, turn > 0))
                await message.reject(requeue=True)
            [message] = await (await Inbox().consume(dead)).take(1)
            equal(message.headers["x-first-death-reason"], "delivery_limit")
            await message.ack()


@check("stream: two readers at their own offsets, each held to its prefetch until it acknowledges")
async def stream():
    async with channel() as on, shared_queue(on, **{"x-queue-type": "stream"}) as queue:
        await publish(on, queue.name, *(str(n).encode() for n in range(10)))
        await on.set_qos(prefetch_count=3)
        early = await Inbox().consume(queue, arguments={"x-stream-offset": "first"})
        late = await Inbox().consume(queue, arguments={"x-stream-offset": 6})
        held = await early.take(3)
        await early.stays_empty()
        for offset in range(6, 10):
            [message] = await late.take(1)
            equal((message.body, message.headers["x-stream-offset"]), (str(offset).encode(), offset))
            await message.ack()
        for message in held:
            await message.ack()
        equal([m.headers["x-stream-offset"] for m in await early.take(3)], [3, 4, 5])


@check("nothing is left behind")
async def nothing_left_behind():
    async with await aio_pika.connect(URL) as connection:
        for name in names:
            for kind in ["declare_queue", "declare_exchange"]:
                on = await connection.channel()
                await raises_async(aiormq.exceptions.ChannelNotFoundEntity, getattr(on, kind)(name, passive=True))


run("aio-pika", version("aio-pika"))

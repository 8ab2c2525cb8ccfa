"""kombu's manager, which Celery's and Flower's ways to the broker go through, by pyrabbit."""

import kombu

from words import AMQP_URL, HOST, PORT, equal, run

connection = kombu.Connection(AMQP_URL, transport_options={"confirm_publish": True})
manager = kombu.transport.pyamqp.Transport(connection).get_manager(hostname=HOST, port=PORT)


def finds_itself():
    equal(manager.get_whoami()["name"], "guest")


def counts_messages():
    with connection.channel() as channel:
        kombu.Queue("km.q", durable=True).bind(channel).declare()
        producer = kombu.Producer(channel)
        for n in range(3):
            producer.publish({"n": n}, routing_key="km.q")
    # Not by the API's own clock: what was declared and published is there.
    queue = manager.get_queue("/", "km.q")
    equal((queue["durable"], queue["consumers"]), (True, 0))
    equal(manager.get_queue_depth("/", "km.q"), 3)
    equal([q["name"] for q in manager.get_queues("/")], ["km.q"])


def purges():
    manager.purge_queue("/", "km.q")
    equal(manager.get_queue_depth("/", "km.q"), 0)
    manager.delete_queue("/", "km.q")
    equal(manager.get_queues("/"), [])


def connections_and_channels():
    other = kombu.Connection(AMQP_URL)
    other.connect()
    names = [c["name"] for c in manager.get_connections()]
    assert names, names
    equal(manager.get_connection(names[0])["user"], "guest")
    other.release()


def virtual_hosts():
    manager.create_vhost("km")
    assert "km" in manager.get_vhost_names()
    manager.delete_vhost("km")
    assert "km" not in manager.get_vhost_names()


run("kombu's manager (pyrabbit)", kombu.__version__, [
    ("asks who it is", finds_itself),
    ("counts what has just been published", counts_messages),
    ("purges and deletes", purges),
    ("lists connections", connections_and_channels),
    ("makes and deletes virtual hosts", virtual_hosts),
])

package leverettest_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"leveret.test/leverettest"
)

func channel(t *testing.T, broker *leverettest.Broker) *amqp.Channel {
	t.Helper()
	connection, err := amqp.Dial(broker.AMQPURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { connection.Close() })
	channel, err := connection.Channel()
	if err != nil {
		t.Fatal(err)
	}
	return channel
}

func declare(t *testing.T, channel *amqp.Channel, name string, durable bool, arguments amqp.Table) {
	t.Helper()
	if _, err := channel.QueueDeclare(name, durable, false, false, false, arguments); err != nil {
		t.Fatal(err)
	}
}

func publish(t *testing.T, channel *amqp.Channel, queue, id string) {
	t.Helper()
	if err := channel.Publish("", queue, false, false, amqp.Publishing{MessageId: id, DeliveryMode: amqp.Persistent}); err != nil {
		t.Fatal(err)
	}
}

func queues(t *testing.T, broker *leverettest.Broker) string {
	t.Helper()
	var queues []struct{ Name string }
	if err := broker.Ask("GET", "/api/queues", nil, &queues); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(queues)
}

func expect(t *testing.T, what, got, wanted any) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(wanted) {
		t.Fatalf("%s: %v instead of %v", what, got, wanted)
	}
}

func TestTimePassesWhenTold(t *testing.T) {
	broker := leverettest.Start(t)
	channel := channel(t, broker)
	declare(t, channel, "q", true, amqp.Table{"x-message-ttl": int32(60_000)})
	publish(t, channel, "q", "m-1")
	broker.WaitFor(1, "enqueued", "queue", "q")
	start := broker.Now()
	expect(t, "fired", broker.Advance(time.Minute-time.Millisecond), []leverettest.Fired{})
	expect(t, "fired", broker.AdvanceToNext(), []leverettest.Fired{{What: "message-expired", Vhost: "/", Queue: "q", Count: 1}})
	expect(t, "passed", broker.Now().Sub(start), time.Minute)
	broker.Freeze(false)
	broker.Freeze(true)
}

func TestStatesComeBack(t *testing.T) {
	broker := leverettest.Start(t)
	first := channel(t, broker)
	declare(t, first, "durable", true, nil)
	declare(t, first, "transient", false, nil)
	snapshot := broker.Snapshot()
	broker.Crash()
	expect(t, "after the crash", queues(t, broker), "[{durable}]")
	broker.Restore(snapshot)
	expect(t, "restored", queues(t, broker), "[{durable} {transient}]")
	broker.Reset()
	expect(t, "after the reset", queues(t, broker), "[]")
	expect(t, "journal", broker.Journal(), "[]")
}

func TestAConsumerThatIsCutOff(t *testing.T) {
	broker := leverettest.Start(t)
	first := channel(t, broker)
	declare(t, first, "a/b", true, nil)
	publish(t, first, "a/b", "m-1")
	if _, ok, err := first.Get("a/b", false); err != nil || !ok {
		t.Fatal(ok, err)
	}
	broker.Disconnect(broker.Messages("a/b", "unacked")[0]["connection"].(string))
	expect(t, "reason", broker.WaitFor(1, "requeued", "queue", "a/b")[0]["reason"], "connection-closed")
	again, ok, err := channel(t, broker).Get("a/b", false)
	if err != nil || !ok || !again.Redelivered {
		t.Fatal(again, ok, err)
	}
	if err := again.Ack(false); err != nil {
		t.Fatal(err)
	}
	broker.Settle("a/b")
	expect(t, "ready", broker.Messages("a/b", "ready"), "[]")
}

func TestFaultsHappenWhenTold(t *testing.T) {
	broker := leverettest.Start(t)
	first := channel(t, broker)
	declare(t, first, "q", true, nil)
	broker.AddFault(leverettest.Object{
		"match": leverettest.Object{"routing_key": "q"}, "times": 1, "action": leverettest.Object{"kind": "nack"},
	})
	if err := first.Confirm(false); err != nil {
		t.Fatal(err)
	}
	confirms := first.NotifyPublish(make(chan amqp.Confirmation, 2))
	publish(t, first, "q", "m-1")
	publish(t, first, "q", "m-2")
	acked := map[uint64]bool{}
	for range 2 {
		confirm := <-confirms
		acked[confirm.DeliveryTag] = confirm.Ack
	}
	expect(t, "acked", acked, map[uint64]bool{1: false, 2: true})
}

func TestWhatDoesNotComeAboutSaysWhy(t *testing.T) {
	broker := leverettest.Start(t, "--clock", "real")
	body := leverettest.Object{"match": leverettest.Object{"event": "acked"}, "timeout_ms": 10}
	err := broker.Ask("POST", "/api/test/journal/wait", body, nil)
	if err == nil || !strings.Contains(err.Error(), "408 expected 1 × event acked") {
		t.Fatal(err)
	}
	if !strings.Contains(broker.Log(), "started TCP listener") {
		t.Fatal(broker.Log())
	}
}

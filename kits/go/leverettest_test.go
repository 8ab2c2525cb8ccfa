package leverettest_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"syscall"
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

// Which part of TestBrokersEndWithTheProcessThatIsKilled a process plays.
const starterVariable = "LEVERETTEST_STARTS_TWO"

func TestBrokersEndWithTheProcessThatIsKilled(t *testing.T) {
	type broker struct {
		PID int
		URL string
	}
	if os.Getenv(starterVariable) != "" {
		var brokers []broker
		for range 2 {
			started := leverettest.Start(t)
			brokers = append(brokers, broker{started.PID(), started.AMQPURL})
		}
		if err := json.NewEncoder(os.Stdout).Encode(brokers); err != nil {
			t.Fatal(err)
		}
		select {}
	}
	starter := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$")
	starter.Env = append(os.Environ(), starterVariable+"=1", "TMPDIR="+t.TempDir())
	told, err := starter.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := starter.Start(); err != nil {
		t.Fatal(err)
	}
	var brokers []broker
	err = json.NewDecoder(told).Decode(&brokers)
	for _, each := range brokers {
		defer func() { _ = syscall.Kill(each.PID, syscall.SIGKILL) }()
	}
	if err == nil {
		// Halted, it would keep the first one's pipe open if it had been given it.
		err = syscall.Kill(brokers[1].PID, syscall.SIGSTOP)
	}
	_ = starter.Process.Kill()
	_ = starter.Wait()
	if err != nil {
		t.Fatal(err)
	}
	refuses(t, brokers[0].URL)
	if err := syscall.Kill(brokers[1].PID, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	refuses(t, brokers[1].URL)
}

// refuses waits until nobody serves there.
func refuses(t *testing.T, amqpURL string) {
	t.Helper()
	parsed, err := url.Parse(amqpURL)
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); <-time.After(5 * time.Millisecond) {
		connection, err := net.Dial("tcp", parsed.Host)
		if errors.Is(err, syscall.ECONNREFUSED) {
			return
		}
		if err == nil {
			connection.Close()
		}
	}
	t.Fatal(parsed.Host + " still serves")
}

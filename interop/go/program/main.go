// What a Go program does with a broker, checked one promise at a time.
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"reflect"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	wait = 10 * time.Second
	// How long a check watches for what must not come.
	quiet = 200 * time.Millisecond
)

var (
	url   = os.Getenv("AMQP_URL")
	runID = randomID()
	names []string
)

var checks = []struct {
	description string
	run         func()
}{
	{"publish, consume and ack: in order, not redelivered, the queue is empty afterwards", consumeAndAck},
	{"nack and reject: messages return to their places, redelivered, or are discarded", nackAndReject},
	{"publisher confirms: a return comes before its ack, a full queue nacks", confirms},
	{"ten thousand publishes are all confirmed, each once", manyConfirms},
	{"fan-out: fanout, topic, direct and headers exchanges, exchange to exchange", fanOut},
	{"load balancing: two consumers with prefetch 1 share a queue, each holding one message", loadBalancing},
	{"RPC over an exclusive server-named queue", func() { rpc("") }},
	{"RPC over direct reply-to", func() { rpc("amq.rabbitmq.reply-to") }},
	{"connection loss: what was not acked comes back redelivered, in order", connectionLoss},
	{"404, 406, 403 and 405 close the channel with an amqp.Error, and leave the connection alone", channelErrors},
	{"a wrong password has the code of amqp.ErrCredentials, an unknown vhost is not allowed", refused},
	{"a 1 MiB body with every property and a header of every field type comes back as it was", largeBody},
	{"heartbeats of one second keep an idle connection open", heartbeats},
	{"transactions: nothing is seen before commit, rollback forgets", transactions},
	{"deleting a queue cancels its consumer, cancelling a consumer ends its deliveries", cancelNotification},
	{"basic.get counts what is left, purge and delete count what they take", counts},
	{"qos: a consumer holds as many messages as its prefetch", qos},
	{"time to live: the queue's and the message's, the shorter of both, and only at the head", timeToLive},
	{"x-expires: a queue goes when it was not used for so long, but not while it has a consumer", expires},
	{"dead letters: rejected, expired and overflowing messages arrive with their history as amqp.Table", deadLetters},
	{"delayed retry: out of a queue with a TTL and back, its deaths counted, parked after three attempts", delayedRetry},
	{"priorities: the higher first, in order within one, more than the maximum is the maximum", priorities},
	{"single active consumer: the second takes over when the first's channel is closed", singleActiveConsumer},
	{"quorum queue: x-delivery-count, and the delivery limit that dead-letters", quorumQueue},
	{"stream: read again from the first, the last, an offset, a time and an age", stream},
	{"arguments that are wrong are refused in the server's words", wrongArguments},
	{"nothing is left behind", nothingLeftBehind},
}

func main() {
	fmt.Printf("client: amqp091-go %s\n", clientVersion())
	for _, check := range checks {
		if problem := attempt(check.run); problem != "" {
			fmt.Printf("not ok %s - %s\n", check.description, problem)
		} else {
			fmt.Printf("ok %s\n", check.description)
		}
	}
}

// Checks

func consumeAndAck() {
	channel := open()
	queue := sharedQueue(channel, nil)
	defer remove(queue)
	publish(channel, queue, "1", "2", "3")
	inbox := consume(channel, queue)
	for n := range uint64(3) {
		delivery := receive(inbox)
		equal(string(delivery.Body), strconv.FormatUint(n+1, 10))
		equal(delivery.DeliveryTag, n+1)
		equal(delivery.Redelivered, false)
	}
	must(channel.Ack(3, true))
	equal(value(channel.QueueDeclarePassive(queue, true, false, false, false, nil)).Messages, 0)
}

func nackAndReject() {
	channel := open()
	queue := privateQueue(channel)
	publish(channel, queue, "1", "2", "3", "4")
	first, second, third := get(channel, queue), get(channel, queue), get(channel, queue)
	must(third.Nack(false, true))
	must(second.Reject(false))
	must(first.Reject(true))
	inbox := consume(channel, queue)
	for _, expected := range []string{"1 true", "3 true", "4 false"} {
		delivery := receive(inbox)
		equal(fmt.Sprintf("%s %v", delivery.Body, delivery.Redelivered), expected)
	}
}

func confirms() {
	channel := open()
	queue := sharedQueue(channel, amqp.Table{"x-max-length": 1, "x-overflow": "reject-publish"})
	defer remove(queue)
	must(channel.Confirm(false))
	returns := channel.NotifyReturn(make(chan amqp.Return, 1))
	equal(confirmed(channel, "", queue, "fits", true), true)
	equal(confirmed(channel, "", queue, "too many", true), false)
	equal(confirmed(channel, "", "nowhere", "not mandatory", false), true)
	equal(confirmed(channel, "", "nowhere", "lost", true), true)
	returned := receive(returns)
	equal(fmt.Sprintf("%d %s %s", returned.ReplyCode, returned.ReplyText, returned.Body), "312 NO_ROUTE lost")
}

func manyConfirms() {
	const count = 10_000
	channel := open()
	queue := privateQueue(channel)
	must(channel.Confirm(false))
	confirmations := channel.NotifyPublish(make(chan amqp.Confirmation, count))
	for range count {
		publish(channel, queue, "x")
	}
	for n := range uint64(count) {
		equal(receive(confirmations), amqp.Confirmation{DeliveryTag: n + 1, Ack: true})
	}
	equal(value(channel.QueuePurge(queue, false)), count)
}

func fanOut() {
	channel := open()
	exchange := func(kind string) string {
		name := unique(kind)
		must(channel.ExchangeDeclare(name, kind, false, true, false, false, nil))
		return name
	}
	bound := func(exchange, key string, arguments amqp.Table) string {
		queue := privateQueue(channel)
		must(channel.QueueBind(queue, key, exchange, false, arguments))
		return queue
	}
	send := func(exchange, key string, headers amqp.Table) {
		must(channel.PublishWithContext(context.Background(), exchange, key, false, false, amqp.Publishing{Headers: headers, Body: []byte(key)}))
	}

	fanout := exchange("fanout")
	everyone := []string{bound(fanout, "", nil), bound(fanout, "", nil), bound(fanout, "", nil)}
	send(fanout, "news", nil)
	for _, queue := range everyone {
		equal(drain(channel, queue), []string{"news"})
	}

	topic := exchange("topic")
	failures, disk, all := bound(topic, "*.error", nil), bound(topic, "disk.#", nil), bound(topic, "#", nil)
	for _, key := range []string{"disk.error", "disk", "net.error"} {
		send(topic, key, nil)
	}
	equal(drain(channel, failures), []string{"disk.error", "net.error"})
	equal(drain(channel, disk), []string{"disk.error", "disk"})
	equal(len(drain(channel, all)), 3)

	headers := exchange("headers")
	every := bound(headers, "", amqp.Table{"x-match": "all", "a": 1, "b": "two"})
	some := bound(headers, "", amqp.Table{"x-match": "any", "a": 1, "b": "two"})
	send(headers, "both", amqp.Table{"a": 1, "b": "two"})
	send(headers, "one", amqp.Table{"a": int64(1)})
	equal(drain(channel, every), []string{"both"})
	equal(drain(channel, some), []string{"both", "one"})

	direct := exchange("direct")
	must(channel.ExchangeBind(fanout, "copy", direct, false, nil))
	send(direct, "copy", nil)
	equal(drain(channel, everyone[2]), []string{"copy"})
	must(channel.ExchangeUnbind(fanout, "copy", direct, false, nil))
}

func loadBalancing() {
	first, second := open(), open()
	queue := sharedQueue(first, nil)
	defer remove(queue)
	var inboxes []<-chan amqp.Delivery
	for _, channel := range []*amqp.Channel{first, second} {
		must(channel.Qos(1, 0, false))
		inboxes = append(inboxes, consume(channel, queue))
	}
	var sent, done []string
	for n := range 10 {
		sent = append(sent, strconv.Itoa(n))
	}
	publish(first, queue, sent...)
	for range 5 {
		for _, inbox := range inboxes {
			delivery := receive(inbox)
			staysEmpty(inbox)
			must(delivery.Ack(false))
			done = append(done, string(delivery.Body))
		}
	}
	slices.Sort(done)
	equal(done, sent)
}

func rpc(replyTo string) {
	server, client := open(), open()
	requests := privateQueue(server)
	calls := consume(server, requests)
	go func() {
		for call := range calls {
			reply := amqp.Publishing{CorrelationId: call.CorrelationId, Body: bytes.ToUpper(call.Body)}
			must(server.PublishWithContext(context.Background(), "", call.ReplyTo, false, false, reply))
			must(call.Ack(false))
		}
	}()
	if replyTo == "" {
		replyTo = privateQueue(client)
		equal(strings.HasPrefix(replyTo, "amq.gen-"), true)
	}
	replies := value(client.Consume(replyTo, "", true, false, false, false, nil))
	for _, question := range []string{"first", "second"} {
		request := amqp.Publishing{ReplyTo: replyTo, CorrelationId: question, Body: []byte(question)}
		must(client.PublishWithContext(context.Background(), "", requests, false, false, request))
		reply := receive(replies)
		equal(reply.CorrelationId+" "+string(reply.Body), question+" "+strings.ToUpper(question))
	}
}

func connectionLoss() {
	var socket net.Conn
	lost := value(amqp.DialConfig(url, amqp.Config{Dial: func(network, address string) (net.Conn, error) {
		var err error
		socket, err = amqp.DefaultDial(wait)(network, address)
		return socket, err
	}}))
	channel := value(lost.Channel())
	queue := sharedQueue(channel, nil)
	defer remove(queue)
	publish(channel, queue, "1", "2", "3")
	must(channel.Qos(2, 0, false))
	inbox := consume(channel, queue)
	receive(inbox)
	receive(inbox)
	closed := lost.NotifyClose(make(chan *amqp.Error, 1))
	must(socket.Close())
	equal(receive(closed).Server, false)

	again := open()
	// A consumer that is there before the broker has noticed would get the third message first.
	for deadline := time.Now().Add(wait); value(again.QueueDeclarePassive(queue, true, false, false, false, nil)).Messages < 3; {
		equal(time.Now().Before(deadline), true)
	}
	inbox = consume(again, queue)
	for _, expected := range []string{"1 true", "2 true", "3 false"} {
		delivery := receive(inbox)
		equal(fmt.Sprintf("%s %v", delivery.Body, delivery.Redelivered), expected)
	}
}

func channelErrors() {
	connection := dial()
	channel := func() *amqp.Channel { return value(connection.Channel()) }
	queue := value(channel().QueueDeclare(unique("exclusive"), false, false, true, false, nil)).Name

	_, err := channel().QueueDeclarePassive("interop.missing", false, false, false, false, nil)
	closedWith(err, amqp.NotFound, "NOT_FOUND - no queue 'interop.missing' in vhost '/'")
	_, err = channel().Consume("interop.missing", "", false, false, false, false, nil)
	closedWith(err, amqp.NotFound, "NOT_FOUND - no queue 'interop.missing' in vhost '/'")
	closedWith(channel().ExchangeDeclarePassive("interop.missing", "direct", true, false, false, false, nil), amqp.NotFound, "NOT_FOUND - no exchange 'interop.missing' in vhost '/'")
	_, err = channel().QueueDeclare(queue, false, false, true, false, amqp.Table{"x-max-length": 5})
	closedWith(err, amqp.PreconditionFailed, "PRECONDITION_FAILED - inequivalent arg 'x-max-length' for queue '"+queue+"' in vhost '/'")
	_, err = channel().QueueDeclare("amq.interop", true, false, false, false, nil)
	closedWith(err, amqp.AccessRefused, "ACCESS_REFUSED - queue name 'amq.interop' contains reserved prefix 'amq.*'")
	closedWith(channel().ExchangeDeclare("amq.interop", "direct", true, false, false, false, nil), amqp.AccessRefused, "ACCESS_REFUSED - exchange name 'amq.interop' contains reserved prefix 'amq.*'")
	_, err = open().QueueDeclarePassive(queue, false, false, true, false, nil)
	closedWith(err, amqp.ResourceLocked, "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '"+queue+"' in vhost '/'")

	late := channel()
	closed := late.NotifyClose(make(chan *amqp.Error, 1))
	must(late.Ack(99, false))
	closedWith(receive(closed), amqp.PreconditionFailed, "PRECONDITION_FAILED - unknown delivery tag 99")
	publisher := channel()
	closed = publisher.NotifyClose(make(chan *amqp.Error, 1))
	publishTo(publisher, "interop.missing", "", "lost")
	closedWith(receive(closed), amqp.NotFound, "NOT_FOUND - no exchange 'interop.missing' in vhost '/'")
	equal(connection.IsClosed(), false)
}

func refused() {
	_, err := amqp.Dial(strings.Replace(url, "guest:guest", "guest:wrong", 1))
	var refusal *amqp.Error
	equal(errors.As(err, &refusal), true)
	// The client does not announce authentication_failure_close, so RabbitMQ drops it without a word and the client assumes
	// ErrCredentials; leveret says why, with the same code.
	equal(refusal.Code, amqp.ErrCredentials.Code)
	_, err = amqp.Dial(strings.Replace(url, "%2F", "interop.missing", 1))
	equal(errors.As(err, &refusal), true)
	equal(fmt.Sprint(refusal.Code, " ", refusal.Reason), fmt.Sprint(amqp.NotAllowed, " NOT_ALLOWED - vhost interop.missing not found"))
}

func largeBody() {
	when := time.Unix(1709209845, 0)
	sent := amqp.Publishing{
		ContentType: "application/octet-stream", ContentEncoding: "identity", DeliveryMode: amqp.Persistent, Priority: 9,
		CorrelationId: "correlation", ReplyTo: "reply", Expiration: "60000", MessageId: "id", Timestamp: when, Type: "type",
		UserId: "guest", AppId: "interop", Body: bytes.Repeat([]byte("leveret!"), 1<<17),
		Headers: amqp.Table{
			"bool": true, "byte": byte(200), "int8": int8(-8), "int16": int16(-16), "int32": int32(-32), "int64": int64(1) << 40,
			"float": float32(1.5), "double": 2.5, "decimal": amqp.Decimal{Scale: 2, Value: 314}, "text": "häder",
			"bytes": []byte{0, 255}, "time": when, "void": nil, "table": amqp.Table{"nested": amqp.Table{"deep": int32(1)}},
			"list": []interface{}{int32(1), "two", false, amqp.Table{"three": int16(3)}},
		},
	}
	channel := open()
	queue := privateQueue(channel)
	must(channel.PublishWithContext(context.Background(), "", queue, false, false, sent))
	got := get(channel, queue)
	equal(bytes.Equal(got.Body, sent.Body), true)
	received := amqp.Publishing{
		ContentType: got.ContentType, ContentEncoding: got.ContentEncoding, DeliveryMode: got.DeliveryMode, Priority: got.Priority,
		CorrelationId: got.CorrelationId, ReplyTo: got.ReplyTo, Expiration: got.Expiration, MessageId: got.MessageId,
		Timestamp: got.Timestamp, Type: got.Type, UserId: got.UserId, AppId: got.AppId, Body: got.Body, Headers: got.Headers,
	}
	received.Body, sent.Body = nil, nil
	equal(received, sent)
}

func heartbeats() {
	connection := value(amqp.DialConfig(url, amqp.Config{Heartbeat: time.Second}))
	defer connection.Close()
	equal(connection.Config.Heartbeat, time.Second)
	// The client gives up by itself if the server's heartbeats stay away for three intervals.
	closed := connection.NotifyClose(make(chan *amqp.Error, 1))
	select {
	case err := <-closed:
		panic(fmt.Sprintf("an idle connection was closed: %v", err))
	case <-time.After(4500 * time.Millisecond):
	}
	privateQueue(value(connection.Channel()))
}

func transactions() {
	channel, other := open(), open()
	queue := sharedQueue(channel, nil)
	defer remove(queue)
	must(channel.Tx())
	publish(channel, queue, "committed")
	equal(drain(other, queue), nil)
	must(channel.TxCommit())
	equal(drain(other, queue), []string{"committed"})
	publish(channel, queue, "rolled back")
	must(channel.TxRollback())
	must(channel.TxCommit())
	equal(drain(other, queue), nil)
	closedWith(channel.Confirm(false), amqp.PreconditionFailed, "PRECONDITION_FAILED - cannot switch from tx to confirm mode")
}

func cancelNotification() {
	channel, other := open(), open()
	queue := sharedQueue(channel, nil)
	cancelled := channel.NotifyCancel(make(chan string, 1))
	inbox := value(channel.Consume(queue, "watcher", false, false, false, false, nil))
	value(other.QueueDelete(queue, false, false, false))
	equal(receive(cancelled), "watcher")
	_, open := <-inbox
	equal(open, false)

	private := privateQueue(channel)
	inbox = value(channel.Consume(private, "brief", false, false, false, false, nil))
	publish(channel, private, "1")
	receive(inbox)
	must(channel.Cancel("brief", false))
	_, open = <-inbox
	equal(open, false)
	// What was delivered stays with the channel until it is settled.
	publish(channel, private, "2")
	equal(drain(channel, private), []string{"2"})
	must(channel.Ack(1, false))
}

func counts() {
	channel := open()
	queue := privateQueue(channel)
	publish(channel, queue, "1", "2", "3", "4")
	equal(get(channel, queue).MessageCount, uint32(3))
	equal(get(channel, queue).MessageCount, uint32(2))
	equal(value(channel.QueuePurge(queue, false)), 2)
	_, found, err := channel.Get(queue, true)
	must(err)
	equal(found, false)
	publish(channel, queue, "5")
	equal(value(channel.QueueDelete(queue, false, false, false)), 1)
}

func qos() {
	channel := open()
	queue := privateQueue(channel)
	publish(channel, queue, "1", "2", "3", "4")
	must(channel.Qos(2, 0, false))
	inbox := consume(channel, queue)
	for range 2 {
		receive(inbox)
		last := receive(inbox)
		staysEmpty(inbox)
		must(last.Ack(true))
	}
}

func nothingLeftBehind() {
	connection := dial()
	for _, name := range names {
		_, err := value(connection.Channel()).QueueDeclarePassive(name, false, false, false, false, nil)
		closedWith(err, amqp.NotFound, "NOT_FOUND")
		err = value(connection.Channel()).ExchangeDeclarePassive(name, "direct", false, false, false, false, nil)
		closedWith(err, amqp.NotFound, "NOT_FOUND")
	}
}

// Small words the checks are written in; all of them panic with what is wrong.

var connections []*amqp.Connection

// attempt runs a check, closes its connections, and says what was wrong, if anything.
func attempt(run func()) (problem string) {
	defer func() {
		for _, connection := range connections {
			_ = connection.Close()
		}
		connections = nil
		if failure := recover(); failure != nil {
			fmt.Fprintf(os.Stderr, "%v\n%s\n", failure, debug.Stack())
			problem = strings.Join(strings.Fields(fmt.Sprint(failure)), " ")
			problem = problem[:min(len(problem), 300)]
		}
	}()
	run()
	return ""
}

func dial() *amqp.Connection {
	connection := value(amqp.Dial(url))
	connections = append(connections, connection)
	return connection
}

func open() *amqp.Channel {
	return value(dial().Channel())
}

func unique(kind string) string {
	name := fmt.Sprintf("interop.%s.%s.%d", runID, kind, len(names))
	names = append(names, name)
	return name
}

func privateQueue(channel *amqp.Channel) string {
	return value(channel.QueueDeclare("", false, false, true, false, nil)).Name
}

// sharedQueue declares a durable queue, which outlives connections; the caller defers its removal.
func sharedQueue(channel *amqp.Channel, arguments amqp.Table) string {
	return value(channel.QueueDeclare(unique("queue"), true, false, false, false, arguments)).Name
}

func remove(queue string) {
	value(open().QueueDelete(queue, false, false, false))
}

func publish(channel *amqp.Channel, queue string, bodies ...string) {
	for _, body := range bodies {
		publishTo(channel, "", queue, body)
	}
}

func publishTo(channel *amqp.Channel, exchange, key, body string) {
	must(channel.PublishWithContext(context.Background(), exchange, key, false, false, amqp.Publishing{Body: []byte(body)}))
}

func confirmed(channel *amqp.Channel, exchange, key, body string, mandatory bool) bool {
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	message := amqp.Publishing{Body: []byte(body)}
	confirmation := value(channel.PublishWithDeferredConfirmWithContext(ctx, exchange, key, mandatory, false, message))
	return value(confirmation.WaitContext(ctx))
}

func consume(channel *amqp.Channel, queue string) <-chan amqp.Delivery {
	return value(channel.Consume(queue, "", false, false, false, false, nil))
}

func get(channel *amqp.Channel, queue string) amqp.Delivery {
	delivery, found, err := channel.Get(queue, false)
	must(err)
	equal(found, true)
	return delivery
}

func drain(channel *amqp.Channel, queue string) (bodies []string) {
	for {
		delivery, found, err := channel.Get(queue, true)
		must(err)
		if !found {
			return bodies
		}
		bodies = append(bodies, string(delivery.Body))
	}
}

func receive[T any](from <-chan T) T {
	select {
	case it, open := <-from:
		if !open {
			panic("the channel was closed")
		}
		return it
	case <-time.After(wait):
		panic(fmt.Sprintf("nothing came within %v", wait))
	}
}

func staysEmpty(inbox <-chan amqp.Delivery) {
	select {
	case delivery := <-inbox:
		panic(fmt.Sprintf("an unexpected delivery: %s", delivery.Body))
	case <-time.After(quiet):
	}
}

func closedWith(err error, code int, text string) {
	var closed *amqp.Error
	if !errors.As(err, &closed) || closed.Code != code || !strings.HasPrefix(closed.Reason, text) || !closed.Server {
		panic(fmt.Sprintf("expected %d %q, got %v", code, text, err))
	}
}

func equal(actual, expected any) {
	if slice, is := actual.([]string); is && slice == nil && expected == nil {
		return
	}
	if !reflect.DeepEqual(actual, expected) {
		panic(fmt.Sprintf("expected %v, got %v", expected, actual))
	}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func value[T any](it T, err error) T {
	must(err)
	return it
}

func randomID() string {
	id := make([]byte, 4)
	value(rand.Read(id))
	return hex.EncodeToString(id)
}

func clientVersion() string {
	build, _ := debug.ReadBuildInfo()
	for _, module := range build.Deps {
		if module.Path == "github.com/rabbitmq/amqp091-go" {
			return strings.TrimPrefix(module.Version, "v")
		}
	}
	panic("the build does not know its client")
}

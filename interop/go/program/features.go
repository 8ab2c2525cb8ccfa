package main

import (
	"context"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// What queues can do beyond keeping messages: time, dead letters, priorities, and the other types of queue.

func timeToLive() {
	channel := open()
	brief := queueWith(channel, "brief", amqp.Table{amqp.QueueMessageTTLArg: 100})
	plain, live := privateQueue(channel), privateQueue(channel)
	publish(channel, live, "live")
	publishWith(channel, live, amqp.Publishing{Expiration: "1", Body: []byte("dead")})
	publishWith(channel, brief, amqp.Publishing{Expiration: "60000", Body: []byte("by the queue")})
	publishWith(channel, plain, amqp.Publishing{Expiration: "100", Body: []byte("by the message")})
	for _, queue := range []string{brief, plain} {
		until("the message stays", func() bool { return ready(channel, queue) == 0 })
	}
	// The one behind the live message was dead long before, and is still counted.
	equal(ready(channel, live), 2)
	equal(drain(channel, live), []string{"live"})
	publishWith(channel, plain, amqp.Publishing{Expiration: "soon"})
	closed := channel.NotifyClose(make(chan *amqp.Error, 1))
	closedWith(receive(closed), amqp.PreconditionFailed, "PRECONDITION_FAILED - invalid expiration 'soon': no_integer")
}

func expires() {
	channel, publisher := open(), open()
	idle, used := unique("idle"), unique("used")
	for _, queue := range []string{idle, used} {
		value(channel.QueueDeclare(queue, true, false, false, false, amqp.Table{amqp.QueueTTLArg: int64(400)}))
	}
	value(channel.Consume(used, "user", true, false, false, false, nil))
	must(publisher.Confirm(false))
	returns := publisher.NotifyReturn(make(chan amqp.Return, 1))
	gone := func(queue string) bool {
		// A mandatory message is no use of the queue, a declaration is.
		equal(confirmed(publisher, "", queue, "anyone there?", true), true)
		select {
		case <-returns:
			return true
		default:
			return false
		}
	}
	until("the idle queue stays", func() bool { return gone(idle) })
	equal(gone(used), false)
	must(channel.Cancel("user", false))
	until("the queue stays without its consumer", func() bool { return gone(used) })
}

func deadLetters() {
	channel := open()
	exchange := unique("dead")
	must(channel.ExchangeDeclare(exchange, "fanout", false, true, false, false, nil))
	grave := privateQueue(channel)
	must(channel.QueueBind(grave, "", exchange, false, nil))
	inbox := consume(channel, grave)
	for reason, arguments := range map[string]amqp.Table{"rejected": {}, "expired": {"x-message-ttl": 10}, "maxlen": {"x-max-length": 0}} {
		arguments["x-dead-letter-exchange"] = exchange
		source := queueWith(channel, reason, arguments)
		publishWith(channel, source, amqp.Publishing{
			MessageId: reason, Expiration: "60000", Headers: amqp.Table{"CC": []interface{}{"copied"}, "mine": int32(1)}, Body: []byte(reason),
		})
		if reason == "rejected" {
			must(get(channel, source).Reject(false))
		}
		dead := receive(inbox)
		equal([]string{string(dead.Body), dead.Exchange, dead.RoutingKey, dead.MessageId, dead.Expiration}, []string{reason, exchange, source, reason, ""})
		equal(dead.Headers["mine"], int32(1))
		equal([]any{dead.Headers["x-first-death-reason"], dead.Headers["x-first-death-queue"], dead.Headers["x-first-death-exchange"]}, []any{reason, source, ""})
		deaths := dead.Headers["x-death"].([]interface{})
		equal(len(deaths), 1)
		death := deaths[0].(amqp.Table)
		equal(math.Abs(time.Since(death["time"].(time.Time)).Minutes()) < 1, true)
		delete(death, "time")
		equal(death, amqp.Table{
			"count": int64(1), "reason": reason, "queue": source, "exchange": "", "routing-keys": []interface{}{source, "copied"},
			"original-expiration": "60000",
		})
	}
}

func delayedRetry() {
	channel := open()
	work, wait, parking := unique("work"), unique("wait"), privateQueue(channel)
	to := func(queue string) amqp.Table {
		return amqp.Table{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": queue}
	}
	value(channel.QueueDeclare(work, false, false, true, false, to(wait)))
	arguments := to(work)
	arguments[amqp.QueueMessageTTLArg] = 20
	value(channel.QueueDeclare(wait, false, false, true, false, arguments))
	jobs, parked := consume(channel, work), consume(channel, parking)
	publish(channel, work, "job")
	for attempt := range int64(3) {
		job := receive(jobs)
		rejected, known := deathCount(job, work, "rejected")
		equal(rejected, attempt)
		equal(known, attempt > 0)
		expired, _ := deathCount(job, wait, "expired")
		equal(expired, attempt)
		if attempt < 2 {
			must(job.Reject(false))
			continue
		}
		publish(channel, parking, string(job.Body))
		must(job.Ack(false))
	}
	equal(string(receive(parked).Body), "job")
}

// deathCount is how often the message died in that queue for that reason.
func deathCount(delivery amqp.Delivery, queue, reason string) (count int64, known bool) {
	deaths, _ := delivery.Headers["x-death"].([]interface{})
	for _, it := range deaths {
		if death := it.(amqp.Table); death["queue"] == queue && death["reason"] == reason {
			return death["count"].(int64), true
		}
	}
	return 0, false
}

func priorities() {
	channel := open()
	queue := queueWith(channel, "priorities", amqp.Table{"x-max-priority": 5})
	for _, priority := range []uint8{0, 2, 5, 200, 2} {
		publishWith(channel, queue, amqp.Publishing{Priority: priority, Body: []byte(strconv.Itoa(int(priority)))})
	}
	first := get(channel, queue)
	equal(string(first.Body), "5")
	must(first.Nack(false, true))
	equal(drain(channel, queue), []string{"5", "200", "2", "2", "0"})
}

func singleActiveConsumer() {
	first, second := open(), open()
	queue := sharedQueue(first, amqp.Table{amqp.SingleActiveConsumerArg: true})
	defer remove(queue)
	active, waiting := consume(first, queue), consume(second, queue)
	publish(second, queue, "1", "2")
	must(receive(active).Ack(false))
	receive(active)
	staysEmpty(waiting)
	must(first.Close())
	taken := receive(waiting)
	equal(fmt.Sprintf("%s %v", taken.Body, taken.Redelivered), "2 true")
	_, err := open().Consume(queue, "", false, true, false, false, nil)
	closedWith(err, amqp.AccessRefused, "ACCESS_REFUSED - queue '"+queue+"' in vhost '/' in exclusive use")
}

func quorumQueue() {
	channel := open()
	dead := sharedQueue(channel, nil)
	defer remove(dead)
	queue := sharedQueue(channel, amqp.Table{
		amqp.QueueTypeArg: amqp.QueueTypeQuorum, "x-delivery-limit": 2, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead,
	})
	defer remove(queue)
	must(channel.Confirm(false))
	equal(confirmed(channel, "", queue, "poison", true), true)
	inbox, graves := consume(channel, queue), consume(channel, dead)
	for turn := range int64(3) {
		delivery := receive(inbox)
		count, _ := delivery.Headers["x-delivery-count"].(int64)
		equal(count, turn)
		equal(delivery.Redelivered, turn > 0)
		must(delivery.Reject(true))
	}
	count, _ := deathCount(receive(graves), queue, "delivery_limit")
	equal(count, int64(1))
	staysEmpty(inbox)
}

func stream() {
	channel := open()
	queue := sharedQueue(channel, amqp.Table{amqp.QueueTypeArg: amqp.QueueTypeStream, amqp.StreamMaxAgeArg: "1D", amqp.StreamMaxLenBytesArg: 1_000_000})
	defer remove(queue)
	must(channel.Confirm(false))
	send := func(numbers ...int) {
		for _, number := range numbers {
			equal(confirmed(channel, "", queue, strconv.Itoa(number), true), true)
		}
	}
	send(0, 1, 2)
	// A time of the protocol has whole seconds.
	time.Sleep(1100 * time.Millisecond)
	between := time.Now()
	time.Sleep(1100 * time.Millisecond)
	send(3, 4)
	for _, reader := range []struct {
		offset any
		first  int
	}{{"first", 0}, {"last", 4}, {int64(2), 2}, {between, 3}, {"1h", 0}} {
		channel := open()
		must(channel.Qos(1, 0, false))
		inbox := value(channel.Consume(queue, "", false, false, false, false, amqp.Table{"x-stream-offset": reader.offset}))
		for offset := reader.first; offset < 5; offset++ {
			delivery := receive(inbox)
			equal(string(delivery.Body), strconv.Itoa(offset))
			equal(delivery.Headers["x-stream-offset"], int64(offset))
			must(delivery.Ack(false))
		}
		staysEmpty(inbox)
	}
	_, err := open().Consume(queue, "", false, false, false, false, nil)
	closedWith(err, amqp.PreconditionFailed, "PRECONDITION_FAILED - consumer prefetch count is not set for ")
	_, _, err = open().Get(queue, false)
	closedWith(err, amqp.NotImplemented, "NOT_IMPLEMENTED - basic.get not supported by stream queues ")
}

func wrongArguments() {
	connection := dial()
	name := unique("refused")
	for _, refusal := range []struct {
		arguments amqp.Table
		text      string
	}{
		{amqp.Table{"x-message-ttl": -1}, "{value_negative,-1}"},
		{amqp.Table{"x-message-ttl": "100"}, `"expected integer, got longstr"`},
		{amqp.Table{"x-expires": 0}, "{value_zero,0}"},
		{amqp.Table{"x-max-priority": 256}, "{max_value_exceeded,256}"},
		{amqp.Table{"x-dead-letter-routing-key": "k"}, "routing_key_but_no_dlx_defined"},
		{amqp.Table{"x-queue-type": "heap"}, `"unsupported queue type 'heap'"`},
	} {
		_, err := value(connection.Channel()).QueueDeclare(name, true, false, false, false, refusal.arguments)
		argument := reflect.ValueOf(refusal.arguments).MapKeys()[0].String()
		closedWith(err, amqp.PreconditionFailed, "PRECONDITION_FAILED - invalid arg '"+argument+"' for queue '"+name+"' in vhost '/': "+refusal.text)
	}
}

func queueWith(channel *amqp.Channel, kind string, arguments amqp.Table) string {
	return value(channel.QueueDeclare(unique(kind), false, false, true, false, arguments)).Name
}

func publishWith(channel *amqp.Channel, queue string, message amqp.Publishing) {
	must(channel.PublishWithContext(context.Background(), "", queue, false, false, message))
}

func ready(channel *amqp.Channel, queue string) int {
	return value(channel.QueueDeclarePassive(queue, false, false, false, false, nil)).Messages
}

func until(problem string, holds func() bool) {
	for deadline := time.Now().Add(wait); !holds(); {
		if time.Now().After(deadline) {
			panic(problem)
		}
	}
}

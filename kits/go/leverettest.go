// Package leverettest starts a broker for a test, stops it at the test's end, and asks it over /api/test.
package leverettest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	startPatience = 30 * time.Second
	stopPatience  = 10 * time.Second
	// How long WaitFor and Settle wait.
	patience = 5 * time.Second
)

// Broker is a running broker. What it is asked fails the test where it is refused.
type Broker struct {
	// AMQPURL is for amqp091.Dial.
	AMQPURL string
	// HTTPURL is where the HTTP API is.
	HTTPURL string

	t       testing.TB
	command *exec.Cmd
	log     string
	client  *http.Client
}

// Object is what the broker answers with.
type Object = map[string]any

// Start starts a broker on free ports of the loopback interface, with a clock that stands still until it is moved. The options go to
// `leveret serve`. The binary is $LEVERET_BINARY, or leveret of the PATH.
func Start(t testing.TB, options ...string) *Broker {
	t.Helper()
	binary := os.Getenv("LEVERET_BINARY")
	if binary == "" {
		binary = "leveret"
	}
	scratch := t.TempDir()
	readyFile := filepath.Join(scratch, "ready.json")
	arguments := append([]string{"serve", "--amqp", "127.0.0.1:0", "--http", "127.0.0.1:0", "--test-api", "--ready-file", readyFile,
		"--until-stdin-closes"}, options...)
	if !strings.Contains(strings.Join(options, " "), "--clock") {
		arguments = append(arguments, "--clock", "virtual")
	}
	broker := &Broker{
		t:       t,
		command: exec.Command(binary, arguments...),
		log:     filepath.Join(scratch, "log"),
		client:  &http.Client{Timeout: startPatience, Transport: &http.Transport{}},
	}
	log, err := os.Create(broker.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	broker.command.Stderr = log
	// Nothing is ever written to the pipe: it closes when this process ends, however it does, and the broker ends with it.
	if _, err := broker.command.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	// What configures brokers elsewhere on this machine is not meant for this one.
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "RABBITMQ_") && !strings.HasPrefix(variable, "LEVERET_") {
			broker.command.Env = append(broker.command.Env, variable)
		}
	}
	if err := broker.command.Start(); err != nil {
		t.Fatalf("cannot start leveret: %v", err)
	}
	ended := make(chan struct{})
	go func() {
		_ = broker.command.Wait()
		close(ended)
	}()
	t.Cleanup(func() { broker.stop(ended) })
	broker.awaitReady(readyFile, ended)
	return broker
}

// awaitReady reads the ready file, which appears whole.
func (b *Broker) awaitReady(readyFile string, ended <-chan struct{}) {
	b.t.Helper()
	deadline := time.After(startPatience)
	for {
		if text, err := os.ReadFile(readyFile); err == nil {
			var ready struct{ AMQP, HTTP string }
			if err := json.Unmarshal(text, &ready); err != nil {
				b.t.Fatal(err)
			}
			b.AMQPURL = "amqp://guest:guest@" + ready.AMQP + "/%2F"
			b.HTTPURL = "http://" + ready.HTTP
			return
		}
		select {
		case <-ended:
			b.t.Fatalf("leveret has ended: %s", b.Log())
		case <-deadline:
			b.t.Fatalf("leveret does not serve: %s", b.Log())
		case <-time.After(time.Millisecond):
		}
	}
}

func (b *Broker) stop(ended <-chan struct{}) {
	_ = b.command.Process.Signal(syscall.SIGTERM)
	select {
	case <-ended:
	case <-time.After(stopPatience):
		_ = b.command.Process.Kill()
		<-ended
	}
	b.client.CloseIdleConnections()
}

// PID is the number of its process.
func (b *Broker) PID() int {
	return b.command.Process.Pid
}

// Log is what it has logged so far.
func (b *Broker) Log() string {
	text, _ := os.ReadFile(b.log)
	return string(text)
}

// Ask asks the HTTP API and reads its answer into `into`, unless that is nil. The error has the status and the broker's reason.
func (b *Broker) Ask(method, path string, body, into any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	request, err := http.NewRequest(method, b.HTTPURL+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	request.SetBasicAuth("guest", "guest")
	request.Header.Set("Content-Type", "application/json")
	response, err := b.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode >= 300 {
		refusal := struct{ Reason any }{string(answer)}
		_ = json.Unmarshal(answer, &refusal)
		return fmt.Errorf("%s %s: %d %v", method, path, response.StatusCode, refusal.Reason)
	}
	if into == nil || len(answer) == 0 {
		return nil
	}
	return json.Unmarshal(answer, into)
}

func (b *Broker) must(method, path string, body, into any) {
	b.t.Helper()
	if err := b.Ask(method, path, body, into); err != nil {
		b.t.Fatal(err)
	}
}

// Reset begins again, as after the first start: with nothing declared, no fault, no alarm, and an empty journal.
func (b *Broker) Reset() {
	b.t.Helper()
	b.must("POST", "/api/test/reset", Object{}, nil)
	b.must("DELETE", "/api/test/faults", nil, nil)
	b.Alarms(false, false)
	b.must("DELETE", "/api/test/journal", nil, nil)
}

// Now is the broker's time.
func (b *Broker) Now() time.Time {
	b.t.Helper()
	var clock struct{ Now int64 }
	b.must("GET", "/api/test/clock", nil, &clock)
	return time.UnixMilli(clock.Now)
}

// Fired is something that was due.
type Fired struct {
	What, Vhost, Queue, Exchange string
	Count                        int
}

// Advance lets time pass, and says what was due. All of that has happened by then.
func (b *Broker) Advance(by time.Duration) []Fired {
	b.t.Helper()
	return b.advance(Object{"ms": by.Milliseconds()})
}

// AdvanceToNext lets time pass until something is due.
func (b *Broker) AdvanceToNext() []Fired {
	b.t.Helper()
	return b.advance(Object{"to_next": true})
}

func (b *Broker) advance(body Object) []Fired {
	b.t.Helper()
	var answer struct{ Fired []Fired }
	b.must("POST", "/api/test/clock/advance", body, &answer)
	return answer.Fired
}

// Freeze has time stand still, as it does from the start, or go on by itself.
func (b *Broker) Freeze(frozen bool) {
	b.t.Helper()
	b.must("PUT", "/api/test/clock", Object{"frozen": frozen}, nil)
}

// Snapshot takes one of all that there is; what it returns is for Restore.
func (b *Broker) Snapshot() string {
	b.t.Helper()
	var answer struct{ ID any }
	b.must("POST", "/api/test/snapshots", Object{}, &answer)
	return fmt.Sprint(answer.ID)
}

// Restore goes back to a snapshot.
func (b *Broker) Restore(snapshot string) {
	b.t.Helper()
	b.must("POST", "/api/test/snapshots/"+url.PathEscape(snapshot)+"/restore", Object{}, nil)
}

// Crash has it die and come back on the same ports: connections are gone, what is durable is not.
func (b *Broker) Crash() {
	b.t.Helper()
	b.must("POST", "/api/test/crash", Object{"unsynced": "lost"}, nil)
}

// Disconnect closes a connection from the broker's side; the journal and Messages say their names.
func (b *Broker) Disconnect(connection string) {
	b.t.Helper()
	b.must("DELETE", "/api/connections/"+url.PathEscape(connection), nil, nil)
}

// Alarms raises alarms, or clears them. Connections that publish are not read from until then.
func (b *Broker) Alarms(memory, disk bool) {
	b.t.Helper()
	b.must("PUT", "/api/test/alarms", Object{"memory": memory, "disk": disk}, nil)
}

// AddFault adds a rule for faults on demand.
func (b *Broker) AddFault(rule Object) {
	b.t.Helper()
	b.must("POST", "/api/test/faults", rule, nil)
}

// Journal is what has become of messages: Journal("queue", "orders", "event", "acked").
func (b *Broker) Journal(filters ...string) []Object {
	b.t.Helper()
	query := url.Values{"limit": {"100000"}}
	for i := 0; i+1 < len(filters); i += 2 {
		query.Add(filters[i], filters[i+1])
	}
	var answer struct{ Events []Object }
	b.must("GET", "/api/test/journal?"+query.Encode(), nil, &answer)
	return answer.Events
}

// WaitFor waits until the journal has so many events: WaitFor(5, "acked", "queue", "orders").
func (b *Broker) WaitFor(count int, event string, filters ...string) []Object {
	b.t.Helper()
	match := Object{"event": event}
	for i := 0; i+1 < len(filters); i += 2 {
		match[filters[i]] = filters[i+1]
	}
	var answer struct{ Events []Object }
	b.must("POST", "/api/test/journal/wait", Object{"match": match, "count": count, "timeout_ms": patience.Milliseconds()}, &answer)
	return answer.Events
}

// Settle waits until nothing is ready, unacked or unconfirmed in these queues, or in all.
func (b *Broker) Settle(queues ...string) {
	b.t.Helper()
	body := Object{"vhost": "/", "timeout_ms": patience.Milliseconds()}
	if len(queues) > 0 {
		body["queues"] = queues
	}
	b.must("POST", "/api/test/settle", body, nil)
}

// Messages looks at what is "ready" or "unacked" without touching it.
func (b *Broker) Messages(queue, state string) []Object {
	b.t.Helper()
	var answer struct{ Messages []Object }
	b.must("GET", "/api/test/queues/%2F/"+url.PathEscape(queue)+"/messages?state="+state, nil, &answer)
	return answer.Messages
}

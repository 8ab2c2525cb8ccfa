<?php

// What a PHP program does with a broker, checked one promise at a time.

declare(strict_types=1);

require 'PhpAmqpLib/autoload.php';

use PhpAmqpLib\Channel\AMQPChannel;
use PhpAmqpLib\Connection\AMQPStreamConnection;
use PhpAmqpLib\Exception\AMQPBasicCancelException;
use PhpAmqpLib\Exception\AMQPConnectionClosedException;
use PhpAmqpLib\Exception\AMQPProtocolChannelException;
use PhpAmqpLib\Exception\AMQPTimeoutException;
use PhpAmqpLib\Message\AMQPMessage;
use PhpAmqpLib\Package;
use PhpAmqpLib\Wire\AMQPAbstractCollection as Type;
use PhpAmqpLib\Wire\AMQPArray;
use PhpAmqpLib\Wire\AMQPDecimal;
use PhpAmqpLib\Wire\AMQPTable;

const NO_EXCHANGE = '';
const WAIT_SECONDS = 10;
// Long enough for a message that must not come to have come.
const QUIET_SECONDS = 0.2;

define('RUN', 'php.' . bin2hex(random_bytes(4)));

$queues = [];
$exchanges = [];
$failed = false;

/** The messages that one consumer received, in order. */
final class Inbox
{
    /** @var AMQPMessage[] */
    public array $messages = [];

    public function __construct(
        private AMQPChannel $channel,
        string $queue,
        string $tag = '',
        bool $noAck = false,
        array $arguments = [],
    ) {
        $keep = function (AMQPMessage $message): void {
            $this->messages[] = $message;
        };
        $table = new AMQPTable($arguments);
        $this->tag = $channel->basic_consume($queue, $tag, false, $noAck, false, false, $keep, null, $table);
    }

    public readonly string $tag;

    public function take(): AMQPMessage
    {
        while (!$this->messages) {
            $this->channel->wait(null, false, WAIT_SECONDS);
        }
        return array_shift($this->messages);
    }

    public function expectQuiet(): void
    {
        try {
            $this->channel->wait(null, false, QUIET_SECONDS);
        } catch (AMQPTimeoutException) {
            equal([], $this->messages);
            return;
        }
        throw new RuntimeException('something came, nothing was expected');
    }
}

/** Runs a check on a connection and channel of its own and prints how it went. */
function check(string $what, callable $body): void
{
    global $failed;
    $connection = null;
    try {
        $connection = connect();
        $body($connection->channel());
        echo "ok $what\n";
    } catch (Throwable $reason) {
        $failed = true;
        echo "not ok $what - ", get_class($reason), ': ', strtr($reason->getMessage(), "\n", ' '), "\n";
        fwrite(STDERR, "$reason\n");
    } finally {
        if ($connection?->isConnected()) {
            $connection->close();
        }
    }
}

function connect(
    string $password = 'guest',
    string $vhost = '/',
    string $mechanism = 'AMQPLAIN',
    int $heartbeat = 0,
): AMQPStreamConnection {
    $host = getenv('AMQP_HOST');
    $port = (int) getenv('AMQP_PORT');
    return new AMQPStreamConnection(
        $host, $port, 'guest', $password, $vhost, false, $mechanism, null, 'en_US',
        WAIT_SECONDS, WAIT_SECONDS, null, false, $heartbeat, WAIT_SECONDS,
    );
}

function equal(mixed $expected, mixed $actual): void
{
    if ($expected != $actual || gettype($expected) !== gettype($actual)) {
        throw new RuntimeException('expected ' . json_encode($expected) . ', got ' . json_encode($actual));
    }
}

function exclusiveQueue(AMQPChannel $channel): string
{
    global $queues;
    return $queues[] = $channel->queue_declare('', false, false, true, false)[0];
}

function sharedQueue(AMQPChannel $channel, string $name): string
{
    global $queues;
    $queues[] = RUN . ".$name";
    return $channel->queue_declare(RUN . ".$name", false, true, false, false)[0];
}

function exchange(AMQPChannel $channel, string $type, string $name, array $arguments = []): string
{
    global $exchanges;
    $exchange = $exchanges[] = RUN . ".$name";
    $channel->exchange_declare($exchange, $type, false, false, false, false, false, new AMQPTable($arguments));
    return $exchange;
}

function boundQueue(AMQPChannel $channel, string $exchange, string $key, array $arguments = []): string
{
    $queue = exclusiveQueue($channel);
    $channel->queue_bind($queue, $exchange, $key, false, new AMQPTable($arguments));
    return $queue;
}

function publish(AMQPChannel $channel, string $queue, string ...$bodies): void
{
    foreach ($bodies as $body) {
        $channel->basic_publish(new AMQPMessage($body), NO_EXCHANGE, $queue);
    }
}

/** @return string[] */
function drain(AMQPChannel $channel, string $queue): array
{
    $bodies = [];
    while ($message = $channel->basic_get($queue, true)) {
        $bodies[] = $message->getBody();
    }
    return $bodies;
}

function messageCount(AMQPChannel $channel, string $queue): int
{
    return $channel->queue_declare($queue, true)[1];
}

function refused(int $code, string $text, callable $step): void
{
    try {
        $step();
    } catch (AMQPProtocolChannelException $refused) {
        equal($text, $refused->amqp_reply_text);
        equal($code, $refused->amqp_reply_code);
        return;
    }
    throw new RuntimeException("accepted, but expected: $text");
}

echo 'client: PHP php-amqplib ', Package::VERSION, "\n";

// Delivery and settlement

check('publish, consume, ack: in order, not redelivered', function (AMQPChannel $channel): void {
    $queue = exclusiveQueue($channel);
    publish($channel, $queue, '1', '2', '3');
    $inbox = new Inbox($channel, $queue);
    foreach (['1', '2', '3'] as $expected) {
        $message = $inbox->take();
        equal($expected, $message->getBody());
        equal(false, $message->isRedelivered());
        equal($queue, $message->getRoutingKey());
        $message->ack();
    }
    equal(0, messageCount($channel, $queue));
});

check('nack with requeue: back to the original order, redelivered', function (AMQPChannel $channel): void {
    $queue = exclusiveQueue($channel);
    publish($channel, $queue, '1', '2', '3', '4', '5');
    $inbox = new Inbox($channel, $queue);
    $messages = [];
    for ($i = 1; $i <= 5; $i++) {
        $messages[$i] = $inbox->take();
    }
    $channel->basic_cancel($inbox->tag);
    $messages[2]->ack();
    foreach ([5, 1, 4, 3] as $i) {
        $messages[$i]->nack(true);
    }
    foreach (['1', '3', '4', '5'] as $expected) {
        $message = $channel->basic_get($queue, true);
        equal($expected, $message->getBody());
        equal(true, $message->isRedelivered());
    }
    equal(null, $channel->basic_get($queue, true));
});

check('reject without requeue: the message is gone', function (AMQPChannel $channel): void {
    $queue = exclusiveQueue($channel);
    publish($channel, $queue, '1', '2', '3');
    $channel->basic_get($queue)->reject(false);
    $channel->basic_get($queue);
    $channel->basic_get($queue)->nack(false, true);
    equal(null, $channel->basic_get($queue, true));
});

check('basic.get: message, remaining count, empty', function (AMQPChannel $channel): void {
    $queue = exclusiveQueue($channel);
    publish($channel, $queue, '1', '2');
    $first = $channel->basic_get($queue);
    equal('1', $first->getBody());
    equal(1, $first->getMessageCount());
    $first->ack();
    equal('2', $channel->basic_get($queue, true)->getBody());
    equal(null, $channel->basic_get($queue, true));
});

check('qos: at most prefetch messages unacked', function (AMQPChannel $channel): void {
    $queue = exclusiveQueue($channel);
    publish($channel, $queue, '1', '2', '3', '4');
    $channel->basic_qos(0, 2, false);
    $inbox = new Inbox($channel, $queue);
    equal('1', $inbox->take()->getBody());
    $second = $inbox->take();
    $inbox->expectQuiet();
    $second->ack(true);
    equal('3', $inbox->take()->getBody());
    equal('4', $inbox->take()->getBody());
});

check('recover: everything unacked comes back redelivered', function (AMQPChannel $channel): void {
    $queue = exclusiveQueue($channel);
    publish($channel, $queue, '1', '2');
    $inbox = new Inbox($channel, $queue);
    $inbox->take();
    $inbox->take();
    $channel->basic_recover(true);
    foreach (['1', '2'] as $expected) {
        $message = $inbox->take();
        equal($expected, $message->getBody());
        equal(true, $message->isRedelivered());
    }
});

check('purge and delete report their message counts', function (AMQPChannel $channel): void {
    $queue = exclusiveQueue($channel);
    publish($channel, $queue, '1', '2', '3');
    equal(3, $channel->queue_purge($queue));
    publish($channel, $queue, '4');
    equal(1, $channel->queue_delete($queue));
});

// Publisher confirms and returns

check('publisher confirms: every publish confirmed', function (AMQPChannel $channel): void {
    $queue = exclusiveQueue($channel);
    $confirmed = 0;
    $channel->set_ack_handler(function () use (&$confirmed): void {
        $confirmed++;
    });
    $channel->confirm_select();
    for ($i = 0; $i < 500; $i++) {
        $channel->basic_publish(new AMQPMessage("$i", ['delivery_mode' => 2]), NO_EXCHANGE, $queue);
    }
    $channel->wait_for_pending_acks(WAIT_SECONDS);
    equal(500, $confirmed);
    equal(500, messageCount($channel, $queue));
});

check('mandatory: returned with 312 NO_ROUTE, then confirmed', function (AMQPChannel $channel): void {
    $events = [];
    $channel->set_return_listener(function (int $code, string $text, string $exchange, string $key, $message) use (&$events): void {
        $events[] = "$code $text $exchange $key {$message->getBody()}";
    });
    $channel->set_ack_handler(function (AMQPMessage $message) use (&$events): void {
        $events[] = "ack {$message->getDeliveryTag()}";
    });
    $channel->confirm_select();
    $channel->basic_publish(new AMQPMessage('back'), 'amq.direct', RUN . '.nowhere', true);
    $channel->wait_for_pending_acks_returns(WAIT_SECONDS);
    equal(['312 NO_ROUTE amq.direct ' . RUN . '.nowhere back', 'ack 1'], $events);
});

check("reject-publish: a full queue's publish is nacked", function (AMQPChannel $channel) use (&$queues): void {
    $arguments = new AMQPTable(['x-max-length' => 1, 'x-overflow' => 'reject-publish']);
    $queue = $queues[] = $channel->queue_declare('', false, false, true, false, false, $arguments)[0];
    $events = [];
    $channel->set_ack_handler(function (AMQPMessage $message) use (&$events): void {
        $events[] = "ack {$message->getBody()}";
    });
    $channel->set_nack_handler(function (AMQPMessage $message) use (&$events): void {
        $events[] = "nack {$message->getBody()}";
    });
    $channel->confirm_select();
    publish($channel, $queue, 'kept');
    $channel->wait_for_pending_acks(WAIT_SECONDS);
    publish($channel, $queue, 'refused');
    $channel->wait_for_pending_acks(WAIT_SECONDS);
    equal(['ack kept', 'nack refused'], $events);
    equal(['kept'], drain($channel, $queue));
});

// Routing

check('fanout exchange: a copy for every queue', function (AMQPChannel $channel): void {
    $fanout = exchange($channel, 'fanout', 'fanout');
    $inboxes = [];
    for ($i = 0; $i < 3; $i++) {
        $inboxes[] = new Inbox($channel, boundQueue($channel, $fanout, ''));
    }
    $channel->basic_publish(new AMQPMessage('for all'), $fanout, 'ignored');
    foreach ($inboxes as $inbox) {
        $message = $inbox->take();
        equal('for all', $message->getBody());
        equal($fanout, $message->getExchange());
    }
    $channel->exchange_delete($fanout);
});

check('topic exchange: the patterns choose the queues', function (AMQPChannel $channel): void {
    $topic = exchange($channel, 'topic', 'topic');
    $errors = boundQueue($channel, $topic, '*.error');
    $orders = boundQueue($channel, $topic, 'orders.#');
    $all = boundQueue($channel, $topic, '#');
    $channel->queue_bind($all, $topic, 'orders.*');
    $keys = ['orders.error', 'orders.eu.paid', 'orders', 'stock.error', ''];
    foreach ($keys as $key) {
        $channel->basic_publish(new AMQPMessage($key), $topic, $key);
    }
    equal(['orders.error', 'stock.error'], drain($channel, $errors));
    equal(['orders.error', 'orders.eu.paid', 'orders'], drain($channel, $orders));
    equal($keys, drain($channel, $all));
    $channel->queue_unbind($errors, $topic, '*.error');
    $channel->basic_publish(new AMQPMessage('late.error'), $topic, 'late.error');
    equal([], drain($channel, $errors));
    $channel->exchange_delete($topic);
});

check('headers exchange: x-match all and any', function (AMQPChannel $channel): void {
    $exchange = exchange($channel, 'headers', 'headers');
    $both = boundQueue($channel, $exchange, '', ['x-match' => 'all', 'kind' => 'a', 'size' => 1]);
    $either = boundQueue($channel, $exchange, '', ['x-match' => 'any', 'kind' => 'a', 'size' => 1]);
    $sent = ['both' => ['kind' => 'a', 'size' => 1], 'one' => ['kind' => 'a', 'size' => 2], 'none' => ['kind' => 'b']];
    foreach ($sent as $body => $headers) {
        $message = new AMQPMessage($body, ['application_headers' => new AMQPTable($headers)]);
        $channel->basic_publish($message, $exchange);
    }
    equal(['both'], drain($channel, $both));
    equal(['both', 'one'], drain($channel, $either));
    $channel->exchange_delete($exchange);
});

check('exchange bound to exchange, alternate exchange', function (AMQPChannel $channel): void {
    $spare = exchange($channel, 'fanout', 'spare');
    $first = exchange($channel, 'direct', 'first', ['alternate-exchange' => $spare]);
    $second = exchange($channel, 'topic', 'second');
    $channel->exchange_bind($second, $first, 'go');
    $reached = boundQueue($channel, $second, 'go');
    $stray = boundQueue($channel, $spare, '');
    $channel->basic_publish(new AMQPMessage('onward'), $first, 'go');
    $channel->basic_publish(new AMQPMessage('stray'), $first, 'elsewhere', true);
    equal(['onward'], drain($channel, $reached));
    equal(['stray'], drain($channel, $stray));
    $channel->exchange_unbind($second, $first, 'go');
    $channel->basic_publish(new AMQPMessage('unbound'), $first, 'go');
    equal(['unbound'], drain($channel, $stray));
    foreach ([$first, $second, $spare] as $exchange) {
        $channel->exchange_delete($exchange);
    }
});

// Patterns of work

check('load balancing: prefetch 1, a busy consumer gets no more', function (AMQPChannel $channel): void {
    $queue = exclusiveQueue($channel);
    $busy = $channel->getConnection()->channel();
    $quick = $channel->getConnection()->channel();
    $busy->basic_qos(0, 1, false);
    $quick->basic_qos(0, 1, false);
    $kept = new Inbox($busy, $queue);
    $done = new Inbox($quick, $queue);
    publish($channel, $queue, ...array_map('strval', range(0, 9)));
    equal('0', $kept->take()->getBody());
    for ($i = 1; $i < 10; $i++) {
        $message = $done->take();
        equal("$i", $message->getBody());
        $message->ack();
    }
    equal([], $kept->messages);
});

/** Serves one request, as a worker would. */
function serveUpperCase(AMQPChannel $channel, Inbox $requests): void
{
    $request = $requests->take();
    $reply = new AMQPMessage(strtoupper($request->getBody()), ['correlation_id' => $request->get('correlation_id')]);
    $channel->basic_publish($reply, NO_EXCHANGE, $request->get('reply_to'));
    $request->ack();
}

check('rpc over an exclusive server-named queue', function (AMQPChannel $channel): void {
    $worker = $channel->getConnection()->channel();
    $requests = exclusiveQueue($worker);
    $work = new Inbox($worker, $requests);
    $replies = exclusiveQueue($channel);
    equal(true, str_starts_with($replies, 'amq.gen-'));
    $inbox = new Inbox($channel, $replies);
    $call = new AMQPMessage('hare', ['reply_to' => $replies, 'correlation_id' => 'call-7']);
    $channel->basic_publish($call, NO_EXCHANGE, $requests);
    serveUpperCase($worker, $work);
    $reply = $inbox->take();
    equal('HARE', $reply->getBody());
    equal('call-7', $reply->get('correlation_id'));
});

check('rpc over direct reply-to', function (AMQPChannel $channel): void {
    $worker = $channel->getConnection()->channel();
    $requests = exclusiveQueue($worker);
    $work = new Inbox($worker, $requests);
    $inbox = new Inbox($channel, 'amq.rabbitmq.reply-to', noAck: true);
    foreach (['hare', 'leveret'] as $request) {
        $call = new AMQPMessage($request, ['reply_to' => 'amq.rabbitmq.reply-to', 'correlation_id' => $request]);
        $channel->basic_publish($call, NO_EXCHANGE, $requests);
        serveUpperCase($worker, $work);
        $reply = $inbox->take();
        equal(strtoupper($request), $reply->getBody());
        equal($request, $reply->get('correlation_id'));
    }
});

// Connection loss

check('connection loss: unacked messages come back redelivered', function (AMQPChannel $channel): void {
    $queue = sharedQueue($channel, 'loss');
    publish($channel, $queue, '1', '2', '3');
    $lost = connect();
    $lostChannel = $lost->channel();
    $inbox = new Inbox($lostChannel, $queue);
    $inbox->take()->ack();
    $inbox->take();
    $inbox->take();
    messageCount($lostChannel, $queue); // its answer proves that the ack before it arrived
    $lost->set_close_on_destruct(false);
    $lost->getIO()->close();

    $again = new Inbox($channel, $queue);
    foreach (['2', '3'] as $expected) {
        $message = $again->take();
        equal($expected, $message->getBody());
        equal(true, $message->isRedelivered());
    }
    $channel->queue_delete($queue);
});

check('connection loss: the same connection object reconnects', function (AMQPChannel $channel): void {
    $connection = connect();
    $connection->channel();
    $connection->getIO()->close();
    $connection->reconnect();
    $again = $connection->channel();
    $queue = exclusiveQueue($again);
    publish($again, $queue, 'after');
    equal(['after'], drain($again, $queue));
    $connection->close();
});

// Errors

check('404 for a missing queue, the connection stays usable', function (AMQPChannel $channel): void {
    $text = "NOT_FOUND - no queue '" . RUN . ".missing' in vhost '/'";
    $connection = $channel->getConnection();
    refused(404, $text, fn () => $channel->queue_declare(RUN . '.missing', true));
    equal(false, $channel->is_open());
    refused(404, $text, fn () => $connection->channel()->basic_consume(RUN . '.missing'));
    exclusiveQueue($connection->channel());
});

check('404 for a publish to a missing exchange', function (AMQPChannel $channel): void {
    refused(404, "NOT_FOUND - no exchange '" . RUN . ".missing' in vhost '/'", function () use ($channel): void {
        $channel->basic_publish(new AMQPMessage('lost'), RUN . '.missing');
        $channel->wait(null, false, WAIT_SECONDS);
    });
});

check('406 for an inequivalent declare', function (AMQPChannel $channel): void {
    $queue = sharedQueue($channel, 'plain');
    $connection = $channel->getConnection();
    $where = "for queue '$queue' in vhost '/'";
    refused(
        406,
        "PRECONDITION_FAILED - inequivalent arg 'durable' $where: received 'false' but current is 'true'",
        fn () => $connection->channel()->queue_declare($queue, false, false, false, false),
    );
    refused(
        406,
        "PRECONDITION_FAILED - inequivalent arg 'x-max-length' $where: "
            . "received the value '9' of type 'signedint' but current is none",
        fn () => $connection->channel()
            ->queue_declare($queue, false, true, false, false, false, new AMQPTable(['x-max-length' => 9])),
    );
    $channel->queue_delete($queue);
});

check('406 for an unknown delivery tag', function (AMQPChannel $channel): void {
    refused(406, 'PRECONDITION_FAILED - unknown delivery tag 99', function () use ($channel): void {
        $channel->basic_ack(99);
        $channel->wait(null, false, WAIT_SECONDS);
    });
});

check('406 for deleting a queue in use if-unused', function (AMQPChannel $channel): void {
    $queue = exclusiveQueue($channel);
    new Inbox($channel, $queue);
    $other = $channel->getConnection()->channel();
    refused(
        406,
        "PRECONDITION_FAILED - queue '$queue' in vhost '/' in use",
        fn () => $other->queue_delete($queue, true),
    );
});

check("405 for another connection's exclusive queue", function (AMQPChannel $channel): void {
    $queue = exclusiveQueue($channel);
    $other = connect();
    refused(
        405,
        "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '$queue' in vhost '/'. It could be originally"
            . ' declared on another connection or the exclusive property value does not match that of the original'
            . ' declaration.',
        fn () => $other->channel()->basic_consume($queue),
    );
    $other->close();
});

check('403 for declaring an amq. name', function (AMQPChannel $channel): void {
    $connection = $channel->getConnection();
    refused(
        403,
        "ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'",
        fn () => $channel->queue_declare('amq.mine', false, false, true),
    );
    refused(
        403,
        "ACCESS_REFUSED - exchange name 'amq.mine' contains reserved prefix 'amq.*'",
        fn () => $connection->channel()->exchange_declare('amq.mine', 'direct'),
    );
});

check('403 for a second consumer beside an exclusive one', function (AMQPChannel $channel): void {
    $queue = exclusiveQueue($channel);
    $channel->basic_consume($queue, '', false, false, true);
    $other = $channel->getConnection()->channel();
    refused(
        403,
        "ACCESS_REFUSED - queue '$queue' in vhost '/' in exclusive use",
        fn () => $other->basic_consume($queue),
    );
});

check('540 for immediate closes the connection with its reason', function (AMQPChannel $channel): void {
    $channel->basic_publish(new AMQPMessage('now'), NO_EXCHANGE, RUN, false, true);
    try {
        $channel->wait(null, false, WAIT_SECONDS);
    } catch (AMQPConnectionClosedException $closed) {
        equal(540, $closed->getCode());
        equal('NOT_IMPLEMENTED - immediate=true(60, 40)', $closed->getMessage());
        return;
    }
    throw new RuntimeException('the connection stayed open');
});

foreach (['AMQPLAIN', 'PLAIN'] as $mechanism) {
    check("$mechanism: logs in; a wrong password is a 403", function () use ($mechanism): void {
        connect(mechanism: $mechanism)->close();
        try {
            connect(mechanism: $mechanism, password: 'wrong');
        } catch (AMQPConnectionClosedException $refused) {
            equal(403, $refused->getCode());
            equal(
                "ACCESS_REFUSED - Login was refused using authentication mechanism $mechanism."
                    . ' For details see the broker logfile.(0, 0)',
                $refused->getMessage(),
            );
            return;
        }
        throw new RuntimeException('the wrong password was accepted');
    });
}

check('530 for an unknown vhost', function (): void {
    try {
        connect(vhost: 'nowhere');
    } catch (AMQPConnectionClosedException $refused) {
        equal(530, $refused->getCode());
        equal('NOT_ALLOWED - vhost nowhere not found(10, 40)', $refused->getMessage());
        return;
    }
    throw new RuntimeException('the unknown vhost was accepted');
});

// Content

check('1 MiB body, every property and header type, unchanged', function (AMQPChannel $channel): void {
    $headers = new AMQPTable(); // of floats this version only reads the wire format
    $headers->set('text', 'ünïcode', Type::T_STRING_LONG);
    $headers->set('bool', true, Type::T_BOOL);
    $headers->set('signed octet', -8, Type::T_INT_SHORTSHORT);
    $headers->set('octet', 200, Type::T_INT_SHORTSHORT_U);
    $headers->set('signed short', -16000, Type::T_INT_SHORT);
    $headers->set('short', 60000, Type::T_INT_SHORT_U);
    $headers->set('signed long', -32, Type::T_INT_LONG);
    $headers->set('long', 4000000000, Type::T_INT_LONG_U);
    $headers->set('signed longlong', PHP_INT_MIN + 1, Type::T_INT_LONGLONG);
    $headers->set('decimal', new AMQPDecimal(12345, 2), Type::T_DECIMAL);
    $headers->set('time', 1_700_000_000, Type::T_TIMESTAMP);
    $headers->set('nothing', null, Type::T_VOID);
    $headers->set('bytes', "\x00\x01\xCE\xFF", Type::T_BYTES);
    $headers->set('list', new AMQPArray([1, 'two', [3]]));
    $headers->set('table', new AMQPTable(['inner' => ['deep' => 1]]));
    $properties = [
        'content_type' => 'application/octet-stream', 'content_encoding' => 'identity', 'delivery_mode' => 2,
        'priority' => 5, 'correlation_id' => 'correlation', 'reply_to' => 'reply', 'expiration' => '60000',
        'message_id' => 'message', 'timestamp' => 1_600_000_000, 'type' => 'type', 'user_id' => 'guest',
        'app_id' => 'app', 'cluster_id' => 'cluster',
    ];
    $body = '';
    for ($i = 0; $i < 1 << 20; $i++) {
        $body .= chr(($i * 31 >> 3) & 0xff);
    }
    $queue = exclusiveQueue($channel);
    $message = new AMQPMessage($body, $properties + ['application_headers' => $headers]);
    $channel->basic_publish($message, NO_EXCHANGE, $queue);
    $received = (new Inbox($channel, $queue))->take();
    equal(true, $received->getBody() === $body);
    equal($headers->getNativeData(), $received->get('application_headers')->getNativeData());
    foreach ($properties as $name => $value) {
        equal($value, $received->get($name));
    }
});

check('an empty body', function (AMQPChannel $channel): void {
    $queue = exclusiveQueue($channel);
    publish($channel, $queue, '');
    equal(['', 0], [($message = $channel->basic_get($queue, true))->getBody(), $message->getBodySize()]);
});

// The rest

check('heartbeat negotiated to 1 s, idle connection stays open', function (): void {
    $connection = connect(heartbeat: 1);
    $channel = $connection->channel();
    $end = microtime(true) + 4; // without heartbeats either side would give up after two to three seconds
    while (microtime(true) < $end) {
        try {
            $channel->wait(null, false, 0.4);
        } catch (AMQPTimeoutException) {
            $connection->checkHeartBeat();
        }
    }
    equal(1, $connection->getHeartbeat());
    exclusiveQueue($channel);
    $connection->close();
});

check('tx: commit publishes, rollback does not', function (AMQPChannel $channel): void {
    $queue = exclusiveQueue($channel);
    $observer = $channel->getConnection()->channel();
    $channel->tx_select();
    publish($channel, $queue, 'kept');
    messageCount($channel, $queue); // its answer proves that the publish before it arrived
    equal(0, messageCount($observer, $queue));
    $channel->tx_commit();
    equal(1, messageCount($observer, $queue));
    publish($channel, $queue, 'dropped');
    $channel->tx_rollback();
    equal(1, messageCount($observer, $queue));
});

check('consumer cancel notification when its queue is deleted', function (AMQPChannel $channel): void {
    $queue = exclusiveQueue($channel);
    $inbox = new Inbox($channel, $queue, 'reader');
    $channel->getConnection()->channel()->queue_delete($queue);
    try {
        $inbox->take();
    } catch (AMQPBasicCancelException $cancelled) {
        equal('reader', $cancelled->getConsumerTag());
        equal(true, $channel->is_open());
        return;
    }
    throw new RuntimeException('a message came instead');
});

require __DIR__ . '/features.php';

check('nothing left behind', function (AMQPChannel $channel) use (&$queues, &$exchanges): void {
    $connection = $channel->getConnection();
    foreach ($queues as $queue) {
        $text = "NOT_FOUND - no queue '$queue' in vhost '/'";
        refused(404, $text, fn () => $connection->channel()->queue_declare($queue, true));
    }
    foreach ($exchanges as $exchange) {
        $text = "NOT_FOUND - no exchange '$exchange' in vhost '/'";
        refused(404, $text, fn () => $connection->channel()->exchange_declare($exchange, '', true));
    }
});

exit($failed ? 1 : 0);

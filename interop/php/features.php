<?php

// What queues can do beyond keeping messages: time, dead letters, priorities, and the other types of queue.

declare(strict_types=1);

use PhpAmqpLib\Channel\AMQPChannel;
use PhpAmqpLib\Exception\AMQPConnectionClosedException;
use PhpAmqpLib\Message\AMQPMessage;
use PhpAmqpLib\Wire\AMQPTable;

function queueWith(AMQPChannel $channel, string $name, array $arguments, bool $exclusive = true): string
{
    global $queues;
    $queue = $queues[] = RUN . ".$name";
    $channel->queue_declare($queue, false, !$exclusive, $exclusive, false, false, new AMQPTable($arguments));
    return $queue;
}

function publishWith(AMQPChannel $channel, string $queue, string $body, array $properties): void
{
    $channel->basic_publish(new AMQPMessage($body, $properties), NO_EXCHANGE, $queue);
}

function waitUntil(callable $holds): void
{
    $deadline = microtime(true) + WAIT_SECONDS;
    while (!$holds()) {
        if (microtime(true) > $deadline) {
            throw new RuntimeException('not within ' . WAIT_SECONDS . ' s');
        }
    }
}

function headers(AMQPMessage $message): array
{
    return $message->has('application_headers') ? $message->get('application_headers')->getNativeData() : [];
}

/** How often the message died in that queue for that reason. */
function deathCount(AMQPMessage $message, string $queue, string $reason): ?int
{
    foreach (headers($message)['x-death'] ?? [] as $death) {
        if ($death['queue'] === $queue && $death['reason'] === $reason) {
            return $death['count'];
        }
    }
    return null;
}

check("time to live: the queue's and the message's, the shorter of both, and only at the head", function (AMQPChannel $channel): void {
    $brief = queueWith($channel, 'brief', ['x-message-ttl' => 100]);
    $plain = exclusiveQueue($channel);
    $live = exclusiveQueue($channel);
    publish($channel, $live, 'live');
    publishWith($channel, $live, 'dead', ['expiration' => '1']);
    publishWith($channel, $brief, 'long', ['expiration' => '60000']);
    publishWith($channel, $plain, 'short', ['expiration' => '100']);
    foreach ([$brief, $plain] as $queue) {
        waitUntil(fn () => messageCount($channel, $queue) === 0);
    }
    // The one behind the live message was dead long before, and is still counted.
    equal(2, messageCount($channel, $live));
    equal(['live'], drain($channel, $live));
});

check('x-expires: an unused queue goes, one with a consumer stays', function (AMQPChannel $channel): void {
    $idle = queueWith($channel, 'idle', ['x-expires' => 400], false);
    $used = queueWith($channel, 'used', ['x-expires' => 400], false);
    $inbox = new Inbox($channel, $used, noAck: true);
    $publisher = $channel->getConnection()->channel();
    $returned = 0;
    $publisher->set_return_listener(function () use (&$returned): void {
        $returned++;
    });
    $publisher->confirm_select();
    // A mandatory message is no use of the queue, a declaration is.
    $gone = function (string $queue) use ($publisher, &$returned): bool {
        $before = $returned;
        $publisher->basic_publish(new AMQPMessage('anyone there?'), NO_EXCHANGE, $queue, true);
        $publisher->wait_for_pending_acks_returns(WAIT_SECONDS);
        return $returned > $before;
    };
    waitUntil(fn () => $gone($idle));
    equal(false, $gone($used));
    $channel->basic_cancel($inbox->tag);
    waitUntil(fn () => $gone($used));
});

check('dead letters: rejected, expired and overflowing messages arrive with their history', function (AMQPChannel $channel): void {
    $dead = exchange($channel, 'fanout', 'dead');
    $inbox = new Inbox($channel, boundQueue($channel, $dead, ''), noAck: true);
    $reasons = ['rejected' => [], 'expired' => ['x-message-ttl' => 10], 'maxlen' => ['x-max-length' => 0]];
    foreach ($reasons as $reason => $arguments) {
        $source = queueWith($channel, $reason, $arguments + ['x-dead-letter-exchange' => $dead]);
        publishWith($channel, $source, $reason, [
            'message_id' => $reason, 'expiration' => '60000',
            'application_headers' => new AMQPTable(['mine' => 1, 'CC' => ['copied']]),
        ]);
        if ($reason === 'rejected') {
            $channel->basic_get($source)->reject(false);
        }
        $message = $inbox->take();
        equal([$reason, $dead, $source], [$message->getBody(), $message->getExchange(), $message->getRoutingKey()]);
        equal([$reason, false], [$message->get('message_id'), $message->has('expiration')]);
        $headers = headers($message);
        equal([1, $reason, $source, ''], [
            $headers['mine'], $headers['x-first-death-reason'], $headers['x-first-death-queue'], $headers['x-first-death-exchange'],
        ]);
        [$death] = $headers['x-death'];
        $time = $death['time'] instanceof DateTime ? $death['time']->getTimestamp() : $death['time'];
        equal(true, abs($time - time()) < 60);
        unset($death['time']);
        ksort($death);
        equal([
            'count' => 1, 'exchange' => '', 'original-expiration' => '60000', 'queue' => $source, 'reason' => $reason,
            'routing-keys' => [$source, 'copied'],
        ], $death);
    }
    $channel->exchange_delete($dead);
});

check('delayed retry: out of a queue with a TTL and back, deaths counted, parked after three attempts', function (AMQPChannel $channel): void {
    $to = fn (string $name): array => ['x-dead-letter-exchange' => '', 'x-dead-letter-routing-key' => RUN . ".$name"];
    $work = queueWith($channel, 'work', $to('wait'));
    $wait = queueWith($channel, 'wait', $to('work') + ['x-message-ttl' => 20]);
    $parking = exclusiveQueue($channel);
    $inbox = new Inbox($channel, $work);
    publish($channel, $work, 'job');
    foreach ([null, 1, 2] as $deaths) {
        $job = $inbox->take();
        equal([$deaths, $deaths], [deathCount($job, $work, 'rejected'), deathCount($job, $wait, 'expired')]);
        if ($deaths !== 2) {
            $job->nack(false);
            continue;
        }
        publish($channel, $parking, $job->getBody());
        $job->ack();
    }
    equal(['job'], drain($channel, $parking));
});

check('x-max-priority: the higher first, in order within one, more than the maximum is the maximum', function (AMQPChannel $channel): void {
    $queue = queueWith($channel, 'priorities', ['x-max-priority' => 5]);
    publish($channel, $queue, 'none');
    foreach ([2, 5, 200, 2, 0] as $priority) {
        publishWith($channel, $queue, "$priority", ['priority' => $priority]);
    }
    $channel->basic_get($queue)->reject(true);
    equal(['5', '200', '2', '2', 'none', '0'], drain($channel, $queue));
});

check('single active consumer: the next one takes over, exclusive ones are refused', function (AMQPChannel $channel): void {
    $queue = queueWith($channel, 'single', ['x-single-active-consumer' => true], false);
    $first = connect();
    $active = new Inbox($first->channel(), $queue);
    $waiting = new Inbox($channel, $queue);
    publish($channel, $queue, '1', '2');
    $active->take()->ack();
    $active->take();
    $waiting->expectQuiet();
    $first->close();
    $taken = $waiting->take();
    equal(['2', true], [$taken->getBody(), $taken->isRedelivered()]);
    $other = $channel->getConnection()->channel();
    refused(
        403,
        "ACCESS_REFUSED - queue '$queue' in vhost '/' in exclusive use",
        fn () => $other->basic_consume($queue, '', false, false, true),
    );
    $channel->queue_delete($queue);
});

check('quorum queue: x-delivery-count, and the delivery limit that dead-letters', function (AMQPChannel $channel): void {
    $dead = queueWith($channel, 'limit-dead', [], false);
    $queue = queueWith($channel, 'limit', [
        'x-queue-type' => 'quorum', 'x-delivery-limit' => 2, 'x-dead-letter-exchange' => '', 'x-dead-letter-routing-key' => $dead,
    ], false);
    $channel->confirm_select();
    publish($channel, $queue, 'poison');
    $channel->wait_for_pending_acks(WAIT_SECONDS);
    $inbox = new Inbox($channel, $queue);
    for ($turn = 0; $turn < 3; $turn++) {
        $message = $inbox->take();
        // Some versions leave the 0 of the first delivery out.
        equal([$turn, $turn > 0], [headers($message)['x-delivery-count'] ?? 0, $message->isRedelivered()]);
        $message->reject(true);
    }
    equal(1, deathCount((new Inbox($channel, $dead))->take(), $queue, 'delivery_limit'));
    $inbox->expectQuiet();
    $channel->queue_delete($queue);
    $channel->queue_delete($dead);
});

check('stream: readers at their own offsets over the same messages', function (AMQPChannel $channel): void {
    $queue = queueWith($channel, 'stream', ['x-queue-type' => 'stream', 'x-max-age' => '7D'], false);
    $channel->confirm_select();
    for ($n = 0; $n < 5; $n++) {
        publish($channel, $queue, "$n");
        $channel->wait_for_pending_acks(WAIT_SECONDS);
    }
    foreach ([['first', 0], ['last', 4], [2, 2], ['1h', 0], [new DateTime('-1 hour'), 0]] as [$start, $first]) {
        $reader = $channel->getConnection()->channel();
        $reader->basic_qos(0, 1, false);
        $inbox = new Inbox($reader, $queue, arguments: ['x-stream-offset' => $start]);
        for ($offset = $first; $offset < 5; $offset++) {
            $message = $inbox->take();
            equal(["$offset", $offset], [$message->getBody(), headers($message)['x-stream-offset']]);
            $message->ack();
        }
        $inbox->expectQuiet();
        $reader->close();
    }
    $channel->queue_delete($queue);
});

check('540 for basic.get of a stream closes the connection', function (AMQPChannel $channel): void {
    $queue = queueWith($channel, 'stream-get', ['x-queue-type' => 'stream'], false);
    $other = connect();
    try {
        $other->channel()->basic_get($queue);
    } catch (AMQPConnectionClosedException $closed) {
        equal(540, $closed->getCode());
        $channel->queue_delete($queue);
        return;
    }
    throw new RuntimeException('the connection stayed open');
});

check('406 for wrong arguments', function (AMQPChannel $channel): void {
    global $queues;
    $connection = $channel->getConnection();
    $name = $queues[] = RUN . '.refused';
    foreach ([
        ['x-message-ttl', -1, '{value_negative,-1}'],
        ['x-message-ttl', '100', '"expected integer, got longstr"'],
        ['x-expires', 0, '{value_zero,0}'],
        ['x-max-priority', 256, '{max_value_exceeded,256}'],
        ['x-dead-letter-routing-key', 'k', 'routing_key_but_no_dlx_defined'],
        ['x-queue-type', 'heap', '"unsupported queue type \'heap\'"'],
    ] as [$argument, $value, $reason]) {
        refused(
            406,
            "PRECONDITION_FAILED - invalid arg '$argument' for queue '$name' in vhost '/': $reason",
            fn () => $connection->channel()->queue_declare($name, false, true, false, false, false, new AMQPTable([$argument => $value])),
        );
    }
});

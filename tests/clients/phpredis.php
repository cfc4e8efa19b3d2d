<?php
// SPDX-License-Identifier: Apache-2.0
// The php-redis extension with default options. Usage: php phpredis.php PORT MODE PREFIX
// Prints "ok", or "refused: why" with exit status 3.
function same($got, $wanted)
{
    if ($got !== $wanted) {
        throw new Exception('got ' . var_export($got, true) . ', wanted ' . var_export($wanted, true));
    }
}

// php-redis answers false where Redis answers an error, and keeps its words.
function refused($client)
{
    $words = (string)$client->getLastError();
    if (strpos($words, "sumcache: '") !== false) {
        echo "refused: $words\n";
        exit(3);
    }
}

function connection($port)
{
    $client = new Redis();
    same($client->connect('127.0.0.1', (int)$port), true);
    return $client;
}

[, $port, $mode, $prefix] = $argv;
$client = connection($port);
$key = fn($name) => "$prefix:$name";
$tagged = fn($name) => '{' . $prefix . "}:$name";
same($client->ping(), true);
if ($mode === 'work') {
    same($client->set($key('a'), 'one'), true);
    same($client->get($key('a')), 'one');
    same($client->get($key('nothing')), false);
    $binary = '';
    for ($i = 0; $i < 300000; $i++) {
        $binary .= chr(($i * 7) & 255);
    }
    same($client->set($key('binary'), $binary), true);
    same($client->get($key('binary')) === $binary, true);
    $binary = str_repeat($binary, 4);
    same($client->set($key('large'), $binary), true);
    same($client->get($key('large')) === $binary, true);
    same($client->mset([$key('b') => '2', $key('c') => '3']), true);
    same($client->mget([$key('a'), $key('x'), $key('b'), $key('c')]), ['one', false, '2', '3']);
    same($client->hMSet($key('h'), ['f' => 'v', 'g' => 'w']), true);
    same($client->hGetAll($key('h')), ['f' => 'v', 'g' => 'w']);
    same($client->zAdd($key('z'), 1.5, 'm'), 1);
    same($client->zScore($key('z'), 'm'), 1.5);
    same($client->incr($key('n')), 1);
    same($client->setex($key('e'), 1000, 'v'), true);
    same(in_array($client->ttl($key('e')), [999, 1000]), true);
    same($client->pexpire($key('e'), 30), true);
    usleep(100000);
    same($client->exists($key('e')), 0);
    $script = "return {redis.call('incrby', KEYS[1], ARGV[1]), KEYS[1]}";
    same($client->eval($script, [$key('n'), 4], 1), [5, $key('n')]);
    same($client->evalSha(sha1($script), [$key('n'), 5], 1), [10, $key('n')]);
    same($client->evalSha(sha1('nobody knows it'), [], 0), false);
    same(strpos($client->getLastError(), 'NOSCRIPT') === 0, true);
    $pipeline = $client->multi(Redis::PIPELINE);
    for ($i = 0; $i < 500; $i++) {
        $pipeline->set($key("p$i"), "v$i");
        $pipeline->get($key("p$i"));
    }
    $results = $pipeline->exec();
    same(count($results), 1000);
    for ($i = 0; $i < 500; $i++) {
        same($results[2 * $i + 1], "v$i");
    }
    same($client->del([$key('a'), $key('b'), $key('c'), $key('x')]), 3);
    same($client->rawCommand('NOSUCHCOMMAND', 'x'), false);
    same(strpos($client->getLastError(), 'ERR unknown command') === 0, true);
    same($client->ping(), true);
}
if ($mode === 'large') {
    foreach ([66000, 100000, 1000000, 5000000, 70000] as $i => $size) {
        $value = str_repeat(substr(hash('sha512', "$i", true), 0, 50), intdiv($size, 50));
        $name = $key($i % 2);
        same($client->set($name, $value), true);
        same($client->get($name) === $value, true);
        same($client->append($name, 'end'), $size + 3);
        same($client->getSet($name, 'small') === $value . 'end', true);
        same($client->mset([$key('a') => $value, $key('b') => $value, $key('c') => 'small']), true);
        same($client->mget([$key('a'), $key('b'), $key('c'), $key('x')]) === [$value, $value, 'small', false], true);
    }
}
if ($mode === 'scan') {
    for ($i = 0; $i < 300; $i++) {
        same($client->set($key($i), 'v'), true);
    }
    $client->rawCommand('SCAN', '0'); // scan() does not tell an error from the end
    refused($client);
    $found = [];
    $cursor = null;
    $client->setOption(Redis::OPT_SCAN, Redis::SCAN_RETRY);
    while (($names = $client->scan($cursor, "$prefix:*", 50)) !== false) {
        foreach ($names as $name) {
            $found[$name] = true;
        }
    }
    same(count($found), 300);
}
if ($mode === 'multi') {
    $got = $client->multi();
    refused($client);
    same($got->set($tagged('a'), '1')->incr($tagged('a'))->get($tagged('a'))->exec(), [true, 2, '2']);
    same($client->watch($tagged('a')), true);
    same(connection($port)->set($tagged('a'), 'changed'), true);
    same($client->multi()->set($tagged('a'), 'mine')->exec(), false);
    same($client->get($tagged('a')), 'changed');
}
if ($mode === 'pubsub') {
    $heard = $client->publish($key('news'), 'nobody hears it');
    refused($client);
    same($heard, 0);
    // It calls back and does not return: somebody else has to speak meanwhile, and it ends by an exception.
    $speaker = pcntl_fork();
    if ($speaker === 0) {
        $client = connection($port);
        for ($i = 0; $i < 20; $i++) {
            while ($client->publish($key('news'), "$i") === 0) {
                usleep(10000);
            }
        }
        posix_kill(posix_getpid(), SIGKILL); // without what a script does at its end
    }
    $heard = [];
    $client->setOption(Redis::OPT_READ_TIMEOUT, 10);
    try {
        $client->subscribe([$key('news')], function ($client, $channel, $message) use (&$heard) {
            $heard[] = "$channel $message";
            if (count($heard) === 20) {
                throw new LengthException();
            }
        });
    } catch (LengthException | RedisException $enough) {
        same(count($heard), 20);
    }
    pcntl_waitpid($speaker, $status);
    same($heard, array_map(fn($i) => $key('news') . " $i", range(0, 19)));
}
if ($mode === 'blocking') {
    $got = $client->blPop([$key('list')], 1);
    refused($client);
    same($got, []);
    connection($port)->rPush($key('list'), 'a');
    same($client->blPop([$key('list')], 5), [$key('list'), 'a']);
}
if ($mode === 'killed') {
    $count = ['rounds' => 0, 'errors' => 0, 'misses' => 0, 'slowest' => 0];
    $once = function ($i) use (&$client, &$count, $key, $port) {
        $began = microtime(true);
        try {
            $round = $count['rounds'];
            if ($client->set($key($i), "$i:$round") !== true) {
                $count['errors']++;
            }
            $value = $client->get($key($i));
            $count['misses'] += $value === false;
            if ($value !== false && strpos($value, "$i:") !== 0) {
                throw new Exception("$i holds $value");
            }
            return $value === "$i:$round";
        } catch (RedisException $error) {
            $count['errors']++;
            usleep(10000);
            try {
                $client = connection($port);
            } catch (RedisException $error) {
            }
            return false;
        } finally {
            $count['slowest'] = max($count['slowest'], (int)(1000 * (microtime(true) - $began)));
        }
    };
    $is_over = function () {
        [$read, $write, $except] = [[STDIN], null, null];
        return stream_select($read, $write, $except, 0, 5000) > 0;
    };
    do {
        array_map($once, range(0, 19));
        if ($count['rounds']++ === 0) {
            echo "ready\n";
        }
    } while (!$is_over());
    for ($tries = 0; in_array(false, array_map($once, range(0, 19)), true); $tries++) {
        same($tries < 100, true);
        usleep(100000);
    }
    echo json_encode($count), "\n";
}
$client->close();
echo "ok\n";

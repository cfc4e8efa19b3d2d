<?php
// SPDX-License-Identifier: Apache-2.0
// The php-redis extension with default options. Usage: php phpredis.php PORT work|connect|large PREFIX
function same($got, $wanted)
{
    if ($got !== $wanted) {
        throw new Exception('got ' . var_export($got, true) . ', wanted ' . var_export($wanted, true));
    }
}

[, $port, $mode, $prefix] = $argv;
$client = new Redis();
same($client->connect('127.0.0.1', (int)$port), true);
same($client->ping(), true);
if ($mode === 'work') {
    $key = fn($name) => "$prefix:$name";
    same($client->set($key('a'), 'one'), true);
    same($client->get($key('a')), 'one');
    same($client->get($key('nothing')), false);
    $binary = '';
    for ($i = 0; $i < 300000; $i++) {
        $binary .= chr(($i * 7) & 255);
    }
    same($client->set($key('binary'), $binary), true);
    same($client->get($key('binary')) === $binary, true);
    same($client->mset([$key('b') => '2', $key('c') => '3']), true);
    same($client->mget([$key('a'), $key('x'), $key('b'), $key('c')]), ['one', false, '2', '3']);
    same($client->hMSet($key('h'), ['f' => 'v', 'g' => 'w']), true);
    same($client->hGetAll($key('h')), ['f' => 'v', 'g' => 'w']);
    same($client->zAdd($key('z'), 1.5, 'm'), 1);
    same($client->zScore($key('z'), 'm'), 1.5);
    same($client->incr($key('n')), 1);
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
        $key = "$prefix:" . ($i % 2);
        same($client->set($key, $value), true);
        same($client->get($key) === $value, true);
        same($client->append($key, 'end'), $size + 3);
        same($client->getSet($key, 'small') === $value . 'end', true);
        same($client->mset(["$prefix:a" => $value, "$prefix:b" => $value, "$prefix:c" => 'small']), true);
        same($client->mget(["$prefix:a", "$prefix:b", "$prefix:c", "$prefix:x"]) === [$value, $value, 'small', false], true);
    }
}
$client->close();
echo "ok\n";

// SPDX-License-Identifier: Apache-2.0
// ioredis, and iovalkey which is made from it, with default options. Usage: see common.mjs
import assert from 'node:assert/strict';
import { bytes, keepGoing, key, library, mode, port, prefix, run, sleep, tagged, tls, within } from './common.mjs';

const { Redis } = await import(library);
const client = new Redis({ host: '127.0.0.1', port, ...tls });
const errors = [];
client.on('error', (error) => errors.push(error.message));

const connect = async () => assert.equal(await client.ping(), 'PONG');

async function work() {
  await connect();
  assert.equal(await client.set(key('a'), 'one'), 'OK');
  assert.equal(await client.get(key('a')), 'one');
  assert.equal(await client.get(key('nothing')), null);
  const binary = bytes(300000);
  await client.set(key('binary'), binary);
  assert.ok(binary.equals(await client.getBuffer(key('binary'))));
  await client.mset(key('b'), '2', key('c'), '3');
  assert.deepEqual(await client.mget(key('a'), key('x'), key('b'), key('c')), ['one', null, '2', '3']);
  await client.hset(key('h'), { f: 'v', g: 'w' });
  assert.deepEqual({ ...(await client.hgetall(key('h'))) }, { f: 'v', g: 'w' });
  await client.zadd(key('z'), 1.5, 'm', 2, 'n');
  assert.equal(String(await client.zscore(key('z'), 'm')), '1.5');
  assert.equal(await client.incr(key('n')), 1);
  assert.equal(await client.set(key('e'), 'v', 'EX', 1000), 'OK');
  assert.ok([999, 1000].includes(await client.ttl(key('e'))));
  assert.equal(await client.pexpire(key('e'), 30), 1);
  await sleep(100);
  assert.equal(await client.exists(key('e')), 0);
  const large = bytes(1 << 20, 11);
  await client.set(key('large'), large);
  assert.ok(large.equals(await client.getBuffer(key('large'))));
  const pipeline = client.pipeline();
  for (let i = 0; i < 500; i++) pipeline.set(key(`p${i}`), `v${i}`);
  for (let i = 0; i < 500; i++) pipeline.get(key(`p${i}`));
  const results = await pipeline.exec();
  assert.equal(results.length, 1000);
  for (let i = 0; i < 500; i++) assert.deepEqual(results[500 + i], [null, `v${i}`]);
  const together = await Promise.all(Array.from({ length: 200 }, (_, i) => client.get(key(`p${i}`))));
  together.forEach((value, i) => assert.equal(value, `v${i}`));
  const script = "return {redis.call('incrby', KEYS[1], ARGV[1]), KEYS[1]}";
  assert.deepEqual(await client.eval(script, 1, key('n'), 4), [5, key('n')]);
  // By EVALSHA, and by EVAL when the node does not know it.
  client.defineCommand('addTo', { numberOfKeys: 1, lua: script });
  assert.deepEqual(await client.addTo(key('n'), 5), [10, key('n')]);
  assert.deepEqual(await client.addTo(key('n'), 5), [15, key('n')]);
  assert.equal(await client.del(key('a'), key('b'), key('c'), key('x')), 3);
  await assert.rejects(client.call('NOSUCHCOMMAND', 'x'), /unknown command/);
  assert.equal(await client.ping(), 'PONG');
}

async function large() {
  const sizes = [66000, 100000, 1000000, 5000000];
  const values = sizes.map((size, salt) => bytes(size, 7 + salt));
  // Without waiting for one another: ioredis pipelines them on its one connection.
  const sets = [];
  const gets = [];
  for (let i = 0; i < 40; i++) {
    sets.push(client.set(key(`k${i}`), values[i % 4]), client.incr(key('n')));
    gets.push(client.getBuffer(key(`k${i}`)), client.strlen(key(`k${i}`)));
  }
  (await Promise.all(sets)).forEach((reply, i) => assert.equal(reply, i % 2 ? (i + 1) / 2 : 'OK'));
  (await Promise.all(gets)).forEach((reply, i) => {
    const value = values[(i >> 1) % 4];
    if (i % 2) assert.equal(reply, value.length);
    else assert.ok(value.equals(reply));
  });
  await client.mset(key('a'), values[2], key('b'), values[3], key('c'), 'small');
  const many = await client.mgetBuffer(key('a'), key('b'), key('c'), key('x'));
  assert.ok(values[2].equals(many[0]) && values[3].equals(many[1]) && many[2].toString() === 'small' && many[3] === null);
  assert.ok(values[2].equals(await client.getsetBuffer(key('a'), values[0])));
  assert.equal(await client.append(key('a'), values[1]), 166000);
  assert.ok(Buffer.concat([values[0], values[1]]).equals(await client.getBuffer(key('a'))));
  assert.equal(await client.del(...Array.from({ length: 40 }, (_, i) => key(`k${i}`))), 40);
}

async function scan() {
  const wanted = new Set(Array.from({ length: 300 }, (_, i) => key(i)));
  await Promise.all([...wanted].map((name) => client.set(name, 'v')));
  const found = [];
  for await (const keys of client.scanStream({ match: `${prefix}:*`, count: 50 })) found.push(...keys);
  assert.deepEqual(new Set(found), wanted);
}

async function multi() {
  const all = await client.multi().set(tagged('a'), '1').incr(tagged('a')).get(tagged('a')).exec();
  assert.deepEqual(all, [[null, 'OK'], [null, 2], [null, '2']]);
  const other = client.duplicate();
  await client.watch(tagged('a'));
  await other.set(tagged('a'), 'changed');
  assert.equal(await client.multi().set(tagged('a'), 'mine').exec(), null);
  assert.equal(await client.get(tagged('a')), 'changed');
  await other.quit();
}

async function pubsub() {
  const listener = client.duplicate();
  const heard = [];
  const all = new Promise((resolve) => {
    listener.on('message', (channel, message) => {
      heard.push(`${channel} ${message}`);
      if (heard.length === 20) resolve();
    });
  });
  assert.equal(await listener.subscribe(key('news')), 1);
  for (let i = 0; i < 20; i++) await client.publish(key('news'), `${i}`);
  await within(all, '20 messages');
  assert.deepEqual(heard, Array.from({ length: 20 }, (_, i) => `${key('news')} ${i}`));
  const matched = new Promise((resolve) => { listener.on('pmessage', (...what) => resolve(what)); });
  await listener.psubscribe(`${prefix}:al*`);
  await client.publish(key('all'), 'x');
  assert.deepEqual(await within(matched, 'pmessage'), [`${prefix}:al*`, key('all'), 'x']);
  await listener.unsubscribe(key('news'));
  await listener.punsubscribe(`${prefix}:al*`);
  assert.equal(await listener.get(key('nothing')), null);
  await listener.quit();
}

async function blocking() {
  const waiting = client.duplicate();
  const popped = waiting.blpop(key('list'), 0);
  await Promise.race([popped, sleep(100)]);
  await client.rpush(key('list'), 'a');
  assert.deepEqual(await within(popped, 'element'), [key('list'), 'a']);
  assert.equal(await waiting.blpop(key('list'), 0.05), null);
  await waiting.quit();
}

const killed = () => keepGoing((...args) => client.set(...args), (name) => client.get(name));

await run({ connect, work, large, scan, multi, pubsub, blocking, killed }, async () => {
  if (mode !== 'killed') assert.deepEqual(errors, []);
  assert.equal(await client.quit(), 'OK');
});

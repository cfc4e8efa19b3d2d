// SPDX-License-Identifier: Apache-2.0
// node-redis with default options; redis5-resp3 is redis5 that asks for RESP3. Usage: see common.mjs
import assert from 'node:assert/strict';
import { bytes, keepGoing, key, library, mode, port, prefix, run, sleep, tagged, within } from './common.mjs';

const [name, resp3] = library.split('-');
const { createClient, defineScript, RESP_TYPES } = await import(name);
const script = "return {redis.call('incrby', KEYS[1], ARGV[1]), KEYS[1]}";
const client = createClient({
  socket: { host: '127.0.0.1', port },
  ...(resp3 ? { RESP: 3 } : {}),
  scripts: {
    // By EVALSHA, and by EVAL when the node does not know it.
    addTo: defineScript({
      NUMBER_OF_KEYS: 1,
      SCRIPT: script,
      parseCommand(parser, where, number) {
        parser.pushKey(where);
        parser.push(String(number));
      },
      transformReply: (reply) => reply,
    }),
  },
});
const errors = [];
client.on('error', (error) => errors.push(error.message));
await client.connect();
const buffers = client.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });

async function another() {
  const other = client.duplicate();
  other.on('error', (error) => errors.push(error.message));
  await other.connect();
  return other;
}

const connect = async () => assert.equal(await client.ping(), 'PONG');

async function work() {
  await connect();
  assert.equal(await client.set(key('a'), 'one'), 'OK');
  assert.equal(await client.get(key('a')), 'one');
  assert.equal(await client.get(key('nothing')), null);
  const binary = bytes(300000);
  await client.set(key('binary'), binary);
  assert.ok(binary.equals(await buffers.get(key('binary'))));
  await client.mSet([[key('b'), '2'], [key('c'), '3']]);
  assert.deepEqual(await client.mGet([key('a'), key('x'), key('b'), key('c')]), ['one', null, '2', '3']);
  await client.hSet(key('h'), { f: 'v', g: 'w' });
  assert.deepEqual({ ...(await client.hGetAll(key('h'))) }, { f: 'v', g: 'w' });
  await client.zAdd(key('z'), [{ score: 1.5, value: 'm' }, { score: 2, value: 'n' }]);
  assert.equal(await client.zScore(key('z'), 'm'), 1.5);
  assert.equal(await client.incr(key('n')), 1);
  assert.equal(await client.set(key('e'), 'v', { EX: 1000 }), 'OK');
  assert.ok([999, 1000].includes(await client.ttl(key('e'))));
  assert.equal(await client.pExpire(key('e'), 30), 1);
  await sleep(100);
  assert.equal(await client.exists(key('e')), 0);
  const large = bytes(1 << 20, 11);
  await client.set(key('large'), large);
  assert.ok(large.equals(await buffers.get(key('large'))));
  // node-redis pipelines by itself whatever is asked within one tick.
  const sets = Array.from({ length: 500 }, (_, i) => client.set(key(`p${i}`), `v${i}`));
  const gets = Array.from({ length: 500 }, (_, i) => client.get(key(`p${i}`)));
  await Promise.all(sets);
  (await Promise.all(gets)).forEach((value, i) => assert.equal(value, `v${i}`));
  assert.deepEqual(await client.eval(script, { keys: [key('n')], arguments: ['4'] }), [5, key('n')]);
  assert.deepEqual(await client.addTo(key('n'), 5), [10, key('n')]);
  assert.deepEqual(await client.addTo(key('n'), 5), [15, key('n')]);
  assert.equal(await client.del([key('a'), key('b'), key('c'), key('x')]), 3);
  await assert.rejects(client.sendCommand(['NOSUCHCOMMAND', 'x']), /unknown command/);
  assert.equal(await client.ping(), 'PONG');
}

async function large() {
  const sizes = [66000, 100000, 1000000, 5000000];
  const values = sizes.map((size, salt) => bytes(size, 7 + salt));
  const sets = Array.from({ length: 40 }, (_, i) => client.set(key(`k${i}`), values[i % 4]));
  const gets = Array.from({ length: 40 }, (_, i) => buffers.get(key(`k${i}`)));
  const lengths = Array.from({ length: 40 }, (_, i) => client.strLen(key(`k${i}`)));
  (await Promise.all(sets)).forEach((reply) => assert.equal(reply, 'OK'));
  (await Promise.all(gets)).forEach((reply, i) => assert.ok(values[i % 4].equals(reply)));
  (await Promise.all(lengths)).forEach((reply, i) => assert.equal(reply, sizes[i % 4]));
  await client.mSet([[key('a'), values[2]], [key('b'), values[3]]]);
  const many = await buffers.mGet([key('a'), key('b'), key('x')]);
  assert.ok(values[2].equals(many[0]) && values[3].equals(many[1]) && many[2] === null);
  assert.equal(await client.append(key('a'), values[1]), 1100000);
  assert.ok(Buffer.concat([values[2], values[1]]).equals(await buffers.get(key('a'))));
  assert.equal(await client.del(Array.from({ length: 40 }, (_, i) => key(`k${i}`))), 40);
}

async function scan() {
  const wanted = new Set(Array.from({ length: 300 }, (_, i) => key(i)));
  await Promise.all([...wanted].map((one) => client.set(one, 'v')));
  const found = [];
  for await (const keys of client.scanIterator({ MATCH: `${prefix}:*`, COUNT: 50 })) found.push(...keys);
  assert.deepEqual(new Set(found), wanted);
}

async function multi() {
  const all = await client.multi().set(tagged('a'), '1').incr(tagged('a')).get(tagged('a')).exec();
  assert.deepEqual(all, ['OK', 2, '2']);
  const other = await another();
  await client.watch(tagged('a'));
  await other.set(tagged('a'), 'changed');
  await assert.rejects(client.multi().set(tagged('a'), 'mine').exec(), { name: /WatchError|Error/ });
  assert.equal(await client.get(tagged('a')), 'changed');
  await other.close();
}

async function pubsub() {
  const listener = await another();
  const heard = [];
  let done;
  const all = new Promise((resolve) => { done = resolve; });
  await listener.subscribe(key('news'), (message, channel) => {
    heard.push(`${channel} ${message}`);
    if (heard.length === 20) done();
  });
  for (let i = 0; i < 20; i++) await client.publish(key('news'), `${i}`);
  await within(all, '20 messages');
  assert.deepEqual(heard, Array.from({ length: 20 }, (_, i) => `${key('news')} ${i}`));
  const matched = new Promise((resolve) => { done = resolve; });
  await listener.pSubscribe(`${prefix}:al*`, (message, channel) => done([channel, message]));
  await client.publish(key('all'), 'x');
  assert.deepEqual(await within(matched, 'message of a pattern'), [key('all'), 'x']);
  await listener.unsubscribe(key('news'));
  await listener.pUnsubscribe(`${prefix}:al*`);
  assert.equal(await listener.get(key('nothing')), null);
  await listener.close();
}

async function blocking() {
  const waiting = await another();
  const popped = waiting.blPop(key('list'), 0);
  await Promise.race([popped, sleep(100)]);
  await client.rPush(key('list'), 'a');
  assert.deepEqual({ ...(await within(popped, 'element')) }, { key: key('list'), element: 'a' });
  assert.equal(await waiting.blPop(key('list'), 0.05), null);
  await waiting.close();
}

const killed = () => keepGoing((...args) => client.set(...args), (one) => client.get(one));

await run({ connect, work, large, scan, multi, pubsub, blocking, killed }, async () => {
  if (mode !== 'killed') assert.deepEqual(errors, []);
  await client.close();
});

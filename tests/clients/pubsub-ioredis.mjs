// SPDX-License-Identifier: Apache-2.0
// ioredis as a subscriber. Usage: node pubsub-ioredis.mjs ioredis5|ioredis6 PORT PORT2 PREFIX
import assert from 'node:assert/strict';

const [library, port, port2, prefix] = process.argv.slice(2);
const { Redis } = await import(library);
const subscriber = new Redis({ host: '127.0.0.1', port: Number(port) });
const publisher = new Redis({ host: '127.0.0.1', port: Number(port2) });
const errors = [];
for (const client of [subscriber, publisher]) client.on('error', (error) => errors.push(error.message));
const name = (i) => `${prefix}:${i}`;
const heard = [];
let enough = () => {};
subscriber.on('message', (channel, text) => { heard.push([channel, text]); enough(); });
subscriber.on('pmessage', (pattern, channel, text) => { heard.push([pattern, channel, text]); enough(); });
subscriber.on('smessage', (channel, text) => { heard.push(['s', channel, text]); enough(); });
const wait = (count) => new Promise((resolve) => {
  enough = () => heard.length >= count && resolve();
  enough();
});

const channels = Array.from({ length: 20 }, (_, i) => name(i));
assert.equal(await subscriber.subscribe(...channels), 20);
assert.equal(await subscriber.psubscribe(`${prefix}:1*`), 21);
assert.equal(await subscriber.ssubscribe(name('shard')), 1);
assert.match(String(await subscriber.ping()), /pong/i);
for (const channel of channels) await publisher.publish(channel, `text of ${channel}`);
assert.equal(await publisher.spublish(name('shard'), 'shard'), 1);
await wait(20 + 11 + 1);
assert.equal(heard.filter((m) => m.length === 2).length, 20);
for (const channel of channels) assert.ok(heard.some((m) => m.length === 2 && m[0] === channel && m[1] === `text of ${channel}`));
assert.ok(heard.some((m) => m[0] === 's' && m[2] === 'shard'));
assert.equal((await publisher.pubsub('CHANNELS', `${prefix}:*`)).length, 20);
assert.deepEqual(await publisher.pubsub('NUMSUB', name(3)), [name(3), 1]);
assert.equal(await publisher.pubsub('NUMPAT'), 1);
// By name: without one, ioredis waits until nothing at all is left.
await subscriber.punsubscribe(`${prefix}:1*`);
await subscriber.sunsubscribe(name('shard'));
await subscriber.unsubscribe(...channels);
assert.equal(await subscriber.get(name('none')), null);
assert.equal(heard.length, 32);
assert.deepEqual(errors, []);
await subscriber.quit();
await publisher.quit();
console.log('ok');

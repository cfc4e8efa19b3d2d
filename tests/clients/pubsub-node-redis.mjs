// SPDX-License-Identifier: Apache-2.0
// node-redis as a subscriber, in RESP2 and RESP3. Usage: node pubsub-node-redis.mjs redis5|redis6 PORT PORT2 PREFIX
import assert from 'node:assert/strict';

const [library, port, port2, prefix] = process.argv.slice(2);
const { createClient } = await import(library);
for (const RESP of [2, 3]) {
  const errors = [];
  const connect = async (to) => {
    const client = createClient({ socket: { host: '127.0.0.1', port: Number(to) }, RESP });
    client.on('error', (error) => errors.push(error.message));
    await client.connect();
    return client;
  };
  const subscriber = await connect(port);
  const publisher = await connect(port2);
  const name = (i) => `${prefix}:${RESP}:${i}`;
  const heard = [];
  let enough = () => {};
  const hear = (kind) => (text, channel) => { heard.push([kind, channel, text]); enough(); };
  const channels = Array.from({ length: 20 }, (_, i) => name(i));
  await subscriber.subscribe(channels, hear('m'));
  await subscriber.pSubscribe(`${prefix}:${RESP}:1*`, hear('p'));
  await subscriber.sSubscribe(name('shard'), hear('s'));
  await subscriber.ping();
  if (RESP === 3) assert.equal(await subscriber.get(name('none')), null);
  for (const channel of channels) assert.ok((await publisher.publish(channel, `text of ${channel}`)) >= 1);
  assert.equal(await publisher.sPublish(name('shard'), 'shard'), 1);
  await new Promise((resolve) => {
    enough = () => heard.length >= 32 && resolve();
    enough();
  });
  for (const channel of channels) assert.equal(heard.filter((m) => m[0] === 'm' && m[1] === channel && m[2] === `text of ${channel}`).length, 1);
  assert.equal(heard.filter((m) => m[0] === 'p').length, 11);
  assert.equal(heard.filter((m) => m[0] === 's').length, 1);
  assert.equal((await publisher.pubSubChannels(`${prefix}:${RESP}:*`)).length, 20);
  assert.deepEqual({ ...(await publisher.pubSubNumSub([name(3)])) }, { [name(3)]: 1 });
  // By name: without one, it waits in RESP2 until nothing at all is left.
  await subscriber.pUnsubscribe(`${prefix}:${RESP}:1*`);
  await subscriber.sUnsubscribe(name('shard'));
  await subscriber.unsubscribe(channels);
  assert.equal(await subscriber.get(name('none')), null);
  assert.equal(heard.length, 32);
  assert.deepEqual(errors, []);
  await subscriber.close();
  await publisher.close();
}
console.log('ok');

// SPDX-License-Identifier: Apache-2.0
// node-redis with default options. Usage: node node-redis.mjs redis5|redis6 PORT work|connect|large PREFIX
import assert from 'node:assert/strict';

const [library, port, mode, prefix] = process.argv.slice(2);
const { createClient, RESP_TYPES } = await import(library);
const client = createClient({ socket: { host: '127.0.0.1', port: Number(port) } });
const errors = [];
client.on('error', (error) => errors.push(error.message));
await client.connect();

assert.equal(await client.ping(), 'PONG');
if (mode === 'work') {
  const key = (name) => `${prefix}:${name}`;
  assert.equal(await client.set(key('a'), 'one'), 'OK');
  assert.equal(await client.get(key('a')), 'one');
  assert.equal(await client.get(key('nothing')), null);
  const binary = Buffer.from(Array.from({ length: 300000 }, (_, i) => (i * 7) & 255));
  await client.set(key('binary'), binary);
  const buffers = client.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });
  assert.ok(binary.equals(await buffers.get(key('binary'))));
  await client.mSet([[key('b'), '2'], [key('c'), '3']]);
  assert.deepEqual(await client.mGet([key('a'), key('x'), key('b'), key('c')]), ['one', null, '2', '3']);
  await client.hSet(key('h'), { f: 'v', g: 'w' });
  assert.deepEqual({ ...(await client.hGetAll(key('h'))) }, { f: 'v', g: 'w' });
  await client.zAdd(key('z'), [{ score: 1.5, value: 'm' }, { score: 2, value: 'n' }]);
  assert.equal(await client.zScore(key('z'), 'm'), 1.5);
  assert.equal(await client.incr(key('n')), 1);
  // node-redis pipelines by itself whatever is asked within one tick.
  const sets = Array.from({ length: 500 }, (_, i) => client.set(key(`p${i}`), `v${i}`));
  const gets = Array.from({ length: 500 }, (_, i) => client.get(key(`p${i}`)));
  await Promise.all(sets);
  (await Promise.all(gets)).forEach((value, i) => assert.equal(value, `v${i}`));
  assert.equal(await client.del([key('a'), key('b'), key('c'), key('x')]), 3);
  await assert.rejects(client.sendCommand(['NOSUCHCOMMAND', 'x']), /unknown command/);
  assert.equal(await client.ping(), 'PONG');
}
if (mode === 'large') {
  const sizes = [66000, 100000, 1000000, 5000000];
  const values = sizes.map((size, salt) => Buffer.alloc(size, Buffer.from(Array.from({ length: 251 }, (_, i) => (i * (7 + salt)) & 255))));
  const key = (name) => `${prefix}:${name}`;
  const buffers = client.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });
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
assert.deepEqual(errors, []);
await client.close();
console.log('ok');

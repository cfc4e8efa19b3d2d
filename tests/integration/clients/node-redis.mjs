// SPDX-License-Identifier: Apache-2.0
// node-redis with default options. Usage: node node-redis.mjs redis5|redis6 PORT work|connect PREFIX
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
assert.deepEqual(errors, []);
await client.close();
console.log('ok');

// SPDX-License-Identifier: Apache-2.0
// ioredis with default options. Usage: node ioredis.mjs ioredis5|ioredis6 PORT work|connect PREFIX
import assert from 'node:assert/strict';

const [library, port, mode, prefix] = process.argv.slice(2);
const { Redis } = await import(library);
const client = new Redis({ host: '127.0.0.1', port: Number(port) });
const errors = [];
client.on('error', (error) => errors.push(error.message));

assert.equal(await client.ping(), 'PONG');
if (mode === 'work') {
  const key = (name) => `${prefix}:${name}`;
  assert.equal(await client.set(key('a'), 'one'), 'OK');
  assert.equal(await client.get(key('a')), 'one');
  assert.equal(await client.get(key('nothing')), null);
  const binary = Buffer.from(Array.from({ length: 300000 }, (_, i) => (i * 7) & 255));
  await client.set(key('binary'), binary);
  assert.ok(binary.equals(await client.getBuffer(key('binary'))));
  await client.mset(key('b'), '2', key('c'), '3');
  assert.deepEqual(await client.mget(key('a'), key('x'), key('b'), key('c')), ['one', null, '2', '3']);
  await client.hset(key('h'), { f: 'v', g: 'w' });
  assert.deepEqual({ ...(await client.hgetall(key('h'))) }, { f: 'v', g: 'w' });
  await client.zadd(key('z'), 1.5, 'm', 2, 'n');
  assert.equal(String(await client.zscore(key('z'), 'm')), '1.5');
  assert.equal(await client.incr(key('n')), 1);
  const pipeline = client.pipeline();
  for (let i = 0; i < 500; i++) pipeline.set(key(`p${i}`), `v${i}`);
  for (let i = 0; i < 500; i++) pipeline.get(key(`p${i}`));
  const results = await pipeline.exec();
  assert.equal(results.length, 1000);
  for (let i = 0; i < 500; i++) assert.deepEqual(results[500 + i], [null, `v${i}`]);
  const together = await Promise.all(Array.from({ length: 200 }, (_, i) => client.get(key(`p${i}`))));
  together.forEach((value, i) => assert.equal(value, `v${i}`));
  assert.equal(await client.del(key('a'), key('b'), key('c'), key('x')), 3);
  await assert.rejects(client.call('NOSUCHCOMMAND', 'x'), /unknown command/);
  assert.equal(await client.ping(), 'PONG');
}
assert.deepEqual(errors, []);
assert.equal(await client.quit(), 'OK');
console.log('ok');

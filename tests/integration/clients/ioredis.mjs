// SPDX-License-Identifier: Apache-2.0
// ioredis with default options. Usage: node ioredis.mjs ioredis5|ioredis6 PORT work|connect|large PREFIX
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
if (mode === 'large') {
  const sizes = [66000, 100000, 1000000, 5000000];
  const values = sizes.map((size, salt) => Buffer.alloc(size, Buffer.from(Array.from({ length: 251 }, (_, i) => (i * (7 + salt)) & 255))));
  const key = (name) => `${prefix}:${name}`;
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
assert.deepEqual(errors, []);
assert.equal(await client.quit(), 'OK');
console.log('ok');

// SPDX-License-Identifier: Apache-2.0
// What was wrong in cache-cache 0.11.2, D1 to D20, each as it should be. Options are the defaults, since the
// defects were those of the defaults.
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { getMemoize, getStore, useAsDefault } from '../dist/index.mjs';
import { connect, machineLag, ownRedis, Redis, require, sleep, startRedis, timed, until } from './helpers.mjs';

const { server, client } = await ownRedis();

const redis = (more = {}, others = {}) => ({
  layerConfigs: { REDIS: { ttl: 5000, redisClient: client, ...more } },
  layerOrder: ['REDIS'],
  ...others,
});
const wait = { setMode: 'await' };

it('D1 one function never gets the data of another', async () => {
  useAsDefault(redis());
  const a = getMemoize(async function fnA() {
    return { n: 'A' };
  }, wait);
  const b = getMemoize(async function fnB() {
    return { n: 'B' };
  }, wait);
  assert.deepEqual([await a(), await b(), await a(), await b()], [{ n: 'A' }, { n: 'B' }, { n: 'A' }, { n: 'B' }]);
  assert.deepEqual((await client.keys('*')).map((key) => key.slice(0, 4)).sort(), ['fnA:', 'fnB:']);
  // Without a name nothing tells two functions apart.
  const nameless = getMemoize((() => async () => 1)());
  await assert.rejects(nameless(), /needs a prefix/);
});

it('D2 a call whose function succeeded never throws', async () => {
  const own = await startRedis();
  const lost = connect(own);
  await until(() => lost.status === 'ready', 'connected');
  const cached = getMemoize(async function work(x) {
    return x;
  }, redis({ redisClient: lost, timeout: 50 }, wait));
  own.hang();
  for (let i = 0; i < 3; i++) assert.equal(await cached(i), i);
  own.goOn();
  await own.kill();
  for (let i = 3; i < 6; i++) assert.equal(await cached(i), i);
  lost.disconnect();
  await own.stop();
});

it('D3 50 calls at once are one call', async () => {
  let calls = 0;
  const cached = getMemoize(async function slow() {
    calls++;
    await sleep(20);
    return { calls };
  }, redis());
  const results = await Promise.all(Array.from({ length: 50 }, () => cached()));
  assert.equal(calls, 1);
  // And what one caller does to its result is no other caller's business.
  results[1].calls = 'changed';
  assert.equal(results[2].calls, 1);
});

it('D4 a server that hangs costs one budget, and then nothing', async () => {
  const own = await startRedis();
  const lost = connect(own);
  await until(() => lost.status === 'ready', 'connected');
  const cached = getMemoize(async function work(x) {
    return x;
  }, redis({ redisClient: lost }));
  await cached(0);
  own.hang();
  machineLag();
  const first = await timed(() => cached(1));
  const rest = [];
  for (let i = 2; i < 20; i++) rest.push((await timed(() => cached(i))).ms);
  assert.ok(first.ms < 50 + 30 + machineLag(), `first ${first.ms}`);
  rest.sort((a, b) => a - b);
  assert.ok(rest[rest.length >> 1] <= 1, `then ${rest}`);
  lost.disconnect();
  own.goOn();
  await own.stop();
});

it('D5 in a hash each field ends in its own time, and the group with the last', async () => {
  const store = getStore(redis({ hashmap: true, prefix: 'h', ttl: 10000 }));
  await store.set('long', 1);
  await store.set('short', 1, 300);
  assert.ok((await client.pttl('h')) > 8000, 'a short one does not end the group');
  const end = Date.now() + 500;
  while (Date.now() < end) {
    await store.set('busy', 1);
    await sleep(50);
  }
  assert.equal(await store.get('short'), undefined);
  assert.equal(await store.get('long'), 1);
});

it('D6 no hash is left without an end', async () => {
  const own = await startRedis(undefined, '--rename-command', 'PEXPIRE', 'NOPEXPIRE');
  const other = connect(own);
  await until(() => other.status === 'ready', 'connected');
  const store = getStore(redis({ redisClient: other, hashmap: true, prefix: 'h' }));
  await store.set('a', 1);
  assert.equal(await other.exists('h'), 0);
  assert.equal(store.stats().setErrors, 1);
  store.close();
  other.disconnect();
  await own.stop();
});

it('D7 the client of a user is left as it is', async () => {
  const before = { ...client.options };
  const quick = getStore(redis({ timeout: 20, prefix: 'a' }));
  const slow = getStore(redis({ timeout: 1000, prefix: 'b' }));
  await Promise.all([quick.set('k', 1), slow.set('k', 1), quick.get('k'), slow.get('k')]);
  assert.deepEqual(client.options, before);
  const blocking = connect(server);
  const other = getStore(redis({ redisClient: blocking, timeout: 20 }));
  await other.get('k');
  assert.equal(await blocking.blpop('nothing', 0.2), null);
  blocking.disconnect();
});

it('D8 what Redis has comes into memory, for as long as it lives there', async () => {
  const both = {
    layerConfigs: { MEMORY: { ttl: 15000 }, REDIS: { ttl: 5000, redisClient: client, prefix: 'p' } },
    layerOrder: ['MEMORY', 'REDIS'],
  };
  await client.set('p:k', '"v"', 'PX', 300);
  const store = getStore(both);
  assert.equal(await store.get('k'), 'v');
  await client.del('p:k');
  assert.equal(await store.get('k'), 'v');
  assert.equal(store.stats().hitsMemory, 1);
  await sleep(350);
  assert.equal(await store.get('k'), undefined);
});

it('D9 a layer that fails does not keep the next one from storing', async () => {
  const lost = new Redis(1, { retryStrategy: () => null });
  lost.on('error', () => {});
  const store = getStore({
    layerConfigs: { MEMORY: { ttl: 5000 }, REDIS: { ttl: 5000, redisClient: lost, shallowErrors: false } },
    layerOrder: ['REDIS', 'MEMORY'],
  });
  await assert.rejects(store.set('k', 'v'));
  assert.equal(store.layers[1].store.size, 1);
  store.close();
});

it('D10 other arguments, other key; the same arguments, the same key', async () => {
  const different = [
    undefined, null, NaN, Infinity, 1, 1n, '1', true, 'true', [], {}, new Map(), new Set(), new Map([[1, 2]]), new Set([1]), new Set(['1']),
    new Date(0), new Date(0).toISOString(), Buffer.from('a'), 'a', [1], ['1'], { a: 1 }, { a: undefined }, [undefined], [null],
  ];
  let calls = 0;
  const cached = getMemoize(async function count() {
    return ++calls;
  });
  const results = [];
  for (const value of different) results.push(await cached(value));
  assert.equal(new Set(results).size, different.length);
  for (let i = 0; i < different.length; i++) assert.equal(await cached(different[i]), results[i], String(i));
  const circle = {};
  circle.self = circle;
  for (const value of [() => {}, Symbol('s'), circle, new (class A {})()]) await cached(value);
  assert.equal(calls, different.length + 4);
  assert.equal(cached.store.stats().unhashable, 4);
  // In the shared format the order of an object's keys says nothing.
  const typed = getMemoize(async function object() {
    return ++calls;
  }, redis({ format: 'shared' }, wait));
  assert.equal(await typed({ a: 1, b: 2 }), await typed({ b: 2, a: 1 }));
});

it('D11 what is stored comes back as what it was', async () => {
  const values = [
    new Set([1, 'a']), new Map([[{ k: 1 }, new Set([new Date(5)])]]), new Uint8Array([1, 2]), new Float64Array([0.5, NaN]),
    new BigInt64Array([1n, -1n]), NaN, Infinity, -0, new Date(1700000000000), 12345678901234567890n, Buffer.from([0, 1, 255]),
    { type: 'Map', value: [[1, 2]] }, { type: 'Buffer', data: [1] }, { type: 'Set', value: 7 }, { type: 'Object', value: 1 },
    { type: 'Date', value: 'x', more: 1 }, [undefined, 1], { a: { b: [new Map()] } }, '', 0, false, null, 'text', { type: 'Other', value: 1 },
    JSON.parse('{"__proto__":{"x":1}}'),
  ];
  for (const format of ['compatible', 'shared']) {
    const store = getStore(redis({ format, prefix: format }));
    for (const value of values) {
      await store.set('k', value);
      assert.deepEqual(await store.get('k'), value);
    }
    assert.equal({}.x, undefined);
    const bytes = Buffer.alloc(1000, 200);
    await store.set('bytes', bytes);
    const [name] = await client.keys('*bytes');
    assert.ok((await client.strlen(name)) < 1400);
    // A function is no value: swallowed and counted, as all that cannot be stored.
    await store.set('f', () => {});
    assert.equal(store.stats().setErrors, 1);
    store.close();
  }
});

it('D12 what cannot be read is a miss', async () => {
  const store = getStore(redis());
  for (const bad of ['{"a":1', '', 'undefined', '\xc5', '{"type":"Map","value":3}', '{"type":"BigInt","value":"x"}']) {
    await client.set('k', bad);
    assert.equal(await store.get('k'), undefined);
  }
  assert.equal(store.stats().unreadable, 6);
});

it('D13 nobody can change what is in memory', async () => {
  const store = getStore();
  const value = { a: [1], m: new Map([[1, { x: 1 }]]), d: new Date(0), b: Buffer.from('a') };
  await store.set('k', value);
  value.a.push(2);
  const got = await store.get('k');
  got.a.push(3);
  got.m.get(1).x = 2;
  got.d.setTime(9);
  got.b[0] = 0;
  const again = await store.get('k');
  assert.deepEqual(again, { a: [1], m: new Map([[1, { x: 1 }]]), d: new Date(0), b: Buffer.from('a') });
});

it('D14 every ttl means something', async () => {
  const store = getStore(redis({ ttlMultiplier: 1.5 }));
  await store.set('k', 1, 333);
  const left = await client.pttl('k');
  assert.ok(left > 400 && left <= 500, String(left));
  await store.set('half', 1, 0.4);
  assert.ok((await client.pttl('half')) <= 1);
  for (const ttl of [0, -1]) {
    await store.set('none', 1, ttl);
    assert.equal(await client.exists('none'), 0);
  }
  await store.set('long', 1, Infinity);
  assert.ok((await client.pttl('long')) > 300 * 86400 * 1000);
  await assert.rejects(store.set('k', 1, NaN), /ttl/);
  for (const ttl of [0, -1, NaN, '5']) {
    assert.throws(() => getStore({ layerConfigs: { MEMORY: { ttl } }, layerOrder: ['MEMORY'] }), /ttl/);
  }
});

it('D15 a key of another type is replaced', async () => {
  await client.set('h', 'a string');
  const store = getStore(redis({ hashmap: true, prefix: 'h' }));
  assert.equal(await store.get('k'), undefined);
  await store.set('k', 'v');
  assert.equal(await store.get('k'), 'v');
  await client.set('h', 'a string');
  await store.clear('k');
  assert.equal(await client.exists('h'), 0);
});

it('D16 in the shared format no two stores share a key', async () => {
  const one = getStore(redis({ format: 'shared', namespace: 'a', prefix: 'b:c' }));
  const two = getStore(redis({ format: 'shared', namespace: 'a:b', prefix: 'c' }));
  await one.set('k', 1);
  assert.equal(await two.get('k'), undefined);
  const memory = getStore();
  await memory.setWithNamespace('a', 'b-c', 1);
  assert.equal(await memory.getWithNamespace('a-b', 'c'), undefined);
});

it('D17 whose method it is can be part of the key, and a mistake is told', async () => {
  class Point {
    constructor(x) {
      this.x = x;
    }
  }
  Point.prototype.get = getMemoize(async function get() {
    return { x: this.x };
  }, { per: 'instance' });
  const [seven, eight] = [new Point(7), new Point(8)];
  assert.deepEqual([await seven.get(), await eight.get(), await seven.get()], [{ x: 7 }, { x: 8 }, { x: 7 }]);

  const told = [];
  const listen = (warning) => told.push(warning.code);
  process.on('warning', listen);
  Point.prototype.shared = getMemoize(async function shared() {
    return this.x;
  });
  await seven.shared();
  await eight.shared();
  await seven.shared();
  await sleep(5);
  process.off('warning', listen);
  assert.deepEqual(told, ['SUMCACHE_SHARED_THIS']);
  const everywhere = getMemoize(async function f() {
    return this.x;
  }, { ...redis({}, wait), per: 'instance', instanceKey: (point) => String(point.x) });
  assert.deepEqual([await everywhere.call(seven), await everywhere.call(eight), await everywhere.call(seven)], [7, 8, 7]);
  await assert.rejects(getMemoize(async function g() {}, { ...redis(), per: 'instance' })(), /instanceKey/);
});

for (const more of [{}, { format: 'shared' }, { group: 'generation' }, { group: 'hash' }, { hashmap: true }]) {
  it(`D18 what was loaded before an invalidation is not stored after it: ${JSON.stringify(more)}`, async () => {
    let db = 'old';
    let isSlow = true;
    const cached = getMemoize(async function read() {
      const value = db;
      if (isSlow) await sleep(60);
      return value;
    }, { ...redis({ prefix: 'r', ...more }, wait), layerConfigs: { MEMORY: { ttl: 5000 }, REDIS: { ttl: 5000, redisClient: client, prefix: 'r', ...more } }, layerOrder: ['MEMORY', 'REDIS'] });
    const early = cached();
    await sleep(20);
    db = 'new';
    isSlow = false;
    await cached.invalidate();
    assert.equal(await cached(), 'new');
    assert.equal(await early, 'old');
    await sleep(20);
    assert.equal(await cached(), 'new');
    assert.equal(cached.store.stats().setsDropped, 1);
  });
}

it('D19 groups are cleared, many are asked at once, what is large is refused', async () => {
  for (const more of [{ hashmap: true }, { group: 'hash' }, { group: 'generation' }, { group: 'list' }]) {
    const cached = getMemoize(async function square(x) {
      return x * x;
    }, redis({ ...more, prefix: JSON.stringify(more) }, wait));
    assert.deepEqual(await cached.many([[1], [2], [3]]), [1, 4, 9]);
    assert.equal((await cached.peek(2)).hit, true);
    await cached.clear();
    assert.equal((await cached.peek(2)).hit, false);
  }
  const store = getStore(redis({ maxValueBytes: 10 }));
  await store.set('k', 'x'.repeat(20));
  assert.equal(await client.exists('k'), 0);
  assert.equal(store.stats().tooLarge, 1);
  store.close();
});

it('D20 what a user calls his errors is not taken for a time-out, and no command waits in a queue', async () => {
  const port = server.port;
  const lost = new Redis({ host: '127.0.0.1', port, lazyConnect: true });
  lost.on('error', () => {});
  const store = getStore(redis({ redisClient: lost }));
  assert.equal(await store.get('k'), undefined, 'the connection is opened for it');
  lost.disconnect();
  await until(() => lost.status === 'end', 'closed');
  const { ms } = await timed(() => store.get('k'));
  assert.ok(ms < 30, `${ms}`);
  assert.equal((await store.entry('k')).cause, 'offline');
  const cached = getMemoize(async function fails() {
    throw new Error('Command timed out');
  });
  await assert.rejects(cached(), /Command timed out/);
});

it('the driver that is tested with is the one that is meant', () => {
  assert.equal(require('ioredis/package.json').version.split('.')[0], '5');
});

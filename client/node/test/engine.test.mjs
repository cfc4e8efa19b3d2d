// SPDX-License-Identifier: Apache-2.0
// What a store does beyond cache-cache, on a server that is well.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { CacheError, ConfigError, figures, getMemoize, getStore, observeWithOpenTelemetry, observeWithPrometheus, useAsDefault } from '../dist/index.mjs';
import { connect, ownRedis, require, sleep, until } from './helpers.mjs';

const { Breaker } = require('../dist/breaker.js');
const { MemoryStore } = require('../dist/memory.js');
const { snapshot } = require('../dist/clone.js');
const { Histogram } = require('../dist/stats.js');

const { server, client } = await ownRedis();

const inMemory = (ttl, others = {}) => ({ layerConfigs: { MEMORY: { ttl } }, layerOrder: ['MEMORY'], ...others });
const inRedis = (more = {}, others = {}) => ({
  layerConfigs: { REDIS: { ttl: 5000, redisClient: client, ...more } },
  layerOrder: ['REDIS'],
  ...others,
});
const inBoth = (ttl, others = {}) => ({
  layerConfigs: { MEMORY: { ttl }, REDIS: { ttl, redisClient: client } },
  layerOrder: ['MEMORY', 'REDIS'],
  ...others,
});

describe('stale values', () => {
  for (const [where, make] of [['memory', (o) => inMemory(50, o)], ['Redis', (o) => inRedis({ ttl: 50 }, o)], ['both', (o) => inBoth(50, o)]]) {
    it(`are served while one call refreshes, in ${where}`, async () => {
      let count = 0;
      const cached = getMemoize(async function slow() {
        count++;
        if (count > 1) await sleep(60);
        return count;
      }, make({ stale: 10000, setMode: 'await' }));
      assert.equal(await cached(), 1);
      await sleep(80);
      const many = await Promise.all(Array.from({ length: 20 }, () => cached()));
      assert.deepEqual(new Set(many), new Set([1]));
      await until(async () => (await cached.peek()).value === 2, 'refreshed');
      assert.equal(count, 2);
      assert.ok(cached.store.stats().stale > 0);
    });
    it(`are served if the function fails, and it is left alone for a while, in ${where}`, async () => {
      let count = 0;
      const cached = getMemoize(async function fails() {
        if (count++ > 0) throw new Error('database is down');
        return 'old';
      }, make({ stale: 10000, errorThrottleMs: 5000, setMode: 'await' }));
      await cached();
      await sleep(80);
      for (let i = 0; i < 10; i++) {
        assert.equal(await cached(), 'old');
        await sleep(2);
      }
      assert.equal(count, 2);
    });
  }
  it('end', async () => {
    let count = 0;
    const cached = getMemoize(async function f() {
      return ++count;
    }, inMemory(20, { stale: 30 }));
    await cached();
    await sleep(80);
    assert.equal(await cached(), 2);
  });
  it('are refreshed a few at a time', async () => {
    let running = 0;
    let most = 0;
    const read = getMemoize(async function read(x) {
      most = Math.max(most, ++running);
      await sleep(20);
      running--;
      return x;
    }, { layerConfigs: { MEMORY: { ttl: 30 } }, layerOrder: ['MEMORY'], stale: 60000, maxRefreshes: 3 });
    const all = Array.from({ length: 50 }, (_, i) => [i]);
    await read.many(all);
    await sleep(40);
    most = 0;
    for (const [x] of all) assert.equal(await read(x), x, 'stale, and at once');
    await until(() => running === 0, 'done');
    assert.equal(most, 3);
    const { refreshes, refreshesSkipped } = read.store.stats();
    assert.ok(refreshes >= 3 && refreshesSkipped >= 40, `${refreshes} and ${refreshesSkipped}`);
    for (let i = 0; i < 3; i++) await read(40 + i);
    await until(() => read.store.stats().refreshes > refreshes, 'later ones have their turn');
  });
  it('need the shared format', async () => {
    await assert.rejects(getStore(inRedis({ format: 'compatible' }, { stale: 5 })).get('k'), /shared/);
    await assert.rejects(getStore(inRedis({ format: 'compatible', group: 'list', prefix: 'p' })).get('k'), /shared/);
  });
});

it('a value is refreshed early, by one of many readers', async () => {
  let count = 0;
  const cached = getMemoize(async function dear() {
    count++;
    await sleep(100);
    return count;
  }, inMemory(1000, { earlyBeta: 3 }));
  await cached();
  const end = Date.now() + 2500;
  while (count < 2 && Date.now() < end) {
    assert.ok((await cached()) >= 1);
    await sleep(2);
  }
  assert.equal(count, 2);
  assert.equal(cached.store.stats().misses, 1, 'nobody waited for it');
  assert.ok(cached.store.stats().refreshes >= 1);
});

it('null has a ttl of its own, a result may have one, and some are not stored', async () => {
  let count = 0;
  const cached = getMemoize(async function find(x) {
    count++;
    return x;
  }, { ...inMemory(5000), negativeTtl: 50, ttlOf: (x) => (x === 'short' ? 50 : undefined), cacheIf: (x) => x !== 'never' });
  for (const x of [null, 'short', 'long', 'never']) await cached(x);
  for (const x of [null, 'short', 'long']) await cached(x);
  assert.equal(count, 4);
  await cached('never');
  assert.equal(count, 5);
  await sleep(80);
  for (const x of [null, 'short', 'long']) await cached(x);
  assert.equal(count, 7);
});

it('ttls are shortened by up to the jitter', async () => {
  const store = getStore(inRedis({ ttl: 100000 }, { jitter: 0.5 }));
  const left = [];
  for (let i = 0; i < 30; i++) {
    await store.set(`k${i}`, 1);
    left.push(await client.pttl(`k${i}`));
  }
  assert.ok(Math.min(...left) >= 49000 && Math.max(...left) <= 100000);
  assert.ok(Math.max(...left) - Math.min(...left) > 10000);
});

it('who waits too long for another call makes its own, and others wait for that one', async () => {
  let count = 0;
  const cached = getMemoize(async function f() {
    if (++count === 1) await sleep(400);
    return count;
  }, inMemory(5000, { waitMs: 50 }));
  const first = cached();
  const rest = await Promise.all(Array.from({ length: 10 }, () => cached()));
  assert.equal(count, 2);
  assert.deepEqual(new Set(rest), new Set([2]));
  await first;
});

it('without single flight each call is made', async () => {
  let count = 0;
  const cached = getMemoize(async function f() {
    await sleep(10);
    return ++count;
  }, inMemory(5000, { singleFlight: false }));
  await Promise.all([cached(), cached(), cached()]);
  assert.equal(count, 3);
});

it('errors of the function are the caller\'s, for all who wait, and are not stored', async () => {
  let count = 0;
  const cached = getMemoize(async function f() {
    count++;
    await sleep(5);
    throw new RangeError('mine');
  });
  const all = await Promise.allSettled([cached(), cached()]);
  assert.ok(all.every((one) => one.reason instanceof RangeError));
  await assert.rejects(cached(), /mine/);
  assert.equal(count, 2);
});

it('fresh, peek, invalidate, clear', async () => {
  let count = 0;
  const cached = getMemoize(async function f() {
    return ++count;
  }, inBoth(5000, { setMode: 'await' }));
  assert.deepEqual(await cached.peek(), { hit: false });
  assert.equal(await cached(), 1);
  assert.equal(await cached.fresh(), 2);
  assert.equal(await cached(), 2);
  const peeked = await cached.peek();
  assert.deepEqual({ ...peeked, ageMs: 0 }, { hit: true, value: 2, stale: false, ageMs: 0, layer: 'MEMORY' });
  await cached.invalidate();
  assert.equal(await cached(), 3);
  await assert.rejects(cached.clear(), ConfigError);
  assert.equal(cached.store.layers[0].store.size, 0);
});

it('many: one look-up, and each function once', async () => {
  let count = 0;
  const cached = getMemoize(async function f(x) {
    count++;
    return x * 2;
  }, inBoth(5000, { setMode: 'await' }));
  await cached(1);
  const before = cached.store.layers[1].endpoint.stats().commands;
  assert.deepEqual(await cached.many([[1], [2], [3], [2], [Symbol.iterator === 1 ? 0 : 4]]), [2, 4, 6, 4, 8]);
  assert.equal(count, 4);
  assert.equal(cached.store.layers[1].endpoint.stats().commands - before, 1 + 3);
  const store = getStore(inRedis({ prefix: 's' }));
  await store.set('a', 1);
  assert.deepEqual(await store.getMany(['a', 'b']), [1, undefined]);
  const odd = getMemoize(async (f) => f(), { name: 'odd' });
  assert.deepEqual(await odd.many([[() => 7]]), [7]);
});

it('what is stored is only believed if it is valid', async () => {
  const cached = getMemoize(async function f() {
    return { v: 2 };
  }, inRedis({ prefix: 'f' }, { setMode: 'await', validate: (value) => value.v === 2 }));
  await cached();
  const [name] = await client.keys('f:*');
  await client.set(name, '{"v":1}');
  assert.deepEqual(await cached(), { v: 2 });
  assert.equal(await client.get(name), '{"v":2}');
});

it('a kill switch', async () => {
  let enabled = true;
  let count = 0;
  const cached = getMemoize(async function f() {
    return ++count;
  }, inMemory(5000, { enabled: () => enabled }));
  assert.deepEqual([await cached(), await cached()], [1, 1]);
  enabled = false;
  assert.deepEqual([await cached(), await cached()], [2, 3]);
  assert.deepEqual(await cached.many([[]]), [4]);
  assert.equal((await cached.peek()).cause, 'off');
  enabled = true;
  assert.equal(await cached(), 1);
  const off = getStore(inMemory(5000, { enabled: false }));
  await off.set('k', 1);
  assert.equal(await off.get('k'), undefined);
  assert.deepEqual(await off.getMany(['k']), [undefined]);
});

it('work in the background is told of', async () => {
  const work = [];
  const cached = getMemoize(async function f() {
    return 1;
  }, inRedis({}, { waitUntil: (promise) => work.push(promise) }));
  await cached();
  assert.equal(work.length, 1);
  await work[0];
  assert.equal((await cached.peek()).hit, true);
});

it('events and figures', async () => {
  const seen = [];
  const cached = getMemoize(async function f(x) {
    if (x === 'bad') throw new Error('bad');
    return x;
  }, inBoth(5000, { setMode: 'await' }));
  for (const name of ['hit', 'miss', 'load', 'error', 'stale', 'breaker']) cached.store.on(name, () => seen.push(name));
  const broken = () => {
    throw new Error('of a listener');
  };
  cached.store.on('hit', broken);
  await cached(1);
  await cached(1);
  await assert.rejects(cached('bad'));
  assert.deepEqual(seen, ['miss', 'load', 'hit', 'miss', 'error']);
  const hits = [];
  const listener = (event) => hits.push(event.layer);
  cached.store.on('hit', listener);
  await cached(1);
  cached.store.off('hit', listener);
  await cached(1);
  assert.deepEqual(hits, ['MEMORY']);

  const flat = figures(cached.store);
  assert.equal(flat.hits_memory, 3);
  assert.equal(flat.redis_breaker_open, 0);
  assert.ok(flat.cost_p99_ms < 100);
  const gauges = [];
  class Gauge {
    constructor(options) {
      gauges.push(options);
    }
  }
  observeWithPrometheus({ Gauge }, { users: cached.store }, 'registry');
  const set = [];
  gauges[0].collect.call({ set: (labels, value) => set.push([labels.store, labels.figure, value]) });
  assert.ok(set.some(([store, figure, value]) => store === 'users' && figure === 'loads' && value === 2));
  const observed = [];
  observeWithOpenTelemetry(
    { createObservableGauge: () => ({ addCallback: (f) => f({ observe: (value, labels) => observed.push([labels.figure, value]) }) }) },
    { users: cached.store },
  );
  assert.ok(observed.some(([figure, value]) => figure === 'load_errors' && value === 1));
});

it('getOrSet', async () => {
  const store = getStore(inMemory(5000));
  assert.equal(await store.getOrSet('k', async () => 1, { ttl: 50 }), 1);
  assert.equal(await store.getOrSet('k', async () => 2), 1);
  await sleep(80);
  assert.equal(await store.getOrSet('k', async () => 2, { namespace: 'n' }), 2);
  await store.clearAll('n');
  assert.equal((await store.entry('k', 'n')).hit, false);
});

it('invalidations that are pending survive a change of defaults', async () => {
  const lost = connect({ port: 1 });
  useAsDefault(inRedis({ redisClient: lost }));
  const store = getStore();
  await store.clear('k');
  useAsDefault(inRedis({ redisClient: client }));
  await client.set('k', '"old"');
  assert.equal(await store.get('k'), undefined);
  assert.equal(store.stats().invalidationsPending, 1);
  lost.disconnect();
  store.close();
});

it('what is wrong with options is said', async () => {
  await assert.rejects(getStore(inRedis({ redisClient: { get() {} } })).get('k'), /neither a URL nor a client/);
  assert.throws(() => getMemoize(7), /takes a function/);
  const error = new CacheError('timeout', 'x');
  assert.equal(error.reason, 'timeout');
});

describe('memory', () => {
  it('is bounded by bytes and by entries, the least used go first', () => {
    const store = new MemoryStore(1000, 100_000, true);
    const entry = (value) => ({ value, created: Date.now(), soft: 1000, hard: 1000, delta: 0 });
    for (let i = 0; i < 200; i++) {
      store.set(`k${i}`, entry('x'.repeat(500)));
      store.get('k0', Date.now());
    }
    assert.ok(store.bytes <= 100_000 && store.size < 100);
    assert.ok(store.get('k0', Date.now()));
    assert.equal(store.get('k1', Date.now()), undefined);
    store.set('large', entry('x'.repeat(100_000)));
    assert.equal(store.get('large', Date.now()), undefined);
    store.maxEntries = 3;
    store.set('one more', entry(1));
    assert.equal(store.size, 3);
    store.clear();
    assert.equal(store.bytes, 0);
  });
  it('what cannot be copied is handed out as it is', async () => {
    class Own {}
    const own = new Own();
    const store = getStore();
    await store.set('k', own);
    assert.equal(await store.get('k'), own);
    const shared = getStore({ layerConfigs: { MEMORY: { ttl: 1000, clone: false } }, layerOrder: ['MEMORY'] });
    const value = { a: 1 };
    await shared.set('k', value);
    assert.equal(await shared.get('k'), value);
    for (const odd of [() => {}, Symbol('s'), new Own(), new DataView(new ArrayBuffer(1))]) assert.equal(snapshot({ odd }), undefined);
    const bare = Object.assign(Object.create(null), { a: new Set([new Float32Array([1])]) });
    assert.deepEqual(snapshot(bare).value, bare);
    const trap = JSON.parse('{"__proto__":{"x":1}}');
    assert.deepEqual(snapshot(trap).value, trap);
  });
});

describe('breaker', () => {
  const make = (options) => {
    const changes = [];
    const breaker = new Breaker(options, (state, reason) => changes.push(`${state}: ${reason}`), () => changes.push('probe'));
    return { breaker, changes };
  };
  it('opens when too many calls fail, and only a probe closes it', async () => {
    const { breaker, changes } = make({ openMs: 10, minCalls: 4 });
    for (let i = 0; i < 3; i++) breaker.failedOnce();
    assert.equal(breaker.isClosed, true);
    breaker.failedOnce();
    assert.deepEqual(changes, ['open: too many failures']);
    breaker.heard();
    breaker.succeeded();
    assert.equal(breaker.state, 'open');
    await sleep(30);
    breaker.probed(false);
    await sleep(50);
    breaker.probed(true);
    assert.deepEqual(changes, ['open: too many failures', 'probe', 'probe', 'closed: probe answered']);
    breaker.probed(true);
  });
  it('a window of calls: what is long ago does not count', () => {
    const { breaker } = make({ window: 10, minCalls: 10 });
    for (let i = 0; i < 4; i++) breaker.failedOnce();
    for (let i = 0; i < 10; i++) breaker.succeeded();
    for (let i = 0; i < 4; i++) breaker.failedOnce();
    assert.equal(breaker.isClosed, true);
    breaker.failedOnce();
    assert.equal(breaker.isClosed, false);
    breaker.stop();
  });
});

it('a histogram is right to a fifth', () => {
  const histogram = new Histogram();
  assert.equal(histogram.quantile(0.5), 0);
  for (let i = 1; i <= 1000; i++) histogram.add(i / 100);
  assert.ok(Math.abs(histogram.quantile(0.5) - 5) < 1);
  assert.ok(Math.abs(histogram.quantile(0.99) - 9.9) < 2);
});

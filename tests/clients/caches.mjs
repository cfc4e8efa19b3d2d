// SPDX-License-Identifier: Apache-2.0
// What applications put between themselves and a Redis client: cache-manager, bentocache, connect-redis
// (sessions) and BullMQ (queues). Usage: see common.mjs
import assert from 'node:assert/strict';
import { library, port, prefix, run, sleep, within } from './common.mjs';

const url = `redis://127.0.0.1:${port}`;
const ended = [];

async function cacheManager(namespace = prefix) {
  const [{ createCache }, { Keyv }, { default: KeyvRedis }] =
    [await import('cache-manager'), await import('keyv'), await import('@keyv/redis')];
  const store = new KeyvRedis(url, { namespace, throwOnErrors: true });
  const keyv = new Keyv({ store, namespace, throwOnErrors: true });
  const cache = createCache({ stores: [keyv] });
  ended.push(() => cache.disconnect());
  return { cache, keyv };
}

async function cacheManagerWork() {
  const { cache } = await cacheManager();
  let calls = 0;
  const load = async () => ({ n: ++calls, text: 'é'.repeat(1000) });
  assert.equal(await cache.get('nothing'), undefined);
  assert.equal((await cache.wrap('a', load, 60000)).n, 1);
  assert.equal((await cache.wrap('a', load, 60000)).n, 1);
  await cache.set('b', 2);
  await cache.set('c', [3]);
  assert.deepEqual(await cache.mget(['b', 'c', 'x']), [2, [3], undefined]);
  assert.equal(await cache.del('a'), true);
  assert.equal((await cache.wrap('a', load, 60000)).n, 2);
  await cache.set('short', 1, 50);
  await sleep(100);
  assert.equal(await cache.get('short'), undefined);
  await cache.mdel(['b', 'c']);
  assert.equal(await cache.get('b'), undefined);
}

// Several at once are written in a MULTI, so their keys have to share a node.
async function cacheManagerMulti() {
  const { cache } = await cacheManager(`{${prefix}}`);
  await cache.mset([{ key: 'b', value: 2 }, { key: 'c', value: [3] }]);
  assert.deepEqual(await cache.mget(['b', 'c', 'x']), [2, [3], undefined]);
}

// clear() of a namespace is a SCAN and an UNLINK.
async function cacheManagerScan() {
  const { cache, keyv } = await cacheManager();
  for (let i = 0; i < 50; i++) await cache.set(`k${i}`, i);
  const found = [];
  for await (const [name] of keyv.iterator()) found.push(name);
  assert.equal(found.length, 50);
  await cache.clear();
  assert.equal(await cache.get('k7'), undefined);
}

async function bento(withBus) {
  const { BentoCache, bentostore } = await import('bentocache');
  const { memoryDriver } = await import('bentocache/drivers/memory');
  const { redisDriver, redisBusDriver } = await import('bentocache/drivers/redis');
  const connection = { host: '127.0.0.1', port };
  let store = bentostore().useL2Layer(redisDriver({ connection }));
  if (withBus) store = store.useL1Layer(memoryDriver({ maxItems: 100 })).useBus(redisBusDriver({ connection }));
  const cache = new BentoCache({ default: 'c', prefix, suppressL2Errors: false, stores: { c: store } });
  ended.push(() => cache.disconnectAll());
  return cache;
}

async function bentocacheWork() {
  const cache = await bento(false);
  let calls = 0;
  const load = (tags) => cache.getOrSet({ key: 'a', ttl: '1m', tags, factory: () => ({ n: ++calls }) });
  assert.equal((await load(['t1'])).n, 1);
  assert.equal((await load(['t1'])).n, 1);
  await cache.deleteByTag({ tags: ['t1'] });
  assert.equal((await load(['t1'])).n, 2);
  await cache.delete({ key: 'a' });
  assert.equal((await load([])).n, 3);
  await cache.set({ key: 'short', value: 1, ttl: 50 });
  await sleep(100);
  assert.equal(await cache.get({ key: 'short' }), undefined);
}

async function bentocacheScan() {
  const cache = await bento(false);
  for (let i = 0; i < 50; i++) await cache.set({ key: `k${i}`, value: i, ttl: '1m' });
  await cache.clear();
  assert.equal(await cache.get({ key: 'k7' }), undefined);
}

// Two processes' memories, told of changes over the bus.
async function bentocachePubsub() {
  const [one, other] = [await bento(true), await bento(true)];
  await one.set({ key: 'a', value: 1, ttl: '1m' });
  assert.equal(await other.get({ key: 'a' }), 1);
  await sleep(200); // the bus subscribes in the background
  await one.set({ key: 'a', value: 2, ttl: '1m' });
  const changed = async () => { while ((await other.get({ key: 'a' })) !== 2) await sleep(10); };
  await within(changed(), 'invalidation over the bus');
}

async function session() {
  const [{ createClient }, { RedisStore }] = [await import('redis'), await import('connect-redis')];
  const client = createClient({ url });
  client.on('error', () => {});
  await client.connect();
  ended.push(() => client.close());
  const store = new RedisStore({ client, prefix: `${prefix}:`, ttl: 1000 });
  const call = (method, ...args) => new Promise((resolve, reject) => {
    store[method](...args, (error, value) => (error ? reject(error) : resolve(value)));
  });
  return { client, call };
}

async function sessionWork() {
  const { client, call } = await session();
  const kept = { cookie: { originalMaxAge: 60000, expires: new Date(Date.now() + 60000) }, user: 'ann' };
  await call('set', 'sid1', kept);
  assert.equal((await call('get', 'sid1')).user, 'ann');
  await call('touch', 'sid1', kept);
  assert.ok((await client.ttl(`${prefix}:sid1`)) > 50);
  await call('destroy', 'sid1');
  assert.equal((await call('get', 'sid1')) ?? null, null);
}

async function sessionScan() {
  const { call } = await session();
  for (let i = 0; i < 30; i++) await call('set', `s${i}`, { cookie: {}, user: i });
  assert.equal(await call('length'), 30);
  assert.equal((await call('all')).length, 30);
  await call('clear');
  assert.equal(await call('length'), 0);
}

async function queueOf(queuePrefix) {
  const { Queue, Worker, QueueEvents } = await import('bullmq');
  const options = { connection: { host: '127.0.0.1', port }, prefix: queuePrefix };
  const queue = new Queue('q', options);
  queue.on('error', () => {});
  ended.push(() => queue.close());
  return { queue, options, Worker, QueueEvents };
}

// The keys of a queue lie on several nodes unless its prefix has a hash tag: said at once, and clearly.
async function bullmqCrossing() {
  const { queue } = await queueOf(prefix);
  await assert.rejects(within(queue.add('job', { n: 1 }), 'refusal'), /CROSSSLOT/);
}

async function bullmqQueue() {
  const { queue, options, Worker } = await queueOf(`{${prefix}}`);
  const jobs = await Promise.all(Array.from({ length: 20 }, (_, n) => queue.add('job', { n })));
  assert.equal(jobs.length, 20);
  assert.equal(await queue.getWaitingCount(), 20);
  const done = [];
  let tell, fail;
  const all = new Promise((resolve, reject) => { tell = resolve; fail = reject; });
  const worker = new Worker('q', async (job) => job.data.n * 2, options);
  ended.push(() => worker.close(true));
  worker.on('error', fail);
  worker.on('completed', (job, result) => {
    done.push(result);
    // One more, for which it has to wait.
    if (done.length === 20) setTimeout(() => queue.add('job', { n: 100 }), 200);
    if (done.length === 21) tell();
  });
  await within(all, 'end of all jobs');
  assert.deepEqual(done.sort((a, b) => a - b), [...Array.from({ length: 20 }, (_, n) => 2 * n), 200]);
}

const modes = {
  'cache-manager': { work: cacheManagerWork, multi: cacheManagerMulti, scan: cacheManagerScan },
  bentocache: { work: bentocacheWork, scan: bentocacheScan, pubsub: bentocachePubsub },
  'connect-redis': { work: sessionWork, scan: sessionScan },
  bullmq: { crossing: bullmqCrossing, queue: bullmqQueue },
}[library];
await run(modes, async () => {
  for (const end of ended.reverse()) await within(Promise.resolve(end()), 'end');
});

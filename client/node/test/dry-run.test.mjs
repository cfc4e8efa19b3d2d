// SPDX-License-Identifier: Apache-2.0
// A dry run: every call has its function's result, and what the cache would have done is seen in its figures.
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { getMemoize, getStore } from '../dist/index.mjs';
import { freePort, HOST, ownRedis, sleep } from './helpers.mjs';

const { client } = await ownRedis();

const LAYERS = {
  MEMORY: { MEMORY: { ttl: 60000 } },
  REDIS: { REDIS: { ttl: 60000, redisClient: client, prefix: 'p' } },
  both: { MEMORY: { ttl: 60000 }, REDIS: { ttl: 60000, redisClient: client, prefix: 'p', group: 'generation' } },
  fenced: { REDIS: { ttl: 60000, redisClient: client, prefix: 'p', fence: true } },
};
const options = (name, more = {}) => ({
  layerConfigs: LAYERS[name],
  layerOrder: Object.keys(LAYERS[name]),
  setMode: 'await',
  budgetMs: 1000,
  dryRun: true,
  ...more,
});

function counting(database, more) {
  const seen = [];
  const read = getMemoize(async function read(key) {
    seen.push(key);
    return database[key];
  }, more);
  return { read, seen };
}

for (const name of Object.keys(LAYERS)) {
  it(`${name}: calls get what their function gives; hits, misses and differences are counted`, async () => {
    const database = { a: { n: 1 }, b: null };
    const { read, seen } = counting(database, options(name));
    const differ = [];
    read.store.on('differ', (event) => differ.push(event));
    assert.deepEqual([await read('a'), await read('a'), await read('b')], [{ n: 1 }, { n: 1 }, null]);
    assert.deepEqual(await read.many([['a'], ['b'], ['c']]), [{ n: 1 }, null, undefined]);
    const { hits, misses, loads, sets, differences } = read.store.stats();
    assert.deepEqual({ hits, misses, loads, differences }, { hits: 3, misses: 3, loads: 6, differences: 0 });
    assert.equal(sets, name === 'MEMORY' ? 0 : 2);
    assert.deepEqual(seen, ['a', 'a', 'b', 'a', 'b', 'c']);
    database.a = { n: 2 };
    assert.deepEqual(await read('a'), { n: 2 });
    assert.equal(read.store.stats().differences, 1);
    assert.deepEqual(differ.map(({ stored, loaded }) => [stored, loaded]), [[{ n: 1 }, { n: 2 }]]);
    // As a cache would have it: what is stored lives until its end, or is invalidated.
    assert.deepEqual((await read.peek('a')).value, { n: 1 });
    await read.invalidate('a');
    assert.deepEqual([await read('a'), (await read.peek('a')).value], [{ n: 2 }, { n: 2 }]);
    assert.deepEqual(await read.fresh('a'), { n: 2 });
    assert.equal(read.store.stats().differences, 1);
  });

  it(`${name}: what was loaded before an invalidation is not stored after it`, async () => {
    let open;
    const gate = new Promise((give) => (open = give));
    const read = getMemoize(async function read() {
      await gate;
      return 'old';
    }, options(name));
    const calls = [read('a'), read('a'), read.many([['a']])];
    await sleep(50);
    await read.invalidate('a');
    open();
    assert.deepEqual(await Promise.all(calls), ['old', 'old', ['old']]);
    assert.equal((await read.peek('a')).hit, false);
  });
}

it('a function that fails does so for its caller, whatever is stored', async () => {
  let isBroken = false;
  const read = getMemoize(async function read() {
    if (isBroken) throw new Error('the database is away');
    return 1;
  }, options('both', { stale: 60000 }));
  await read();
  isBroken = true;
  await assert.rejects(read(), /the database is away/);
  const { hits, loadErrors, staleIfError } = read.store.stats();
  assert.deepEqual({ hits, loadErrors, staleIfError }, { hits: 1, loadErrors: 1, staleIfError: 0 });
});

it('what is stale counts as such, and is replaced; what validate refuses is a miss', async () => {
  let value = 1;
  const short = { MEMORY: { ttl: 30 } };
  const read = getMemoize(async () => value++, options('MEMORY', { layerConfigs: short, stale: 60000, name: 'n' }));
  assert.deepEqual([await read(), await read()], [1, 2]);
  await sleep(60);
  assert.equal(await read(), 3);
  const { hits, stale, differences } = read.store.stats();
  assert.deepEqual({ hits, stale, differences }, { hits: 1, stale: 1, differences: 2 });
  assert.equal((await read.peek()).value, 3);
  const picky = getMemoize(async () => 'new', { ...options('MEMORY'), name: 'n', validate: () => false });
  await picky();
  await picky();
  assert.deepEqual([picky.store.stats().hits, picky.store.stats().misses], [0, 2]);
});

it('a store finds nothing, counts what it would have found, and takes what is set', async () => {
  const store = getStore(options('REDIS', { layerConfigs: { REDIS: { ...LAYERS.REDIS.REDIS, shallowErrors: false } } }));
  await store.set('k', 1);
  assert.equal(await store.get('k'), undefined);
  assert.deepEqual(await store.getMany(['k', 'l']), [undefined, undefined]);
  assert.equal(store.stats().hits, 1);
  assert.deepEqual(await store.entry('k').then(({ hit, value }) => ({ hit, value })), { hit: true, value: 1 });
  const lost = { REDIS: { ttl: 1000, redisClient: `redis://${HOST}:${await freePort()}`, shallowErrors: false } };
  assert.equal(await getStore({ layerConfigs: lost, layerOrder: ['REDIS'], dryRun: true }).get('k'), undefined);
});

it('is asked for at each call, and ends without a trace', async () => {
  let isDry = true;
  const { read, seen } = counting({ a: 1 }, options('both', { dryRun: () => isDry }));
  await read('a');
  await read('a');
  isDry = false;
  assert.equal(await read('a'), 1);
  assert.equal(seen.length, 2);
});

it('a value that cannot be compared is another one', async () => {
  const hostile = { get x() { throw new Error('no'); } };
  let isHostile = false;
  const read = getMemoize(async () => (isHostile ? hostile : { x: 1 }), options('MEMORY', { name: 'hostile' }));
  await read();
  isHostile = true;
  assert.equal(await read(), hostile);
  assert.equal(read.store.stats().differences, 1);
});

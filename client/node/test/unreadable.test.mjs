// SPDX-License-Identifier: Apache-2.0
// What cannot be read is a miss, counted, and deleted if nobody can read it: in every layout, on a server and through
// a proxy, and without harm to what loaders bring.
import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { closeConnections, getStore } from '../dist/index.mjs';
import { connect, ownRedis, require, sleep, startProxy, startRedis, until } from './helpers.mjs';

const { client } = await ownRedis();
const nodes = await Promise.all([startRedis(), startRedis()]);
const proxy = await startProxy(nodes);
const throughProxy = connect(proxy);
after(async () => {
  closeConnections();
  throughProxy.disconnect();
  for (const one of [proxy, ...nodes]) await one.stop();
});

function storeOf(more, redisClient = client) {
  const layerConfigs = { REDIS: { ttl: 60000, redisClient, prefix: 'p', ...more } };
  return getStore({ layerConfigs, layerOrder: ['REDIS'], setMode: 'await', budgetMs: 1000 });
}

/** Where the server has values: not generations, births or lists, which are of 8 bytes or sets. */
async function places() {
  const found = [];
  for (const key of await client.keys('*')) {
    const type = await client.type(key);
    if (type === 'string' && (await client.strlen(key)) !== 8) found.push({ key });
    if (type !== 'hash') continue;
    for (const field of await client.hkeys(key)) {
      if (field !== '' && !field.endsWith('\0ends')) found.push({ key, field });
    }
  }
  return found;
}

async function breakAll(bytes) {
  const all = await places();
  assert.ok(all.length > 0, 'something is stored');
  for (const { key, field } of all) {
    if (field === undefined) await client.set(key, bytes, 'KEEPTTL');
    else await client.hset(key, field, bytes);
  }
}

const LAYOUTS = [
  { format: 'compatible' }, { hashmap: true }, { format: 'shared' }, { group: 'hash' }, { group: 'generation' }, { group: 'list' },
  { fence: true }, { fence: true, group: 'generation' }, { group: 'tags' },
];
for (const more of LAYOUTS) {
  describe(JSON.stringify(more), () => {
    it('is a miss, counted and deleted, for get and for getMany', async () => {
      const store = storeOf(more);
      let count = 0;
      for (const look of [() => store.get('k'), async () => (await store.getMany(['k', 'l']))[0], async () => (await store.entry('k')).value]) {
        await store.set('k', { a: 1 });
        assert.deepEqual(await look(), { a: 1 });
        await breakAll('{"a":');
        assert.equal(await look(), undefined);
        count++;
        assert.equal(store.stats().unreadable, count);
        assert.equal(store.stats().causes.decode, count);
        await until(() => store.stats().unreadableDeleted === count, 'deleted');
        assert.deepEqual(await places(), []);
      }
    });

    it('what a loader brings takes its place', async () => {
      const store = storeOf(more);
      await store.set('k', 1);
      await breakAll('{"a":');
      const load = async () => 2;
      assert.equal(await store.getOrSet('k', load), 2);
      assert.equal(await store.get('k'), 2);
      await breakAll('\xc5\x01nothing');
      assert.deepEqual(await store.getOrSet('k', load), 2);
      assert.equal(await store.get('k'), 2);
      assert.deepEqual([store.stats().loads, store.stats().unreadable, store.stats().setsDropped], [2, 2, 0]);
    });

    it('what is over is not unreadable', async () => {
      const store = storeOf(more);
      await store.set('k', 1, 20);
      await store.set('l', 1);
      await sleep(60);
      assert.equal(await store.get('k'), undefined);
      assert.deepEqual([store.stats().unreadable, store.stats().causes.decode], [0, undefined]);
    });
  });
}

it('what others can read is left to them: another codec, signature, compression or version', async () => {
  const serializer = { codec: 200, encode: (value) => Buffer.from(String(value)), decode: String };
  for (const more of [{ serializer }, { signingKeys: ['a key of more than 16 bytes'] }]) {
    const theirs = storeOf({ format: 'shared', ...more });
    const ours = storeOf({ format: 'shared' });
    await theirs.set('k', 'value');
    assert.equal(await ours.get('k'), undefined);
    assert.equal(ours.stats().unreadable, 1);
    await sleep(20);
    assert.equal(await theirs.get('k'), 'value');
    assert.equal(ours.stats().unreadableDeleted, 0);
  }
  const store = storeOf({ format: 'shared' });
  await store.set('k', 'value');
  await breakAll(Buffer.from('c502', 'hex'));
  assert.equal(await store.get('k'), undefined);
  await sleep(20);
  assert.equal((await places()).length, 1);
  assert.deepEqual([store.stats().unreadable, store.stats().unreadableDeleted], [1, 0]);
});

it('a key of somebody else, under a name that has nothing of ours, is left alone', async () => {
  await client.set('session:7', 'not JSON');
  const store = storeOf({ prefix: '' });
  assert.equal(await store.get('session:7'), undefined);
  assert.equal(store.stats().unreadable, 1);
  await sleep(20);
  assert.equal(await client.get('session:7'), 'not JSON');
});

it('a server that refuses the deletion costs nothing', async () => {
  const own = await startRedis(undefined, '--rename-command', 'DEL', '');
  const admin = connect(own);
  try {
    const store = storeOf({}, own.url);
    await admin.set('p:k', '{');
    assert.equal(await store.get('k'), undefined);
    assert.equal(await store.getOrSet('k', async () => 2), 2);
    assert.equal(await store.get('k'), 2);
    assert.deepEqual([store.stats().unreadable, store.stats().unreadableDeleted], [2, 0]);
  } finally {
    closeConnections();
    admin.disconnect();
    await own.stop();
  }
});

for (const more of [{}, { fence: true }]) {
  it(`tags that a proxy keeps: ${JSON.stringify(more)}`, async () => {
    const { SharedNames } = require('../dist/keys.js');
    const store = storeOf({ group: 'tags', namespace: `shop${JSON.stringify(more).length}`, ...more }, proxy.url);
    const name = new SharedNames(`shop${JSON.stringify(more).length}`, 'p').tagged(Buffer.from('k'));
    await store.set('k', 1, undefined, { tags: ['t'] });
    assert.equal(await store.get('k'), 1);
    await throughProxy.call('SUMCACHE.SET', name, 'broken', 'PX', 60000, 'TAGS', 'any');
    assert.equal(await store.getOrSet('k', async () => 2, { tags: ['t'] }), 2);
    assert.equal(await store.get('k'), 2);
    assert.deepEqual([store.stats().unreadable, store.stats().unreadableDeleted], [1, 1]);
  });
}

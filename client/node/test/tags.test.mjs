// SPDX-License-Identifier: Apache-2.0
// Tags: kept by a sumcache proxy, and by the library itself where the server has none.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { closeConnections, ConfigError, getMemoize, getStore } from '../dist/index.mjs';
import { connect, sleep, startProxy, startRedis, until } from './helpers.mjs';

let nodes;
let proxy;
let plain;
before(async () => {
  nodes = await Promise.all([startRedis(), startRedis(), startRedis()]);
  proxy = await startProxy(nodes);
  plain = await startRedis();
});
after(async () => {
  closeConnections();
  for (const server of [proxy, plain, ...nodes]) await server.stop();
});

const layers = (url, more = {}, others = {}) => ({
  layerConfigs: { REDIS: { ttl: 60000, redisClient: url, prefix: 'p', group: 'tags', ...more } },
  layerOrder: ['REDIS'],
  setMode: 'await',
  budgetMs: 500,
  ...others,
});

for (const kind of ['proxy', 'plain']) {
  describe(kind, () => {
    let count = 0;
    const url = () => (kind === 'proxy' ? proxy.url : plain.url);
    /** Options of stores that share their values with each other and with nothing else. */
    const shop = (more = {}, others = {}) => {
      const namespace = `shop${++count}`;
      return (also = {}) => layers(url(), { namespace, ...more, ...also }, others);
    };
    const pages = (options, log = []) =>
      getMemoize(async function page(name, user) {
        log.push(name);
        return `${name} of ${user}`;
      }, { ...options, tags: ([name, user]) => [`page:${name}`, `user:${user}`] });

    it('values go with their tags, in all stores of a namespace and in no other', async () => {
      const own = shop();
      const other = shop();
      const first = pages(own());
      const second = pages(own({ prefix: 'another' }));
      const foreign = pages(other());
      for (const one of [first, second, foreign]) await one.many([['home', 7], ['home', 8], ['help', 7]]);
      await first.invalidateTags('user:7');
      const hits = async (one) => (await Promise.all([one.peek('home', 7), one.peek('home', 8), one.peek('help', 7)])).map(({ hit }) => hit);
      assert.deepEqual(await hits(first), [false, true, false]);
      assert.deepEqual(await hits(second), [false, true, false]);
      assert.deepEqual(await hits(foreign), [true, true, true]);
      assert.equal(await first('home', 7), 'home of 7');
      assert.deepEqual(await hits(first), [true, true, false]);
      await first.store.invalidateTags(['page:help', 'page:home']);
      assert.deepEqual(await hits(first), [false, false, false]);
      await second.many([['home', 7], ['help', 7]]);
      await second.clear();
      assert.deepEqual(await hits(second), [false, false, false]);
      assert.equal((await first('home', 7), await first.invalidate('home', 7), await first.peek('home', 7)).hit, false);
      assert.deepEqual(first.store.stats().causes, {});
    });

    it('an invalidation holds against the loader of another process', async () => {
      const own = shop();
      let open;
      let value = 'old';
      const load = async () => {
        const read = value;
        await new Promise((give) => (open = give));
        return read;
      };
      const slow = getStore(own()).getOrSet('k', load, { tags: ['t'] });
      await until(() => open, 'the loader runs');
      value = 'new';
      const other = getStore(own());
      await other.invalidateTags('t');
      open();
      assert.equal(await slow, 'old');
      assert.equal(await other.get('k', { tags: ['t'] }), undefined);
    });

    it('with a fence so does one of the key, and a set', async () => {
      const own = shop({ fence: true });
      for (const change of [(store) => store.clear('k'), (store) => store.set('k', 'new', undefined, { tags: ['t'] })]) {
        let open;
        const slow = getStore(own()).getOrSet('k', () => new Promise((give) => (open = () => give('old'))), { tags: ['t'] });
        await until(() => open, 'the loader runs');
        const other = getStore(own());
        await change(other);
        open();
        assert.equal(await slow, 'old');
        assert.notEqual(await other.get('k', { tags: ['t'] }), 'old');
        await other.clear('k');
      }
    });

    it('the memory before it goes along, in this process at once', async () => {
      const namespace = `memory${++count}`;
      const options = () => ({
        ...layers(url(), { namespace }),
        layerConfigs: { MEMORY: { ttl: 60000 }, REDIS: { ...layers(url(), { namespace }).layerConfigs.REDIS } },
        layerOrder: ['MEMORY', 'REDIS'],
      });
      const log = [];
      const one = pages(options(), log);
      const another = pages(options(), log);
      await one('home', 7);
      await another('home', 7); // into its memory, from Redis
      assert.equal(log.length, 1);
      assert.equal((await another.peek('home', 7)).layer, 'MEMORY');
      await another.invalidateTags('user:7');
      assert.equal((await another.peek('home', 7)).hit, false);
      assert.equal(another.store.stats().memoryEntries, 0);
      await another.store.set('k', 1, undefined, { tags: ['t'] });
      const [memory] = another.store.layers;
      memory.store.clear();
      // What is looked at without its tags is not kept in memory, where no invalidation would find it.
      assert.equal(await another.store.get('k', kind === 'plain' ? { tags: ['t'] } : {}), 1);
      assert.equal(memory.store.size, kind === 'plain' ? 1 : 0);
    });

    it('stale values are refreshed, and what is stored anew counts', async () => {
      let calls = 0;
      const options = shop({ ttl: 50 }, { stale: 60000, jitter: 0 });
      const read = getMemoize(async function read() {
        return ++calls;
      }, { ...options(), tags: ['t'] });
      assert.equal(await read(), 1);
      await until(async () => (await read.peek()).stale, 'stale');
      assert.equal(await read(), 1);
      await until(async () => (await read.peek()).value === 2, 'refreshed');
      const early = getMemoize(async function read2() {
        await sleep(5);
        return ++calls;
      }, { ...shop({}, { earlyBeta: 1e9 })(), tags: ['t'] });
      await early();
      const before = early.store.stats().sets;
      await early();
      await until(() => early.store.stats().sets > before, 'refreshed early, and stored');
      assert.equal(early.store.stats().setsDropped, 0);
    });
  });
}

it('behind the proxy a look need not say the tags; elsewhere it has to', async () => {
  for (const [server, expected] of [[proxy, 1], [plain, undefined]]) {
    const store = getStore(layers(server.url, { namespace: 'any' }));
    await store.set('k', 1, undefined, { tags: ['t', 't', 'u'] });
    assert.equal(await store.get('k', { tags: ['u', 't'] }), 1);
    assert.equal(await store.get('k'), expected);
    assert.deepEqual(await store.getMany(['k', 'none']), [expected, undefined]);
  }
});

it('the proxy keeps them: one request for a read', async () => {
  const store = getStore(layers(proxy.url, { namespace: 'count' }));
  await store.set('k', 1, undefined, { tags: ['a', 'b', 'c'] });
  const { endpoint } = store.layers[0];
  const from = endpoint.stats().commands;
  assert.equal(await store.get('k', { tags: ['a', 'b', 'c'] }), 1);
  assert.equal(endpoint.stats().commands - from, 1);
  const client = connect(proxy);
  assert.equal(await client.type('count:p:p:k'), 'hash');
  client.disconnect();
});

it('what is evicted of tags makes misses', async () => {
  const client = connect(plain);
  const store = getStore(layers(plain.url, { namespace: 'evicted' }));
  const look = () => store.get('k', { tags: ['t'] });
  await store.set('k', 1, undefined, { tags: ['t'] });
  assert.equal(await look(), 1);
  assert.equal(await client.del('evicted::t:t'), 1);
  assert.equal(await look(), undefined);
  assert.equal(await store.getOrSet('k', async () => 2, { tags: ['t'] }), 2);
  assert.equal(await look(), 2);
  client.disconnect();
});

it('one that cannot be sent counts here at once, and is sent later', async () => {
  const lone = await startRedis();
  const store = getStore(layers(lone.url, { namespace: 'pending' }, { budgetMs: 100 }));
  await store.set('k', 1, undefined, { tags: ['t'] });
  await store.set('other', 1, undefined, { tags: ['u'] });
  lone.hang();
  await store.invalidateTags('t');
  assert.equal(store.stats().invalidationsPending, 1);
  lone.goOn();
  assert.notEqual(await store.get('k', { tags: ['t'] }), 1);
  await until(() => store.stats().invalidationsPending === 0, 'sent');
  await until(async () => (await store.get('other', { tags: ['u'] })) === 1, 'what was not meant is there');
  assert.equal(await store.get('k', { tags: ['t'] }), undefined);
  await lone.stop();
});

it('a proxy that takes the place of a plain server is found out', async () => {
  const first = await startRedis();
  const { port } = first;
  const store = getStore(layers(first.url, { namespace: 'moved' }, { breaker: { openMs: 50 } }));
  await store.set('k', 1, undefined, { tags: ['t'] });
  assert.equal(await store.get('k', { tags: ['t'] }), 1);
  await first.stop();
  const second = await startProxy(nodes, '', port);
  await until(async () => {
    await store.set('k', 2, undefined, { tags: ['t'] });
    return (await getStore(layers(proxy.url, { namespace: 'moved' })).get('k')) === 2;
  }, 'the tags are the proxy\'s');
  await second.stop();
});

it('what cannot work is said', async () => {
  const without = getStore(layers(plain.url, { group: 'keys' }));
  await assert.rejects(without.set('k', 1, undefined, { tags: ['t'] }), ConfigError);
  await assert.rejects(without.invalidateTags('t'), ConfigError);
  const store = getStore(layers(plain.url));
  for (const tags of [[''], ['x'.repeat(401)], [7], Array.from({ length: 63 }, (_, i) => `t${i}`)]) {
    await assert.rejects(store.getOrSet('k', async () => 1, { tags }), ConfigError);
  }
  // Tags that only a call makes must not fail it.
  const bad = getMemoize(async function bad(x) {
    return x;
  }, { ...layers(plain.url), tags: () => { throw new Error('mine'); } });
  assert.equal(await bad(7), 7);
  assert.deepEqual(await bad.many([[1], [2]]), [1, 2]);
  assert.equal(bad.store.stats().unhashable, 3);
});

it('memory alone has tags as well', async () => {
  const store = getStore({ layerConfigs: { MEMORY: { ttl: 60000 } }, layerOrder: ['MEMORY'] });
  await store.set('a', 1, undefined, { tags: ['x', 'y'] });
  await store.set('b', 2, undefined, { tags: ['y'] });
  await store.set('a', 3, undefined, { tags: ['x'] });
  await store.invalidateTags('y');
  assert.deepEqual(await store.getMany(['a', 'b']), [3, undefined]);
  await store.set('c', 3, undefined, { tags: ['x'], namespace: 'n' });
  await store.invalidateTags('x');
  assert.equal(await store.get('a'), undefined);
  assert.equal(await store.get('c', { namespace: 'n' }), 3);
  const { keysOfTag } = store.layers[0].store;
  assert.deepEqual([...keysOfTag.keys()], ['n\0x']);
});

// SPDX-License-Identifier: Apache-2.0
// Through sumcache, with real nodes that are killed and frozen while services work.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { closeConnections, getMemoize, getStore } from '../dist/index.mjs';
import { connect, drivers, machineLag, SLOWNESS, sleep, startProxy, startRedis, timed, until } from './helpers.mjs';

const options = (redisClient, more = {}, others = {}) => ({
  layerConfigs: { REDIS: { ttl: 60000, redisClient, ...more } },
  layerOrder: ['REDIS'],
  ...others,
});

for (const name of Object.keys(drivers)) {
  describe(name, () => {
    let nodes;
    let proxy;
    before(async () => {
      nodes = await Promise.all([startRedis(), startRedis(), startRedis()]);
      proxy = await startProxy(nodes);
    });
    after(async () => {
      closeConnections();
      await proxy.stop();
      for (const node of nodes) await node.stop();
    });
    const own = () => [proxy.url, { driver: drivers[name] }];

    for (const more of [{}, { hashmap: true }, { group: 'hash' }, { group: 'generation' }, { group: 'list' }]) {
      it(`all there is works: ${JSON.stringify(more)}`, async () => {
        const [url, driver] = own();
        const prefix = JSON.stringify(more);
        const cached = getMemoize(async function square(x) {
          return { square: x * x, at: new Date(x) };
        }, options(url, { ...driver, ...more, prefix }, { setMode: 'await', budgetMs: 1000 }));
        const expected = (x) => ({ square: x * x, at: new Date(x) });
        assert.deepEqual(await cached(3), expected(3));
        assert.equal((await cached.peek(3)).hit, true);
        assert.deepEqual(await cached.many([[1], [2], [3], [4], [5]]), [1, 2, 3, 4, 5].map(expected));
        assert.equal(cached.store.stats().loads, 5);
        await cached.invalidate(3);
        assert.equal((await cached.peek(3)).hit, false);
        if (cached.store.layers[0].canClear) {
          await cached.clear();
          assert.equal((await cached.peek(1)).hit, false);
        }
        assert.deepEqual(cached.store.stats().causes, {});
      });
    }

    it('a client of the user as well', async () => {
      const client = connect(proxy, {}, drivers[name]);
      const store = getStore(options(client));
      await until(() => client.status === 'ready', 'connected');
      await store.set('k', 'v');
      assert.equal(await store.get('k'), 'v');
      client.disconnect();
    });

    it('the proxy is asked to say which requests failed', async () => {
      const lonely = await startProxy([{ port: 1 }, { port: 2 }]);
      const store = getStore(options(lonely.url, { driver: drivers[name] }));
      await until(async () => (await store.entry('k')).cause === 'server', 'an error and not a miss', 3000);
      assert.equal(await store.get('k'), undefined);
      await lonely.stop();
    });

    for (const fault of ['kill', 'hang']) {
      it(`a node of three: ${fault}`, async () => {
        const [url, driver] = own();
        const cached = getMemoize(async function echo(x) {
          return x;
        }, options(url, { ...driver, prefix: fault }));
        const times = [];
        let failures = 0;
        let i = 0;
        const work = async (ms) => {
          const end = Date.now() + ms;
          while (Date.now() < end) {
            const x = i++ % 300;
            const { ms: took, value, error } = await timed(() => cached(x));
            if (error || value !== x) failures++;
            times.push(took);
            await sleep(1);
          }
        };
        machineLag();
        await work(400);
        await nodes[0][fault]();
        await work(1200);
        const last = times.slice(-100).sort((a, b) => a - b);
        assert.equal(failures, 0);
        assert.ok(Math.max(...times) < 50 + 40 * SLOWNESS + machineLag(), `the worst took ${Math.max(...times)} ms`);
        assert.ok(last[50] < 25 * SLOWNESS, `in the end half take ${last[50]} ms`);
        const { hits } = cached.store.stats();
        await until(async () => {
          await work(50);
          return cached.store.stats().hits - hits > 20;
        }, 'hits go on');
        if (fault === 'hang') nodes[0].goOn();
        else {
          const { port } = nodes[0];
          await nodes[0].stop();
          nodes[0] = await startRedis(port);
        }
        await sleep(300);
      });
    }
  });
}

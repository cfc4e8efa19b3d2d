// SPDX-License-Identifier: Apache-2.0
// What cache-cache 0.11.2 promises, case by case, in the order and with the numbers of its own 56 tests. Those that looked
// into its insides ask the same of ours from outside.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { AvailableCacheLayer, CacheLayerManager, getMemoize, getStore, Memoize, useAsDefault } from '../dist/index.mjs';
import { connect, ownRedis, sleep } from './helpers.mjs';

const { MEMORY, REDIS } = AvailableCacheLayer;
const memory = (ttl = 5000, more = {}) => ({ layerConfigs: { [MEMORY]: { ttl, ...more } }, layerOrder: [MEMORY] });
const twice = { ...memory(), layerOrder: [MEMORY, MEMORY] };

const { server, client } = await ownRedis();

function redis(more = {}, others = {}) {
  return {
    layerConfigs: { [REDIS]: { ttl: 5000, redisClient: client, ...more } },
    layerOrder: [REDIS],
    ...others,
  };
}

const size = (store, at = 0) => store.layers[at].store.size;
const only = (store, at = 0) => [...store.layers[at].store.keys()];

describe('manager', () => {
  it('1 wrong layers are errors of the developer', () => {
    assert.throws(() => new CacheLayerManager({ layerConfigs: {}, layerOrder: [] }), /No layer has been defined/);
    assert.throws(() => new CacheLayerManager({ layerConfigs: {}, layerOrder: [REDIS] }), /doesn't have associated config/);
    assert.throws(() => new CacheLayerManager({ layerConfigs: {}, layerOrder: [42] }), /Invalid layer/);
  });
  it('2 is made with MEMORY', () => {
    const store = new CacheLayerManager(memory(5000, { maxEntries: 2 }));
    assert.equal(store.layers.length, 1);
    assert.equal(store.layers[0].type, MEMORY);
  });
  it('3 set and get', async () => {
    const store = new CacheLayerManager(memory());
    await store.set('test', 'tata');
    assert.equal(await store.get('test'), 'tata');
  });
  it('4 clear', async () => {
    const store = new CacheLayerManager(memory());
    await store.set('test', 'tata');
    await store.clear('test');
    assert.equal(await store.get('test'), undefined);
  });
  it('5 set writes every layer', async () => {
    const store = new CacheLayerManager(twice);
    await store.set('test', 'tata');
    assert.deepEqual([size(store, 0), size(store, 1)], [1, 1]);
  });
  it('6 get answers from the first layer', async () => {
    const store = new CacheLayerManager(twice);
    await store.set('test', 'tata');
    store.layers[1].store.clear();
    assert.equal(await store.get('test'), 'tata');
  });
  it('7 get falls to the second layer', async () => {
    const store = new CacheLayerManager(twice);
    await store.set('test', 'tata');
    store.layers[0].store.clear();
    assert.equal(await store.get('test'), 'tata');
  });
  it('8 clear clears all layers', async () => {
    const store = new CacheLayerManager(twice);
    await store.set('test', 'tata');
    await store.clear('test');
    assert.deepEqual([size(store, 0), size(store, 1)], [0, 0]);
  });
});

describe('memory layer', () => {
  it('9 ttl', async () => {
    const store = getStore(memory(100));
    await store.set('test', 'toto');
    assert.equal(await store.get('test'), 'toto');
    await sleep(200);
    assert.equal(await store.get('test'), undefined);
  });
  it('10 the ttl of a call overrides', async () => {
    const store = getStore(memory(5000));
    await store.set('test', 'toto', 100);
    assert.equal(await store.get('test'), 'toto');
    await sleep(200);
    assert.equal(await store.get('test'), undefined);
  });
  it('11 ttlMultiplier', async () => {
    const store = getStore(memory(5000, { ttlMultiplier: 0.1 }));
    await store.set('test', 'toto', 1000);
    assert.equal(await store.get('test'), 'toto');
    await sleep(200);
    assert.equal(await store.get('test'), undefined);
  });
  it('12 namespaces', async () => {
    const store = getStore(memory());
    await store.setWithNamespace('ns', 'test', 'toto');
    assert.equal(await store.getWithNamespace('ns', 'test'), 'toto');
    assert.equal(await store.get('test'), undefined);
    await store.clearWithNamespace('ns', 'test');
    assert.equal(await store.getWithNamespace('ns', 'test'), undefined);
  });
});

describe('redis layer', () => {
  it('13 without a redisClient every use throws', async () => {
    const store = getStore(redis({ redisClient: undefined }));
    await assert.rejects(store.set('test', 'toto'), /redisClient/);
  });
  it('14 has its type', () => {
    assert.equal(getStore(redis()).layers[0].type, REDIS);
  });
  it('15 set, get, clear', async () => {
    const store = getStore(redis());
    await store.set('test', 'toto');
    assert.equal(await store.get('test'), 'toto');
    await store.clear('test');
    assert.equal(await store.get('test'), undefined);
  });
  for (const [number, value] of [[16, { toto: 1 }], [17, '{toto'], [18, '[toto']]) {
    it(`${number} ${JSON.stringify(value)} comes back as it was`, async () => {
      const store = getStore(redis());
      await store.set('test', value);
      assert.deepEqual(await store.get('test'), value);
    });
  }
  it('19 a get that times out is undefined', async () => {
    const store = getStore(redis({ timeout: 10 }));
    await store.set('test', 'toto');
    const admin = connect(server);
    await admin.client('PAUSE', 200);
    assert.equal(await store.get('test'), undefined);
    await sleep(250);
    admin.disconnect();
  });
  it('20 ttl', async () => {
    const store = getStore(redis({ ttl: 100 }));
    await store.set('test', 'toto');
    assert.equal(await store.get('test'), 'toto');
    await sleep(200);
    assert.equal(await store.get('test'), undefined);
  });
  it('21 the ttl of a call', async () => {
    const store = getStore(redis());
    await store.set('test', 'toto', 100);
    assert.equal(await store.get('test'), 'toto');
    await sleep(200);
    assert.equal(await store.get('test'), undefined);
  });
  it('22 ttlMultiplier', async () => {
    const store = getStore(redis({ ttlMultiplier: 0.1 }));
    await store.set('test', 'toto', 1000);
    assert.ok((await client.pttl('test')) <= 100);
    assert.equal(await store.get('test'), 'toto');
    await sleep(200);
    assert.equal(await store.get('test'), undefined);
  });
  const shapes = [
    [23, { prefix: 'myprefix' }, 'myprefix:test'],
    [24, { namespace: 'mynamespace' }, 'mynamespace:test'],
    [25, { namespace: 'mynamespace', prefix: 'myprefix' }, 'mynamespace:myprefix:test'],
  ];
  for (const [number, options, name] of shapes) {
    it(`${number} the key is ${name}, the value bare JSON`, async () => {
      await getStore(redis(options)).set('test', 'toto');
      assert.equal(await client.get(name), '"toto"');
    });
  }
  const broken = () => {
    const lost = connect({ port: 1 }, { enableOfflineQueue: false, retryStrategy: () => null });
    lost.disconnect();
    return lost;
  };
  it('26 errors of get are swallowed', async () => {
    const store = getStore(redis({ redisClient: broken(), shallowErrors: true }));
    assert.equal(await store.get('test'), undefined);
  });
  it('27 a host that cannot be reached is a miss at once', async () => {
    const lost = connect({ port: 1 }, { maxRetriesPerRequest: null });
    const store = getStore(redis({ redisClient: lost, shallowErrors: true }));
    assert.equal(await store.get('test'), undefined);
    lost.disconnect();
  });
  it('28 errors of get are thrown if asked for', async () => {
    const store = getStore(redis({ redisClient: broken(), shallowErrors: false }));
    await assert.rejects(store.get('test'));
  });
  it('29 errors of set are swallowed', async () => {
    const store = getStore(redis({ redisClient: broken(), shallowErrors: true }));
    await store.set('test', 'toto');
    assert.equal(await client.get('test'), null);
  });
  it('30 errors of set are thrown if asked for', async () => {
    const store = getStore(redis({ redisClient: broken(), shallowErrors: false }));
    await assert.rejects(store.set('test', 'toto'));
  });
  it('31 errors of clear are swallowed', async () => {
    await client.set('test', '"toto"');
    const store = getStore(redis({ redisClient: broken(), shallowErrors: true }));
    await store.clear('test');
    assert.equal(await client.get('test'), '"toto"');
    store.close();
  });
  it('32 errors of clear are thrown if asked for', async () => {
    const store = getStore(redis({ redisClient: broken(), shallowErrors: false }));
    await assert.rejects(store.clear('test'));
    store.close();
  });
  it('33 a Buffer comes back', async () => {
    const store = getStore(redis());
    await store.set('test', Buffer.from([0, 255, 10]));
    assert.deepEqual(await store.get('test'), Buffer.from([0, 255, 10]));
    // As cache-cache stored it.
    await client.set('old', '{"type":"Buffer","data":[0,255,10]}');
    assert.deepEqual(await store.get('old'), Buffer.from([0, 255, 10]));
  });
  it('34 a Map comes back', async () => {
    const store = getStore(redis());
    await store.set('test', new Map([['a', 1]]));
    assert.deepEqual(await store.get('test'), new Map([['a', 1]]));
    assert.equal(await client.get('test'), '{"type":"Map","value":[["a",1]]}');
  });
  for (const [number, options] of [[35, { prefix: 'p' }], [36, { namespace: 'n' }]]) {
    it(`${number} hashmap with ${Object.keys(options)} only`, async () => {
      const store = getStore(redis({ hashmap: true, ...options }));
      await store.set('test', 'toto');
      assert.equal(await store.get('test'), 'toto');
      assert.equal(await client.hget(Object.values(options)[0], 'test'), '"toto"');
    });
  }
  it('37 hashmap with neither is an error of the developer', async () => {
    const store = getStore(redis({ hashmap: true, shallowErrors: true }));
    await assert.rejects(store.set('test', 'toto'), /prefix or namespace/);
  });
  it('38 hashmap: fields of one hash', async () => {
    const store = getStore(redis({ hashmap: true, namespace: 'mynamespace', prefix: 'myprefix' }));
    await store.set('test', 'toto');
    await store.set('test2', 'toto');
    assert.equal(await client.hget('mynamespace:myprefix', 'test'), '"toto"');
    assert.equal(await client.hget('mynamespace:myprefix', 'test2'), '"toto"');
    await store.clear('test');
    assert.equal(await client.hget('mynamespace:myprefix', 'test'), null);
    assert.equal(await client.hget('mynamespace:myprefix', 'test2'), '"toto"');
  });
  it('39 hashmap: the same with the namespace of a call', async () => {
    const store = getStore(redis({ hashmap: true, prefix: 'myprefix' }));
    await store.setWithNamespace('mynamespace', 'test', 'toto');
    await store.setWithNamespace('mynamespace', 'test2', 'toto');
    assert.equal(await client.hget('mynamespace:myprefix', 'test'), '"toto"');
    assert.equal(await store.getWithNamespace('mynamespace', 'test'), 'toto');
    await store.clearWithNamespace('mynamespace', 'test');
    assert.equal(await client.hget('mynamespace:myprefix', 'test'), null);
    assert.equal(await client.hget('mynamespace:myprefix', 'test2'), '"toto"');
  });
});

describe('memoize', () => {
  it('40 stores the result', async () => {
    const cached = getMemoize(async () => 'value');
    assert.equal(await cached(), 'value');
    assert.equal(size(cached._cache_manager), 1);
  });
  it('41 gives what is stored', async () => {
    const cached = getMemoize(async () => 'value', memory());
    await cached();
    const [id] = only(cached._cache_manager);
    await cached._cache_manager.set(id.slice(1), 'other');
    assert.equal(await cached(), 'other');
  });
  it('42 other arguments, other key', async () => {
    const cached = getMemoize(async (x) => x);
    assert.deepEqual([await cached(1), await cached(2), await cached(1)], [1, 2, 1]);
    assert.equal(size(cached._cache_manager), 2);
  });
  const stored = (pattern) => client.keys(pattern);
  const wait = { setMode: 'await' };
  it('43 the prefix is the name of the function', async () => {
    const cached = getMemoize(async function asyncTest() {
      return 1;
    }, redis({}, wait));
    await cached();
    assert.equal((await stored('asyncTest:*')).length, 1);
  });
  it('44 a prefix beside defaults', async () => {
    useAsDefault(redis());
    const cached = getMemoize(async () => 1, { layerConfigs: { [REDIS]: { prefix: 'myPrefix' } }, ...wait });
    await cached();
    assert.equal((await stored('myPrefix:*')).length, 1);
  });
  it('45 computeHash', async () => {
    const seen = [];
    const cached = getMemoize(async (x) => x, {
      ...redis({ prefix: 'myPrefix2' }, wait),
      computeHash: (args) => {
        seen.push(args);
        return 'my-hash';
      },
    });
    await cached('test');
    assert.deepEqual(seen, [['test']]);
    assert.equal(await client.get('myPrefix2:my-hash'), '"test"');
  });
  it('46 null is cached', async () => {
    for (const options of [memory(), redis({ prefix: 'null' }, wait), { ...redis({ prefix: 'n2' }, wait), layerOrder: [MEMORY, REDIS] }]) {
      let calls = 0;
      const cached = getMemoize(async () => {
        calls++;
        return null;
      }, options);
      assert.equal(await cached(), null);
      assert.equal(await cached(), null);
      assert.equal(calls, 1);
    }
  });
  it('47 undefined is no error', async () => {
    for (const options of [memory(), redis({ prefix: 'undefined' }, wait)]) {
      let calls = 0;
      const cached = getMemoize(async () => {
        calls++;
      }, options);
      assert.equal(await cached(), undefined);
      assert.equal(await cached(), undefined);
      assert.equal(calls, 2);
    }
  });
});

describe('decorator', () => {
  // As the compiler calls it with experimentalDecorators; decorators.test.mjs compiles both kinds.
  const decorate = (Class, name, options) => {
    const descriptor = Object.getOwnPropertyDescriptor(Class.prototype, name);
    Object.defineProperty(Class.prototype, name, Memoize(options)(Class.prototype, name, descriptor) ?? descriptor);
  };
  it('48 caches', async () => {
    let calls = 0;
    class Test {
      async work() {
        return ++calls;
      }
    }
    decorate(Test, 'work');
    const test = new Test();
    assert.deepEqual([await test.work(), await test.work()], [1, 1]);
  });
  it('49 is for async functions only', () => {
    class Test {
      get work() {
        return 1;
      }
    }
    assert.throws(() => decorate(Test, 'work'), /decorator only available for/);
  });
  it('50 takes options', async () => {
    class Test {
      async work() {
        return 1;
      }
    }
    decorate(Test, 'work', twice);
    await new Test().work();
    const { _cache_manager: manager } = Test.prototype.work;
    assert.deepEqual([size(manager, 0), size(manager, 1)], [1, 1]);
  });
});

describe('store', () => {
  it('51 is in memory by default', async () => {
    const store = getStore();
    await store.set('test', 'toto');
    assert.equal(store.layers[0].type, MEMORY);
    assert.equal(await store.get('test'), 'toto');
  });
  it('52 takes layers', async () => {
    const store = getStore(twice);
    await store.set('test', 'toto');
    assert.deepEqual([size(store, 0), size(store, 1)], [1, 1]);
  });
});

describe('useAsDefault', () => {
  it('53 sets the order', async () => {
    useAsDefault(twice);
    const cached = getMemoize(async () => 1);
    await cached();
    assert.equal(cached._cache_manager.layers.length, 2);
  });
  it('54 one function has another order', async () => {
    useAsDefault(twice);
    const cached = getMemoize(async () => 1, { layerOrder: [MEMORY] });
    await cached();
    assert.equal(cached._cache_manager.layers.length, 1);
  });
  it('55 one function has another ttl', async () => {
    let calls = 0;
    useAsDefault(memory(5000));
    const cached = getMemoize(async () => ++calls, { layerConfigs: { [MEMORY]: { ttl: 100 } } });
    assert.deepEqual([await cached(), await cached()], [1, 1]);
    await sleep(200);
    assert.equal(await cached(), 2);
  });
  it('56 reaches functions that were called before', async () => {
    let calls = 0;
    useAsDefault(memory(100));
    const cached = getMemoize(async () => ++calls);
    await cached();
    useAsDefault(memory(5000));
    await sleep(150);
    assert.equal(await cached(), 2);
    await sleep(200);
    assert.equal(await cached(), 2);
  });
});

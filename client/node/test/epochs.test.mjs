// SPDX-License-Identifier: Apache-2.0
// What holds between processes: a store of its own stands for a process, since stores share only the server.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { getMemoize, getStore } from '../dist/index.mjs';
import { ownRedis, until } from './helpers.mjs';

const { server, client } = await ownRedis();

function layers(more, others) {
  return {
    layerConfigs: { REDIS: { ttl: 60000, redisClient: client, prefix: 'p', ...more } },
    layerOrder: ['REDIS'],
    setMode: 'await',
    ...others,
  };
}

/** A process whose loader reads the database at once, and takes as long as it is made to. */
function makeProcess(database, more, others = {}) {
  const gates = [];
  let isGated = false;
  const read = getMemoize(async function read(key) {
    const value = database[key];
    if (isGated) await new Promise((open) => gates.push(open));
    return value;
  }, layers(more, others));
  return {
    read,
    hold: () => (isGated = true),
    async loading() {
      await until(() => gates.length > 0, 'the loader runs');
    },
    release() {
      isGated = false;
      for (const open of gates.splice(0)) open();
    },
  };
}

async function race(more, change, others) {
  const database = { a: 'old' };
  const slow = makeProcess(database, more, others);
  const other = makeProcess(database, more, others);
  slow.hold();
  const first = slow.read('a');
  await slow.loading();
  database.a = 'new';
  await change(other.read);
  slow.release();
  assert.equal(await first, 'old', 'who asked before the change gets what was there then');
  const seen = await other.read.peek('a');
  const value = seen.hit ? seen.value : undefined;
  assert.equal(await other.read('a'), value ?? 'new');
  return value;
}

describe('a fence', () => {
  for (const more of [{ fence: true }, { fence: true, group: 'generation' }, { fence: true, group: 'list' }]) {
    const name = JSON.stringify(more);
    it(`an invalidation holds against the loader of another process: ${name}`, async () => {
      assert.equal(await race(more, (read) => read.invalidate('a')), undefined);
    });
    it(`so does what another process loads anew after it: ${name}`, async () => {
      const change = async (read) => {
        await read.invalidate('a');
        assert.equal(await read('a'), 'new');
      };
      // The late write takes the place of the newer value, and counts for nothing.
      assert.equal(await race(more, change), undefined);
    });
    it(`a set holds against it too: ${name}`, async () => {
      const setter = getStore(layers(more));
      const reader = getStore(layers(more));
      let open;
      const slow = reader.getOrSet('a', () => new Promise((give) => (open = () => give('old'))));
      await until(() => open, 'the loader runs');
      await setter.set('a', 'new');
      assert.equal(await getStore(layers(more)).get('a'), 'new');
      open();
      assert.equal(await slow, 'old');
      assert.notEqual(await setter.get('a'), 'old');
    });
    it(`works as without: ${name}`, async () => {
      const { read } = makeProcess({ a: 1, b: null, c: [3] }, more);
      assert.deepEqual(await read.many([['a'], ['b'], ['c']]), [1, null, [3]]);
      assert.deepEqual(await read.many([['a'], ['b'], ['c'], ['a']]), [1, null, [3], 1]);
      assert.equal(read.store.stats().loads, 3);
      assert.equal(read.store.stats().unreadable, 0);
      await read.fresh('a');
      assert.equal((await read.peek('a')).hit, true);
      if (read.store.layers[0].canClear) {
        await read.clear();
        assert.equal((await read.peek('c')).hit, false);
      }
      for (const key of await client.keys('*')) {
        const left = await client.pttl(key);
        assert.ok(left > 0, `${key} ends`);
      }
    });
  }

  it('the control: without one, such a value is stored until its ttl', async () => {
    assert.equal(await race({}, (read) => read.invalidate('a')), 'old');
    assert.equal(await race({ format: 'shared', prefix: 'q' }, (read) => read.invalidate('a')), 'old');
  });

  it('clear holds against loaders with and without one', async () => {
    for (const more of [{ group: 'generation' }, { group: 'hash' }, { group: 'list', fence: true }]) {
      assert.equal(await race({ ...more, prefix: JSON.stringify(more) }, (read) => read.clear()), undefined);
    }
  });

  it('a look makes nothing on the server; what is evicted is a miss', async () => {
    const store = getStore(layers({ fence: true }));
    assert.equal(await store.get('a'), undefined);
    assert.deepEqual(await store.getMany(['a', 'b']), [undefined, undefined]);
    assert.deepEqual(await client.keys('*'), []);
    await store.set('a', 1);
    assert.deepEqual(await client.keys('*'), [':p:f:a']);
    await client.hdel(':p:f:a', '');
    assert.equal(await store.get('a'), undefined);
    assert.equal(await store.getOrSet('a', async () => 2), 2);
    assert.equal(await store.get('a'), 2);
  });

  it('many keys at once, more than a birth can be made for in one go', async () => {
    const { read } = makeProcess(Object.fromEntries(Array.from({ length: 350 }, (_, i) => [i, i])), { fence: true, redisClient: server.url }, { budgetMs: 5000, maxInFlight: 4096 });
    const calls = Array.from({ length: 350 }, (_, i) => [i]);
    await read.many(calls);
    assert.equal(read.store.stats().setErrors, 0);
    await read.many(calls);
    assert.equal(read.store.stats().loads, 350);
  });

  it('is of the shared format, and not for a hash', async () => {
    await assert.rejects(getStore(layers({ fence: true, group: 'hash' })).get('a'), /fence does not go with/);
    await assert.rejects(getStore(layers({ fence: true, format: 'compatible' })).get('a'), /need format/);
  });
});

it('an invalidation while a look is under way: what the look brings is not kept in memory', async () => {
  const options = (more) => ({
    ...layers(more),
    layerConfigs: { MEMORY: { ttl: 60000 }, REDIS: { ttl: 60000, redisClient: client, prefix: 'p', ...more } },
    layerOrder: ['MEMORY', 'REDIS'],
    budgetMs: 1000,
  });
  for (const look of [(read) => read('a'), (read) => read.many([['a'], ['b']])]) {
    for (const drop of [(read) => read.invalidate('a'), (read) => read.clear()]) {
      await client.flushall();
      const load = async function read() {
        return 'old';
      };
      await getMemoize(load, options({ group: 'generation' }))('a');
      const read = getMemoize(load, options({ group: 'generation' }));
      const looking = look(read);
      await drop(read);
      await looking;
      assert.notEqual((await read.peek('a')).layer, 'MEMORY', `${look} ${drop}`);
    }
  }
});

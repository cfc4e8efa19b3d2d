// SPDX-License-Identifier: Apache-2.0
// Servers that hang, die, are absent or lie. The result of the function is given, always; the cache costs
// its budget once, and nothing while the breaker is open.
import assert from 'node:assert/strict';
import { after, describe, it } from 'node:test';
import { closeConnections, getMemoize, getStore } from '../dist/index.mjs';
import { connect, drivers, freePort, HOST, machineLag, SLOWNESS, sleep, startFake, startRedis, timed, until } from './helpers.mjs';

after(() => closeConnections());

const BUDGET = 50;
/** What a timer and a busy machine may be late. */
const SLACK = 30 * SLOWNESS;
/** The longest that a call may take, in ms, given how the machine was since `calls` began. */
const limit = () => BUDGET + SLACK + machineLag();

const options = (redisClient, more = {}, others = {}) => ({
  layerConfigs: { REDIS: { ttl: 60000, redisClient, prefix: 'f', ...more } },
  layerOrder: ['REDIS'],
  ...others,
});

function echo(redisClient, more, others) {
  return getMemoize(async function f(x) {
    return { x };
  }, options(redisClient, more, others));
}

/** Calls with new arguments; each has to give its result. Gives the times in ms. */
async function calls(cached, count, from = 0) {
  const times = [];
  machineLag();
  for (let i = from; i < from + count; i++) {
    const { ms, value, error } = await timed(() => cached(i));
    assert.equal(error, undefined);
    assert.deepEqual(value, { x: i });
    times.push(ms);
  }
  return times;
}

const median = (times) => [...times].sort((a, b) => a - b)[times.length >> 1];

for (const [name, Driver] of Object.entries(drivers)) {
  for (const kind of ['a client of the user', 'a client of our own']) {
    describe(`${name}, ${kind}`, () => {
      const make = (server) =>
        kind === 'a client of our own'
          ? { more: { driver: Driver }, client: server.url, end: () => closeConnections() }
          : (() => {
              const client = connect(server, {}, Driver);
              return { more: {}, client, end: () => client.disconnect() };
            })();

      it('hang: one budget, then nothing; and back when it is back', async () => {
        const server = await startRedis();
        const { more, client, end } = make(server);
        const cached = echo(client, more);
        await calls(cached, 5, 1000);
        await until(async () => (await cached.peek(1000)).hit, 'warm');
        server.hang();
        const [first, ...rest] = await calls(cached, 50);
        const most = limit();
        assert.ok(first < most, `first ${first}`);
        assert.ok(median(rest) <= 1, `then ${median(rest)}`);
        assert.ok(rest.every((ms) => ms < most));
        assert.equal(cached.store.layers[0].endpoint.stats().breaker, 'open');
        server.goOn();
        await until(() => cached.store.layers[0].endpoint.stats().breaker === 'closed', 'closed', 5000);
        await until(async () => (await cached.peek(1000)).hit, 'hits again', 5000);
        end();
        await server.stop();
      });

      it('die: nothing, and back when it is back', async () => {
        const server = await startRedis();
        const { more, client, end } = make(server);
        const cached = echo(client, more);
        await calls(cached, 5);
        await server.kill();
        await until(() => cached.store.layers[0].endpoint.driver.isReady === false, 'the client knows');
        const times = await calls(cached, 50, 100);
        assert.ok(median(times) <= 1 && Math.max(...times) < SLACK + machineLag(), `${times}`);
        const again = await startRedis(server.port);
        await until(async () => {
          await cached(7);
          return (await cached.peek(7)).hit;
        }, 'hits again', 8000);
        end();
        await again.stop();
        await server.stop();
      });

      it('absent: starts, and costs nothing', async () => {
        const { more, client, end } = make({ port: await freePort(), url: `redis://${HOST}:${await freePort()}` });
        const cached = echo(client, more);
        const [first, ...rest] = await calls(cached, 50);
        assert.ok(first < SLACK + machineLag(), `first ${first}`);
        assert.ok(median(rest) <= 1, `then ${median(rest)}`);
        end();
      });
    });
  }
}

const slowly = (socket, bytes, everyMs) => {
  const timer = setInterval(() => socket.write(bytes), everyMs);
  socket.on('close', () => clearInterval(timer));
};
const onCommand = (answer) => (socket) => socket.on('data', (data) => {
  const count = data.toString('latin1').split(/\*\d+\r\n/).length - 1;
  for (let i = 0; i < count; i++) socket.write(answer);
});

// What a server may do, and that is not a server's business.
const hostile = {
  'accepts and says nothing': (socket) => socket.resume(),
  'accepts and closes': (socket) => socket.end(),
  'accepts and resets': (socket) => socket.resetAndDestroy(),
  'resets on the first command': (socket) => socket.on('data', () => socket.resetAndDestroy()),
  'never reads': (socket) => socket.pause(),
  'trickles a reply': (socket) => socket.once('data', () => {
    socket.write('$1000\r\n');
    slowly(socket, 'x', 20);
  }),
  'half a reply, then nothing': (socket) => socket.once('data', () => socket.write('$10\r\nabc')),
  'announces a gigabyte': (socket) => socket.once('data', () => socket.write('$1073741824\r\nabc')),
  'is no Redis': onCommand('HTTP/1.1 400 Bad Request\r\n\r\n'),
  'sends what nobody asked for': (socket) => {
    socket.on('data', () => {});
    slowly(socket, '+OK\r\n', 5);
  },
  'knows no command': onCommand('-ERR unknown command\r\n'),
  'is loading': onCommand('-LOADING Redis is loading the dataset in memory\r\n'),
  'has no memory': onCommand("-OOM command not allowed when used memory > 'maxmemory'.\r\n"),
  'is read only': onCommand("-READONLY You can't write against a read only replica.\r\n"),
  'has moved': onCommand('-MOVED 1 127.0.0.1:1\r\n'),
  'wants a password': onCommand('-NOAUTH Authentication required.\r\n'),
  'answers a number': onCommand(':7\r\n'),
  'answers a list': onCommand('*2\r\n$1\r\na\r\n*1\r\n$1\r\nb\r\n'),
  'answers deep lists': onCommand(`${'*1\r\n'.repeat(2000)}:1\r\n`),
  'answers garbage of the right shape': onCommand('$3\r\n\xc5\x01\x00\r\n'),
};

describe('hostile servers', () => {
  for (const [what, serve] of Object.entries(hostile)) {
    for (const more of [{}, { group: 'generation' }, { group: 'hash' }]) {
      it(`${what}${more.group ? `, ${more.group}` : ''}`, async () => {
        const server = await startFake(serve);
        const cached = echo(server.url, more);
        const times = await calls(cached, 30);
        // At most a few pay (the first, and those that meet a new connection), and none more than its budget.
        assert.ok(Math.max(...times) < limit(), `${Math.max(...times)}`);
        if (what === 'sends what nobody asked for') assert.ok(Math.min(...times) < BUDGET);
        else assert.ok(times.reduce((a, b) => a + b) < 12 * BUDGET + SLACK, `${times}`);
        closeConnections();
        await server.stop();
      });
    }
  }

  it('a slow handshake is nobody\'s business', async () => {
    const server = await startFake((socket) => socket.on('data', () => setTimeout(() => socket.write('-ERR unknown command\r\n'), 300)));
    const cached = echo(server.url);
    const times = await calls(cached, 10);
    assert.ok(Math.max(...times) < limit());
    closeConnections();
    await server.stop();
  });

  it('10,000 calls on a server that says nothing keep nothing', async () => {
    const server = await startFake((socket) => socket.resume());
    const cached = echo(server.url, {}, { breaker: false, budgetMs: 20, maxInFlight: 100 });
    await Promise.all(Array.from({ length: 10000 }, (_, i) => cached(i)));
    const { endpoint } = cached.store.layers[0];
    assert.ok(endpoint.stats().inFlight <= 100);
    const { overloads, offline } = endpoint.stats();
    assert.ok(overloads + offline > 9000);
    closeConnections();
    await server.stop();
  });
});

it('bytes under way are bounded, and writes leave room for reads', async () => {
  const server = await startRedis();
  const store = getStore(options(server.url, {}, { maxInFlightBytes: 1 << 20 }));
  await store.get('k');
  server.hang();
  await Promise.all(Array.from({ length: 20 }, (_, i) => store.set(`k${i}`, 'x'.repeat(100_000))));
  const { endpoint } = store.layers[0];
  assert.ok(endpoint.stats().inFlightBytes <= 1 << 19);
  assert.ok(endpoint.stats().overloads > 0);
  server.goOn();
  store.close();
  closeConnections();
  await server.stop();
});

it('a pause that ends is over with the first byte', async () => {
  const server = await startRedis();
  const cached = echo(server.url);
  await calls(cached, 3);
  server.hang();
  await calls(cached, 1, 10);
  const { endpoint } = cached.store.layers[0];
  assert.equal(endpoint.stats().breaker, 'open');
  server.goOn();
  await until(() => endpoint.stats().breaker === 'closed', 'closed', 300);
  assert.ok(endpoint.stats().late > 0);
  closeConnections();
  await server.stop();
});

it('a mute connection is given up for a new one', async () => {
  const server = await startFake((socket) => socket.resume());
  const cached = echo(server.url, {}, { breaker: { openMs: 20 } });
  await calls(cached, 3);
  const { endpoint } = cached.store.layers[0];
  await until(() => endpoint.stats().reconnects > 0, 'given up', 3000);
  closeConnections();
  await server.stop();
});

it('when this process was busy, the reply that lies in the socket counts', async () => {
  const server = await startRedis();
  const cached = echo(server.url);
  await calls(cached, 1);
  await until(async () => (await cached.peek(0)).hit, 'stored');
  const before = cached.store.layers[0].endpoint.stats().timeouts;
  const looks = Promise.all(Array.from({ length: 5 }, () => cached.peek(0)));
  await new Promise((resolve) => setImmediate(resolve));
  const end = Date.now() + 120;
  while (Date.now() < end); // a long computation
  assert.ok((await looks).every((look) => look.hit));
  assert.equal(cached.store.layers[0].endpoint.stats().timeouts, before);
  closeConnections();
  await server.stop();
});

it('a write that timed out is not sent again after a newer one', async () => {
  const server = await startRedis();
  const seen = connect(server);
  const store = getStore(options(server.url));
  await store.set('k', 'first');
  server.hang();
  await store.set('k', 'late');
  await sleep(30);
  for (const socket of [store.layers[0].endpoint.driver]) socket.reconnect();
  server.goOn();
  await until(() => store.layers[0].endpoint.isUsable, 'connected', 5000);
  await store.set('k', 'newest');
  await sleep(150);
  assert.equal(await seen.get('f:k'), '"newest"');
  store.close();
  seen.disconnect();
  closeConnections();
  await server.stop();
});

for (const more of [{}, { hashmap: true }, { group: 'generation' }, { group: 'hash' }, { group: 'list' }]) {
  it(`an invalidation reaches a server that was away, and until then counts here: ${JSON.stringify(more)}`, async () => {
    const server = await startRedis();
    const store = getStore(options(server.url, more));
    const other = getStore(options(server.url, more));
    for (const key of ['one', 'two']) await store.set(key, 'old');
    assert.equal(await other.get('one'), 'old');
    server.hang();
    await store.clear('one');
    if (store.layers[0].canClear) await store.clearAll();
    assert.ok(store.stats().invalidationsPending > 0);
    server.goOn();
    assert.equal(await store.get('one'), undefined);
    await until(() => store.stats().invalidationsPending === 0, 'sent', 8000);
    assert.equal(await other.get('one'), undefined);
    assert.equal(await other.get('two'), store.layers[0].canClear ? undefined : 'old');
    store.close();
    other.close();
    closeConnections();
    await server.stop();
  });
}

it('a set that failed leaves no older value behind', async () => {
  const server = await startRedis();
  const store = getStore(options(server.url));
  await store.set('k', 1);
  server.hang();
  await store.set('k', 2);
  server.goOn();
  await until(() => store.layers[0].endpoint.isUsable, 'usable', 5000);
  assert.notEqual(await store.get('k'), 1);
  await until(() => store.stats().invalidationsPending === 0, 'sent', 8000);
  store.close();
  closeConnections();
  await server.stop();
});

it('more invalidations than can be remembered: nothing is believed until all would have ended', async () => {
  const port = await freePort();
  const store = getStore(options(`redis://${HOST}:${port}`, { ttl: 1500 }));
  for (let i = 0; i < 4100; i++) void store.clear(`k${i}`);
  await sleep(50);
  assert.ok(store.stats().invalidationsPending <= 4096);
  assert.equal((await store.entry('other')).cause, 'pending');
  const server = await startRedis(port);
  await until(() => store.layers[0].endpoint.isUsable, 'usable');
  await until(async () => (await store.entry('other')).cause === undefined, 'believed again', 4000);
  store.close();
  closeConnections();
  await server.stop();
});

it('a memoized function goes on from memory while the server is away', async () => {
  const server = await startRedis();
  let count = 0;
  const cached = getMemoize(async function f() {
    return ++count;
  }, {
    layerConfigs: { MEMORY: { ttl: 60000 }, REDIS: { ttl: 60000, redisClient: server.url } },
    layerOrder: ['MEMORY', 'REDIS'],
  });
  assert.equal(await cached(), 1);
  await server.kill();
  for (let i = 0; i < 10; i++) assert.equal(await cached(), 1);
  closeConnections();
  await server.stop();
});

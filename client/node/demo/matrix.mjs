// SPDX-License-Identifier: Apache-2.0
// What a call costs while Redis hangs, has died or is absent: ours and others, all with default options.
//
//   npm ci && node matrix.mjs
//
// Each cell is a process of its own: the first and the second call of getOrSet for a new key, with a function
// that takes no time. hang: SIGSTOP after a call that went well; die: SIGKILL; absent: a closed port.
import { spawn, spawnSync } from 'node:child_process';
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const CAP_MS = 3000;
const HOST = '127.0.0.1';

const libraries = {
  sumcache: async (url) => {
    const { getStore } = await import('../dist/index.mjs');
    const { Redis } = await import('ioredis');
    const layerConfigs = { REDIS: { ttl: 60000, redisClient: url, driver: Redis } };
    const store = getStore({ layerConfigs, layerOrder: ['REDIS'] });
    return (key, load) => store.getOrSet(key, load);
  },
  'sumcache, memory and Redis': async (url) => {
    const { getStore } = await import('../dist/index.mjs');
    const { Redis } = await import('ioredis');
    const layerConfigs = { MEMORY: { ttl: 1000 }, REDIS: { ttl: 60000, redisClient: url, driver: Redis } };
    const store = getStore({ layerConfigs, layerOrder: ['MEMORY', 'REDIS'] });
    return (key, load) => store.getOrSet(key, load);
  },
  'bentocache 1.6': async (url) => {
    const { BentoCache, bentostore } = await import('bentocache');
    const { redisDriver } = await import('bentocache/drivers/redis');
    const { hostname: host, port } = new URL(url);
    const l2 = redisDriver({ connection: { host, port: Number(port) } });
    const cache = new BentoCache({ default: 'c', stores: { c: bentostore().useL2Layer(l2) } });
    return (key, factory) => cache.getOrSet({ key, factory, ttl: 60000 });
  },
  'cache-manager 7.2 on @keyv/redis': async (url) => {
    const { createCache } = await import('cache-manager');
    const { default: KeyvRedis } = await import('@keyv/redis');
    const { default: Keyv } = await import('keyv');
    const cache = createCache({ stores: [new Keyv({ store: new KeyvRedis(url) })] });
    return (key, load) => cache.wrap(key, load, 60000);
  },
  'async-cache-dedupe 3.4': async (url) => {
    const { createCache } = await import('async-cache-dedupe');
    const { Redis } = await import('ioredis');
    const client = new Redis(url);
    client.on('error', () => {});
    const cache = createCache({ ttl: 60, storage: { type: 'redis', options: { client } } });
    let load;
    cache.define('f', () => load());
    return (key, work) => {
      load = work;
      return cache.f(key);
    };
  },
};

async function freePort() {
  const server = net.createServer().listen(0, HOST);
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function startRedis() {
  const port = await freePort();
  const child = spawn('redis-server', ['--port', port, '--bind', HOST, '--save', ''].map(String), { stdio: 'ignore' });
  for (let i = 0; i < 400; i++) {
    const isOpen = await new Promise((resolve) => {
      const socket = net.connect(port, HOST, () => resolve(true)).on('error', () => resolve(false));
      socket.on('connect', () => socket.destroy());
    });
    if (isOpen) break;
    await sleep(10);
  }
  return { port, child };
}

async function call(cached, key) {
  const from = performance.now();
  const work = Promise.resolve(cached(key, async () => ({ key }))).then(
    () => 'ok',
    () => 'throws',
  );
  const end = await Promise.race([work, sleep(CAP_MS, 'late')]);
  const ms = performance.now() - from;
  const time = end === 'late' ? `> ${CAP_MS / 1000} s` : `${ms < 1 ? ms.toFixed(1) : Math.round(ms)} ms`;
  return end === 'throws' ? `throws, ${time}` : time;
}

async function cell(library, fault) {
  process.on('uncaughtException', () => {}).on('unhandledRejection', () => {});
  const server = fault === 'absent' ? { port: await freePort() } : await startRedis();
  try {
    const cached = await libraries[library](`redis://${HOST}:${server.port}`);
    if (fault !== 'absent') {
      for (const key of ['a', 'b', 'c']) await cached(key, async () => ({ key }));
      await sleep(100);
      server.child.kill(fault === 'hang' ? 'SIGSTOP' : 'SIGKILL');
      await sleep(100);
    } else {
      await sleep(100); // as in the other cells: a process that has started
    }
    console.log(`${await call(cached, 'first')}, ${await call(cached, 'second')}`);
  } finally {
    server.child?.kill('SIGKILL');
    process.exit();
  }
}

const [library, fault] = process.argv.slice(2);
if (library) {
  await cell(library, fault);
} else {
  console.log('| call 1, call 2, default options | hang | die | absent |\n|---|--:|--:|--:|');
  for (const name of Object.keys(libraries)) {
    const cells = ['hang', 'die', 'absent'].map((kind) => {
      const argv = [fileURLToPath(import.meta.url), name, kind];
      const done = spawnSync(process.execPath, argv, { encoding: 'utf8', timeout: 30000, stdio: ['ignore', 'pipe', 'ignore'] });
      return done.stdout.trim().split('\n').pop() || 'failed';
    });
    console.log(`| ${name} | ${cells.join(' | ')} |`);
  }
}

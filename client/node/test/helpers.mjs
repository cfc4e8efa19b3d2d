// SPDX-License-Identifier: Apache-2.0
// Real servers for tests, on ports that are free, ended by their own process. Loopback only.
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { after, beforeEach } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { closeConnections, useAsDefault } from '../dist/index.mjs';

export { sleep };
export const require = createRequire(import.meta.url);
export const HOST = '127.0.0.1';
/** Sanitizers and busy machines: SUMCACHE_TEST_SLOWNESS=5 widens every margin of time by 5. */
export const SLOWNESS = Number(process.env.SUMCACHE_TEST_SLOWNESS ?? 1);

export const drivers = {
  ioredis5: require('ioredis').Redis,
  ioredis6: require('ioredis6').Redis,
  iovalkey: require('iovalkey').Redis,
};
export const { Redis } = require('ioredis');

export async function freePort() {
  // Below the range that the kernel draws from for outgoing connections.
  for (;;) {
    const port = 10000 + Math.floor(Math.random() * 22000);
    const isFree = await new Promise((resolve) => {
      const probe = net.createServer();
      probe.once('error', () => resolve(false));
      probe.listen(port, HOST, () => probe.close(() => resolve(true)));
    });
    if (isFree) return port;
  }
}

export async function until(isTrue, what, limitMs = 10000) {
  const end = Date.now() + limitMs * SLOWNESS;
  while (!(await isTrue())) {
    if (Date.now() > end) throw new Error(`not within ${limitMs} ms: ${what}`);
    await sleep(5);
  }
}

function isOpen(port) {
  return new Promise((resolve) => {
    const socket = net.connect(port, HOST);
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}

// What a test that failed has left behind must not keep the others waiting.
const children = new Set();
after(() => {
  for (const child of children) child.kill('SIGKILL');
});

class Server {
  constructor(child, port, folder) {
    Object.assign(this, { child, port, folder, url: `redis://${HOST}:${port}` });
    this.ended = new Promise((resolve) => child.once('exit', resolve));
    children.add(child);
    child.once('exit', () => children.delete(child));
  }

  hang() {
    this.child.kill('SIGSTOP');
  }

  goOn() {
    this.child.kill('SIGCONT');
  }

  async kill() {
    this.child.kill('SIGKILL');
    await this.ended;
  }

  async stop() {
    await this.kill();
    if (this.folder) rmSync(this.folder, { recursive: true, force: true });
  }
}

async function start(argv, port, folder) {
  const child = spawn(argv[0], argv.slice(1), { stdio: ['ignore', 'ignore', 'ignore'] });
  const server = new Server(child, port, folder);
  await until(() => isOpen(port), `${argv[0]} listens`);
  return server;
}

/** A redis-server without persistence. options are further arguments. */
export async function startRedis(port, ...options) {
  return startBinary('redis-server', port, options);
}

/** The same of another program: a path to a redis-server or valkey-server. */
export async function startNamed(binary) {
  if (!existsSync(binary)) throw new Error(`REDIS_SERVERS names what is not there: ${binary}`);
  return startBinary(binary, undefined, []);
}

async function startBinary(binary, port, options) {
  port ??= await freePort();
  const folder = mkdtempSync(path.join(tmpdir(), 'sumcache-node-'));
  const argv = [binary, '--port', port, '--bind', HOST, '--save', '', '--appendonly', 'no', '--dir', folder];
  return start([...argv, ...options].map(String), port, folder);
}

const root = fileURLToPath(new URL('../../..', import.meta.url));
export const PROXY = process.env.SUMCACHE_BIN ?? path.join(root, 'build', 'sumcache');

/** The proxy before these servers; config is added to its YAML. */
export async function startProxy(servers, config = '', port = undefined) {
  if (!existsSync(PROXY)) throw new Error(`${PROXY} is not there: build it, or set SUMCACHE_BIN`);
  port ??= await freePort();
  const folder = mkdtempSync(path.join(tmpdir(), 'sumcache-node-'));
  const file = path.join(folder, 'sumcache.yaml');
  const nodes = servers.map((server) => `${HOST}:${server.port}`).join(', ');
  writeFileSync(file, `listen: ["${HOST}:${port}"]\nnodes:\n  static: [${nodes}]\n${config}`);
  return start([PROXY, '--config', file], port, folder);
}

/** A server that answers each connection as serve(socket) says. */
export async function startFake(serve) {
  const sockets = new Set();
  const server = net.createServer((socket) => {
    sockets.add(socket);
    socket.setNoDelay(true);
    socket.unref();
    socket.on('close', () => sockets.delete(socket)).on('error', () => {});
    serve(socket);
  });
  await new Promise((resolve) => server.listen(0, HOST, resolve));
  const { port } = server.address();
  server.unref();
  return {
    port,
    sockets,
    url: `redis://${HOST}:${port}`,
    async stop() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** A client with ioredis's default options; its errors are expected. */
export function connect(server, options = {}, Driver = Redis) {
  const client = new Driver({ host: HOST, port: server.port, ...options });
  client.on('error', () => {});
  return client;
}

/** What is built in: what one test makes the default is not that of the next. */
export const BUILT_IN = { layerConfigs: { MEMORY: { ttl: 15000 } }, layerOrder: ['MEMORY'] };

/** A redis-server for all of a file, and a client of it. Each test begins with neither values nor defaults of others. */
export async function ownRedis() {
  const server = await startRedis();
  const client = connect(server);
  await until(() => client.status === 'ready', 'connected');
  beforeEach(async () => {
    useAsDefault(BUILT_IN);
    await client.flushall();
  });
  after(async () => {
    closeConnections();
    client.disconnect();
    await server.stop();
  });
  return { server, client };
}

// How late the machine lets this process run: what the others on it cost is not the library's doing.
const delay = monitorEventLoopDelay({ resolution: 5 });
delay.enable();
/** The worst delay in ms since the last call of this. */
export function machineLag() {
  const ms = delay.max / 1e6;
  delay.reset();
  return Number.isFinite(ms) ? ms : 0;
}

export async function timed(work) {
  const from = performance.now();
  let value;
  let error;
  try {
    value = await work();
  } catch (caught) {
    error = caught;
  }
  return { ms: performance.now() - from, value, error };
}

// SPDX-License-Identifier: Apache-2.0
// The service of service.mjs under load (autocannon): without a cache, with one written by hand on ioredis, and with
// ours, both through sumcache, while one node of three is frozen and goes on, and then all of them. Writes demo.svg:
// p99 of each second.
//
//   npm ci && node demo.mjs [SECONDS]        needs ../../../build/sumcache or SUMCACHE_BIN
//
// better-sqlite3 is compiled where it finds no binary to download: without a network `npm ci --nodedir=/usr`, where
// node.h is in /usr/include/node.
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import autocannon from 'autocannon';

const here = path.dirname(fileURLToPath(import.meta.url));
const SECONDS = Number(process.argv[2] ?? 24);
const HOST = '127.0.0.1';
/** Each asks as soon as it has its answer. */
const CONNECTIONS = 60;
const folder = mkdtempSync(path.join(tmpdir(), 'sumcache-demo-'));
const children = [];

async function freePort() {
  const server = net.createServer().listen(0, HOST);
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

function start(command, ...argv) {
  const child = spawn(command, argv.map(String), { stdio: ['ignore', 'pipe', 'ignore'] });
  children.push(child);
  return child;
}

async function load(port, faults) {
  const began = Date.now();
  const times = Array.from({ length: SECONDS }, () => []);
  const run = autocannon({
    url: `http://${HOST}:${port}`,
    connections: CONNECTIONS,
    duration: SECONDS,
    requests: [{ setupRequest: (request) => ({ ...request, path: `/users/${Math.floor(2000 * Math.random() ** 3)}` }) }],
  });
  let failures = 0;
  run.on('response', (_client, status, _bytes, ms) => {
    if (status !== 200) failures++;
    times[Math.min(SECONDS - 1, Math.floor((Date.now() - began) / 1000))].push(ms);
  });
  await Promise.all([run, faults()]);
  const p99 = times.map((all) => all.sort((a, b) => a - b)[Math.floor(all.length * 0.99)] ?? 0);
  return { p99, failures, count: times.reduce((sum, all) => sum + all.length, 0) };
}

function plot(series, marks) {
  const [width, height, left, bottom] = [760, 320, 50, 40];
  const most = Math.max(...series.flatMap((one) => one.p99), 1);
  const x = (second) => left + (second / SECONDS) * (width - left - 10);
  const y = (ms) => height - bottom - (ms / most) * (height - bottom - 30);
  const lines = series.map(({ name, p99, color }, i) => {
    const points = p99.map((ms, second) => `${x(second + 0.5).toFixed(1)},${y(ms).toFixed(1)}`).join(' ');
    return `<polyline fill="none" stroke="${color}" stroke-width="2" points="${points}"/>
<text x="${left + 10 + i * 200}" y="16" fill="${color}">${name}</text>`;
  });
  const areas = marks.map(
    ([from, to, text]) => `<rect x="${x(from)}" y="24" width="${x(to) - x(from)}" height="${height - bottom - 24}" fill="#f3d9d9"/>
<text x="${x(from) + 4}" y="${height - bottom - 5}" fill="#844">${text}</text>`,
  );
  const ticks = [0, 0.5, 1].map((share) => `<text x="4" y="${y(most * share) + 4}">${Math.round(most * share)} ms</text>`);
  const seconds = [0, SECONDS / 2, SECONDS].map((s) => `<text x="${x(s) - (s === SECONDS ? 28 : 12)}" y="${height - 20}">${s} s</text>`);
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">
<rect width="100%" height="100%" fill="white"/>
${[...areas, ...lines, ...ticks, ...seconds].join('\n')}
<text x="${left}" y="${height - 4}">p99 of each second; ${CONNECTIONS} connections, a query takes some ms of a processor</text>
</svg>
`;
}

try {
  const ports = [await freePort(), await freePort(), await freePort()];
  const nodes = ports.map((port) => start('redis-server', '--port', port, '--bind', HOST, '--save', '', '--dir', folder));
  const port = await freePort();
  const config = path.join(folder, 'sumcache.yaml');
  writeFileSync(config, `listen: ["${HOST}:${port}"]\nnodes:\n  static: [${ports.map((one) => `${HOST}:${one}`).join(', ')}]\n`);
  start(process.env.SUMCACHE_BIN ?? path.join(here, '../../../build/sumcache'), '--config', config);
  await sleep(1000);
  const at = (share) => Math.round(SECONDS * share);
  const marks = [
    [at(0.25), at(0.45), 'one node frozen'],
    [at(0.65), at(0.85), 'all frozen'],
  ];
  const freeze = async () => {
    let now = 0;
    for (const [from, to, text] of marks) {
      const frozen = text.startsWith('all') ? nodes : nodes.slice(0, 1);
      await sleep((from - now) * 1000);
      for (const node of frozen) node.kill('SIGSTOP');
      await sleep((to - from) * 1000);
      for (const node of frozen) node.kill('SIGCONT');
      now = to;
    }
  };
  const database = path.join(folder, 'shop.sqlite');
  const filled = spawnSync(process.execPath, [path.join(here, 'database.mjs'), database], { stdio: 'inherit' });
  if (filled.status !== 0) throw new Error('no database: is better-sqlite3 built?');
  const series = [];
  for (const [mode, name, color] of [['plain', 'no cache', '#999999'], ['byhand', 'by hand, on ioredis', '#c97b1a'], ['cached', 'this library', '#1b6ca8']]) {
    const service = start(process.execPath, path.join(here, 'service.mjs'), mode, `redis://${HOST}:${port}`, database);
    const listening = await new Promise((resolve) => service.stdout.once('data', (data) => resolve(Number(data))));
    const result = await load(listening, mode === 'plain' ? async () => {} : freeze);
    const sorted = [...result.p99].sort((a, b) => a - b);
    console.log(`${name}: ${result.count} answers, ${result.failures} failures; p99 of a second: median ${Math.round(sorted[sorted.length >> 1])} ms, worst ${Math.round(sorted.at(-1))} ms`);
    series.push({ name, color, p99: result.p99 });
    service.kill('SIGKILL');
  }
  writeFileSync(path.join(here, 'demo.svg'), plot(series, marks));
} finally {
  for (const child of children) child.kill('SIGKILL');
  rmSync(folder, { recursive: true, force: true });
}

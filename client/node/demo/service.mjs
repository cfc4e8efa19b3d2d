// SPDX-License-Identifier: Apache-2.0
// A service with a slow database, for demo.mjs: GET /users/N. Usage: service.mjs cached|plain REDIS_URL
import http from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { getMemoize } from '../dist/index.mjs';

const [mode, url] = process.argv.slice(2);
// A database of 20 connections, each of which takes 20 ms for a query: what comes beyond waits in line.
const CONNECTIONS = 20;
const QUERY_MS = 20;
let busy = 0;
const line = [];
async function query(id) {
  if (busy >= CONNECTIONS) await new Promise((resolve) => line.push(resolve));
  busy++;
  await sleep(QUERY_MS);
  busy--;
  line.shift()?.();
  return { id, name: `user ${id}`, about: 'x'.repeat(500) };
}

const getUser =
  mode === 'plain'
    ? query
    : getMemoize(query, {
        name: 'getUser',
        layerConfigs: { MEMORY: { ttl: 200 }, REDIS: { ttl: 5000, redisClient: url, driver: Redis, prefix: 'user' } },
        layerOrder: ['MEMORY', 'REDIS'],
        stale: 60000,
      });

const server = http.createServer((request, response) => {
  getUser(Number(request.url.split('/').pop())).then(
    (user) => response.end(JSON.stringify(user)),
    (error) => response.writeHead(500).end(error.message),
  );
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));

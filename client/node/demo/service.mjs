// SPDX-License-Identifier: Apache-2.0
// A service with a database that takes its time, for demo.mjs: GET /users/N. Usage:
// service.mjs plain|byhand|cached REDIS_URL DATABASE
import http from 'node:http';
import { Redis } from 'ioredis';
import { getMemoize } from '../dist/index.mjs';
import { openDatabase } from './database.mjs';

const [mode, url, file] = process.argv.slice(2);
const query = openDatabase(file, 2);

/** What is often written: ioredis as it comes, an error is a miss. */
function byHand() {
  const redis = new Redis(url);
  redis.on('error', () => {});
  return async (id) => {
    const key = `byhand:${id}`;
    const stored = await redis.get(key).catch(() => null);
    if (stored !== null) return JSON.parse(stored);
    const user = await query(id);
    await redis.set(key, JSON.stringify(user), 'PX', 10000).catch(() => {});
    return user;
  };
}

function cached() {
  return getMemoize(query, {
    name: 'getUser',
    layerConfigs: { MEMORY: { ttl: 200 }, REDIS: { ttl: 10000, redisClient: url, driver: Redis, prefix: 'user' } },
    layerOrder: ['MEMORY', 'REDIS'],
    stale: 60000,
  });
}

const getUser = { plain: () => query, byhand: byHand, cached }[mode]();

const server = http.createServer((request, response) => {
  getUser(Number(request.url.split('/').pop())).then(
    (user) => response.end(JSON.stringify(user)),
    (error) => response.writeHead(500).end(error.message),
  );
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));

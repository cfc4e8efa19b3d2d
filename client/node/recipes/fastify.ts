// SPDX-License-Identifier: Apache-2.0
// Fastify (5): a plugin that gives routes a store, and closes what it opened with the server.
import type { FastifyInstance } from 'fastify';
import { closeConnections, getMemoize, getStore, type Cache, type CacheOptions } from 'sumcache';

declare module 'fastify' {
  interface FastifyInstance {
    cache: Cache;
  }
}

export async function cachePlugin(server: FastifyInstance, options: CacheOptions): Promise<void> {
  const store = getStore(options);
  // A store has no thenable about it: decorate takes it as it is.
  server.decorate('cache', store);
  store.on('breaker', ({ state, reason }) => server.log.warn(`the cache's breaker is ${state}: ${reason}`));
  server.addHook('onClose', async () => {
    store.close();
    closeConnections();
  });
}
// A plugin's decorations are its children's only, unless it says so: what fastify-plugin does.
Object.assign(cachePlugin, { [Symbol.for('skip-override')]: true });

export function routes(server: FastifyInstance, loadUser: (id: number) => Promise<{ id: number; name: string }>): void {
  const getUser = getMemoize(loadUser, { name: 'getUser' });
  server.get<{ Params: { id: string } }>('/users/:id', async (request) => getUser(Number(request.params.id)));
  server.get<{ Params: { name: string } }>('/pages/:name', async ({ params: { name } }) =>
    server.cache.getOrSet(`page:${name}`, async () => `<h1>${name}</h1>`, { ttl: 30_000 }),
  );
  server.delete<{ Params: { id: string } }>('/users/:id', async (request, reply) => {
    await getUser.invalidate(Number(request.params.id));
    return reply.code(204).send();
  });
}

// SPDX-License-Identifier: Apache-2.0
// Next.js (15): next.config.js with `cacheHandler: require.resolve('./next-cache-handler.js')` and `cacheMaxMemorySize: 0`.
// All servers of an application then share pages and fetch results, and revalidateTag reaches all of them. For
// a sumcache proxy: elsewhere a look would have to know the tags, and Next.js tells them of fetch results only.
import type { CacheHandler, CacheHandlerValue } from 'next/dist/server/lib/incremental-cache';
import { getStore } from 'sumcache';

const store = getStore({
  layerConfigs: {
    REDIS: { ttl: 86_400_000, redisClient: process.env['REDIS_URL'] ?? 'redis://127.0.0.1:6379', prefix: 'next', group: 'tags' },
  },
  layerOrder: ['REDIS'],
});

/** What Next.js makes of a path: revalidatePath asks for it. Which fetch results a path used it does not tell. */
const OF_A_PATH = '_N_T_';
const ALL_FETCHED = 'fetched';

type Data = Parameters<CacheHandler['set']>[1];
type SetContext = Parameters<CacheHandler['set']>[2];

function tagsOf(data: NonNullable<Data>, context: SetContext): string[] {
  if (data.kind === 'FETCH') return [...(('tags' in context && context.tags) || data.tags || []), ALL_FETCHED];
  const header = 'headers' in data ? data.headers?.['x-next-cache-tags'] : undefined;
  return typeof header === 'string' ? header.split(',').filter(Boolean) : [];
}

export default class SharedCacheHandler implements CacheHandler {
  async get(key: string): Promise<CacheHandlerValue | null> {
    return (await store.get<CacheHandlerValue>(key)) ?? null;
  }

  async set(key: string, data: Data, context: SetContext): Promise<void> {
    if (data === null) return store.clear(key);
    await store.set(key, { value: data, lastModified: Date.now() }, undefined, { tags: tagsOf(data, context) });
  }

  async revalidateTag(tags: string | string[]): Promise<void> {
    const all = [tags].flat();
    if (all.some((tag) => tag.startsWith(OF_A_PATH))) all.push(ALL_FETCHED);
    if (all.length > 0) await store.invalidateTags(all);
  }

  resetRequestCache(): void {}
}

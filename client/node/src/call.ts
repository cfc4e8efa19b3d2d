// SPDX-License-Identifier: Apache-2.0
/** What is asked of a store, what it answers, and under which names that is known in this process. */
import { ConfigError, type Cause } from './errors';
import type { Entry } from './memory';
import type { Span } from './trace';

/** What one call wants done. Times in ms. */
export interface Call<T> {
  key: string;
  namespace?: string | undefined;
  load: () => Promise<T>;
  ttl?: number | undefined;
  /** Gives the ttl for this value; 0 for not to be stored. */
  ttlOf?: ((value: T) => number | undefined) | undefined;
  validate?: ((value: unknown) => boolean) | undefined;
  /** What to invalidate it by, beside its key. Part of what is asked for: the same at each call for this key. */
  tags?: readonly string[] | undefined;
  /** Do not look, and replace what is stored. */
  isFresh?: boolean | undefined;
  /** What tells of this call: the library's own business. @internal */
  span?: Span | undefined;
}

/** What a look is for. */
export type Asked = Pick<Call<unknown>, 'key' | 'namespace' | 'tags'>;

/** A look without loading. */
export type Found<T> =
  | { hit: true; value: T; stale: boolean; ageMs: number; layer: 'MEMORY' | 'REDIS' }
  | { hit: false; cause?: Cause };

/** Of a single operation of a store. */
export interface KeyOptions {
  namespace?: string;
  /** What the value is, or was, stored with: for `invalidateTags`. Needs `group: 'tags'` in Redis. */
  tags?: readonly string[];
}

/** A proxy takes 64: one is that of the store, one that of a fence. */
const TAGS_MAX = 62;
const TAG_BYTES_MAX = 400;

/** Tags as they are stored, each once. Throws ConfigError. */
export function checkTags(tags: unknown): readonly string[] {
  const all: readonly unknown[] = Array.isArray(tags) ? tags : [tags];
  const isTag = (tag: unknown): tag is string =>
    typeof tag === 'string' && tag !== '' && Buffer.byteLength(tag) <= TAG_BYTES_MAX;
  if (all.length > TAGS_MAX || !all.every(isTag)) {
    throw new ConfigError(`tags are at most ${TAGS_MAX} texts of 1 to ${TAG_BYTES_MAX} bytes`);
  }
  return [...new Set(all)];
}

/** The name of a value in this process: that of its flight, and in memory. */
export function memoryId(namespace: string | undefined, key: string): string {
  return `${namespace ?? ''}\0${key}`;
}

export function memoryTags({ namespace, tags }: Omit<Asked, 'key'>): readonly string[] | undefined {
  return tags?.map((tag) => memoryId(namespace, tag));
}

export function isStale(entry: Entry, now: number): boolean {
  return now >= entry.created + entry.soft;
}

// SPDX-License-Identifier: Apache-2.0
/**
 * Options as users write them, the process-wide defaults, and how the two become settings. What a user
 * passes in is copied and never written to.
 */
import type { BreakerOptions } from './breaker';
import type { RedisConstructor, RedisLike } from './driver';
import { ConfigError } from './errors';
import type { Serializer } from './serializer';
import type { Tracer } from './trace';

export enum AvailableCacheLayer {
  MEMORY = 'MEMORY',
  REDIS = 'REDIS',
}

export interface LayerOptions {
  /** How long a value is fresh, in ms. */
  ttl: number;
  /** Factor for a ttl that is passed with a call. */
  ttlMultiplier?: number;
  /** What one operation of this layer may take, in ms; default: `budgetMs`. */
  timeout?: number;
  /** false: `get`, `set` and `clear` of a store throw what went wrong. Default: true. Memoized functions never do. */
  shallowErrors?: boolean;
}

export interface MemoryLayerOptions extends LayerOptions {
  /** Default: 100,000. */
  maxEntries?: number;
  /** Default: 64 MiB. */
  maxBytes?: number;
  /** false: hand out what was put in, instead of copies. Default: true. */
  clone?: boolean;
}

/**
 * Where a Redis layer keeps a group of values, that `clear()` of a memoized function or `clearAll` drops.
 *
 * - `keys`: no group
 * - `hash`: in one hash; for groups of up to 100,000 values that belong to one node
 * - `generation`: spread over all nodes, behind a random generation
 * - `list`: the same, with a list of names, so that clearing frees the memory at once
 * - `tags`: as `generation`, and values may have tags, which `invalidateTags` drops. A sumcache proxy keeps them;
 *   on other servers they are kept in keys of their own, and a look has to say the tags of what it looks for
 */
export type GroupMode = 'keys' | 'hash' | 'generation' | 'list' | 'tags';

export interface RedisLayerOptions extends LayerOptions {
  /** A client of ioredis (5, 6) or iovalkey, or a URL that this library opens a connection to. */
  redisClient: RedisLike | string;
  /** Class for a URL; default: what is installed of ioredis and iovalkey. */
  driver?: RedisConstructor;
  /** Default for memoized functions: the name of the function. */
  prefix?: string;
  namespace?: string;
  /** As in cache-cache: all values in one hash. The same as `group: 'hash'` in the compatible format. */
  hashmap?: boolean;
  group?: GroupMode;
  /**
   * `compatible`: keys and bare JSON as cache-cache 0.11 writes them. `shared`: docs/stored-format.md,
   * which the C library reads, and which `stale`, `earlyBeta`, `compress`, `fence`, `signingKeys` and groups other than `hashmap`
   * need. Default: `shared` if one of those is asked for, else `compatible`.
   */
  format?: 'compatible' | 'shared';
  /**
   * An invalidation, or a set, of one key also holds against what another process is loading for it: each
   * value lies in a small hash beside its birth. A first load costs one round trip more. Without it such a
   * value may be stored old, until its ttl. Not with `group: 'hash'`.
   */
  fence?: boolean;
  serializer?: Serializer;
  /**
   * Compress values above so many bytes. `zlib`, the default, is what every reader knows; `zstd` what Node.js knows
   * from 22.15 on: older ones write zlib instead, and take what others wrote as a miss.
   */
  compress?: { over: number; by?: 'zlib' | 'zstd' };
  /**
   * Sign values, and believe only those that are signed, with HMAC-SHA-256: for servers that others can write to.
   * Each of at least 16 bytes; the first signs, all are believed, so that one can take the place of another.
   */
  signingKeys?: ReadonlyArray<string | Uint8Array>;
  /** Larger values are not stored; in bytes. Default: 5 MiB. */
  maxValueBytes?: number;
}

export interface LayerConfigs {
  MEMORY?: Partial<MemoryLayerOptions>;
  REDIS?: Partial<RedisLayerOptions>;
}

export interface CacheLayerManagerOptions {
  layerConfigs: LayerConfigs;
  layerOrder: Array<AvailableCacheLayer | 'MEMORY' | 'REDIS'>;
}

/** What the cache may cost, and what it does when things go wrong. */
export interface Resilience {
  /** What all look-ups of one call may take together, in ms. Default: 50. */
  budgetMs?: number;
  /** When the server is not asked any more; false: never stop asking. */
  breaker?: BreakerOptions | false;
  /** Commands and bytes that may be under way on a connection. Default: 1024 and 16 MiB. */
  maxInFlight?: number;
  maxInFlightBytes?: number;
  /** For how long after its ttl a value may be served while it is refreshed, in ms. Default: 0. */
  stale?: number;
  /** Serve a stale value if the function fails. Default: true where there is `stale`. */
  staleIfError?: boolean;
  /** For how long after such a failure the function is not called again, in ms. Default: 1000. */
  errorThrottleMs?: number;
  /** Refresh early, the likelier the slower the function and the nearer the end; 1 is usual. Default: 0, off. */
  earlyBeta?: number;
  /**
   * Refreshes in the background that a store has under way at a time; what is stale beyond is served, and refreshed by
   * a later call. So a server that is away does not turn all that is in memory into a flood of loads. Default: 16.
   */
  maxRefreshes?: number;
  /** Shorten each ttl in Redis by a random share up to this. Default: 0.1. */
  jitter?: number;
  /** The ttl of `null`, in ms. Default: as other values. */
  negativeTtl?: number;
  /** false: concurrent calls with the same arguments each run the function. Default: true. */
  singleFlight?: boolean;
  /** For how long a call waits for another one that runs the function, in ms, before it does so itself. Default: 5000. */
  waitMs?: number;
  /** `await`: a memoized call waits until its value is stored. Default: `background`. */
  setMode?: 'await' | 'background';
  /** Kill switch: false, or a function that gives false, and every call goes straight to the function. */
  enabled?: boolean | (() => boolean);
  /**
   * Try it out: true, or a function that gives true, and the cache looks, counts and stores as it would, but each call
   * runs its function and gets that result; `get` and `getMany` find nothing. `stats()` tells what it would bring, and
   * `differences`, with the event `differ`, how often it would have given something else than the function. Default: false.
   */
  dryRun?: boolean | (() => boolean);
  /**
   * Makes spans (`sumcache.call`, `.many`, `.lookup`, `.load`, `.store`, `.invalidate`): what `trace.getTracer('sumcache')`
   * of @opentelemetry/api gives. A hit in memory makes none. Keys are not in them.
   */
  tracer?: Tracer;
  /**
   * Wait for a read no longer than 4 times what 99 of 100 took in the last minute, and at least 5 ms, where that is
   * less than the budget: a server that hangs is found out sooner, one that pauses is a miss sooner. Default: false.
   */
  adaptiveTimeout?: boolean;
  /** Is given each promise of work in the background, for serverless platforms that would freeze it. */
  waitUntil?: (work: Promise<unknown>) => void;
}

export type CacheOptions = Partial<CacheLayerManagerOptions> & Resilience;

export const BUDGET_MS = 50;
const TTL_MAX_MS = 365 * 86_400_000;

const BUILT_IN: CacheLayerManagerOptions = {
  layerConfigs: {
    MEMORY: { ttl: 15_000, maxEntries: 100_000 },
  },
  layerOrder: [AvailableCacheLayer.MEMORY],
};

type Defaults = CacheLayerManagerOptions & Resilience;

function copied(options: Defaults): Defaults {
  return {
    ...options,
    layerConfigs: {
      ...(options.layerConfigs.MEMORY && { MEMORY: { ...options.layerConfigs.MEMORY } }),
      ...(options.layerConfigs.REDIS && { REDIS: { ...options.layerConfigs.REDIS } }),
    },
    layerOrder: [...options.layerOrder],
  };
}

let defaults = copied(BUILT_IN);
let version = 0;

/** Counts calls of useAsDefault: who has settings made of older defaults makes them again. */
export function defaultsVersion(): number {
  return version;
}

/** Replaces the defaults of all stores and memoized functions, of those that exist already as well. */
export function useAsDefault(options: CacheLayerManagerOptions & Resilience): void {
  defaults = copied(options);
  version++;
}

/** Work that no call waits for. */
export function inBackground({ waitUntil }: Resilience, work: Promise<unknown>): void {
  const quiet = work.catch(() => {});
  waitUntil?.(quiet);
}

export interface Settings {
  order: AvailableCacheLayer[];
  memory: Partial<MemoryLayerOptions> | undefined;
  redis: Partial<RedisLayerOptions> | undefined;
  resilience: Resilience;
}

/** The part of options that is set: what is undefined must not hide a default. */
function defined<T extends object>(options: T | undefined): Partial<T> {
  if (!options) return {};
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as Partial<T>;
}

function merged<T extends object>(...all: Array<T | undefined>): T | undefined {
  if (all.every((options) => options === undefined)) return undefined;
  return Object.assign({}, ...all.map(defined)) as T;
}

/** Options over defaults, layer by layer. prefix is what a function's name gives. Throws ConfigError. */
export function resolve(options: CacheOptions, prefix: string | undefined): Settings {
  const order = (options.layerOrder ?? defaults.layerOrder) as AvailableCacheLayer[];
  if (order.length === 0) throw new ConfigError('No layer has been defined');
  const { layerConfigs, layerOrder: _order, ...resilience } = options;
  const { layerConfigs: commonConfigs, layerOrder: _common, ...commonResilience } = defaults;
  const own = prefix === undefined ? undefined : { prefix };
  const memory = merged(BUILT_IN.layerConfigs.MEMORY, commonConfigs.MEMORY, layerConfigs?.MEMORY);
  const redis = merged(commonConfigs.REDIS, layerConfigs?.REDIS);
  const settings: Settings = {
    order: [...order],
    memory: layerConfigs && !layerConfigs.MEMORY && !commonConfigs.MEMORY ? undefined : memory,
    redis: redis && { ...own, ...redis },
    resilience: { ...defined(commonResilience), ...defined(resilience) },
  };
  for (const layer of order) {
    if (layer !== AvailableCacheLayer.MEMORY && layer !== AvailableCacheLayer.REDIS) {
      throw new ConfigError(`Invalid layer: ${String(layer)}`);
    }
    const config = layer === AvailableCacheLayer.MEMORY ? settings.memory : settings.redis;
    if (!config) throw new ConfigError(`Layer ${layer} doesn't have associated config`);
    checkTtl(layer, config.ttl);
  }
  return settings;
}

function checkTtl(layer: string, ttl: unknown): void {
  if (typeof ttl !== 'number' || !(ttl > 0)) {
    throw new ConfigError(`${layer}: ttl has to be a number of milliseconds above 0`);
  }
}

/** A ttl in whole ms; 0 means not to store. Throws ConfigError for what is no number. */
export function ttlOf(base: number | undefined, perCall: number | undefined, multiplier = 1): number {
  const asked = perCall === undefined ? base : perCall * multiplier;
  if (typeof asked !== 'number' || Number.isNaN(asked)) {
    throw new ConfigError('ttl has to be a number of milliseconds');
  }
  if (asked <= 0) return 0;
  return Math.min(TTL_MAX_MS, Math.max(1, Math.round(asked)));
}

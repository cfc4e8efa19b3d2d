// SPDX-License-Identifier: Apache-2.0
/**
 * The layers of a store, in order: made of its options, and made anew when the defaults change, with what is in
 * memory kept. Here is also how long an entry lives in each of them.
 */
import { memoryId, memoryTags, type Asked } from './call';
import { ConfigError } from './errors';
import { MemoryStore, type Entry } from './memory';
import {
  AvailableCacheLayer,
  BUDGET_MS,
  defaultsVersion,
  resolve,
  ttlOf,
  type CacheOptions,
  type Settings,
} from './options';
import { RedisLayer } from './redis-layer';
import type { Events } from './stats';

/** What a layer of memory looks like from outside. */
export class MemoryLayer {
  readonly type = 'MEMORY';
  readonly store = new MemoryStore(0, 0, true);
}

export type AnyLayer = MemoryLayer | RedisLayer;

export class Layers {
  settings: Settings;
  /** All of them, in order. */
  all: readonly AnyLayer[] = [];
  memory: readonly MemoryLayer[] = [];
  redis: readonly RedisLayer[] = [];
  private version: number;
  private stopListening: Array<() => void> = [];
  /** What is wrong with the options of a layer: thrown by every use until other defaults mend it. */
  private broken: ConfigError | undefined;

  /** name is that of a memoized function, undefined for a store. Throws ConfigError. */
  constructor(
    private readonly options: CacheOptions,
    private readonly name: string | undefined,
    private readonly onBreaker: (event: Events['breaker']) => void,
  ) {
    this.version = defaultsVersion();
    this.settings = resolve(options, name);
    this.build();
  }

  /** Whether the kill switch lets calls through to the cache. */
  get isEnabled(): boolean {
    const { enabled } = this.settings.resilience;
    return typeof enabled === 'function' ? enabled() : enabled !== false;
  }

  /** Whether calls are only to see what the cache would do. */
  get isDryRun(): boolean {
    const { dryRun } = this.settings.resilience;
    return typeof dryRun === 'function' ? dryRun() : dryRun === true;
  }

  /** What all look-ups of a call may take together, in ms. */
  get budgetMs(): number {
    const { budgetMs } = this.settings.resilience;
    return budgetMs ?? this.settings.redis?.timeout ?? BUDGET_MS;
  }

  /** Before each use: defaults may have changed. Throws ConfigError. */
  refresh(): void {
    if (this.version !== defaultsVersion()) {
      this.version = defaultsVersion();
      const { order } = this.settings;
      this.settings = resolve({ ...this.options, layerOrder: order }, this.name);
      this.build();
    }
    if (this.broken) throw this.broken;
  }

  /** Ends timers. */
  close(): void {
    for (const layer of this.redis) layer.stop();
    for (const stop of this.stopListening.splice(0)) stop();
  }

  /** What memory has of it, if that stands before Redis: what stands behind is asked in its turn. */
  inMemory(id: string, accepts: (value: unknown) => boolean): Entry | undefined {
    const now = Date.now();
    for (const layer of this.all) {
      if (layer.type !== 'MEMORY') return undefined;
      const entry = layer.store.get(id, now);
      if (entry && accepts(entry.value)) return entry;
    }
    return undefined;
  }

  /** Copies what Redis had into the memory that stands before it, for no longer than it lives there. */
  backFill(asked: Asked, entry: Entry): void {
    // Whose tags nobody knows could not be taken out by them.
    if (!asked.tags && this.redis.some((layer) => layer.hasTags)) return;
    for (const layer of this.all) {
      if (layer.type !== 'MEMORY') return;
      const ttl = this.settings.memory?.ttl ?? 0;
      // Counted from now: a memory that is younger than the value must not outlive its own ttl.
      const age = Date.now() - entry.created;
      const soft = Math.min(entry.soft, age + ttl);
      const hard = Math.min(entry.hard, age + ttl + (this.settings.resilience.stale ?? 0));
      const id = memoryId(asked.namespace, asked.key);
      layer.store.set(id, { ...entry, soft, hard: Math.max(soft, hard), tags: memoryTags(asked) });
    }
  }

  /** A new value as this layer keeps it, from now on; undefined: it does not. ttl and delta in ms. */
  entryFor(
    layer: AnyLayer,
    value: unknown,
    delta: number,
    ttl: number | undefined,
    isMultiplied: boolean,
  ): Entry | undefined {
    const config = layer.type === 'MEMORY' ? this.settings.memory : this.settings.redis;
    const { stale = 0, jitter = 0.1 } = this.settings.resilience;
    const soft = ttlOf(config?.ttl, ttl, isMultiplied ? config?.ttlMultiplier : 1);
    if (soft === 0) return undefined;
    const factor = layer.type === 'MEMORY' ? 1 : 1 - Math.random() * Math.min(1, jitter);
    const shortened = (ms: number): number => Math.max(1, Math.round(ms * factor));
    return {
      value,
      created: Date.now(),
      soft: shortened(soft),
      hard: shortened(soft + stale),
      delta: Math.round(delta),
    };
  }

  private build(): void {
    this.close();
    const { memory, redis, order, resilience } = this.settings;
    const old = this.all;
    this.broken = undefined;
    this.all = order.flatMap((type, at): AnyLayer[] => {
      const before = old[at];
      if (type === AvailableCacheLayer.REDIS) {
        const isBackFilling = order.slice(0, at).includes(AvailableCacheLayer.MEMORY);
        const settings = { ...redis, stale: resilience.stale ?? 0, isBackFilling };
        try {
          const kept = before?.type === 'REDIS' ? before : undefined;
          return [new RedisLayer(settings, resilience, this.budgetMs, this.name, kept)];
        } catch (error) {
          if (!(error instanceof ConfigError)) throw error;
          this.broken = error;
          return [];
        }
      }
      const layer = before?.type === 'MEMORY' ? before : new MemoryLayer();
      layer.store.maxEntries = memory?.maxEntries ?? 100_000;
      layer.store.maxBytes = memory?.maxBytes ?? 64 << 20;
      layer.store.isCopying = memory?.clone ?? true;
      return [layer];
    });
    this.memory = this.all.filter((layer): layer is MemoryLayer => layer.type === 'MEMORY');
    this.redis = this.all.filter((layer): layer is RedisLayer => layer.type === 'REDIS');
    this.stopListening = this.redis.map((layer) =>
      layer.endpoint.onBreaker((state, reason) => this.onBreaker({ state, reason })),
    );
  }
}

// SPDX-License-Identifier: Apache-2.0
/**
 * A store: what its users see. Here are single operations and invalidations; a call that looks, loads and stores is
 * in loading.ts, what the layers are asked in lookup.ts.
 *
 * An invalidation first *fences* what is under way in this process, then takes it out of memory, then out of Redis: so
 * what was read before it is not stored after it.
 */
import { performance } from 'node:perf_hooks';
import { checkTags, isStale, memoryId, memoryTags, type Asked, type Call, type Found, type KeyOptions } from './call';
import { asCacheError, CacheError, ConfigError } from './errors';
import { Flights } from './flights';
import { Layers, type AnyLayer } from './layers';
import { Loader } from './loader';
import { Loading } from './loading';
import { Lookup } from './lookup';
import type { CacheOptions } from './options';
import type { RedisLayer } from './redis-layer';
import { Rehearsal } from './rehearsal';
import type { Events, Stats } from './stats';
import { Tally } from './tally';
import { Tracing } from './trace';

export class Cache {
  private readonly tally = new Tally();
  private readonly flights = new Flights();
  private readonly made: Layers;
  private readonly tracing: Tracing;
  private readonly lookup: Lookup;
  private readonly loading: Loading;
  private readonly rehearsal: Rehearsal;

  /** name is that of a memoized function, undefined for a store. Throws ConfigError. */
  constructor(options: CacheOptions = {}, name?: string) {
    this.made = new Layers(options, name, (event) => this.tally.events.emit('breaker', event));
    this.tracing = new Tracing(name, () => this.made.settings.resilience.tracer);
    this.lookup = new Lookup(this.made, this.tally, this.tracing);
    const loader = new Loader(this.made, this.tally, this.tracing);
    this.loading = new Loading(this.made, this.flights, this.lookup, loader, this.tally, this.tracing);
    this.rehearsal = new Rehearsal(this.made, this.flights, this.lookup, loader, this.tally);
  }

  /** The layers in order. */
  get layers(): readonly AnyLayer[] {
    return this.made.all;
  }

  on<E extends keyof Events>(event: E, listener: (event: Events[E]) => void): this {
    this.tally.events.on(event, listener);
    return this;
  }

  off<E extends keyof Events>(event: E, listener: (event: Events[E]) => void): this {
    this.tally.events.off(event, listener);
    return this;
  }

  /** Whether the kill switch lets calls through to the cache. */
  get isEnabled(): boolean {
    return this.made.isEnabled;
  }

  stats(): Stats {
    return this.tally.stats(this.made);
  }

  /** Ends timers. Connections stay: see closeConnections. */
  close(): void {
    this.made.close();
  }

  // --- the store, as in cache-cache ----------------------------------------------------------------------

  /** The value of key, or undefined. Throws a CacheError only with shallowErrors: false. */
  get<T = unknown>(key: string, options: KeyOptions = {}): Promise<T | undefined> {
    return this.getFrom<T>(options.namespace, key, options.tags);
  }

  /** Stores in all layers. ttl in ms. Throws a CacheError only with shallowErrors: false. */
  set(key: string, value: unknown, ttl?: number, options: KeyOptions = {}): Promise<void> {
    return this.setTo(options.namespace, key, value, ttl, options.tags);
  }

  clear(key: string): Promise<void> {
    return this.clearFrom(undefined, key);
  }

  getWithNamespace<T = unknown>(namespace: string, key: string): Promise<T | undefined> {
    return this.getFrom<T>(namespace, key);
  }

  setWithNamespace(namespace: string, key: string, value: unknown, ttl?: number): Promise<void> {
    return this.setTo(namespace, key, value, ttl);
  }

  clearWithNamespace(namespace: string, key: string): Promise<void> {
    return this.clearFrom(namespace, key);
  }

  // --- beyond ----------------------------------------------------------------------------------------

  /** What is known of key, and if nothing is, why. Loads nothing, and never throws for the network. */
  async entry<T = unknown>(key: string, namespace?: string, tags?: readonly string[]): Promise<Found<T>> {
    this.made.refresh();
    if (!this.isEnabled) return { hit: false, cause: 'off' };
    const { found, cause } = await this.lookup.one({ key, namespace, tags: tags && checkTags(tags) }, 'value');
    if (!found) return { hit: false, ...(cause && { cause }) };
    const { entry, layer } = found;
    const now = Date.now();
    return {
      hit: true,
      value: entry.value as T,
      stale: isStale(entry, now),
      ageMs: Math.max(0, now - entry.created),
      layer,
    };
  }

  /** The value of key, or what load gives, which is stored. Rejects only as load does. */
  async getOrSet<T>(key: string, load: () => Promise<T>, options: Omit<Call<T>, 'key' | 'load'> = {}): Promise<T> {
    const tags = checkTags(options.tags ?? []);
    return this.run({ ...options, key, load, tags });
  }

  /** The values of many keys, in order, in one round trip. */
  async getMany<T = unknown>(keys: readonly string[], namespace?: string): Promise<Array<T | undefined>> {
    this.made.refresh();
    if (!this.isEnabled) return keys.map(() => undefined);
    const searches = await this.lookup.many(keys.map((key) => ({ key, namespace })), 'value');
    if (this.made.isDryRun) return keys.map(() => undefined);
    return searches.map((search) => search.found?.entry.value as T | undefined);
  }

  /** Looks, loads, stores. Rejects only as load does, or with a ConfigError. */
  async run<T>(call: Call<T>): Promise<T> {
    this.made.refresh();
    if (!this.isEnabled) return call.load();
    return this.made.isDryRun ? this.rehearsal.run(call) : this.loading.run(call);
  }

  /** As `run` for many calls of one namespace: one look-up for all, then the loaders of those that have none. */
  async runMany<T>(calls: ReadonlyArray<Call<T>>): Promise<T[]> {
    this.made.refresh();
    if (!this.isEnabled) return Promise.all(calls.map((call) => call.load()));
    return this.made.isDryRun ? this.rehearsal.runMany(calls) : this.loading.runMany(calls);
  }

  /** Drops the group that the prefix and namespace name, and what is in memory of it. Throws ConfigError without a group. */
  async clearAll(namespace?: string): Promise<void> {
    this.made.refresh();
    const lacking = this.made.redis.find((layer) => !layer.canClear);
    this.tally.counters.invalidations++;
    this.flights.fence((id) => namespace === undefined || id.startsWith(`${namespace}\0`));
    for (const { store } of this.made.memory) store.clear(namespace === undefined ? '' : `${namespace}\0`);
    // What is refused is refused after the memory has been cleared: that part can be done.
    if (lacking) await lacking.clear(namespace);
    await this.invalidateEach((layer) => layer.clear(namespace));
  }

  /**
   * Makes misses of all that was stored with one of these tags: in Redis in all stores of the namespace, on all nodes;
   * in the memory of this store; in that of others when their ttl ends. Throws ConfigError where there are no tags.
   */
  async invalidateTags(tags: string | readonly string[], namespace?: string): Promise<void> {
    this.made.refresh();
    const names = checkTags(tags);
    const lacking = this.made.redis.find((layer) => !layer.hasTags);
    this.tally.counters.invalidations++;
    const ours = `${namespace ?? ''}\0`;
    this.flights.fence((id, flight) => id.startsWith(ours) && names.some((tag) => flight.tags?.includes(tag)));
    for (const { store } of this.made.memory) for (const tag of names) store.dropTag(memoryId(namespace, tag));
    if (lacking) await lacking.dropTag('', namespace);
    await Promise.all(names.map((tag) => this.invalidateEach((layer) => layer.dropTag(tag, namespace))));
  }

  // --- for memoized functions ------------------------------------------------------------------------------

  /** Whether keys of arguments are to be those of cache-cache. */
  get hasCompatibleKeys(): boolean {
    return this.made.redis.every((layer) => layer.isCompatible);
  }

  /** For calls whose arguments cannot be a key. */
  countUnhashable(): void {
    this.tally.counters.unhashable++;
  }

  // --- one key ---------------------------------------------------------------------------------------------

  private async getFrom<T>(namespace: string | undefined, key: string, tags?: readonly string[]): Promise<T | undefined> {
    this.made.refresh();
    if (!this.isEnabled) return undefined;
    const from = performance.now();
    const { changes } = this.flights;
    const asked: Asked = { key, namespace, tags: tags && checkTags(tags) };
    const { found, cause } = await this.lookup.one(asked, 'value');
    this.tally.cost.add(performance.now() - from);
    if (found) {
      this.tally.hit(key, found.entry, found.layer);
      if (found.layer === 'REDIS' && changes === this.flights.changes) this.made.backFill(asked, found.entry);
      return this.made.isDryRun ? undefined : (found.entry.value as T);
    }
    this.tally.miss(key, cause);
    // As cache-cache: a get that times out is a miss, whatever shallowErrors says.
    if (this.throwsErrors && !this.made.isDryRun && cause && cause !== 'timeout' && cause !== 'decode') {
      throw new CacheError(cause, `get failed: ${cause}`);
    }
    return undefined;
  }

  private async setTo(
    namespace: string | undefined,
    key: string,
    value: unknown,
    ttl?: number,
    given?: readonly string[],
  ): Promise<void> {
    this.made.refresh();
    const tags = checkTags(given ?? []);
    if (!this.isEnabled || value === undefined) return;
    const id = memoryId(namespace, key);
    this.flights.fence((other) => other === id);
    let failure: unknown;
    await Promise.all(
      this.made.all.map(async (layer) => {
        const entry = this.made.entryFor(layer, value, 0, ttl, true);
        if (!entry) return;
        if (layer.type === 'MEMORY') {
          layer.store.set(id, { ...entry, tags: memoryTags({ namespace, tags }) });
          return;
        }
        this.tally.counters.sets++;
        try {
          const asked = layer.id(key, namespace, tags);
          await this.tracing.run('store', namespace, () => layer.write(asked, entry));
        } catch (error) {
          this.tally.failedTo('set', error);
          layer.distrust(layer.id(key, namespace));
          failure ??= error;
        }
      }),
    );
    this.throwIfAsked(failure);
  }

  private async clearFrom(namespace: string | undefined, key: string): Promise<void> {
    this.made.refresh();
    const id = memoryId(namespace, key);
    this.tally.counters.invalidations++;
    this.flights.fence((other) => other === id);
    for (const { store } of this.made.memory) store.delete(id);
    await this.invalidateEach((layer) => layer.remove(layer.id(key, namespace)));
  }

  private async invalidateEach(work: (layer: RedisLayer) => Promise<void>): Promise<void> {
    const each = (layer: RedisLayer): Promise<void> => this.tracing.run('invalidate', undefined, () => work(layer));
    const results = await Promise.allSettled(this.made.redis.map(each));
    for (const result of results) {
      if (result.status !== 'rejected') continue;
      this.tally.counters.invalidationErrors++;
      this.tally.failedTo('clear', result.reason);
      this.throwIfAsked(result.reason);
    }
  }

  private get throwsErrors(): boolean {
    return this.made.settings.redis?.shallowErrors === false;
  }

  private throwIfAsked(failure: unknown): void {
    if (failure === undefined) return;
    if (failure instanceof ConfigError) throw failure;
    if (this.throwsErrors) throw asCacheError(failure);
  }
}

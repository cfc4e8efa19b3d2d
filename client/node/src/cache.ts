// SPDX-License-Identifier: Apache-2.0
/**
 * A store: layers in order, and all that is promised of a call.
 *
 * Walk through `run`, which memoized functions and `getOrSet` share: look into memory; join a call for
 * the same key that is under way (a *flight*), or become it; ask Redis within the budget; call the
 * loader; answer; store in the background. An invalidation *fences* the flights of its keys: what their
 * loaders bring was perhaps read before it, so it is given to those who wait and stored nowhere.
 */
import { performance } from 'node:perf_hooks';
import { copyOf } from './clone';
import { asCacheError, CacheError, ConfigError, type Cause } from './errors';
import type { KeyId, Look, Ticket, Wants } from './layout';
import { MemoryStore, type Entry } from './memory';
import {
  AvailableCacheLayer,
  BUDGET_MS,
  defaultsVersion,
  resolve,
  ttlOf,
  type CacheOptions,
  type Resilience,
  type Settings,
} from './options';
import { RedisLayer } from './redis-layer';
import { Emitter, Histogram, newCounters, type Events, type Stats } from './stats';
import { KIND, traced, type Span } from './trace';

/** What a layer of memory looks like from outside. */
export class MemoryLayer {
  readonly type = 'MEMORY';
  readonly store = new MemoryStore(0, 0, true);
}

export type AnyLayer = MemoryLayer | RedisLayer;

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

/** A look without loading. */
export type Found<T> =
  | { hit: true; value: T; stale: boolean; ageMs: number; layer: 'MEMORY' | 'REDIS' }
  | { hit: false; cause?: Cause };

interface Flight {
  promise: Promise<unknown>;
  isFenced: boolean;
  tags: readonly string[] | undefined;
  /** What callers get at once while a refresh is under way. */
  stale: Entry | undefined;
}

/** A look for many keys, of which none is a flight yet: what is invalidated meanwhile is noted here. */
type Looking = Map<string, Pick<Flight, 'tags' | 'isFenced'>>;

interface Search {
  found: { entry: Entry; layer: 'MEMORY' | 'REDIS' } | undefined;
  tickets: Map<RedisLayer, Ticket>;
  cause: Cause | undefined;
}

const THROTTLED_MAX = 10_000;
const REFRESHES_MAX = 16;
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

/** Of a single operation of a store. */
export interface KeyOptions {
  namespace?: string;
  /** What the value is, or was, stored with: for `invalidateTags`. Needs `group: 'tags'` in Redis. */
  tags?: readonly string[];
}

function isStale(entry: Entry, now: number): boolean {
  return now >= entry.created + entry.soft;
}

export class Cache {
  private settings: Settings;
  private version: number;
  private made: AnyLayer[] = [];
  private redisLayers: RedisLayer[] = [];
  private readonly flights = new Map<string, Flight>();
  private readonly looking = new Set<Looking>();
  /** Keys whose loader has failed lately, and until when it is not called again. */
  private readonly throttled = new Map<string, number>();
  private readonly counters = newCounters();
  private readonly causes: Partial<Record<Cause, number>> = {};
  private readonly cost = new Histogram();
  private readonly emitter = new Emitter();
  private stopListening: Array<() => void> = [];
  /** Refreshes under way. */
  private refreshing = 0;
  /** Counts sets and invalidations: a look that began before one of them fills no memory. */
  private changes = 0;
  /** What is wrong with the options of a layer: thrown by every use until other defaults mend it. */
  private broken: ConfigError | undefined;

  /** name is that of a memoized function, undefined for a store. Throws ConfigError. */
  constructor(
    private readonly options: CacheOptions = {},
    private readonly name?: string,
  ) {
    this.version = defaultsVersion();
    this.settings = resolve(options, name);
    this.build();
  }

  /** The layers in order. */
  get layers(): readonly AnyLayer[] {
    return this.made;
  }

  on<E extends keyof Events>(event: E, listener: (event: Events[E]) => void): this {
    this.emitter.on(event, listener);
    return this;
  }

  off<E extends keyof Events>(event: E, listener: (event: Events[E]) => void): this {
    this.emitter.off(event, listener);
    return this;
  }

  /** Whether the kill switch lets calls through to the cache. */
  get isEnabled(): boolean {
    const { enabled } = this.settings.resilience;
    return typeof enabled === 'function' ? enabled() : enabled !== false;
  }

  stats(): Stats {
    const memories = this.made.filter((layer): layer is MemoryLayer => layer.type === 'MEMORY');
    const sum = (of: (layer: MemoryLayer) => number): number => memories.reduce((total, layer) => total + of(layer), 0);
    return {
      ...this.counters,
      causes: { ...this.causes },
      costP50Ms: this.cost.quantile(0.5),
      costP99Ms: this.cost.quantile(0.99),
      invalidationsPending: this.redisLayers.reduce((total, layer) => total + layer.pendingCount, 0),
      memoryEntries: sum((layer) => layer.store.size),
      memoryBytes: sum((layer) => layer.store.bytes),
      memoryEvictions: sum((layer) => layer.store.evictions),
    };
  }

  /** Ends timers. Connections stay: see closeConnections. */
  close(): void {
    for (const layer of this.redisLayers) layer.stop();
    for (const stop of this.stopListening.splice(0)) stop();
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
    this.refreshSettings();
    if (!this.isEnabled) return { hit: false, cause: 'off' };
    const { found, cause } = await this.search({ key, namespace, tags: tags && checkTags(tags) }, 'value');
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
    this.refreshSettings();
    if (!this.isEnabled) return keys.map(() => undefined);
    const searches = await this.searchMany(keys.map((key) => ({ key, namespace })), 'value');
    return searches.map((search) => search.found?.entry.value as T | undefined);
  }

  /** Drops the group that the prefix and namespace name, and what is in memory of it. Throws ConfigError without a group. */
  async clearAll(namespace?: string): Promise<void> {
    this.refreshSettings();
    const lacking = this.redisLayers.find((layer) => !layer.canClear);
    this.counters.invalidations++;
    this.fence((id) => namespace === undefined || id.startsWith(`${namespace}\0`));
    for (const layer of this.made) {
      if (layer.type === 'MEMORY') layer.store.clear(namespace === undefined ? '' : `${namespace}\0`);
    }
    // What is refused is refused after the memory has been cleared: that part can be done.
    if (lacking) await lacking.clear(namespace);
    await this.invalidateEach((layer) => layer.clear(namespace));
  }

  /**
   * Makes misses of all that was stored with one of these tags: in Redis in all stores of the namespace, on all nodes;
   * in the memory of this store; in that of others when their ttl ends. Throws ConfigError where there are no tags.
   */
  async invalidateTags(tags: string | readonly string[], namespace?: string): Promise<void> {
    this.refreshSettings();
    const names = checkTags(tags);
    const lacking = this.redisLayers.find((layer) => !layer.hasTags);
    this.counters.invalidations++;
    this.fence((id, flight) => id.startsWith(`${namespace ?? ''}\0`) && names.some((tag) => flight.tags?.includes(tag)));
    for (const layer of this.made) {
      if (layer.type === 'MEMORY') for (const tag of names) layer.store.dropTag(memoryId(namespace, tag));
    }
    if (lacking) await lacking.dropTag('', namespace);
    await Promise.all(names.map((tag) => this.invalidateEach((layer) => layer.dropTag(tag, namespace))));
  }

  /** Looks, loads, stores: see the head of this file. */
  async run<T>(call: Call<T>): Promise<T> {
    this.refreshSettings();
    if (!this.isEnabled) return call.load();
    const id = memoryId(call.namespace, call.key);
    const from = performance.now();
    if (!call.isFresh) {
      const entry = this.fromMemory(id, call);
      if (entry && !isStale(entry, Date.now())) {
        this.cost.add(performance.now() - from);
        return this.hit(call, id, entry, 'MEMORY');
      }
      return this.trace('call', call, (span) => this.beyondMemory(id, { ...call, span }, entry));
    }
    return this.trace('call', call, (span) => this.lead(id, { ...call, span }) as Promise<T>);
  }

  private async beyondMemory<T>(id: string, call: Call<T>, entry: Entry | undefined): Promise<T> {
    const flight = this.flights.get(id);
    if (flight && this.settings.resilience.singleFlight !== false) return this.join(flight, id, call);
    if (entry && this.made[0]?.type === 'MEMORY' && this.redisLayers.length === 0) {
      return this.serveStale(call, id, entry, new Map());
    }
    return this.lead(id, call) as Promise<T>;
  }

  /** Work within a span, if there is a tracer. Keys are not in it: they may be somebody's data. */
  private trace<T>(
    what: 'call' | 'many' | 'lookup' | 'load' | 'store' | 'invalidate',
    asked: Pick<Asked, 'namespace'>,
    work: (span: Span) => Promise<T>,
  ): Promise<T> {
    const { tracer } = this.settings.resilience;
    if (!tracer) return traced(undefined, NOT_TRACED, work);
    const attributes: Record<string, string> = {};
    if (this.name !== undefined) attributes['sumcache.function'] = this.name;
    if (asked.namespace !== undefined) attributes['sumcache.namespace'] = asked.namespace;
    const isRemote = what === 'lookup' || what === 'store' || what === 'invalidate';
    if (isRemote) attributes['db.system.name'] = 'redis';
    const kind = isRemote ? KIND.client : KIND.internal;
    return traced(tracer, { name: `sumcache.${what}`, kind, attributes }, work);
  }

  /**
   * As `run` for many calls of one namespace: one look-up for all, then the loaders of those that have none.
   */
  async runMany<T>(calls: ReadonlyArray<Call<T>>): Promise<T[]> {
    this.refreshSettings();
    if (!this.isEnabled) return Promise.all(calls.map((call) => call.load()));
    const from = performance.now();
    return this.trace('many', calls[0] ?? {}, async (span) => {
      const looking: Looking = new Map();
      for (const { namespace, key, tags } of calls) looking.set(memoryId(namespace, key), { tags, isFenced: false });
      this.looking.add(looking);
      const searches = await this.searchMany(calls, 'both').finally(() => this.looking.delete(looking));
      this.cost.add(performance.now() - from);
      span.set('calls', calls.length);
      span.set('hits', searches.filter((search) => search.found).length);
      return Promise.all(
        calls.map((call, i) => {
          const id = memoryId(call.namespace, call.key);
          const search = searches[i] as Search;
          const flight = this.flights.get(id);
          const isUsable = search.found && (call.validate?.(search.found.entry.value) ?? true);
          if (!isUsable && flight) return this.join(flight, id, call);
          const isFenced = looking.get(id)?.isFenced ?? false;
          return this.fly(id, call, (made) => this.decide(id, call, made, search), isFenced) as Promise<T>;
        }),
      );
    });
  }

  // --- calls under way ---------------------------------------------------------------------------------

  private lead<T>(id: string, call: Call<T>): Promise<unknown> {
    return this.fly(id, call, async (flight) => {
      const from = performance.now();
      const search = await this.search(call, call.isFresh ? 'ticket' : 'both');
      this.cost.add(performance.now() - from);
      return this.decide(id, call, flight, search);
    });
  }

  private fly<T>(
    id: string,
    call: Call<T>,
    work: (flight: Flight) => Promise<unknown>,
    isFenced = false,
  ): Promise<unknown> {
    const flight: Flight = { promise: Promise.resolve(), isFenced, tags: call.tags, stale: undefined };
    // A call that insists on a fresh value overtakes one that is under way, whose value is older.
    if (call.isFresh) this.fence((other) => other === id);
    this.flights.set(id, flight);
    flight.promise = work(flight).finally(() => {
      if (this.flights.get(id) === flight) this.flights.delete(id);
    });
    return flight.promise;
  }

  /** Waits for another call's value; not for ever, then it runs the loader itself and others wait for it. */
  private async join<T>(flight: Flight, id: string, call: Call<T>): Promise<T> {
    call.span?.set('outcome', flight.stale ? 'stale' : 'joined');
    if (flight.stale) return copyOf(flight.stale.value) as T;
    this.counters.coalesced++;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<'late'>((give) => {
      timer = setTimeout(() => give('late'), this.settings.resilience.waitMs ?? 5000);
    });
    const value = await Promise.race([flight.promise.then((got) => ({ got })), late]).finally(() => clearTimeout(timer));
    if (value !== 'late') return copyOf(value.got) as T;
    const other = this.flights.get(id);
    if (other && other !== flight) return this.join(other, id, call);
    return this.lead(id, call) as Promise<T>;
  }

  private async decide<T>(id: string, call: Call<T>, flight: Flight, search: Search): Promise<unknown> {
    const { found, tickets } = search;
    const isValid = found && (call.validate?.(found.entry.value) ?? true);
    if (found && isValid && !call.isFresh) {
      if (found.layer === 'REDIS' && !flight.isFenced) this.backFill(call, found.entry);
      if (!isStale(found.entry, Date.now())) return this.hit(call, id, found.entry, found.layer, tickets);
      if (this.settings.resilience.stale) return this.serveStale(call, id, found.entry, tickets);
    }
    this.counters.misses++;
    this.emitter.emit('miss', { key: call.key, cause: search.cause });
    call.span?.set('outcome', call.isFresh ? 'fresh' : 'miss');
    if (search.cause) call.span?.set('cause', search.cause);
    return this.load(call, id, flight, tickets, isValid ? found.entry : undefined);
  }

  private hit<T>(
    call: Call<T>,
    id: string,
    entry: Entry,
    layer: 'MEMORY' | 'REDIS',
    tickets?: Map<RedisLayer, Ticket>,
  ): T {
    const now = Date.now();
    this.counters.hits++;
    if (layer === 'MEMORY') this.counters.hitsMemory++;
    else this.counters.hitsRedis++;
    this.emitter.emit('hit', { key: call.key, layer, ageMs: Math.max(0, now - entry.created) });
    call.span?.set('outcome', 'hit');
    call.span?.set('layer', layer);
    call.span?.set('age_ms', Math.max(0, now - entry.created));
    const { earlyBeta } = this.settings.resilience;
    // XFetch: the later and the dearer, the likelier that this one reader refreshes ahead of all.
    if (earlyBeta && now - entry.delta * earlyBeta * Math.log(1 - Math.random()) >= entry.created + entry.soft) {
      this.refresh(call, id, entry, tickets);
    }
    return entry.value as T;
  }

  private serveStale<T>(call: Call<T>, id: string, entry: Entry, tickets: Map<RedisLayer, Ticket>): T {
    this.counters.stale++;
    const ageMs = Date.now() - entry.created;
    this.emitter.emit('stale', { key: call.key, ageMs, because: 'refresh' });
    call.span?.set('outcome', 'stale');
    call.span?.set('age_ms', ageMs);
    if (!this.isThrottled(id)) this.refresh(call, id, entry, tickets);
    return entry.value as T;
  }

  private refresh<T>(call: Call<T>, id: string, entry: Entry, tickets?: Map<RedisLayer, Ticket>): void {
    if (this.flights.get(id)?.stale) return;
    // Callers wait for none of these: nothing else would keep them from flooding what the function asks.
    if (this.refreshing >= (this.settings.resilience.maxRefreshes ?? REFRESHES_MAX)) {
      this.counters.refreshesSkipped++;
      return;
    }
    this.refreshing++;
    this.counters.refreshes++;
    // Its own span, if any, ends with the call that it runs behind.
    const later = { ...call, isFresh: false, span: undefined };
    const work = this.fly(id, later, async (flight) => {
      flight.stale = entry;
      // A look that found a fresh value may have none to give.
      const hasAll = tickets?.size === this.redisLayers.length;
      const known = tickets && hasAll ? tickets : (await this.search(call, 'ticket')).tickets;
      return this.load(later, id, flight, known, entry);
    });
    this.inBackground(work.finally(() => this.refreshing--));
  }

  private async load<T>(
    call: Call<T>,
    id: string,
    flight: Flight,
    tickets: Map<RedisLayer, Ticket>,
    stale: Entry | undefined,
  ): Promise<T> {
    const canFallBack = stale !== undefined && (this.settings.resilience.staleIfError ?? true) && !call.isFresh;
    if (canFallBack && this.isThrottled(id)) return this.fallBack(call, stale);
    const from = performance.now();
    let value: T;
    this.counters.loads++;
    try {
      value = await this.trace('load', call, () => call.load());
    } catch (error) {
      this.counters.loadErrors++;
      this.emitter.emit('error', { operation: 'load', cause: 'load', error: error as Error });
      if (!canFallBack || Date.now() >= stale.created + stale.hard) throw error;
      this.throttle(id);
      return this.fallBack(call, stale);
    }
    const delta = performance.now() - from;
    this.throttled.delete(id);
    this.emitter.emit('load', { key: call.key, ms: delta });
    const work = this.keep(call, id, flight, tickets, value, delta);
    if (this.settings.resilience.setMode === 'await') await work.catch(() => {});
    else this.inBackground(work);
    return value;
  }

  private fallBack<T>(call: Call<T>, stale: Entry): T {
    this.counters.staleIfError++;
    this.emitter.emit('stale', { key: call.key, ageMs: Date.now() - stale.created, because: 'error' });
    call.span?.set('outcome', 'stale_if_error');
    return stale.value as T;
  }

  private isThrottled(id: string): boolean {
    return (this.throttled.get(id) ?? 0) > Date.now();
  }

  private throttle(id: string): void {
    if (this.throttled.size >= THROTTLED_MAX) this.throttled.clear();
    this.throttled.set(id, Date.now() + (this.settings.resilience.errorThrottleMs ?? 1000));
  }

  /** Stores what a loader brought, unless it was overtaken by an invalidation. */
  private async keep<T>(
    call: Call<T>,
    id: string,
    flight: Flight,
    tickets: Map<RedisLayer, Ticket>,
    value: T,
    delta: number,
  ): Promise<void> {
    if (value === undefined) return;
    if (flight.isFenced) {
      this.counters.setsDropped++;
      return;
    }
    const ttl = call.ttlOf?.(value) ?? (value === null ? this.settings.resilience.negativeTtl : undefined);
    if (ttl !== undefined && ttl <= 0) return;
    const writes: Array<Promise<void>> = [];
    for (const layer of this.made) {
      const entry = this.entryFor(layer, value, delta, ttl ?? call.ttl, ttl === undefined);
      if (!entry) continue;
      if (layer.type === 'MEMORY') layer.store.set(id, { ...entry, tags: memoryTags(call) });
      else writes.push(this.writeTo(layer, call, entry, tickets.get(layer)));
    }
    await Promise.allSettled(writes);
  }

  private async writeTo<T>(layer: RedisLayer, call: Call<T>, entry: Entry, ticket: Ticket | undefined): Promise<void> {
    // Without a ticket nobody knows what happened while the loader ran.
    if (!ticket) {
      this.counters.setsDropped++;
      return;
    }
    this.counters.sets++;
    const id = layer.id(call.key, call.namespace, call.tags);
    try {
      await this.trace('store', call, () => layer.write(id, entry, ticket));
    } catch (error) {
      this.failedTo('set', error);
      // A value that is stored may be older than what is in memory now.
      if (call.isFresh) layer.distrust(id);
    }
  }

  private inBackground(work: Promise<unknown>): void {
    const quiet = work.catch(() => {});
    this.settings.resilience.waitUntil?.(quiet);
  }

  private fence(concerns: (id: string, flight: Pick<Flight, 'tags'>) => boolean): void {
    this.changes++;
    for (const looking of this.looking) {
      for (const [id, look] of looking) look.isFenced ||= concerns(id, look);
    }
    for (const [id, flight] of this.flights) {
      if (!concerns(id, flight)) continue;
      flight.isFenced = true;
      this.flights.delete(id);
    }
  }

  // --- layers ------------------------------------------------------------------------------------------

  private fromMemory<T>(id: string, call?: Call<T>): Entry | undefined {
    const now = Date.now();
    for (const layer of this.made) {
      // Only what stands before Redis: what stands behind is asked in its turn.
      if (layer.type !== 'MEMORY') return undefined;
      const entry = layer.store.get(id, now);
      if (entry && (call?.validate?.(entry.value) ?? true)) return entry;
    }
    return undefined;
  }

  /** Asks the layers in order. With 'ticket' it finds no value, but what a write needs. */
  private async search({ key, namespace, tags }: Asked, wants: Wants): Promise<Search> {
    const search: Search = { found: undefined, tickets: new Map(), cause: undefined };
    const end = performance.now() + this.budgetMs;
    const now = Date.now();
    for (const layer of this.made) {
      let look: Look = {};
      if (layer.type === 'MEMORY') {
        const entry = wants === 'ticket' ? undefined : layer.store.get(memoryId(namespace, key), now);
        if (entry) look = { entry };
      } else {
        look = await this.ask(layer, layer.id(key, namespace, tags), wants, end - performance.now(), search);
        if (look.ticket) search.tickets.set(layer, look.ticket);
        if (wants === 'ticket') continue;
      }
      if (!look.entry) continue;
      // A stale one is kept in case that there is no better one behind it.
      search.found ??= { entry: look.entry, layer: layer.type };
      if (!isStale(look.entry, now)) {
        search.found = { entry: look.entry, layer: layer.type };
        break;
      }
    }
    return search;
  }

  private async ask(layer: RedisLayer, id: KeyId, wants: Wants, budgetMs: number, search: Search): Promise<Look> {
    try {
      const look = await this.trace('lookup', id, () => layer.lookup(id, wants, budgetMs));
      if (look.isUnreadable) {
        this.counters.unreadable++;
        search.cause = this.because('decode');
      }
      return look;
    } catch (error) {
      search.cause = this.because(this.failedTo('get', error));
      return {};
    }
  }

  private async searchMany(asked: readonly Asked[], wants: Wants): Promise<Search[]> {
    const now = Date.now();
    const searches = asked.map((): Search => ({ found: undefined, tickets: new Map(), cause: undefined }));
    const end = performance.now() + this.budgetMs;
    for (const layer of this.made) {
      const open = searches.map((_, i) => i).filter((i) => !searches[i]?.found);
      if (layer.type === 'MEMORY') {
        for (const i of open) {
          const { namespace, key } = asked[i] as Asked;
          const entry = layer.store.get(memoryId(namespace, key), now);
          if (entry) (searches[i] as Search).found = { entry, layer: 'MEMORY' };
        }
        continue;
      }
      let looks: Look[] = [];
      let cause: Cause | undefined;
      try {
        const ids = open.map((i) => layer.id((asked[i] as Asked).key, asked[i]?.namespace, asked[i]?.tags));
        if (ids.length > 0) {
          looks = await this.trace('lookup', asked[0] ?? {}, (span) => {
            span.set('keys', ids.length);
            return layer.lookupMany(ids, wants, end - performance.now());
          });
        }
      } catch (error) {
        cause = this.because(this.failedTo('get', error));
      }
      open.forEach((i, at) => {
        const search = searches[i] as Search;
        const look = looks[at];
        search.cause = cause;
        if (look?.ticket) search.tickets.set(layer, look.ticket);
        if (look?.entry) search.found = { entry: look.entry, layer: 'REDIS' };
      });
    }
    return searches;
  }

  /** Copies what Redis had into the memory that stands before it, for no longer than it lives there. */
  private backFill(asked: Asked, entry: Entry): void {
    // Whose tags nobody knows could not be taken out by them.
    if (!asked.tags && this.redisLayers.some((layer) => layer.hasTags)) return;
    for (const layer of this.made) {
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

  private entryFor(
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

  private async getFrom<T>(namespace: string | undefined, key: string, tags?: readonly string[]): Promise<T | undefined> {
    this.refreshSettings();
    if (!this.isEnabled) return undefined;
    const from = performance.now();
    const { changes } = this;
    const asked: Asked = { key, namespace, tags: tags && checkTags(tags) };
    const search: Search = await this.search(asked, 'value');
    this.cost.add(performance.now() - from);
    if (search.found) {
      const { entry, layer } = search.found;
      this.counters.hits++;
      if (layer === 'MEMORY') this.counters.hitsMemory++;
      else this.counters.hitsRedis++;
      this.emitter.emit('hit', { key, layer, ageMs: Math.max(0, Date.now() - entry.created) });
      if (layer === 'REDIS' && changes === this.changes) this.backFill(asked, entry);
      return entry.value as T;
    }
    this.counters.misses++;
    this.emitter.emit('miss', { key, cause: search.cause });
    // As cache-cache: a get that times out is a miss, whatever shallowErrors says.
    const cause = search.cause;
    if (this.settings.redis?.shallowErrors === false && cause && cause !== 'timeout' && cause !== 'decode') {
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
    this.refreshSettings();
    const tags = checkTags(given ?? []);
    if (!this.isEnabled || value === undefined) return;
    const id = memoryId(namespace, key);
    this.fence((other) => other === id);
    let failure: unknown;
    await Promise.all(
      this.made.map(async (layer) => {
        const entry = this.entryFor(layer, value, 0, ttl, true);
        if (!entry) return;
        if (layer.type === 'MEMORY') {
          layer.store.set(id, { ...entry, tags: memoryTags({ namespace, tags }) });
          return;
        }
        this.counters.sets++;
        try {
          const asked = layer.id(key, namespace, tags);
          await this.trace('store', { namespace }, () => layer.write(asked, entry));
        } catch (error) {
          this.failedTo('set', error);
          layer.distrust(layer.id(key, namespace));
          failure ??= error;
        }
      }),
    );
    this.throwIfAsked(failure);
  }

  private async clearFrom(namespace: string | undefined, key: string): Promise<void> {
    this.refreshSettings();
    const id = memoryId(namespace, key);
    this.counters.invalidations++;
    this.fence((other) => other === id);
    for (const layer of this.made) if (layer.type === 'MEMORY') layer.store.delete(id);
    await this.invalidateEach((layer) => layer.remove(layer.id(key, namespace)));
  }

  private async invalidateEach(work: (layer: RedisLayer) => Promise<void>): Promise<void> {
    const each = (layer: RedisLayer): Promise<void> => this.trace('invalidate', {}, () => work(layer));
    const results = await Promise.allSettled(this.redisLayers.map(each));
    for (const result of results) {
      if (result.status !== 'rejected') continue;
      this.counters.invalidationErrors++;
      this.failedTo('clear', result.reason);
      this.throwIfAsked(result.reason);
    }
  }

  private throwIfAsked(failure: unknown): void {
    if (failure === undefined) return;
    if (failure instanceof ConfigError) throw failure;
    if (this.settings.redis?.shallowErrors === false) throw asCacheError(failure);
  }

  /** Counts a failure and tells of it; gives its cause. Rethrows what is the developer's own mistake. */
  private failedTo(operation: 'get' | 'set' | 'clear', thrown: unknown): Cause {
    if (thrown instanceof ConfigError) throw thrown;
    if (thrown instanceof RangeError) this.counters.tooLarge++;
    const error = asCacheError(thrown);
    if (operation === 'set') this.counters.setErrors++;
    this.emitter.emit('error', { operation, cause: error.reason, error });
    return error.reason;
  }

  private because(cause: Cause): Cause {
    this.causes[cause] = (this.causes[cause] ?? 0) + 1;
    return cause;
  }

  /** Whether keys of arguments are to be those of cache-cache. */
  get hasCompatibleKeys(): boolean {
    return this.redisLayers.every((layer) => layer.isCompatible);
  }

  /** For calls whose arguments cannot be a key. */
  countUnhashable(): void {
    this.counters.unhashable++;
  }

  // --- settings ----------------------------------------------------------------------------------------

  private get budgetMs(): number {
    const { budgetMs } = this.settings.resilience;
    return budgetMs ?? this.settings.redis?.timeout ?? BUDGET_MS;
  }

  /** Defaults may have changed: then options are read again, and what is in memory stays. */
  private refreshSettings(): void {
    if (this.version !== defaultsVersion()) {
      this.version = defaultsVersion();
      const order = this.settings.order;
      this.settings = resolve({ ...this.options, layerOrder: order }, this.name);
      this.build();
    }
    if (this.broken) throw this.broken;
  }

  private build(): void {
    this.close();
    const { memory, redis, order, resilience } = this.settings;
    const old = this.made;
    this.broken = undefined;
    this.made = order.flatMap((type, at): AnyLayer[] => {
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
    this.redisLayers = this.made.filter((layer): layer is RedisLayer => layer.type === 'REDIS');
    this.stopListening = this.redisLayers.map((layer) =>
      layer.endpoint.onBreaker((state, reason) => this.emitter.emit('breaker', { state, reason })),
    );
  }
}

/** What a look is for. */
type Asked = Pick<Call<unknown>, 'key' | 'namespace' | 'tags'>;

const NOT_TRACED = { name: '', kind: KIND.internal, attributes: {} };

function memoryTags({ namespace, tags }: Omit<Asked, 'key'>): readonly string[] | undefined {
  return tags?.map((tag) => memoryId(namespace, tag));
}

function memoryId(namespace: string | undefined, key: string): string {
  return `${namespace ?? ''}\0${key}`;
}

/** The settings that can be given to a store and to a memoized function alike. */
export type { CacheOptions, Resilience };

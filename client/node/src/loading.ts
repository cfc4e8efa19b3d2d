// SPDX-License-Identifier: Apache-2.0
/**
 * What memoized functions and `getOrSet` share. Walk through `run`: look into memory; join a call for the same key
 * that is under way (flights.ts), or become it; ask the layers within the budget (lookup.ts); call the function;
 * answer; store in the background (loader.ts).
 *
 * What a loader brings to a flight that was fenced was perhaps read before the invalidation: it is given to those who
 * wait, and stored nowhere.
 */
import { performance } from 'node:perf_hooks';
import { isStale, memoryId, type Call } from './call';
import { copyOf } from './clone';
import type { Flight, Flights, Looking } from './flights';
import type { Layers } from './layers';
import type { Ticket } from './layout';
import type { Brought, Loader } from './loader';
import type { Lookup, Search } from './lookup';
import type { Entry } from './memory';
import { inBackground, type Resilience } from './options';
import type { RedisLayer } from './redis-layer';
import type { Tally } from './tally';
import type { Tracing } from './trace';

const THROTTLED_MAX = 10_000;
const REFRESHES_MAX = 16;

export class Loading {
  /** Keys whose loader has failed lately, and until when it is not called again. */
  private readonly throttled = new Map<string, number>();
  /** Refreshes under way. */
  private refreshing = 0;

  constructor(
    private readonly layers: Layers,
    private readonly flights: Flights,
    private readonly lookup: Lookup,
    private readonly loader: Loader,
    private readonly tally: Tally,
    private readonly tracing: Tracing,
  ) {}

  private get resilience(): Resilience {
    return this.layers.settings.resilience;
  }

  /** Looks, loads, stores: see the head of this file. Rejects as load does; what lies in memory is given without a promise. */
  run<T>(call: Call<T>): T | Promise<T> {
    const id = memoryId(call.namespace, call.key);
    if (call.isFresh) {
      return this.tracing.run('call', call.namespace, (span) => this.lead(id, { ...call, span }) as Promise<T>);
    }
    const from = performance.now();
    const entry = this.layers.inMemory(id, (value) => call.validate?.(value) ?? true);
    if (entry && !isStale(entry, Date.now())) {
      this.tally.cost.add(performance.now() - from);
      return this.hit(call, id, entry, 'MEMORY');
    }
    return this.tracing.run('call', call.namespace, (span) => this.beyondMemory(id, { ...call, span }, entry));
  }

  private async beyondMemory<T>(id: string, call: Call<T>, entry: Entry | undefined): Promise<T> {
    const flight = this.flights.get(id);
    if (flight && this.resilience.singleFlight !== false) return this.join(flight, id, call);
    if (entry && this.layers.redis.length === 0) return this.serveStale(call, id, entry, new Map());
    return this.lead(id, call) as Promise<T>;
  }

  /** As `run` for many calls of one namespace: one look-up for all, then the loaders of those that have none. */
  async runMany<T>(calls: ReadonlyArray<Call<T>>): Promise<T[]> {
    const from = performance.now();
    return this.tracing.run('many', calls[0]?.namespace, async (span) => {
      const looking: Looking = new Map();
      for (const { namespace, key, tags } of calls) looking.set(memoryId(namespace, key), { tags, isFenced: false });
      const searches = await this.flights.watch(looking, () => this.lookup.many(calls, 'both'));
      this.tally.cost.add(performance.now() - from);
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
      const search = await this.lookup.one(call, call.isFresh ? 'ticket' : 'both');
      this.tally.cost.add(performance.now() - from);
      return this.decide(id, call, flight, search);
    });
  }

  private fly<T>(
    id: string,
    call: Call<T>,
    work: (flight: Flight) => Promise<unknown>,
    isFenced = false,
  ): Promise<unknown> {
    // A call that insists on a fresh value overtakes one that is under way, whose value is older.
    if (call.isFresh) this.flights.fence((other) => other === id);
    return this.flights.begin(id, call.tags, work, isFenced);
  }

  /** Waits for another call's value; not for ever, then it runs the loader itself and others wait for it. */
  private async join<T>(flight: Flight, id: string, call: Call<T>): Promise<T> {
    call.span?.set('outcome', flight.stale ? 'stale' : 'joined');
    if (flight.stale) return copyOf(flight.stale.value) as T;
    this.tally.counters.coalesced++;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<'late'>((give) => {
      timer = setTimeout(() => give('late'), this.resilience.waitMs ?? 5000);
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
      if (found.layer === 'REDIS' && !flight.isFenced) this.layers.backFill(call, found.entry);
      if (!isStale(found.entry, Date.now())) return this.hit(call, id, found.entry, found.layer, tickets);
      if (this.resilience.stale) return this.serveStale(call, id, found.entry, tickets);
    }
    this.tally.miss(call.key, search.cause);
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
    const ageMs = this.tally.hit(call.key, entry, layer);
    call.span?.set('outcome', 'hit');
    call.span?.set('layer', layer);
    call.span?.set('age_ms', ageMs);
    const { earlyBeta } = this.resilience;
    // XFetch: the later and the dearer, the likelier that this one reader refreshes ahead of all.
    const end = entry.created + entry.soft;
    if (earlyBeta && Date.now() - entry.delta * earlyBeta * Math.log(1 - Math.random()) >= end) {
      this.refresh(call, id, entry, tickets);
    }
    return entry.value as T;
  }

  // --- what is stale -------------------------------------------------------------------------------------

  private serveStale<T>(call: Call<T>, id: string, entry: Entry, tickets: Map<RedisLayer, Ticket>): T {
    this.tally.counters.stale++;
    const ageMs = Date.now() - entry.created;
    this.tally.events.emit('stale', { key: call.key, ageMs, because: 'refresh' });
    call.span?.set('outcome', 'stale');
    call.span?.set('age_ms', ageMs);
    if (!this.isThrottled(id)) this.refresh(call, id, entry, tickets);
    return entry.value as T;
  }

  private refresh<T>(call: Call<T>, id: string, entry: Entry, tickets?: Map<RedisLayer, Ticket>): void {
    if (this.flights.get(id)?.stale) return;
    const { counters } = this.tally;
    // Callers wait for none of these: nothing else would keep them from flooding what the function asks.
    if (this.refreshing >= (this.resilience.maxRefreshes ?? REFRESHES_MAX)) {
      counters.refreshesSkipped++;
      return;
    }
    this.refreshing++;
    counters.refreshes++;
    // Its own span, if any, ends with the call that it runs behind.
    const later = { ...call, isFresh: false, span: undefined };
    const work = this.fly(id, later, async (flight) => {
      flight.stale = entry;
      // A look that found a fresh value may have none to give.
      const hasAll = tickets?.size === this.layers.redis.length;
      const known = tickets && hasAll ? tickets : (await this.lookup.one(call, 'ticket')).tickets;
      return this.load(later, id, flight, known, entry);
    });
    inBackground(this.resilience, work.finally(() => this.refreshing--));
  }

  private fallBack<T>(call: Call<T>, stale: Entry): T {
    this.tally.counters.staleIfError++;
    this.tally.events.emit('stale', { key: call.key, ageMs: Date.now() - stale.created, because: 'error' });
    call.span?.set('outcome', 'stale_if_error');
    return stale.value as T;
  }

  private isThrottled(id: string): boolean {
    return (this.throttled.get(id) ?? 0) > Date.now();
  }

  private throttle(id: string): void {
    if (this.throttled.size >= THROTTLED_MAX) this.throttled.clear();
    this.throttled.set(id, Date.now() + (this.resilience.errorThrottleMs ?? 1000));
  }

  private async load<T>(
    call: Call<T>,
    id: string,
    flight: Flight,
    tickets: Map<RedisLayer, Ticket>,
    stale: Entry | undefined,
  ): Promise<T> {
    const canFallBack = stale !== undefined && (this.resilience.staleIfError ?? true) && !call.isFresh;
    if (canFallBack && this.isThrottled(id)) return this.fallBack(call, stale);
    let brought: Brought<T>;
    try {
      brought = await this.loader.run(call);
    } catch (error) {
      if (!canFallBack || Date.now() >= stale.created + stale.hard) throw error;
      this.throttle(id);
      return this.fallBack(call, stale);
    }
    this.throttled.delete(id);
    const work = this.loader.keep(call, brought, tickets, flight.isFenced);
    if (this.resilience.setMode === 'await') await work.catch(() => {});
    else inBackground(this.resilience, work);
    return brought.value;
  }
}

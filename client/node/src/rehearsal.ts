// SPDX-License-Identifier: Apache-2.0
/**
 * A dry run: the cache looks, counts and stores as it would, and each call has its function run and gets that result.
 * So it is seen what a cache would bring, and whether it would be right, before anybody depends on it.
 */
import { performance } from 'node:perf_hooks';
import { isDeepStrictEqual } from 'node:util';
import { isStale, memoryId, type Call } from './call';
import type { Flights, Looking } from './flights';
import type { Layers } from './layers';
import type { Loader } from './loader';
import type { Lookup, Search } from './lookup';
import type { Entry } from './memory';
import { inBackground } from './options';
import type { Tally } from './tally';

export class Rehearsal {
  constructor(
    private readonly layers: Layers,
    private readonly flights: Flights,
    private readonly lookup: Lookup,
    private readonly loader: Loader,
    private readonly tally: Tally,
  ) {}

  async run<T>(call: Call<T>): Promise<T> {
    const look = async (): Promise<Search[]> => [await this.lookup.one(call, call.isFresh ? 'ticket' : 'both')];
    return (await this.all([call], look))[0] as T;
  }

  runMany<T>(calls: ReadonlyArray<Call<T>>): Promise<T[]> {
    return this.all(calls, () => this.lookup.many(calls, 'both'));
  }

  /** The look comes first, as it would: what a write needs has to be known before the function reads anything. */
  private all<T>(calls: ReadonlyArray<Call<T>>, look: () => Promise<Search[]>): Promise<T[]> {
    const looking: Looking = new Map();
    for (const { namespace, key, tags } of calls) looking.set(memoryId(namespace, key), { tags, isFenced: false });
    return this.flights.watch(looking, async () => {
      const from = performance.now();
      const searches = await look();
      this.tally.cost.add(performance.now() - from);
      return Promise.all(calls.map((call, i) => this.one(call, searches[i] as Search, looking)));
    });
  }

  private async one<T>(call: Call<T>, search: Search, looking: Looking): Promise<T> {
    const isFenced = (): boolean => looking.get(memoryId(call.namespace, call.key))?.isFenced ?? false;
    const entry = this.wouldBe(call, search, isFenced());
    const isToBeKept = !entry || isStale(entry, Date.now());
    const brought = await this.loader.run(call);
    if (entry) this.compare(call.key, entry.value, brought.value);
    if (isToBeKept) {
      const { resilience } = this.layers.settings;
      const work = this.loader.keep(call, brought, search.tickets, isFenced());
      if (resilience.setMode === 'await') await work.catch(() => {});
      else inBackground(resilience, work);
    }
    return brought.value;
  }

  /** Counts; gives what the call would have been answered, if it would not have been by its function. */
  private wouldBe<T>(call: Call<T>, { found, cause }: Search, isFenced: boolean): Entry | undefined {
    if (found && !call.isFresh && (call.validate?.(found.entry.value) ?? true)) {
      const { entry, layer } = found;
      if (layer === 'REDIS' && !isFenced) this.layers.backFill(call, entry);
      if (!isStale(entry, Date.now())) {
        this.tally.hit(call.key, entry, layer);
        return entry;
      }
      if (this.layers.settings.resilience.stale) {
        this.tally.counters.stale++;
        this.tally.events.emit('stale', { key: call.key, ageMs: Date.now() - entry.created, because: 'refresh' });
        return entry;
      }
    }
    this.tally.miss(call.key, cause);
    return undefined;
  }

  private compare(key: string, stored: unknown, loaded: unknown): void {
    let isSame = false;
    try {
      isSame = isDeepStrictEqual(stored, loaded);
    } catch {
      // a getter of the user's throws: nobody can say that they are the same
    }
    if (isSame) return;
    this.tally.counters.differences++;
    this.tally.events.emit('differ', { key, stored, loaded });
  }
}

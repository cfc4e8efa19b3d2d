// SPDX-License-Identifier: Apache-2.0
/** What a store counts, how long its look-ups take, and who is told of what happens. */
import type { Cause } from './errors';

export interface Counters {
  hits: number;
  hitsMemory: number;
  hitsRedis: number;
  stale: number;
  staleIfError: number;
  misses: number;
  loads: number;
  loadErrors: number;
  coalesced: number;
  refreshes: number;
  /** Not begun, since so many were under way: a later call does. */
  refreshesSkipped: number;
  sets: number;
  setErrors: number;
  setsDropped: number;
  invalidations: number;
  invalidationErrors: number;
  unhashable: number;
  unreadable: number;
  /** Of these, what was broken and has been deleted: what others may read is left to them. */
  unreadableDeleted: number;
  tooLarge: number;
  /** In a dry run: what would have been answered, and was not what the function gave. */
  differences: number;
}

export interface Stats extends Counters {
  /** Look-ups without an answer, by cause. */
  causes: Partial<Record<Cause, number>>;
  /** What the cache cost a call, in ms: half, and 99 of 100, took no longer than about this. */
  costP50Ms: number;
  costP99Ms: number;
  invalidationsPending: number;
  memoryEntries: number;
  memoryBytes: number;
  memoryEvictions: number;
}

export function newCounters(): Counters {
  return {
    hits: 0,
    hitsMemory: 0,
    hitsRedis: 0,
    stale: 0,
    staleIfError: 0,
    misses: 0,
    loads: 0,
    loadErrors: 0,
    coalesced: 0,
    refreshes: 0,
    refreshesSkipped: 0,
    sets: 0,
    setErrors: 0,
    setsDropped: 0,
    invalidations: 0,
    invalidationErrors: 0,
    unhashable: 0,
    unreadable: 0,
    unreadableDeleted: 0,
    tooLarge: 0,
    differences: 0,
  };
}

/** A histogram with four steps for each doubling: good to a fifth, and a fixed size. */
export class Histogram {
  private readonly counts = new Uint32Array(128);
  private total = 0;

  /** ms may be a fraction. */
  add(ms: number): void {
    const step = Math.round(4 * Math.log2(Math.max(1, ms * 1000)));
    const index = Math.min(this.counts.length - 1, step);
    this.counts[index] = (this.counts[index] ?? 0) + 1;
    this.total++;
  }

  get count(): number {
    return this.total;
  }

  /** In ms; 0 if nothing was added. share is 0 to 1. */
  quantile(share: number): number {
    let left = this.total * share;
    if (this.total === 0) return 0;
    for (let index = 0; index < this.counts.length; index++) {
      left -= this.counts[index] ?? 0;
      if (left <= 0) return 2 ** (index / 4) / 1000;
    }
    return Infinity;
  }
}

/** How long the replies of the last minute took: two halves, so that what is older is forgotten. */
export class Recent {
  private young = new Histogram();
  private old = new Histogram();
  private turnAt: number;

  /** now: performance.now(). */
  constructor(
    now: number,
    private readonly halfMs = 30_000,
  ) {
    this.turnAt = now + halfMs;
  }

  add(ms: number, now: number): void {
    this.turn(now);
    this.young.add(ms);
  }

  /** The quantile of the half in which it was worse; undefined if there were fewer than minCount. */
  quantile(share: number, minCount: number, now: number): number | undefined {
    this.turn(now);
    if (this.young.count + this.old.count < minCount) return undefined;
    return Math.max(this.young.quantile(share), this.old.quantile(share));
  }

  private turn(now: number): void {
    if (now < this.turnAt) return;
    // After a pause of more than both halves all is old.
    this.old = now < this.turnAt + this.halfMs ? this.young : new Histogram();
    this.young = new Histogram();
    this.turnAt = now + this.halfMs;
  }
}

export interface Events {
  hit: { key: string; layer: 'MEMORY' | 'REDIS'; ageMs: number };
  miss: { key: string; cause: Cause | undefined };
  stale: { key: string; ageMs: number; because: 'refresh' | 'error' };
  load: { key: string; ms: number };
  error: { operation: 'get' | 'set' | 'clear' | 'load'; cause: Cause | 'load'; error: Error };
  breaker: { state: 'open' | 'closed'; reason: string };
  /** Only in a dry run. */
  differ: { key: string; stored: unknown; loaded: unknown };
}

/** Listeners by event. One that throws is not asked again for that event: it must not fail a call. */
export class Emitter {
  private readonly listeners = new Map<keyof Events, Set<(event: never) => void>>();

  on<E extends keyof Events>(name: E, listener: (event: Events[E]) => void): void {
    let found = this.listeners.get(name);
    if (!found) this.listeners.set(name, (found = new Set()));
    found.add(listener);
  }

  off<E extends keyof Events>(name: E, listener: (event: Events[E]) => void): void {
    this.listeners.get(name)?.delete(listener);
  }

  emit<E extends keyof Events>(name: E, event: Events[E]): void {
    const found = this.listeners.get(name) as Set<(event: Events[E]) => void> | undefined;
    if (!found) return;
    for (const listener of found) {
      try {
        listener(event);
      } catch (error) {
        found.delete(listener);
        process.emitWarning(`a listener of '${name}' threw and was removed: ${String(error)}`, 'SumcacheWarning');
      }
    }
  }
}

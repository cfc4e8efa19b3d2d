// SPDX-License-Identifier: Apache-2.0
/** What a store has seen: it is counted, listeners are told, and what went wrong gets its cause. */
import { asCacheError, ConfigError, type Cause } from './errors';
import type { Layers, MemoryLayer } from './layers';
import type { Entry } from './memory';
import { Emitter, Histogram, newCounters, type Stats } from './stats';

export class Tally {
  readonly counters = newCounters();
  /** What look-ups have cost calls. */
  readonly cost = new Histogram();
  readonly events = new Emitter();
  private readonly causes: Partial<Record<Cause, number>> = {};

  /** A look found a value; gives its age in ms. */
  hit(key: string, entry: Entry, layer: 'MEMORY' | 'REDIS'): number {
    const ageMs = Math.max(0, Date.now() - entry.created);
    this.counters.hits++;
    if (layer === 'MEMORY') this.counters.hitsMemory++;
    else this.counters.hitsRedis++;
    this.events.emit('hit', { key, layer, ageMs });
    return ageMs;
  }

  miss(key: string, cause: Cause | undefined): void {
    this.counters.misses++;
    this.events.emit('miss', { key, cause });
  }

  /** A look-up without an answer: counts it, and gives its cause. */
  because(cause: Cause): Cause {
    this.causes[cause] = (this.causes[cause] ?? 0) + 1;
    return cause;
  }

  /** Counts a failure and tells of it; gives its cause. Rethrows what is the developer's own mistake. */
  failedTo(operation: 'get' | 'set' | 'clear', thrown: unknown): Cause {
    if (thrown instanceof ConfigError) throw thrown;
    if (thrown instanceof RangeError) this.counters.tooLarge++;
    const error = asCacheError(thrown);
    if (operation === 'set') this.counters.setErrors++;
    this.events.emit('error', { operation, cause: error.reason, error });
    return error.reason;
  }

  stats(layers: Layers): Stats {
    const sum = (of: (layer: MemoryLayer) => number): number =>
      layers.memory.reduce((total, layer) => total + of(layer), 0);
    return {
      ...this.counters,
      causes: { ...this.causes },
      costP50Ms: this.cost.quantile(0.5),
      costP99Ms: this.cost.quantile(0.99),
      invalidationsPending: layers.redis.reduce((total, layer) => total + layer.pendingCount, 0),
      memoryEntries: sum((layer) => layer.store.size),
      memoryBytes: sum((layer) => layer.store.bytes),
      memoryEvictions: sum((layer) => layer.store.evictions),
    };
  }
}

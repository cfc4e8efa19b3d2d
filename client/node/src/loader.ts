// SPDX-License-Identifier: Apache-2.0
/** Calls the function that a call is for, and stores what it brought. */
import { performance } from 'node:perf_hooks';
import { memoryId, memoryTags, type Call } from './call';
import type { Layers } from './layers';
import type { Ticket } from './layout';
import type { Entry } from './memory';
import type { RedisLayer } from './redis-layer';
import type { Tally } from './tally';
import type { Tracing } from './trace';

export interface Brought<T> {
  value: T;
  /** What it took, in ms. */
  delta: number;
}

export class Loader {
  constructor(
    private readonly layers: Layers,
    private readonly tally: Tally,
    private readonly tracing: Tracing,
  ) {}

  /** Rejects as the function does. */
  async run<T>(call: Call<T>): Promise<Brought<T>> {
    const { counters, events } = this.tally;
    const from = performance.now();
    counters.loads++;
    try {
      const value = await this.tracing.run('load', call.namespace, () => call.load());
      const delta = performance.now() - from;
      events.emit('load', { key: call.key, ms: delta });
      return { value, delta };
    } catch (error) {
      counters.loadErrors++;
      events.emit('error', { operation: 'load', cause: 'load', error: error as Error });
      throw error;
    }
  }

  /** Stores it in all layers, unless an invalidation overtook it. Rejects only as the functions of the options do. */
  async keep<T>(
    call: Call<T>,
    { value, delta }: Brought<T>,
    tickets: Map<RedisLayer, Ticket>,
    isFenced: boolean,
  ): Promise<void> {
    if (value === undefined) return;
    if (isFenced) {
      this.tally.counters.setsDropped++;
      return;
    }
    const ttl = call.ttlOf?.(value) ?? (value === null ? this.layers.settings.resilience.negativeTtl : undefined);
    if (ttl !== undefined && ttl <= 0) return;
    const writes: Array<Promise<void>> = [];
    for (const layer of this.layers.all) {
      const entry = this.layers.entryFor(layer, value, delta, ttl ?? call.ttl, ttl === undefined);
      if (!entry) continue;
      if (layer.type === 'MEMORY') layer.store.set(memoryId(call.namespace, call.key), { ...entry, tags: memoryTags(call) });
      else writes.push(this.writeTo(layer, call, entry, tickets.get(layer)));
    }
    await Promise.allSettled(writes);
  }

  private async writeTo<T>(layer: RedisLayer, call: Call<T>, entry: Entry, ticket: Ticket | undefined): Promise<void> {
    // Without a ticket nobody knows what happened while the loader ran.
    if (!ticket) {
      this.tally.counters.setsDropped++;
      return;
    }
    this.tally.counters.sets++;
    const id = layer.id(call.key, call.namespace, call.tags);
    try {
      await this.tracing.run('store', call.namespace, () => layer.write(id, entry, ticket));
    } catch (error) {
      this.tally.failedTo('set', error);
      // A value that is stored may be older than what is in memory now.
      if (call.isFresh) layer.distrust(id);
    }
  }
}

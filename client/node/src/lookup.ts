// SPDX-License-Identifier: Apache-2.0
/**
 * Asks the layers in order, within one budget: for one key or many, for a value, or for what a write needs that
 * comes after a loader (a *ticket*). Never rejects for the network: what a layer does not answer is a miss with a cause.
 */
import { performance } from 'node:perf_hooks';
import { isStale, memoryId, type Asked } from './call';
import type { Cause } from './errors';
import type { Layers } from './layers';
import type { KeyId, Look, Ticket, Wants } from './layout';
import type { Entry } from './memory';
import { inBackground } from './options';
import type { RedisLayer } from './redis-layer';
import type { Tally } from './tally';
import type { Tracing } from './trace';

/** What came of it. */
export interface Search {
  found: { entry: Entry; layer: 'MEMORY' | 'REDIS' } | undefined;
  tickets: Map<RedisLayer, Ticket>;
  cause: Cause | undefined;
}

function nothing(): Search {
  return { found: undefined, tickets: new Map(), cause: undefined };
}

export class Lookup {
  constructor(
    private readonly layers: Layers,
    private readonly tally: Tally,
    private readonly tracing: Tracing,
  ) {}

  /** With 'ticket' it finds no value. */
  async one({ key, namespace, tags }: Asked, wants: Wants): Promise<Search> {
    const search = nothing();
    const end = performance.now() + this.layers.budgetMs;
    const now = Date.now();
    for (const layer of this.layers.all) {
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
      const look = await this.tracing.run('lookup', id.namespace, () => layer.lookup(id, wants, budgetMs));
      if (look.isUnreadable) search.cause = this.unreadable(layer, id, look);
      return look;
    } catch (error) {
      search.cause = this.tally.because(this.tally.failedTo('get', error));
      return {};
    }
  }

  /** Counts what could not be read, and frees it if nobody can read it. Its deletion goes before any write that follows. */
  private unreadable(layer: RedisLayer, id: KeyId, look: Look): Cause {
    const { counters } = this.tally;
    counters.unreadable++;
    if (look.isBroken) {
      const work = layer.discard(id).then(() => counters.unreadableDeleted++);
      inBackground(this.layers.settings.resilience, work);
    }
    return this.tally.because('decode');
  }

  /** Keys of one namespace, in one go; the answers in their order. */
  async many(asked: readonly Asked[], wants: Wants): Promise<Search[]> {
    const now = Date.now();
    const searches = asked.map(nothing);
    const end = performance.now() + this.layers.budgetMs;
    for (const layer of this.layers.all) {
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
      const ids = open.map((i) => layer.id((asked[i] as Asked).key, asked[i]?.namespace, asked[i]?.tags));
      try {
        if (ids.length > 0) {
          looks = await this.tracing.run('lookup', asked[0]?.namespace, (span) => {
            span.set('keys', ids.length);
            return layer.lookupMany(ids, wants, end - performance.now());
          });
        }
      } catch (error) {
        cause = this.tally.because(this.tally.failedTo('get', error));
      }
      open.forEach((i, at) => {
        const search = searches[i] as Search;
        const look = looks[at];
        search.cause = look?.isUnreadable ? this.unreadable(layer, ids[at] as KeyId, look) : cause;
        if (look?.ticket) search.tickets.set(layer, look.ticket);
        if (look?.entry) search.found = { entry: look.entry, layer: 'REDIS' };
      });
    }
    return searches;
  }
}

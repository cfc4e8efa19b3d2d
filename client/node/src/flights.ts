// SPDX-License-Identifier: Apache-2.0
/**
 * Calls under way, one for each key (a *flight*), for others to join. An invalidation *fences* the flights of its
 * keys: nobody joins them from then on, and what they bring is stored nowhere.
 */
import type { Entry } from './memory';

export interface Flight {
  promise: Promise<unknown>;
  isFenced: boolean;
  tags: readonly string[] | undefined;
  /** What callers get at once while a refresh is under way. */
  stale: Entry | undefined;
}

/** A look for many keys, of which none is a flight yet: what is invalidated meanwhile is noted here. */
export type Looking = Map<string, Pick<Flight, 'tags' | 'isFenced'>>;

export class Flights {
  private readonly flights = new Map<string, Flight>();
  private readonly looking = new Set<Looking>();
  /** Counts fences: a look that began before one of them fills no memory. */
  changes = 0;

  get(id: string): Flight | undefined {
    return this.flights.get(id);
  }

  /** Takes the place of what flies under this id, for as long as work takes. */
  begin(
    id: string,
    tags: readonly string[] | undefined,
    work: (flight: Flight) => Promise<unknown>,
    isFenced: boolean,
  ): Promise<unknown> {
    const flight: Flight = { promise: Promise.resolve(), isFenced, tags, stale: undefined };
    this.flights.set(id, flight);
    flight.promise = work(flight).finally(() => {
      if (this.flights.get(id) === flight) this.flights.delete(id);
    });
    return flight.promise;
  }

  /** Notes in looking what is fenced while work is under way. */
  async watch<T>(looking: Looking, work: () => Promise<T>): Promise<T> {
    this.looking.add(looking);
    try {
      return await work();
    } finally {
      this.looking.delete(looking);
    }
  }

  fence(concerns: (id: string, flight: Pick<Flight, 'tags'>) => boolean): void {
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
}

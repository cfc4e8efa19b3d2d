// SPDX-License-Identifier: Apache-2.0
/** Figures for OpenTelemetry and Prometheus. Types are structural: neither is a dependency. */
import type { Cache } from './cache';
import type { EndpointStats } from './endpoint';
import type { Stats } from './stats';

/** The figures of a store, flat: name → value. Those of its first Redis layer are among them. */
export function figures(store: Cache): Record<string, number> {
  const stats: Stats = store.stats();
  const flat: Record<string, number> = {};
  for (const [name, value] of Object.entries(stats)) {
    if (typeof value === 'number') flat[snake(name)] = value;
  }
  for (const [cause, count] of Object.entries(stats.causes)) flat[`unanswered_${cause}`] = count;
  const layer = store.layers.find((one) => one.type === 'REDIS');
  if (layer?.type === 'REDIS') {
    const endpoint: EndpointStats = layer.endpoint.stats();
    for (const [name, value] of Object.entries(endpoint)) {
      if (typeof value === 'number') flat[`redis_${snake(name)}`] = value;
    }
    flat['redis_breaker_open'] = endpoint.breaker === 'open' ? 1 : 0;
  }
  return flat;
}

function snake(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** What is used of prom-client. */
export interface PromClient {
  Gauge: new (options: {
    name: string;
    help: string;
    labelNames: string[];
    registers?: any[];
    collect(this: { set(labels: Record<string, string>, value: number): void }): void;
  }) => unknown;
}

/** Registers one gauge, `sumcache_client`, with the labels store and figure, that reads the stores at each scrape. */
export function observeWithPrometheus(client: PromClient, stores: Record<string, Cache>, registry?: unknown): void {
  new client.Gauge({
    name: 'sumcache_client',
    help: 'Figures of the stores of the npm package sumcache',
    labelNames: ['store', 'figure'],
    ...(registry !== undefined && { registers: [registry] }),
    collect() {
      for (const [store, cache] of Object.entries(stores)) {
        for (const [figure, value] of Object.entries(figures(cache))) this.set({ store, figure }, value);
      }
    },
  });
}

/** What is used of an OpenTelemetry meter. */
export interface Meter {
  createObservableGauge(
    name: string,
    options?: { description?: string },
  ): {
    addCallback(callback: (result: { observe(value: number, attributes: Record<string, string>): void }) => void): void;
  };
}

/** Observes `sumcache.client` with the attributes store and figure. */
export function observeWithOpenTelemetry(meter: Meter, stores: Record<string, Cache>): void {
  const gauge = meter.createObservableGauge('sumcache.client', { description: 'Figures of the stores' });
  gauge.addCallback((result) => {
    for (const [store, cache] of Object.entries(stores)) {
      for (const [figure, value] of Object.entries(figures(cache))) result.observe(value, { store, figure });
    }
  });
}

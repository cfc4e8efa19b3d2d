// SPDX-License-Identifier: Apache-2.0
/** What the package offers. Everything else is its own business and may change. */
import { Cache } from './cache';
import type { CacheOptions } from './options';

export { AvailableCacheLayer, useAsDefault } from './options';
export type {
  CacheLayerManagerOptions,
  CacheOptions,
  GroupMode,
  LayerConfigs,
  LayerOptions,
  MemoryLayerOptions,
  RedisLayerOptions,
  Resilience,
} from './options';
export { getMemoize, Memoize } from './memoize';
export type { AsyncFunction, Memoized, MemoizeDecorator, MemoizeOptions } from './memoize';
export { Cache, Cache as CacheLayerManager } from './cache';
export type { Call, Found, KeyOptions } from './call';
export type { AnyLayer, MemoryLayer } from './layers';
export type { RedisLayer } from './redis-layer';
export { closeConnections } from './endpoint';
export type { EndpointStats } from './endpoint';
export type { BreakerOptions, BreakerState } from './breaker';
export type { RedisConstructor, RedisLike } from './driver';
export { CacheError, ConfigError } from './errors';
export type { Cause } from './errors';
export type { Serializer } from './serializer';
export type { Events, Stats } from './stats';
export { typedKey, Unhashable } from './keys';
export { figures, observeWithOpenTelemetry, observeWithPrometheus } from './hooks';
export type { Meter, PromClient } from './hooks';
export type { Tracer, TraceSpan } from './trace';

/** A store: `get`, `set`, `clear`, and what is beyond. Options that are not given come from `useAsDefault`. */
export function getStore(options: CacheOptions = {}): Cache {
  return new Cache(options);
}

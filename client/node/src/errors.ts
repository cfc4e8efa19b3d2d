// SPDX-License-Identifier: Apache-2.0
/**
 * The two kinds of errors. What a developer wrote wrongly is a ConfigError and is always thrown, for
 * nobody wants to learn of it from a hit ratio. What the network did is a CacheError; it is counted and
 * swallowed, unless `shallowErrors: false` asks for it.
 */

/**
 * Why the cache had no answer.
 *
 * - `timeout`: no reply within the budget
 * - `offline`: there is no connection at the moment
 * - `breaker`: the server has not answered lately, so it was not asked
 * - `overload`: too much is under way already, so it was not asked
 * - `server`: the server answered an error
 * - `decode`: what is stored cannot be read
 * - `pending`: an invalidation of this entry has not reached the server yet
 * - `off`: the cache has been switched off
 */
export type Cause =
  | 'timeout'
  | 'offline'
  | 'breaker'
  | 'overload'
  | 'server'
  | 'decode'
  | 'pending'
  | 'off';

/** Options that cannot work. Thrown whatever `shallowErrors` says. */
export class ConfigError extends TypeError {
  override name = 'ConfigError';
}

/** The cache could not be asked, or did not answer in time. Swallowed by default. */
export class CacheError extends Error {
  override name = 'CacheError';
  readonly reason: Cause;

  constructor(reason: Cause, message: string) {
    super(message);
    this.reason = reason;
  }
}

/** Any thrown thing as a CacheError, since drivers reject with errors of many classes. */
export function asCacheError(error: unknown): CacheError {
  if (error instanceof CacheError) return error;
  return new CacheError('server', error instanceof Error ? error.message : String(error));
}

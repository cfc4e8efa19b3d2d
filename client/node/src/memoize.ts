// SPDX-License-Identifier: Apache-2.0
/** Functions and methods whose results are cached. */
import { Cache } from './cache';
import { checkTags, type Call, type Found } from './call';
import { ConfigError } from './errors';
import { compatibleKey, typedKey, Unhashable } from './keys';
import type { CacheOptions } from './options';

export type AsyncFunction = (...args: any[]) => Promise<any>;
type Result<F extends AsyncFunction> = Awaited<ReturnType<F>>;

export interface MemoizeOptions<F extends AsyncFunction = AsyncFunction> extends CacheOptions {
  /** Makes the key of the arguments; default: a digest of them. */
  computeHash?: (args: Parameters<F>) => string;
  /** Takes part in keys; default: the name of the function. */
  name?: string;
  /**
   * What `this` means. `function`: nothing, all instances share results, as in cache-cache. `instance`:
   * each object has its own, in this process only, so the layer must be MEMORY, unless `instanceKey` says
   * what an object is called everywhere. Default: `function`, with a warning when a second instance comes.
   */
  per?: 'function' | 'instance';
  instanceKey?: (instance: any) => string;
  /** The ttl of this result in ms; 0: do not store it; undefined: as configured. */
  ttlOf?: (result: Result<F>, args: Parameters<F>) => number | undefined;
  /**
   * What results are to be invalidated by, beside their arguments: `invalidateTags` drops all that have one of these
   * tags. Made of the arguments, for they have to be known before the function runs: what a function read before an
   * invalidation must not be stored after it. Needs `group: 'tags'` in Redis.
   */
  tags?: readonly string[] | ((args: Parameters<F>) => readonly string[]);
  /** false: do not store this result. */
  cacheIf?: (result: Result<F>, args: Parameters<F>) => boolean;
  /** false: what is stored is not believed, and is loaded again. For values of older versions of a program. */
  validate?: (value: unknown) => boolean;
}

export interface Memoized<F extends AsyncFunction> {
  (...args: Parameters<F>): ReturnType<F>;
  /** Calls the function whatever is stored, and stores the result. */
  fresh(...args: Parameters<F>): ReturnType<F>;
  /** What is stored for these arguments; calls nothing. */
  peek(...args: Parameters<F>): Promise<Found<Result<F>>>;
  /** Drops the result for these arguments. Never throws for the network: an invalidation is sent until it arrives. */
  invalidate(...args: Parameters<F>): Promise<void>;
  /** Drops all results. In Redis that needs a `group` (or `hashmap`). */
  clear(): Promise<void>;
  /** Drops what has one of these tags: of this function, and in Redis of all that share its namespace. */
  invalidateTags(...tags: string[]): Promise<void>;
  /** Many calls at once: one look-up for all of them. */
  many(calls: ReadonlyArray<Parameters<F>>): Promise<Array<Result<F>>>;
  /** The store behind it, made at the first use. */
  readonly store: Cache;
  /** The same, under the name that it has in cache-cache. */
  readonly _cache_manager: Cache;
}

const instances = new WeakMap<object, string>();
let instanceCount = 0;

function instanceId(instance: unknown): string {
  if (typeof instance !== 'object' || instance === null) return '';
  let id = instances.get(instance);
  if (id === undefined) instances.set(instance, (id = `#${++instanceCount}`));
  return id;
}

/** One memoized function or method: makes keys and calls. */
class Memo<F extends AsyncFunction> {
  private made: Cache | undefined;
  private firstThis: WeakRef<object> | undefined;
  private hasWarned = false;
  private readonly name: string;

  constructor(
    private readonly original: F,
    private readonly options: MemoizeOptions<F>,
  ) {
    this.name = options.name ?? original.name;
  }

  get store(): Cache {
    return (this.made ??= this.make());
  }

  async run(self: unknown, args: Parameters<F>, isFresh: boolean): Promise<Result<F>> {
    const { store } = this;
    const key = this.key(self, args);
    const tags = this.tags(args);
    if (key === undefined || tags === null) return this.original.apply(self, args) as Promise<Result<F>>;
    return store.run(this.call(self, args, key, isFresh, tags));
  }

  async peek(self: unknown, args: Parameters<F>): Promise<Found<Result<F>>> {
    const key = this.key(self, args);
    const tags = this.tags(args);
    return key === undefined || tags === null ? { hit: false } : this.store.entry<Result<F>>(key, undefined, tags);
  }

  async invalidate(self: unknown, args: Parameters<F>): Promise<void> {
    const key = this.key(self, args);
    if (key !== undefined) await this.store.clear(key);
  }

  async many(self: unknown, calls: ReadonlyArray<Parameters<F>>): Promise<Array<Result<F>>> {
    const tags = calls.map((args) => this.tags(args));
    const keys = calls.map((args, at) => (tags[at] === null ? undefined : this.key(self, args)));
    const results = new Array<Result<F>>(calls.length);
    const known = keys.flatMap((key, at) => (key === undefined ? [] : [{ key, at }]));
    const store = this.store;
    const unknown = keys.map(async (key, at) => {
      if (key === undefined) results[at] = (await this.original.apply(self, calls[at] as Parameters<F>)) as Result<F>;
    });
    const found = await store.runMany(
      known.map(({ key, at }) => this.call(self, calls[at] as Parameters<F>, key, false, tags[at] ?? [])),
    );
    known.forEach(({ at }, i) => (results[at] = found[i] as Result<F>));
    await Promise.all(unknown);
    return results;
  }

  private make(): Cache {
    const { computeHash, name, per, instanceKey, ttlOf, cacheIf, validate, tags, ...options } = this.options;
    if (Array.isArray(tags)) checkTags(tags);
    if (per === 'instance' && !instanceKey) {
      const order = options.layerOrder ?? [];
      if (order.some((layer) => layer === 'REDIS')) {
        throw new ConfigError("per: 'instance' with REDIS needs an instanceKey, since other processes share the keys");
      }
    }
    return new Cache(options, this.name);
  }

  private call(
    self: unknown,
    args: Parameters<F>,
    key: string,
    isFresh: boolean,
    tags: readonly string[],
  ): Call<Result<F>> {
    const { ttlOf, cacheIf, validate } = this.options;
    return {
      key,
      load: () => this.original.apply(self, args) as Promise<Result<F>>,
      isFresh,
      tags,
      validate,
      ttlOf: (ttlOf || cacheIf) && ((value) => (cacheIf?.(value, args) === false ? 0 : ttlOf?.(value, args))),
    };
  }

  /** null if what the user's function says cannot be tags: then the function is just called. */
  private tags(args: Parameters<F>): readonly string[] | null {
    const { tags } = this.options;
    if (typeof tags !== 'function') return checkTags(tags ?? []);
    try {
      return checkTags(tags(args));
    } catch {
      this.store.countUnhashable();
      return null;
    }
  }

  /** undefined for arguments that cannot be a key: then the function is just called. */
  private key(self: unknown, args: Parameters<F>): string | undefined {
    const { computeHash, per, instanceKey } = this.options;
    let owner = '';
    if (per === 'instance') owner = `${instanceKey ? instanceKey(self) : instanceId(self)}:`;
    else if (per === undefined) this.watchThis(self);
    if (computeHash) {
      // What a user's function throws here would fail the call because of the cache.
      try {
        return owner + computeHash(args);
      } catch {
        this.store.countUnhashable();
        return undefined;
      }
    }
    try {
      return owner + (this.store.hasCompatibleKeys ? compatibleKey(this.name, args) : typedKey(this.name, args));
    } catch (error) {
      if (!(error instanceof Unhashable)) throw error;
      this.store.countUnhashable();
      return undefined;
    }
  }

  private watchThis(self: unknown): void {
    if (this.hasWarned || typeof self !== 'object' || self === null || self === globalThis) return;
    const first = this.firstThis?.deref();
    if (!first) {
      this.firstThis = new WeakRef(self);
    } else if (first !== self) {
      this.hasWarned = true;
      process.emitWarning(
        `${this.name}: instances share cached results; say per: 'instance', or per: 'function' if that is meant`,
        { type: 'SumcacheWarning', code: 'SUMCACHE_SHARED_THIS' },
      );
    }
  }
}

/**
 * The function, cached. Never slower than `budgetMs` because of the cache, and rejects only as fn does, or
 * with a ConfigError.
 */
export function getMemoize<F extends AsyncFunction>(fn: F, options: MemoizeOptions<F> = {}): Memoized<F> {
  if (typeof fn !== 'function') throw new ConfigError('getMemoize takes a function');
  const memo = new Memo(fn, options);
  const memoized = function (this: unknown, ...args: Parameters<F>): ReturnType<F> {
    return memo.run(this, args, false) as ReturnType<F>;
  };
  Object.defineProperty(memoized, 'name', { value: fn.name, configurable: true });
  Object.defineProperty(memoized, 'length', { value: fn.length, configurable: true });
  for (const property of ['store', '_cache_manager']) {
    Object.defineProperty(memoized, property, { get: () => memo.store });
  }
  return Object.assign(memoized as Memoized<F>, {
    fresh(this: unknown, ...args: Parameters<F>) {
      return memo.run(ownerOf(this, memoized), args, true) as ReturnType<F>;
    },
    peek(this: unknown, ...args: Parameters<F>) {
      return memo.peek(ownerOf(this, memoized), args);
    },
    invalidate(this: unknown, ...args: Parameters<F>) {
      return memo.invalidate(ownerOf(this, memoized), args);
    },
    many(this: unknown, calls: ReadonlyArray<Parameters<F>>) {
      return memo.many(ownerOf(this, memoized), calls);
    },
    invalidateTags(...tags: string[]) {
      return (async () => memo.store.invalidateTags(tags))();
    },
    clear() {
      return (async () => memo.store.clearAll())();
    },
  });
}

/** In `memoized.fresh(…)` `this` is the function; in `memoized.fresh.call(object, …)` it is the object. */
function ownerOf(self: unknown, memoized: unknown): unknown {
  return self === memoized ? undefined : self;
}

const NOT_ASYNC = 'Memoize decorator only available for async function.';

/** The decorator, for `experimentalDecorators` and for the decorators of the standard (TypeScript 5). */
export interface MemoizeDecorator {
  (target: object, key: string | symbol, descriptor: PropertyDescriptor): any;
  <This, F extends (this: This, ...args: any[]) => Promise<any>>(
    value: F,
    context: { readonly kind: 'method'; readonly name: string | symbol },
  ): F;
}

/** Caches the results of the method that it stands before. */
export function Memoize(options: MemoizeOptions<any> = {}): MemoizeDecorator {
  const decorate = (target: unknown, context: unknown, descriptor?: PropertyDescriptor): unknown => {
    if (descriptor !== undefined || typeof context !== 'object' || context === null) {
      const method: unknown = descriptor?.value;
      if (typeof method !== 'function' || !descriptor) throw new ConfigError(NOT_ASYNC);
      descriptor.value = getMemoize(method as AsyncFunction, options);
      return descriptor;
    }
    if ((context as { kind?: string }).kind !== 'method' || typeof target !== 'function') {
      throw new ConfigError(NOT_ASYNC);
    }
    return getMemoize(target as AsyncFunction, options);
  };
  return decorate as MemoizeDecorator;
}


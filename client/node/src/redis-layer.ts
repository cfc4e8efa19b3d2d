// SPDX-License-Identifier: Apache-2.0
/**
 * The Redis layer: a layout on an endpoint, within budgets, and the memory of invalidations that have not
 * reached the server.
 *
 * Such an invalidation is kept and sent again until it succeeds; until then what it was for is a miss
 * here. So a value that was invalidated never comes back in this process, however the server was when it happened.
 */
import { performance } from 'node:perf_hooks';
import { hasKeyPrefix, type Command } from './driver';
import { endpointOf, type Endpoint, type Outcome } from './endpoint';
import { asCacheError, CacheError, ConfigError } from './errors';
import type { Exec, KeyId, Layout, LayoutOptions, Look, Ticket, Wants } from './layout';
import { CompatibleHash, CompatibleKeys } from './layouts-compatible';
import { SharedEpochs } from './layouts-epochs';
import { SharedHash, SharedKeys } from './layouts-shared';
import { SharedTags } from './layouts-tags';
import type { Entry } from './memory';
import type { RedisLayerOptions, Resilience } from './options';
import { checkSerializer } from './serializer';

const PENDING_MAX = 4096;
/** Nobody waits for these, and they are worth more than a moment. */
const REPLAY_BUDGET_MS = 1000;
const CLEAR_BUDGET_MS = 10_000;

interface Pending {
  run: () => Promise<void>;
}

export type RedisSettings = Partial<RedisLayerOptions> & { stale: number; isBackFilling: boolean };

function needsShared(settings: RedisSettings, resilience: Resilience): boolean {
  const { group, stale, compress, fence, signingKeys } = settings;
  const hasGroup = group !== undefined && group !== 'keys';
  return hasGroup || Boolean(stale || resilience.earlyBeta || compress || fence || signingKeys);
}

function checkKeys(keys: RedisSettings['signingKeys']): Buffer[] {
  const all = (keys ?? []).map((key) => Buffer.from(key as string));
  // An empty list would say that nothing is to be signed, which is hardly what was meant.
  if (keys && (all.length === 0 || all.some((key) => key.length < 16))) {
    throw new ConfigError('signingKeys: at least one, each of 16 bytes or more');
  }
  return all;
}

function layoutOf(settings: RedisSettings, resilience: Resilience, name: string): Layout {
  const { hashmap, prefix = '', namespace = '' } = settings;
  const group = settings.group ?? (hashmap ? 'hash' : 'keys');
  const isShared = settings.format ? settings.format === 'shared' : needsShared(settings, resilience);
  if (!isShared && needsShared({ ...settings, group: 'keys' }, resilience)) {
    throw new ConfigError("stale, earlyBeta, compress, fence and signingKeys need format: 'shared'");
  }
  const options: LayoutOptions = {
    prefix,
    hardMs: Math.round((settings.ttl ?? 0) + settings.stale),
    maxValueBytes: settings.maxValueBytes ?? 5 << 20,
    compressOver: settings.compress?.over ?? Infinity,
    compression: settings.compress?.by ?? 'zlib',
    keys: checkKeys(settings.signingKeys),
    serializer: settings.serializer && checkSerializer(settings.serializer),
    hasKeyPrefix: hasKeyPrefix(settings.redisClient ?? ''),
    wantsAge: settings.isBackFilling,
  };
  if (group === 'tags' && options.hasKeyPrefix) {
    throw new ConfigError("group: 'tags' does not go with a keyPrefix of the client, which leaves the proxy's commands alone");
  }
  if (group === 'hash' && prefix === '' && namespace === '') {
    throw new ConfigError('You need to configure prefix or namespace to use hashmap mode');
  }
  if (name === '' && prefix === '' && namespace === '') {
    throw new ConfigError('a function without a name needs a prefix or a namespace');
  }
  const isFenced = settings.fence ?? false;
  if (group === 'hash') {
    if (isFenced) throw new ConfigError("fence does not go with group: 'hash', whose values share one birth");
    return isShared ? new SharedHash(options) : new CompatibleHash(options);
  }
  if (group === 'keys' && !isFenced) return isShared ? new SharedKeys(options) : new CompatibleKeys(options);
  if (!isShared) throw new ConfigError(`group: '${group}' needs format: 'shared'`);
  if (group === 'tags') return new SharedTags(options, { isGroup: true, isListing: false, isFenced });
  return new SharedEpochs(options, { isGroup: group !== 'keys', isListing: group === 'list', isFenced });
}

export class RedisLayer {
  readonly type = 'REDIS';
  readonly endpoint: Endpoint;
  private readonly layout: Layout;
  private readonly budgetMs: number;
  private readonly isAdaptive: boolean;
  private readonly pending: Map<string, Pending>;
  private retry: ReturnType<typeof setTimeout> | undefined;
  private retryMs = 100;
  private bypassUntil = 0;
  private readonly forget: () => void;

  /**
   * name is that of a memoized function, undefined for a store. before is the layer that this one
   * replaces, whose invalidations are still to be sent. Throws ConfigError.
   */
  constructor(
    private readonly settings: RedisSettings,
    resilience: Resilience,
    budgetMs: number,
    name: string | undefined,
    before?: RedisLayer,
  ) {
    this.pending = before?.pending ?? new Map();
    if (!settings.redisClient) throw new ConfigError('REDIS needs a redisClient');
    this.layout = layoutOf(settings, resilience, name ?? ' ');
    this.budgetMs = settings.timeout ?? budgetMs;
    this.isAdaptive = resilience.adaptiveTimeout ?? false;
    this.endpoint = endpointOf(settings.redisClient, {
      ...(resilience.breaker !== undefined && { breaker: resilience.breaker }),
      ...(resilience.maxInFlight !== undefined && { maxInFlight: resilience.maxInFlight }),
      ...(resilience.maxInFlightBytes !== undefined && { maxInFlightBytes: resilience.maxInFlightBytes }),
      ...(settings.driver && { driver: settings.driver }),
    });
    this.forget = this.endpoint.onUsable(() => {
      this.layout.reset?.();
      void this.replay();
    });
    this.schedule();
  }

  /** Whether names and values are those of cache-cache. */
  get isCompatible(): boolean {
    return this.layout instanceof CompatibleKeys || this.layout instanceof CompatibleHash;
  }

  /** Invalidations that the server does not know of yet. */
  get pendingCount(): number {
    return this.pending.size;
  }

  /** tags: what the value is, or will be, stored with; undefined if that is not known. Throws ConfigError. */
  id(key: string, namespace: string | undefined, tags?: readonly string[]): KeyId {
    if (tags && tags.length > 0 && !this.hasTags) throw new ConfigError("tags need group: 'tags'");
    return { key, namespace: namespace ?? this.settings.namespace ?? '', tags };
  }

  /** Rejects with a CacheError. */
  async lookup(id: KeyId, wants: Wants, budgetMs = this.budgetMs): Promise<Look> {
    this.checkPending(id);
    return this.layout.lookup(this.exec(Math.min(budgetMs, this.budgetMs)), id, wants);
  }

  /** As lookup for keys of one namespace. Those with a pending invalidation are misses. */
  async lookupMany(ids: readonly KeyId[], wants: Wants, budgetMs = this.budgetMs): Promise<Look[]> {
    if (ids.length === 0) return [];
    const looks = await this.layout.lookupMany(this.exec(Math.min(budgetMs, this.budgetMs)), ids, wants);
    return looks.map((look, i) => (this.isPending(ids[i] as KeyId) ? {} : look));
  }

  /** Without a ticket (of a lookup before the loader) it asks for one. Rejects with a CacheError or RangeError. */
  async write(id: KeyId, entry: Entry, ticket?: Ticket): Promise<void> {
    // The group is about to be dropped: what is written now would be dropped with it.
    if (this.isGroupPending(id) || Date.now() < this.bypassUntil) {
      throw new CacheError('pending', 'an invalidation is still to be sent');
    }
    const exec = this.exec(this.budgetMs);
    const before = this.pending.get(keyName(id));
    await this.layout.write(exec, id, entry, ticket ?? (await this.layout.ticket(exec, id)));
    // It has replaced what was to be deleted.
    if (before) this.settle(keyName(id), before);
  }

  remove(id: KeyId): Promise<void> {
    return this.invalidate(keyName(id), this.budgetMs, (exec) => this.layout.remove(exec, id));
  }

  /** Frees what nobody can read. Rejects with a CacheError; then the next write does it. */
  discard(id: KeyId): Promise<void> {
    return this.layout.discard(this.exec(this.budgetMs), id);
  }

  /** Until `remove` or `write` succeeds, id is a miss: a write of it has failed, and what is stored is older. */
  distrust(id: KeyId): void {
    const run = (): Promise<void> => this.layout.remove(this.exec(REPLAY_BUDGET_MS), id);
    this.keep(keyName(id), { run });
  }

  /** Drops the group. Throws ConfigError where there is none. */
  async clear(namespace: string | undefined): Promise<void> {
    const { clear } = this.layout;
    if (!clear) throw new ConfigError("clearing all needs group: 'hash', 'generation' or 'list'");
    const ns = this.id('', namespace).namespace;
    await this.invalidate(groupName(ns), CLEAR_BUDGET_MS, (exec) => clear(exec, ns));
  }

  /** Makes misses of all that has this tag, in all stores of the namespace. Throws ConfigError where there are no tags. */
  async dropTag(tag: string, namespace: string | undefined): Promise<void> {
    const { dropTag } = this.layout;
    if (!dropTag) throw new ConfigError("tags need group: 'tags'");
    const ns = this.id('', namespace).namespace;
    await this.invalidate(tagName(ns, tag), this.budgetMs, (exec) => dropTag(exec, ns, tag));
  }

  get hasTags(): boolean {
    return this.layout.dropTag !== undefined;
  }

  get canClear(): boolean {
    return this.layout.clear !== undefined;
  }

  stop(): void {
    clearTimeout(this.retry);
    this.forget();
  }

  private exec(budgetMs: number): Exec {
    const end = performance.now() + budgetMs;
    return (commands: readonly Command[], isWrite?: boolean): Promise<Outcome[]> => {
      const left = end - performance.now();
      const patience = this.isAdaptive && !isWrite ? (this.endpoint.patienceMs ?? left) : left;
      return this.endpoint.run(commands, Math.min(left, patience), isWrite);
    };
  }

  private isPending(id: KeyId): boolean {
    if (this.pending.size === 0 && this.bypassUntil === 0) return false;
    return this.pending.has(keyName(id)) || this.isGroupPending(id) || Date.now() < this.bypassUntil;
  }

  private isGroupPending({ namespace, tags }: KeyId): boolean {
    if (this.pending.has(groupName(namespace))) return true;
    if (!this.hasTags || this.pending.size === 0) return false;
    if (tags) return tags.some((tag) => this.pending.has(tagName(namespace, tag)));
    // Nobody knows its tags: any of them may be among those that are still to be invalidated.
    const any = tagName(namespace, '');
    for (const name of this.pending.keys()) if (name.startsWith(any)) return true;
    return false;
  }

  private checkPending(id: KeyId): void {
    if (this.isPending(id)) throw new CacheError('pending', 'an invalidation is still to be sent');
  }

  private async invalidate(
    name: string,
    budgetMs: number,
    run: (exec: Exec) => Promise<void>,
  ): Promise<void> {
    const pending = { run: () => run(this.exec(Math.max(budgetMs, REPLAY_BUDGET_MS))) };
    // From now on, not from the reply on: a read that overtakes it must not find the old value.
    this.keep(name, pending);
    // Who clears waits for no longer than for any other operation; the work itself may take longer.
    const done = run(this.exec(budgetMs)).then(() => this.settle(name, pending));
    let timer: ReturnType<typeof setTimeout> | undefined;
    const limit = new Promise<never>((_, reject) => {
      const expire = (): void => reject(new CacheError('timeout', 'Command timed out'));
      timer = setTimeout(() => setImmediate(expire), this.budgetMs);
    });
    try {
      await Promise.race([done, limit]);
    } catch (error) {
      done.catch(() => {});
      this.schedule();
      throw asCacheError(error);
    } finally {
      clearTimeout(timer);
    }
  }

  private keep(name: string, pending: Pending): void {
    if (this.pending.size >= PENDING_MAX && !this.pending.has(name)) {
      // More than can be remembered: for as long as any of it may live, nothing here is believed.
      this.bypassUntil = Date.now() + (this.settings.ttl ?? 0) + this.settings.stale;
      this.pending.clear();
    }
    this.pending.set(name, pending);
    this.schedule();
  }

  private settle(name: string, pending: Pending): void {
    if (this.pending.get(name) === pending) this.pending.delete(name);
    if (this.pending.size === 0) {
      this.retryMs = 100;
      clearTimeout(this.retry);
      this.retry = undefined;
    }
  }

  private schedule(): void {
    if (this.retry || this.pending.size === 0) return;
    this.retry = setTimeout(() => {
      this.retry = undefined;
      void this.replay();
    }, this.retryMs);
    this.retry.unref();
    this.retryMs = Math.min(this.retryMs * 2, 5000);
  }

  private async replay(): Promise<void> {
    if (this.endpoint.isUsable) {
      for (const [name, pending] of [...this.pending]) {
        try {
          if (this.pending.get(name) !== pending) continue;
          await pending.run();
          this.settle(name, pending);
        } catch {
          break; // the rest would fare no better: later
        }
      }
    }
    this.schedule();
  }
}

function keyName(id: KeyId): string {
  return `k${id.namespace}\0${id.key}`;
}

function groupName(namespace: string): string {
  return `g${namespace}`;
}

function tagName(namespace: string, tag: string): string {
  return `t${namespace}\0${tag}`;
}

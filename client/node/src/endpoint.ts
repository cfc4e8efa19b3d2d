// SPDX-License-Identifier: Apache-2.0
/**
 * One Redis, as everything in this process sees it: its connection, its breaker, and limits for what
 * may be under way. All layers that use the same client share one endpoint, so that what one of them
 * has found out (the server hangs) costs no other anything.
 *
 * The invariant: `run` settles within its budget, whatever the server does.
 */
import { performance } from 'node:perf_hooks';
import { Breaker, type BreakerOptions, type BreakerState } from './breaker';
import { CacheError, ConfigError } from './errors';
import {
  Driver,
  isRedisLike,
  isReplyError,
  type Command,
  type RedisConstructor,
  type RedisLike,
  type Reply,
} from './driver';
import { Recent } from './stats';

export interface EndpointOptions {
  breaker?: BreakerOptions | false;
  /** Commands under way, those that have timed out and have no reply yet included. */
  maxInFlight?: number;
  /** Bytes of such commands. */
  maxInFlightBytes?: number;
  /** Class of the client that a URL is given to. */
  driver?: RedisConstructor;
}

/** A reply, or the error that the server answered for this command. */
export type Outcome = Reply | Error;

export interface EndpointStats {
  commands: number;
  timeouts: number;
  late: number;
  connectionErrors: number;
  serverErrors: number;
  offline: number;
  breakerSkips: number;
  breakerOpens: number;
  overloads: number;
  reconnects: number;
  inFlight: number;
  inFlightBytes: number;
  /** What a read may take with `adaptiveTimeout`, in ms; 0: too few were seen to say. */
  patienceMs: number;
  breaker: BreakerState;
}

/** Errors by which a server says that it cannot serve now, rather than that the request is wrong. */
const UNAVAILABLE = /^(LOADING|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|BUSY|NOAUTH|ERR sumcache:)/;

/** With fewer replies in the last minute a quantile says nothing. */
const PATIENCE_MIN_REPLIES = 100;
const PATIENCE_MIN_MS = 5;
const PATIENCE_FACTOR = 4;

const PROBE: Command = ['GET', 'sumcache:probe'];

function bytesOf(command: Command): number {
  let sum = 0;
  for (const part of command) {
    sum += typeof part === 'number' ? 8 : part.length;
  }
  return sum;
}

export class Endpoint {
  readonly driver: Driver;
  readonly breaker: Breaker | undefined;
  private readonly maxInFlight: number;
  private readonly maxInFlightBytes: number;
  private readonly waitingForStart: Array<() => void> = [];
  private readonly readyListeners = new Set<() => void>();
  private readonly breakerListeners = new Set<(state: BreakerState, reason: string) => void>();
  private lastReplyAt = 0;
  private readonly recent = new Recent(performance.now());
  private inFlight = 0;
  private inFlightBytes = 0;
  /** What found the server silent asks it again: behind a proxy another key proves nothing. */
  private probe: Command = PROBE;
  private counts = {
    commands: 0,
    timeouts: 0,
    late: 0,
    connectionErrors: 0,
    serverErrors: 0,
    offline: 0,
    breakerSkips: 0,
    overloads: 0,
    reconnects: 0,
  };

  constructor(client: RedisLike | string, options: EndpointOptions = {}) {
    this.maxInFlight = options.maxInFlight ?? 1024;
    this.maxInFlightBytes = options.maxInFlightBytes ?? 16 << 20;
    if (options.breaker !== false) {
      this.breaker = new Breaker(
        options.breaker ?? {},
        (state, reason) => {
          for (const listener of this.breakerListeners) listener(state, reason);
          if (state === 'closed') this.tellReady();
        },
        () => this.runProbe(),
      );
    }
    this.driver = new Driver(
      client,
      options.driver,
      () => {
        this.wakeStarters();
        // A new connection is a reason to ask now, however far away the next probe is.
        if (this.breaker?.isClosed === false) this.runProbe();
        this.tellReady();
      },
      () => this.wakeStarters(),
    );
  }

  /** Whether a call would be tried now. */
  get isUsable(): boolean {
    return (this.breaker?.isClosed ?? true) && this.driver.isReady;
  }

  /** What a reply may take if it is to be a usual one, in ms. undefined: too few were seen to say. */
  get patienceMs(): number | undefined {
    const usual = this.recent.quantile(0.99, PATIENCE_MIN_REPLIES, performance.now());
    return usual === undefined ? undefined : Math.max(PATIENCE_MIN_MS, PATIENCE_FACTOR * usual);
  }

  /** Calls listener whenever the server can be asked again; gives a function that ends that. */
  onUsable(listener: () => void): () => void {
    this.readyListeners.add(listener);
    return () => this.readyListeners.delete(listener);
  }

  onBreaker(listener: (state: BreakerState, reason: string) => void): () => void {
    this.breakerListeners.add(listener);
    return () => this.breakerListeners.delete(listener);
  }

  stats(): EndpointStats {
    return {
      ...this.counts,
      breakerOpens: this.breaker?.opens ?? 0,
      breaker: this.breaker?.state ?? 'closed',
      inFlight: this.inFlight,
      inFlightBytes: this.inFlightBytes,
      patienceMs: this.patienceMs ?? 0,
    };
  }

  /**
   * Sends commands together and gives their outcomes, in order, within budgetMs. Rejects with a
   * CacheError if not all of them were answered; some may have been carried out then.
   * Writes get at most half of what may be under way, so that they never keep a read from being sent.
   */
  async run(commands: readonly Command[], budgetMs: number, isWrite = false): Promise<Outcome[]> {
    if (this.breaker && !this.breaker.isClosed) {
      this.counts.breakerSkips++;
      throw new CacheError('breaker', 'the server has not answered lately');
    }
    let budget = budgetMs;
    if (!this.driver.isReady) {
      if (this.driver.isStarting) budget -= await this.started(budgetMs);
      if (!this.driver.isReady) {
        this.counts.offline++;
        throw new CacheError('offline', 'no connection to the server');
      }
    }
    return this.send(commands, budget, isWrite);
  }

  /** Ends its timers, and its connection if it is our own. */
  close(): void {
    this.breaker?.stop();
    this.driver.close();
  }

  private send(commands: readonly Command[], budget: number, isWrite: boolean): Promise<Outcome[]> {
    const bytes = commands.reduce((sum, command) => sum + bytesOf(command), 0);
    const share = isWrite ? 0.5 : 1;
    if (
      this.inFlight + commands.length > this.maxInFlight * share ||
      this.inFlightBytes + bytes > this.maxInFlightBytes * share
    ) {
      this.counts.overloads++;
      return Promise.reject(new CacheError('overload', 'too much is under way'));
    }
    return new Promise((resolve, reject) => {
      const sentAt = performance.now();
      const outcomes = new Array<Outcome>(commands.length);
      let left = commands.length;
      let isSettled = false;
      let lost: unknown;

      const expire = (): void => {
        if (isSettled) return;
        isSettled = true;
        this.counts.timeouts++;
        if (!isWrite && commands[0]) this.probe = commands[0];
        if (this.lastReplyAt < sentAt) this.breaker?.silent();
        else this.breaker?.failedOnce();
        reject(new CacheError('timeout', 'Command timed out'));
      };
      // When this process itself was busy the reply may lie in the socket already: it is read first,
      // and only then is the time really over.
      const timer = setTimeout(() => setImmediate(expire), Math.max(1, budget));

      const answered = (index: number, outcome: Outcome, isLost: boolean): void => {
        outcomes[index] = outcome;
        left--;
        this.inFlight--;
        if (isLost) lost = outcome;
        else this.lastReplyAt = performance.now();
        if (left === 0) {
          this.inFlightBytes -= bytes;
          // Those that came too late as well: else what is slow would never be seen.
          if (lost === undefined) this.recent.add(performance.now() - sentAt, performance.now());
        }
        if (isSettled) {
          if (isLost) return;
          this.counts.late++;
          this.breaker?.heard();
          return;
        }
        if (left > 0) return;
        isSettled = true;
        clearTimeout(timer);
        if (lost !== undefined) {
          this.counts.connectionErrors++;
          reject(new CacheError('offline', (lost as Error).message));
        } else {
          this.judge(outcomes);
          resolve(outcomes);
        }
      };

      this.counts.commands += commands.length;
      this.inFlight += commands.length;
      this.inFlightBytes += bytes;
      commands.forEach((command, index) => {
        this.driver.send(command).then(
          (reply) => answered(index, reply, false),
          (error: Error) => answered(index, error, !isReplyError(error)),
        );
      });
    });
  }

  private judge(outcomes: Outcome[]): void {
    const errors = outcomes.filter((outcome): outcome is Error => outcome instanceof Error);
    this.counts.serverErrors += errors.length;
    if (errors.some((error) => UNAVAILABLE.test(error.message))) this.breaker?.failedOnce();
    else this.breaker?.succeeded();
  }

  /** Waits for the first attempt to connect; gives the time in ms that it took. */
  private async started(budgetMs: number): Promise<number> {
    const from = performance.now();
    const inTime = await new Promise<boolean>((resolve) => {
      const timer = setTimeout(() => setImmediate(resolve, false), budgetMs);
      this.waitingForStart.push(() => {
        clearTimeout(timer);
        resolve(true);
      });
    });
    if (!inTime && !this.driver.isReady) {
      this.counts.timeouts++;
      this.breaker?.silent();
    }
    return performance.now() - from;
  }

  private wakeStarters(): void {
    for (const wake of this.waitingForStart.splice(0)) wake();
  }

  private tellReady(): void {
    if (!this.isUsable) return;
    for (const listener of this.readyListeners) listener();
  }

  private runProbe(): void {
    if (!this.breaker || this.breaker.isClosed) return;
    if (!this.driver.isReady) {
      // Connected, and its greeting has had no answer since before the breaker opened.
      if (this.driver.isGreeting) this.giveUp();
      this.breaker.probed(false);
      return;
    }
    this.send([this.probe], 1000, false).then(
      ([outcome]) => {
        const isWell = !(outcome instanceof Error && UNAVAILABLE.test(outcome.message));
        this.breaker?.probed(isWell);
      },
      () => {
        // Nothing for a second: a new connection may find the way.
        if (this.driver.isReady) this.giveUp();
        this.breaker?.probed(false);
      },
    );
  }

  /** Ends a connection that says nothing, if it is only a cache's. */
  private giveUp(): void {
    if (!this.driver.isOwn) return;
    this.counts.reconnects++;
    this.driver.reconnect();
  }
}

const ofClients = new WeakMap<object, Endpoint>();
const ofUrls = new Map<string, Endpoint>();

/**
 * The endpoint of a client or URL, made when first asked for. Its options are those of who asks first.
 * Endpoints are shared by the whole process, as connections are.
 */
export function endpointOf(client: RedisLike | string, options: EndpointOptions): Endpoint {
  if (typeof client === 'string') {
    let found = ofUrls.get(client);
    if (!found) ofUrls.set(client, (found = new Endpoint(client, options)));
    return found;
  }
  if (!isRedisLike(client)) {
    throw new ConfigError('redisClient is neither a URL nor a client of ioredis or iovalkey');
  }
  let found = ofClients.get(client);
  if (!found) ofClients.set(client, (found = new Endpoint(client, options)));
  return found;
}

/** Closes the connections that were made for URLs. Later calls make new ones. */
export function closeConnections(): void {
  for (const endpoint of ofUrls.values()) endpoint.close();
  ofUrls.clear();
}

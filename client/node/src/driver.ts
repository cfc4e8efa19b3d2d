// SPDX-License-Identifier: Apache-2.0
/**
 * What is asked of a Redis client, and how one of our own is made.
 *
 * Types are structural, so that no version of ioredis appears in our declarations. The client of a
 * user is only ever asked to send commands: its options stay untouched, for other code uses it too.
 */
import { createRequire } from 'node:module';
import { ConfigError } from './errors';

export type Argument = string | Buffer | number;
/** The name of a command and its arguments. */
export type Command = readonly [string, ...Argument[]];
/** A reply with bulk strings as Buffers. */
export type Reply = Buffer | string | number | null | Reply[];

/** The part of an ioredis (5, 6) or iovalkey client that is used. */
export interface RedisLike {
  readonly status: string;
  callBuffer(command: string, ...args: any[]): Promise<any>;
  on(event: string, listener: (...args: any[]) => void): unknown;
  connect?(): Promise<void>;
  disconnect(reconnect?: boolean): void;
}

/** The constructor of such a client: `Redis` of ioredis or iovalkey. */
export type RedisConstructor = new (url: string, options: object) => RedisLike;

/** What our own client has beyond that: its socket. */
interface OwnClient extends RedisLike {
  stream?: { destroy?(): void; cork?(): void; uncork?(): void; writableCorked?: number };
}

export function isRedisLike(thing: unknown): thing is RedisLike {
  const client = thing as Partial<RedisLike> | null;
  return (
    typeof client === 'object' &&
    client !== null &&
    typeof client.callBuffer === 'function' &&
    typeof client.on === 'function' &&
    typeof client.status === 'string'
  );
}

/** Whether the client puts something before keys: it does so for commands that it knows, and for no others. */
export function hasKeyPrefix(client: RedisLike | string): boolean {
  if (typeof client === 'string') return /[?&]keyPrefix=./.test(client);
  return Boolean((client as { options?: { keyPrefix?: string } }).options?.keyPrefix);
}

/** Whether the server said no, rather than the connection. */
export function isReplyError(error: unknown): boolean {
  return error instanceof Error && error.name === 'ReplyError';
}

function findConstructor(): RedisConstructor {
  const find = createRequire(__filename);
  for (const name of ['ioredis', 'iovalkey']) {
    try {
      const module = find(name) as { Redis?: RedisConstructor; default?: RedisConstructor };
      const found = module.Redis ?? module.default;
      if (found) return found;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'MODULE_NOT_FOUND') throw error;
    }
  }
  throw new ConfigError('a URL as redisClient needs ioredis or iovalkey: npm install ioredis');
}

/**
 * Options of a client that serves a cache and nothing else. Each of them is there because the default
 * makes a call wait, or makes a write happen later than its caller believes:
 *
 * - no offline queue: without a connection there is a miss now, not an answer later
 * - no re-sending: a write that timed out must not happen after a newer one
 * - no ready check: INFO would have to be answered in time, which a proxy need not even do well
 * - no commandTimeout: it would count the handshake; the deadline of a call is our own business
 * - no CLIENT SETINFO: the connection is of use at once, and a server that hangs is found out by a call
 * - RESP2: ioredis 6 would open with HELLO 3, which some proxies refuse
 */
export const OWN_CLIENT_OPTIONS = {
  protocol: 2,
  disableClientInfo: true,
  lazyConnect: false,
  enableOfflineQueue: false,
  enableReadyCheck: false,
  autoResendUnfulfilledCommands: false,
  autoResubscribe: false,
  maxRetriesPerRequest: 0,
  connectTimeout: 1000,
  keepAlive: 10_000,
  noDelay: true,
  retryStrategy: (attempt: number): number =>
    Math.min(50 * 2 ** Math.min(attempt, 10), 2000) + Math.random() * 100,
} as const;

/** Sends commands to one client. */
export class Driver {
  readonly client: RedisLike;
  readonly isOwn: boolean;
  private isCorked = false;
  /** How many connections have ended, the attempts that failed included. */
  private ended = 0;

  /**
   * client is a user's client, or a URL that a client of our own is made for; use says which class
   * then, by default ioredis or iovalkey, whichever is installed. onReady is called for each new
   * connection, onDown when one ends.
   */
  constructor(
    client: RedisLike | string,
    use: RedisConstructor | undefined,
    onReady: () => void,
    onDown: () => void,
  ) {
    this.isOwn = typeof client === 'string';
    if (typeof client === 'string') {
      this.client = new (use ?? findConstructor())(client, OWN_CLIENT_OPTIONS);
      // Without a listener ioredis prints each failed attempt. We count them, see `onDown`.
      this.client.on('error', () => {});
    } else {
      this.client = client;
    }
    this.client.on('ready', () => {
      if (this.isOwn) {
        // A sumcache proxy then says which requests failed instead of calling them misses; any
        // other server does not know the command, and that is all right.
        this.client.callBuffer('SUMCACHE.FAILURES', 'error').catch(() => {});
      }
      onReady();
    });
    this.client.on('close', () => {
      this.ended++;
      onDown();
    });
    if (this.client.status === 'wait') this.client.connect?.().catch(() => {});
  }

  get isReady(): boolean {
    return this.client.status === 'ready';
  }

  /** Whether there is a connection whose greeting is under way. */
  get isGreeting(): boolean {
    return this.client.status === 'connect';
  }

  /** Whether the first attempt to connect is still under way: it alone is worth waiting for. */
  get isStarting(): boolean {
    const status = this.client.status;
    return this.ended === 0 && (status === 'connecting' || status === 'connect' || status === 'wait');
  }

  /** Sends one command; rejects with whatever the client rejects with. */
  send(command: Command): Promise<Reply> {
    const stream = this.isOwn ? (this.client as OwnClient).stream : undefined;
    if (stream?.cork && stream.uncork && !this.isCorked) {
      // All commands of one turn of the event loop leave in one write. Unlike auto-pipelining this
      // keeps none back: a batch that hangs does not hold the next one.
      this.isCorked = true;
      stream.cork();
      process.nextTick(() => {
        this.isCorked = false;
        stream.uncork?.();
      });
    }
    const [name, ...args] = command;
    return this.client.callBuffer(name, ...args) as Promise<Reply>;
  }

  /** Gives up a connection that says nothing; only for a client of our own. */
  reconnect(): void {
    if (!this.isOwn) return;
    const { stream } = this.client as OwnClient;
    // disconnect(true) would first try to send what is queued, to a peer that does not read.
    if (stream?.destroy) stream.destroy();
    else this.client.disconnect(true);
  }

  /** Closes a client of our own; one of a user stays open. */
  close(): void {
    if (this.isOwn) this.client.disconnect();
  }
}

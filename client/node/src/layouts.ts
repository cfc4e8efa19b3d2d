// SPDX-License-Identifier: Apache-2.0
/**
 * How a Redis layer lays out its values. Three layouts are those of docs/stored-format.md (shared with
 * the C library): keys, generation with or without a list, hash. Two are those of cache-cache 0.11: plain keys and one hash,
 * with bare JSON as values.
 *
 * A layout knows commands and replies; budgets, breakers and retries are the layer's.
 */
import { randomBytes } from 'node:crypto';
import { promisify } from 'node:util';
import { deflate } from 'node:zlib';
import type { Command, Reply } from './driver';
import type { Outcome } from './endpoint';
import { open, seal } from './envelope';
import { CacheError } from './errors';
import { SharedNames } from './keys';
import type { Entry } from './memory';
import { CODEC, decodeAny, decodeTyped, encodeAny, encodeTyped, type Serializer } from './serializer';

export interface KeyId {
  namespace: string;
  key: string;
}

/** What has to be known before a loader runs, so that its value can be stored after it. */
export interface Ticket {
  epoch: bigint;
  bucket: number;
}

/** What a layer answers: an entry or none; with a ticket, if a write may follow. */
export interface Look {
  entry?: Entry;
  ticket?: Ticket;
  isUnreadable?: boolean;
}

/** Sends commands within what is left of a budget. */
export type Exec = (commands: readonly Command[], isWrite?: boolean) => Promise<Outcome[]>;

export interface LayoutOptions {
  prefix: string;
  /** The longest time in ms for which the store keeps a value. */
  hardMs: number;
  maxValueBytes: number;
  compressOver: number;
  serializer: Serializer | undefined;
  /** Whether the time that is left of a value is worth one more command. */
  wantsAge: boolean;
}

export interface Layout {
  lookup(exec: Exec, id: KeyId): Promise<Look>;
  /** As lookup for many keys of one namespace, in one go. */
  lookupMany(exec: Exec, ids: readonly KeyId[]): Promise<Look[]>;
  /** For a write that no lookup went before. */
  ticket(exec: Exec, namespace: string): Promise<Ticket>;
  /** Throws a RangeError if the value is too large. */
  write(exec: Exec, id: KeyId, entry: Entry, ticket: Ticket): Promise<void>;
  remove(exec: Exec, id: KeyId): Promise<void>;
  /** undefined where the layout knows of no group. */
  clear?: (exec: Exec, namespace: string) => Promise<void>;
}

const NO_TICKET: Ticket = { epoch: 0n, bucket: 0 };
const packBytes = promisify(deflate) as (bytes: Buffer) => Promise<Buffer>;

/** The reply, or the server's error thrown. */
function reply(outcome: Outcome | undefined): Reply {
  if (outcome instanceof Error) throw new CacheError('server', outcome.message);
  return outcome ?? null;
}

function bytes(outcome: Outcome | undefined): Buffer | null {
  const got = reply(outcome);
  return Buffer.isBuffer(got) ? got : null;
}

function parts(outcome: Outcome | undefined): Reply[] {
  const got = reply(outcome);
  return Array.isArray(got) ? got : [];
}

function isWrongType(outcome: Outcome | undefined): boolean {
  return outcome instanceof Error && outcome.message.startsWith('WRONGTYPE');
}

/** UNLINK frees in the background; where it is not known, DEL does the same work now. */
async function unlink(exec: Exec, names: Array<string | Buffer>): Promise<void> {
  const [outcome] = await exec([['UNLINK', ...names]], true);
  if (!(outcome instanceof Error)) return;
  reply((await exec([['DEL', ...names]], true))[0]);
}

// --- as cache-cache 0.11 -----------------------------------------------------------------------------

abstract class Compatible {
  constructor(protected readonly options: LayoutOptions) {}

  protected encode(value: unknown): string | Buffer {
    const made = this.options.serializer?.encode(value) ?? encodeTyped(value).text;
    if (Buffer.byteLength(made) > this.options.maxValueBytes) throw new RangeError('value too large');
    return made;
  }

  /** remaining is what is left of its time in ms, if that is known. */
  protected look(raw: Buffer | null, remaining: number): Look {
    if (raw === null) return { ticket: NO_TICKET };
    try {
      const { serializer } = this.options;
      const value = serializer ? serializer.decode(raw) : decodeTyped(raw.toString());
      const entry = { value, created: Date.now(), soft: remaining, hard: remaining, delta: 0 };
      return { entry, ticket: NO_TICKET };
    } catch {
      return { ticket: NO_TICKET, isUnreadable: true };
    }
  }

  ticket(): Promise<Ticket> {
    return Promise.resolve(NO_TICKET);
  }
}

function compatibleName(...names: string[]): string {
  return names.filter((name) => name !== '').join(':');
}

function leftOf(entry: Entry): number {
  return Math.max(1, Math.round(entry.created + entry.hard - Date.now()));
}

export class CompatibleKeys extends Compatible implements Layout {
  private name(id: KeyId): string {
    return compatibleName(id.namespace, this.options.prefix, id.key);
  }

  async lookup(exec: Exec, id: KeyId): Promise<Look> {
    const name = this.name(id);
    if (!this.options.wantsAge) return this.look(bytes((await exec([['GET', name]]))[0]), this.options.hardMs);
    const [value, left] = await exec([
      ['GET', name],
      ['PTTL', name],
    ]);
    return this.look(bytes(value), typeof left === 'number' && left > 0 ? left : this.options.hardMs);
  }

  async lookupMany(exec: Exec, ids: readonly KeyId[]): Promise<Look[]> {
    const names = ids.map((id) => this.name(id));
    // Without PTTL the rest of its time is not known: what is taken into memory from here on lives
    // for a tenth of it at most.
    const [all] = await exec([['MGET', ...names]]);
    const values = all instanceof Error ? await exec(names.map((name) => ['GET', name] as const)) : parts(all);
    return ids.map((_, i) => this.look(bytes(values[i]), this.options.hardMs / 10));
  }

  async write(exec: Exec, id: KeyId, entry: Entry): Promise<void> {
    const [outcome] = await exec([['SET', this.name(id), this.encode(entry.value), 'PX', leftOf(entry)]], true);
    reply(outcome);
  }

  async remove(exec: Exec, id: KeyId): Promise<void> {
    reply((await exec([['DEL', this.name(id)]], true))[0]);
  }
}

/**
 * One hash for a group, and beside each field another one with the time at which it ends: so each field ends in
 * time on every server, and those who know nothing of it (cache-cache itself) read on as before.
 */
export class CompatibleHash extends Compatible implements Layout {
  private name(namespace: string): string {
    return compatibleName(namespace, this.options.prefix);
  }

  private static endOf(field: string): string {
    return `${field}\0ends`;
  }

  private judge(value: Reply | undefined, end: Reply | undefined): Look {
    const now = Date.now();
    const at = Buffer.isBuffer(end) ? Number(end.toString()) : now + this.options.hardMs;
    if (!(at > now)) return { ticket: NO_TICKET };
    return this.look(Buffer.isBuffer(value) ? value : null, at - now);
  }

  async lookup(exec: Exec, id: KeyId): Promise<Look> {
    return (await this.lookupMany(exec, [id]))[0] ?? {};
  }

  async lookupMany(exec: Exec, ids: readonly KeyId[]): Promise<Look[]> {
    const fields = ids.flatMap((id) => [id.key, CompatibleHash.endOf(id.key)]);
    const [outcome] = await exec([['HMGET', this.name(ids[0]?.namespace ?? ''), ...fields]]);
    // A key of another type is in the way: the next write replaces it.
    if (isWrongType(outcome)) return ids.map(() => ({ ticket: NO_TICKET }));
    const all = parts(outcome);
    return ids.map((_, i) => this.judge(all[2 * i], all[2 * i + 1]));
  }

  async write(exec: Exec, id: KeyId, entry: Entry): Promise<void> {
    const name = this.name(id.namespace);
    const left = leftOf(entry);
    const group = Math.max(left, this.options.hardMs);
    const hset: Command = [
      'HSET', name, id.key, this.encode(entry.value), CompatibleHash.endOf(id.key), Date.now() + left,
    ];
    // Together they never shorten the life of the group, and never leave it without an end.
    const keep: Command[] = [
      ['PEXPIRE', name, group, 'NX'],
      ['PEXPIRE', name, group, 'GT'],
    ];
    let [wrote, ...kept] = await exec([hset, ...keep], true);
    if (isWrongType(wrote)) {
      await unlink(exec, [name]);
      [wrote, ...kept] = await exec([hset, ...keep], true);
    }
    reply(wrote);
    if (kept.some((outcome) => outcome instanceof Error)) await this.keepOnOldServer(exec, name, id.key, group);
  }

  /** Before Redis 7 PEXPIRE takes no condition. */
  private async keepOnOldServer(exec: Exec, name: string, field: string, group: number): Promise<void> {
    const [left] = await exec([['PTTL', name]], true);
    if (typeof left === 'number' && left >= group) return;
    const [outcome] = await exec([['PEXPIRE', name, group]], true);
    if (!(outcome instanceof Error)) return;
    // Better no value than one that never ends.
    await exec([['HDEL', name, field, CompatibleHash.endOf(field)]], true);
    reply(outcome);
  }

  async remove(exec: Exec, id: KeyId): Promise<void> {
    const [outcome] = await exec([['HDEL', this.name(id.namespace), id.key, CompatibleHash.endOf(id.key)]], true);
    if (isWrongType(outcome)) await unlink(exec, [this.name(id.namespace)]);
    else reply(outcome);
  }

  clear = (exec: Exec, namespace: string): Promise<void> => unlink(exec, [this.name(namespace)]);
}

// --- as docs/stored-format.md -------------------------------------------------------------------------

abstract class Shared {
  private readonly names = new Map<string, SharedNames>();

  constructor(protected readonly options: LayoutOptions) {}

  protected of(namespace: string): SharedNames {
    let found = this.names.get(namespace);
    if (!found) {
      found = new SharedNames(namespace, this.options.prefix);
      // Namespaces may come from users' input: no more of them than can be afforded.
      if (this.names.size >= 1000) this.names.clear();
      this.names.set(namespace, found);
    }
    return found;
  }

  protected identity(id: KeyId): Buffer {
    return this.of(id.namespace).value(Buffer.from(id.key));
  }

  protected async seal(identity: Buffer, entry: Entry, epoch: bigint): Promise<Buffer> {
    const { serializer, maxValueBytes, compressOver } = this.options;
    const isNegative = entry.value === null;
    let made = { codec: CODEC.bytes as number, bytes: Buffer.alloc(0) as Buffer };
    if (!isNegative && serializer) {
      made = { codec: serializer.codec, bytes: Buffer.from(serializer.encode(entry.value) as string) };
    } else if (!isNegative) {
      made = encodeAny(entry.value);
    }
    if (made.bytes.length > maxValueBytes) throw new RangeError('value too large');
    const { created, soft, hard, delta } = entry;
    const header = { created, soft, hard, delta, epoch, codec: made.codec, isNegative };
    const packed = made.bytes.length > compressOver ? await packBytes(made.bytes) : undefined;
    return seal(identity, header, made.bytes, packed);
  }

  protected open(identity: Buffer, raw: Buffer | null, epoch: bigint, ticket: Ticket): Look {
    if (raw === null) return { ticket };
    const { serializer, maxValueBytes } = this.options;
    const knows = (codec: number): boolean => (serializer ? codec === serializer.codec : codec <= CODEC.typedJson);
    const opened = open(identity, raw, Date.now(), epoch, maxValueBytes, knows);
    if (!opened) return { ticket, isUnreadable: true };
    try {
      let value: unknown = null;
      if (!opened.isNegative) {
        value = serializer ? serializer.decode(opened.payload) : decodeAny(opened.codec, opened.payload);
      }
      const { created, soft, hard, delta } = opened;
      return { entry: { value, created, soft, hard, delta }, ticket };
    } catch {
      return { ticket, isUnreadable: true };
    }
  }
}

export class SharedKeys extends Shared implements Layout {
  async lookup(exec: Exec, id: KeyId): Promise<Look> {
    const identity = this.identity(id);
    return this.open(identity, bytes((await exec([['GET', identity]]))[0]), 0n, NO_TICKET);
  }

  async lookupMany(exec: Exec, ids: readonly KeyId[]): Promise<Look[]> {
    const identities = ids.map((id) => this.identity(id));
    const [all] = await exec([['MGET', ...identities]]);
    const raws = all instanceof Error ? await exec(identities.map((name) => ['GET', name] as const)) : parts(all);
    return identities.map((identity, i) => this.open(identity, bytes(raws[i]), 0n, NO_TICKET));
  }

  ticket(): Promise<Ticket> {
    return Promise.resolve(NO_TICKET);
  }

  async write(exec: Exec, id: KeyId, entry: Entry): Promise<void> {
    const identity = this.identity(id);
    const sealed = await this.seal(identity, entry, 0n);
    reply((await exec([['SET', identity, sealed, 'PX', leftOf(entry)]], true))[0]);
  }

  async remove(exec: Exec, id: KeyId): Promise<void> {
    reply((await exec([['DEL', this.identity(id)]], true))[0]);
  }
}

function epochOf(raw: Buffer | null): bigint {
  return raw?.length === 8 ? raw.readBigUInt64LE() : 0n;
}

function newEpoch(): Buffer {
  const made = randomBytes(8);
  if (made.every((byte) => byte === 0)) made[0] = 1;
  return made;
}

export class SharedGeneration extends Shared implements Layout {
  /** isListing: keep the names of the group too, so that clearing frees its memory at once. */
  constructor(
    options: LayoutOptions,
    private readonly isListing: boolean,
  ) {
    super(options);
  }

  private get keepMs(): number {
    return Math.max(60_000, 2 * this.options.hardMs);
  }

  async lookup(exec: Exec, id: KeyId): Promise<Look> {
    return (await this.lookupMany(exec, [id]))[0] ?? {};
  }

  async lookupMany(exec: Exec, ids: readonly KeyId[]): Promise<Look[]> {
    const namespace = ids[0]?.namespace ?? '';
    const identities = ids.map((id) => this.identity(id));
    const commands = identities.map((identity) => ['GET', identity] as const);
    const [generation, ...raws] = await exec([['GET', this.of(namespace).generation], ...commands]);
    const epoch = epochOf(bytes(generation));
    if (epoch === 0n) {
      const ticket = await this.make(exec, namespace);
      return ids.map(() => ({ ticket }));
    }
    const ticket = { epoch, bucket: 0 };
    return identities.map((identity, i) => this.open(identity, bytes(raws[i]), epoch, ticket));
  }

  async ticket(exec: Exec, namespace: string): Promise<Ticket> {
    const epoch = epochOf(bytes((await exec([['GET', this.of(namespace).generation]]))[0]));
    return epoch === 0n ? this.make(exec, namespace) : { epoch, bucket: 0 };
  }

  /** Sets a generation unless somebody else was faster. */
  private async make(exec: Exec, namespace: string): Promise<Ticket> {
    const name = this.of(namespace).generation;
    const [set, got] = await exec(
      [
        ['SET', name, newEpoch(), 'PX', this.keepMs, 'NX'],
        ['GET', name],
      ],
      true,
    );
    reply(set);
    const epoch = epochOf(bytes(got));
    if (epoch === 0n) throw new CacheError('server', `${name} holds something else`);
    return { epoch, bucket: 0 };
  }

  async write(exec: Exec, id: KeyId, entry: Entry, ticket: Ticket): Promise<void> {
    const names = this.of(id.namespace);
    const identity = this.identity(id);
    const sealed = await this.seal(identity, entry, ticket.epoch);
    const commands: Command[] = [
      ['SET', identity, sealed, 'PX', leftOf(entry)],
      ['PEXPIRE', names.generation, Math.max(this.keepMs, 2 * Math.round(entry.hard))],
    ];
    if (this.isListing) {
      commands.push(['SADD', names.list, identity], ['PEXPIRE', names.list, this.keepMs]);
    }
    reply((await exec(commands, true))[0]);
  }

  async remove(exec: Exec, id: KeyId): Promise<void> {
    reply((await exec([['DEL', this.identity(id)]], true))[0]);
  }

  clear = async (exec: Exec, namespace: string): Promise<void> => {
    const names = this.of(namespace);
    reply((await exec([['DEL', names.generation]], true))[0]);
    if (!this.isListing) return;
    // What is forgotten here is freed by its own expiry: the generation has made it a miss already.
    for (;;) {
      const [listed] = await exec([['SPOP', names.list, 500]], true);
      const found = parts(listed).filter((name): name is Buffer => Buffer.isBuffer(name));
      if (found.length === 0) return;
      await unlink(exec, found);
    }
  };
}

/** Without field expiry on the server there is no use in asking for it with every write. */
const FIELD_EXPIRY_RETRY_MS = 600_000;

export class SharedHash extends Shared implements Layout {
  private noFieldExpiryUntil = 0;

  private get spanMs(): number {
    return Math.max(60_000, this.options.hardMs);
  }

  private current(): number {
    return Math.floor(Date.now() / this.spanMs);
  }

  async lookup(exec: Exec, id: KeyId): Promise<Look> {
    return (await this.lookupMany(exec, [id]))[0] ?? {};
  }

  async lookupMany(exec: Exec, ids: readonly KeyId[]): Promise<Look[]> {
    const namespace = ids[0]?.namespace ?? '';
    const names = this.of(namespace);
    const bucket = this.current();
    const fields = ids.map((id) => Buffer.from(id.key));
    const [young, old] = await exec([
      ['HMGET', names.bucket(bucket), '', ...fields],
      ['HMGET', names.bucket(bucket - 1), '', ...fields],
    ]);
    const youngParts = parts(young);
    const oldParts = parts(old);
    const birth = epochOf(bytes(youngParts[0]));
    const ticket = birth === 0n ? await this.make(exec, namespace, bucket) : { epoch: birth, bucket };
    const oldBirth = epochOf(bytes(oldParts[0]));
    return ids.map((id, i) => {
      const identity = this.identity(id);
      const look = birth === 0n ? { ticket } : this.open(identity, bytes(youngParts[i + 1]), birth, ticket);
      if (look.entry || oldBirth === 0n) return look;
      return this.open(identity, bytes(oldParts[i + 1]), oldBirth, ticket);
    });
  }

  async ticket(exec: Exec, namespace: string): Promise<Ticket> {
    const bucket = this.current();
    const [raw] = await exec([['HGET', this.of(namespace).bucket(bucket), '']]);
    const epoch = epochOf(bytes(raw));
    return epoch === 0n ? this.make(exec, namespace, bucket) : { epoch, bucket };
  }

  private async make(exec: Exec, namespace: string, bucket: number): Promise<Ticket> {
    const name = this.of(namespace).bucket(bucket);
    const [set, got] = await exec(
      [
        ['HSETNX', name, '', newEpoch()],
        ['HGET', name, ''],
        ['PEXPIRE', name, 3 * this.spanMs],
      ],
      true,
    );
    reply(set);
    const epoch = epochOf(bytes(got));
    if (epoch === 0n) throw new CacheError('server', `${name} holds something else`);
    return { epoch, bucket };
  }

  async write(exec: Exec, id: KeyId, entry: Entry, ticket: Ticket): Promise<void> {
    const name = this.of(id.namespace).bucket(ticket.bucket);
    const sealed = await this.seal(this.identity(id), entry, ticket.epoch);
    const commands: Command[] = [
      ['HSET', name, id.key, sealed],
      ['PEXPIRE', name, 3 * this.spanMs],
    ];
    if (Date.now() >= this.noFieldExpiryUntil) {
      commands.push(['HPEXPIRE', name, leftOf(entry), 'FIELDS', 1, id.key]);
    }
    const [wrote, , fieldExpiry] = await exec(commands, true);
    if (fieldExpiry instanceof Error) this.noFieldExpiryUntil = Date.now() + FIELD_EXPIRY_RETRY_MS;
    reply(wrote);
  }

  async remove(exec: Exec, id: KeyId): Promise<void> {
    const names = this.of(id.namespace);
    const bucket = this.current();
    const commands = [bucket - 1, bucket, bucket + 1].map((n) => ['HDEL', names.bucket(n), id.key] as const);
    for (const outcome of await exec(commands, true)) reply(outcome);
  }

  clear = (exec: Exec, namespace: string): Promise<void> => {
    const names = this.of(namespace);
    const bucket = this.current();
    return unlink(exec, [bucket - 1, bucket, bucket + 1].map((n) => names.bucket(n)));
  };
}

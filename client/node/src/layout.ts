// SPDX-License-Identifier: Apache-2.0
/**
 * How a Redis layer lays out its values: what all layouts have to offer, and what those of
 * docs/stored-format.md (shared with the C library) have in common. layouts-shared.ts has keys and hashes,
 * layouts-epochs.ts generations, fences and tags, layouts-compatible.ts what cache-cache 0.11 writes.
 *
 * A layout knows commands and replies; budgets, breakers and retries are the layer's.
 */
import { randomBytes } from 'node:crypto';
import type { Command, Reply } from './driver';
import type { Outcome } from './endpoint';
import { judge, open, pack, seal } from './envelope';
import { CacheError } from './errors';
import { SharedNames } from './keys';
import type { Entry } from './memory';
import { CODEC, decodeAny, encodeAny, type Serializer } from './serializer';

export interface KeyId {
  namespace: string;
  key: string;
  /** undefined: not known to who asks. */
  tags?: readonly string[] | undefined;
}

/** What has to be known before a loader runs, so that its value can be stored after it. */
export interface Ticket {
  epoch: bigint;
  bucket: number;
  /** A birth to write with the value: it ends what loaders have under way elsewhere. */
  birth?: Buffer;
  /** For a proxy that compares generations itself: those of before the loader; `now`: those of the write. */
  generations?: readonly Buffer[] | 'now';
}

/** What a look is for: the value, a write that follows, or both. A ticket may cost a round trip and memory. */
export type Wants = 'value' | 'ticket' | 'both';

/** What a layer answers: an entry or none; with a ticket, if a write may follow. */
export interface Look {
  entry?: Entry;
  ticket?: Ticket;
  /** There is something, and it cannot be read here. */
  isUnreadable?: boolean;
  /** Nor by anybody else: it is in the way. */
  isBroken?: boolean;
}

/** Sends commands within what is left of a budget. */
export type Exec = (commands: readonly Command[], isWrite?: boolean) => Promise<Outcome[]>;

export interface LayoutOptions {
  prefix: string;
  /** The longest time in ms for which the store keeps a value. */
  hardMs: number;
  maxValueBytes: number;
  compressOver: number;
  compression: 'zlib' | 'zstd';
  /** The first signs, all of them are believed; none: values are not signed. */
  keys: readonly Buffer[];
  serializer: Serializer | undefined;
  /** Whether commands that the client may not know would miss their keys. */
  hasKeyPrefix: boolean;
  /** Whether the time that is left of a value is worth one more command. */
  wantsAge: boolean;
}

export interface Layout {
  lookup(exec: Exec, id: KeyId, wants: Wants): Promise<Look>;
  /** As lookup for many keys of one namespace, in one go. */
  lookupMany(exec: Exec, ids: readonly KeyId[], wants: Wants): Promise<Look[]>;
  /** For a write that no lookup went before, of a value that is newer than all that loaders bring. */
  ticket(exec: Exec, id: KeyId): Promise<Ticket>;
  /** Throws a RangeError if the value is too large. */
  write(exec: Exec, id: KeyId, entry: Entry, ticket: Ticket): Promise<void>;
  remove(exec: Exec, id: KeyId): Promise<void>;
  /** Frees what is broken under this name. Unlike remove it is no invalidation: what loaders bring counts after it. */
  discard(exec: Exec, id: KeyId): Promise<void>;
  /** undefined where the layout knows of no group. */
  clear?: (exec: Exec, namespace: string) => Promise<void>;
  /** Makes misses of all that has this tag. undefined where the layout knows of no tags. */
  dropTag?: (exec: Exec, namespace: string, tag: string) => Promise<void>;
  /** A connection is new: behind it may be another server. */
  reset?: () => void;
}

export const NO_TICKET: Ticket = { epoch: 0n, bucket: 0 };

/** The reply, or the server's error thrown. */
export function reply(outcome: Outcome | undefined): Reply {
  if (outcome instanceof Error) throw new CacheError('server', outcome.message);
  return outcome ?? null;
}

export function bytes(outcome: Outcome | undefined): Buffer | null {
  const got = reply(outcome);
  return Buffer.isBuffer(got) ? got : null;
}

export function parts(outcome: Outcome | undefined): Reply[] {
  const got = reply(outcome);
  return Array.isArray(got) ? got : [];
}

export function isWrongType(outcome: Outcome | undefined): boolean {
  return outcome instanceof Error && outcome.message.startsWith('WRONGTYPE');
}

/** UNLINK frees in the background; where it is not known, DEL does the same work now. */
export async function unlink(exec: Exec, names: Array<string | Buffer>): Promise<void> {
  const [outcome] = await exec([['UNLINK', ...names]], true);
  if (!(outcome instanceof Error)) return;
  reply((await exec([['DEL', ...names]], true))[0]);
}

/** What is left of its time, in ms, for the server: at least 1. */
export function leftOf(entry: Entry): number {
  return Math.max(1, Math.round(entry.created + entry.hard - Date.now()));
}

export function epochOf(raw: Buffer | null): bigint {
  return raw?.length === 8 ? raw.readBigUInt64LE() : 0n;
}

export function newEpoch(): Buffer {
  const made = randomBytes(8);
  if (made.every((byte) => byte === 0)) made[0] = 1;
  return made;
}

/** What all layouts of docs/stored-format.md have in common: names and values. */
export abstract class Shared {
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
    const { serializer, maxValueBytes, compressOver, compression, keys } = this.options;
    const isNegative = entry.value === null;
    // With the codec of the others, though it has no payload: for readers that are older than the rule to ignore it.
    let made = { codec: serializer?.codec ?? (CODEC.bytes as number), bytes: Buffer.alloc(0) as Buffer };
    if (!isNegative && serializer) {
      made = { codec: serializer.codec, bytes: Buffer.from(serializer.encode(entry.value) as string) };
    } else if (!isNegative) {
      made = encodeAny(entry.value);
    }
    if (made.bytes.length > maxValueBytes) throw new RangeError('value too large');
    const { created, soft, hard, delta } = entry;
    const header = { created, soft, hard, delta, epoch, codec: made.codec, isNegative };
    const packed = made.bytes.length > compressOver ? await pack(made.bytes, compression) : undefined;
    return seal(identity, header, made.bytes, packed, keys[0]);
  }

  protected open(identity: Buffer, raw: Buffer | null, epoch: bigint, ticket: Ticket): Look {
    if (raw === null) return { ticket };
    const { serializer, maxValueBytes, keys } = this.options;
    const knows = (codec: number): boolean => (serializer ? codec === serializer.codec : codec <= CODEC.typedJson);
    const now = Date.now();
    const opened = open(identity, raw, now, epoch, maxValueBytes, knows, keys);
    if (!opened) {
      const what = judge(identity, raw, now, epoch);
      return what === 'over' ? { ticket } : { ticket, isUnreadable: true, isBroken: what === 'broken' };
    }
    try {
      let value: unknown = null;
      if (!opened.isNegative) {
        value = serializer ? serializer.decode(opened.payload) : decodeAny(opened.codec, opened.payload);
      }
      const { created, soft, hard, delta } = opened;
      return { entry: { value, created, soft, hard, delta }, ticket };
    } catch {
      return { ticket, isUnreadable: true, isBroken: true };
    }
  }
}


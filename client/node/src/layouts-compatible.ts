// SPDX-License-Identifier: Apache-2.0
/** The layouts of cache-cache 0.11: plain keys and one hash, with bare JSON as values. */
import type { Command, Reply } from './driver';
import type { Outcome } from './endpoint';
import { FieldExpiry } from './field-expiry';
import {
  bytes,
  isWrongType,
  leftOf,
  NO_TICKET,
  parts,
  reply,
  unlink,
  type Exec,
  type KeyId,
  type Layout,
  type LayoutOptions,
  type Look,
  type Ticket,
} from './layout';
import type { Entry } from './memory';
import { decodeTyped, encodeTyped } from './serializer';

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
      return { ticket: NO_TICKET, isUnreadable: true, isBroken: true };
    }
  }

  ticket(): Promise<Ticket> {
    return Promise.resolve(NO_TICKET);
  }
}

function compatibleName(...names: string[]): string {
  return names.filter((name) => name !== '').join(':');
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

  async discard(exec: Exec, id: KeyId): Promise<void> {
    // With neither of the two any key of the server has a name of ours: it may be somebody else's, and well.
    if (id.namespace !== '' || this.options.prefix !== '') await this.remove(exec, id);
  }
}

/**
 * One hash for a group, and beside each field another one with the time at which it ends: so each field ends in
 * time on every server, and those who know nothing of it (cache-cache itself) read on as before.
 */
export class CompatibleHash extends Compatible implements Layout {
  private readonly fieldExpiry = new FieldExpiry(this.options.hasKeyPrefix);

  reset = (): void => this.fieldExpiry.reset();

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
    const pairs = [id.key, this.encode(entry.value), CompatibleHash.endOf(id.key), Date.now() + left];
    // Together they never shorten the life of the group, and never leave it without an end.
    const keep: Command[] = [
      ['PEXPIRE', name, group, 'NX'],
      ['PEXPIRE', name, group, 'GT'],
    ];
    const write = (): Promise<Outcome[]> => this.fieldExpiry.write(exec, name, pairs, left, keep);
    let [wrote, ...kept] = await write();
    if (isWrongType(wrote)) {
      await unlink(exec, [name]);
      [wrote, ...kept] = await write();
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

  discard(exec: Exec, id: KeyId): Promise<void> {
    return this.remove(exec, id);
  }

  clear = (exec: Exec, namespace: string): Promise<void> => unlink(exec, [this.name(namespace)]);
}


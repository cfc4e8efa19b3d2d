// SPDX-License-Identifier: Apache-2.0
/**
 * Of docs/stored-format.md: values that count only while their *epoch* holds. It is made of random
 * numbers that are read before the loader runs (the generation of the store, those of tags, the birth of
 * the key itself), and one of them is removed to invalidate. What was loaded before and is stored after
 * carries the old epoch: a miss, whichever process stores it.
 */
import type { Command } from './driver';
import type { Outcome } from './endpoint';
import { CacheError } from './errors';
import {
  bytes,
  epochOf,
  leftOf,
  newEpoch,
  parts,
  reply,
  Shared,
  unlink,
  type Exec,
  type KeyId,
  type Layout,
  type LayoutOptions,
  type Look,
  type Ticket,
  type Wants,
} from './layout';
import type { Entry } from './memory';

export interface EpochOptions {
  /** Whether all values share a generation, so that they can be cleared. */
  isGroup: boolean;
  /** Keep the names of the group too, so that clearing frees its memory at once. */
  isListing: boolean;
  /** Keep each value in a hash of its own, beside its birth. */
  isFenced: boolean;
}

/** So many births are made at a time: each takes three commands. */
const BIRTHS_MAX = 100;

export class SharedEpochs extends Shared implements Layout {
  clear?: (exec: Exec, namespace: string) => Promise<void>;

  constructor(
    options: LayoutOptions,
    protected readonly is: EpochOptions,
  ) {
    super(options);
    if (is.isGroup) this.clear = (exec, namespace) => this.clearAll(exec, namespace);
  }

  /** The keys that hold the generations of id's value. */
  protected generationsOf(id: KeyId): string[] {
    return this.is.isGroup ? [this.of(id.namespace).generation] : [];
  }

  protected get keepMs(): number {
    return Math.max(60_000, 2 * this.options.hardMs);
  }

  private fenced(id: KeyId): Buffer {
    return this.of(id.namespace).fenced(Buffer.from(id.key));
  }

  async lookup(exec: Exec, id: KeyId, wants: Wants): Promise<Look> {
    return (await this.lookupMany(exec, [id], wants))[0] ?? {};
  }

  async lookupMany(exec: Exec, ids: readonly KeyId[], wants: Wants): Promise<Look[]> {
    const names = ids.map((id) => this.generationsOf(id));
    const distinct = [...new Set(names.flat())];
    const values = ids.flatMap((id): Command[] => {
      if (this.is.isFenced) return [['HMGET', this.fenced(id), '', ...(wants === 'ticket' ? [] : ['v'])]];
      return wants === 'ticket' ? [] : [['GET', this.identity(id)]];
    });
    const outcomes = await exec([...distinct.map((name): Command => ['GET', name]), ...values]);
    const generations = new Map(distinct.map((name, i) => [name, epochOf(bytes(outcomes[i]))]));
    const found = ids.map((_, i) => this.found(outcomes[distinct.length + i]));
    const looks = ids.map((id, i): Look => {
      const epoch = this.epoch(names[i] as string[], generations, found[i]?.birth);
      if (epoch === undefined) return {};
      return this.open(this.identity(id), found[i]?.raw ?? null, epoch, { epoch, bucket: 0 });
    });
    if (wants === 'value') return looks;
    const lacking = looks.map((_, i) => i).filter((i) => !looks[i]?.ticket);
    try {
      for (let at = 0; at < lacking.length; at += BIRTHS_MAX) {
        await this.make(exec, lacking.slice(at, at + BIRTHS_MAX), ids, names, generations, looks);
      }
    } catch (error) {
      // Without tickets nothing of these is stored; what has been found is found.
      if (!looks.some((look) => look.entry)) throw error;
    }
    return looks;
  }

  /** What the server has of one value. */
  private found(outcome: Outcome | undefined): { raw: Buffer | null; birth: bigint } {
    if (!this.is.isFenced) return { raw: bytes(outcome), birth: 0n };
    const [birth, raw] = parts(outcome);
    return { raw: bytes(raw), birth: epochOf(bytes(birth)) };
  }

  /** undefined: a part of it is not there. */
  private epoch(names: readonly string[], generations: Map<string, bigint>, birth = 0n): bigint | undefined {
    if (this.is.isFenced && birth === 0n) return undefined;
    let epoch = birth;
    for (const name of names) {
      const generation = generations.get(name);
      if (!generation) return undefined;
      epoch ^= generation;
    }
    return epoch;
  }

  /** Sets what is missing, unless somebody else was faster, and gives tickets. */
  private async make(
    exec: Exec,
    which: readonly number[],
    ids: readonly KeyId[],
    names: readonly string[][],
    generations: Map<string, bigint>,
    looks: Look[],
  ): Promise<void> {
    const missing = [...new Set(which.flatMap((i) => names[i] as string[]))].filter((name) => !generations.get(name));
    const hashes = this.is.isFenced ? which.map((i) => this.fenced(ids[i] as KeyId)) : [];
    const commands: Command[] = [];
    for (const name of missing) {
      commands.push(['SET', name, newEpoch(), 'PX', this.keepMs, 'NX'], ['GET', name]);
    }
    for (const name of hashes) {
      commands.push(['HSETNX', name, '', newEpoch()], ['HGET', name, ''], ['PEXPIRE', name, this.keepMs]);
    }
    const outcomes = await exec(commands, true);
    missing.forEach((name, at) => generations.set(name, this.made(outcomes, 2 * at, name)));
    which.forEach((i, at) => {
      const from = 2 * missing.length + 3 * at;
      const birth = this.is.isFenced ? this.made(outcomes, from, String(hashes[at])) : 0n;
      const epoch = this.epoch(names[i] as string[], generations, birth);
      if (epoch !== undefined) looks[i] = { ...looks[i], ticket: { epoch, bucket: 0 } };
    });
  }

  private made(outcomes: readonly Outcome[], at: number, name: string): bigint {
    reply(outcomes[at]);
    const epoch = epochOf(bytes(outcomes[at + 1]));
    if (epoch === 0n) throw new CacheError('server', `${name} holds something else`);
    return epoch;
  }

  async ticket(exec: Exec, id: KeyId): Promise<Ticket> {
    if (!this.is.isFenced) return (await this.lookup(exec, id, 'ticket')).ticket as Ticket;
    // A new birth goes with the value, and nobody's loader has seen it.
    const birth = newEpoch();
    const names = this.generationsOf(id);
    const generations = new Map<string, bigint>();
    if (names.length > 0) {
      const outcomes = await exec(names.flatMap((name): Command[] => [
        ['SET', name, newEpoch(), 'PX', this.keepMs, 'NX'],
        ['GET', name],
      ]), true);
      names.forEach((name, at) => generations.set(name, this.made(outcomes, 2 * at, name)));
    }
    return { epoch: this.epoch(names, generations, epochOf(birth)) as bigint, bucket: 0, birth };
  }

  async write(exec: Exec, id: KeyId, entry: Entry, ticket: Ticket): Promise<void> {
    const identity = this.identity(id);
    const sealed = await this.seal(identity, entry, ticket.epoch);
    const commands: Command[] = [];
    const name = this.is.isFenced ? this.fenced(id) : identity;
    if (this.is.isFenced) {
      const birth = ticket.birth ? ['', ticket.birth] : [];
      commands.push(['HSET', name, ...birth, 'v', sealed], ['PEXPIRE', name, leftOf(entry)]);
    } else {
      commands.push(['SET', name, sealed, 'PX', leftOf(entry)]);
    }
    const keep = Math.max(this.keepMs, 2 * Math.round(entry.hard));
    for (const generation of this.generationsOf(id)) commands.push(['PEXPIRE', generation, keep]);
    if (this.is.isListing) {
      const { list } = this.of(id.namespace);
      commands.push(['SADD', list, name], ['PEXPIRE', list, this.keepMs]);
    }
    reply((await exec(commands, true))[0]);
  }

  async remove(exec: Exec, id: KeyId): Promise<void> {
    reply((await exec([['DEL', this.is.isFenced ? this.fenced(id) : this.identity(id)]], true))[0]);
  }

  async discard(exec: Exec, id: KeyId): Promise<void> {
    // The birth of a fence stays, for those who are loading.
    const free: Command = this.is.isFenced ? ['HDEL', this.fenced(id), 'v'] : ['DEL', this.identity(id)];
    reply((await exec([free], true))[0]);
  }

  protected async clearAll(exec: Exec, namespace: string): Promise<void> {
    const names = this.of(namespace);
    reply((await exec([['DEL', names.generation]], true))[0]);
    if (!this.is.isListing) return;
    // What is forgotten here is freed by its own expiry: the generation has made it a miss already.
    for (;;) {
      const [listed] = await exec([['SPOP', names.list, 500]], true);
      const found = parts(listed).filter((name): name is Buffer => Buffer.isBuffer(name));
      if (found.length === 0) return;
      await unlink(exec, found);
    }
  }
}

// SPDX-License-Identifier: Apache-2.0
/** Of docs/stored-format.md: single keys, and groups in a hash. */
import type { Command } from './driver';
import {
  bytes,
  epochOf,
  leftOf,
  newEpoch,
  NO_TICKET,
  parts,
  reply,
  Shared,
  unlink,
  type Exec,
  type KeyId,
  type Layout,
  type Look,
  type Ticket,
} from './layout';
import { CacheError } from './errors';
import { FieldExpiry } from './field-expiry';
import type { Entry } from './memory';

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

  discard(exec: Exec, id: KeyId): Promise<void> {
    return this.remove(exec, id);
  }
}

export class SharedHash extends Shared implements Layout {
  private readonly fieldExpiry = new FieldExpiry(this.options.hasKeyPrefix);

  reset = (): void => this.fieldExpiry.reset();

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
      const before = this.open(identity, bytes(oldParts[i + 1]), oldBirth, ticket);
      return look.isUnreadable && !before.entry ? look : before;
    });
  }

  async ticket(exec: Exec, { namespace }: KeyId): Promise<Ticket> {
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
    const keep: Command = ['PEXPIRE', name, 3 * this.spanMs];
    const [wrote] = await this.fieldExpiry.write(exec, name, [id.key, sealed], leftOf(entry), [keep]);
    reply(wrote);
  }

  async remove(exec: Exec, id: KeyId): Promise<void> {
    const names = this.of(id.namespace);
    const bucket = this.current();
    const commands = [bucket - 1, bucket, bucket + 1].map((n) => ['HDEL', names.bucket(n), id.key] as const);
    for (const outcome of await exec(commands, true)) reply(outcome);
  }

  discard(exec: Exec, id: KeyId): Promise<void> {
    return this.remove(exec, id);
  }

  clear = (exec: Exec, namespace: string): Promise<void> => {
    const names = this.of(namespace);
    const bucket = this.current();
    return unlink(exec, [bucket - 1, bucket, bucket + 1].map((n) => names.bucket(n)));
  };
}

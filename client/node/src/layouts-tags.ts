// SPDX-License-Identifier: Apache-2.0
/**
 * Of docs/stored-format.md: values with tags. A sumcache proxy keeps values and generations side by side and
 * compares them itself (SUMCACHE.SET, GET, TAGS, INVALIDATE): one round trip for a read, whoever asks. On any
 * other server the generations of the tags are part of the epoch, as that of the store is; a read then has to
 * say which tags the value was stored with.
 *
 * Which of the two it is shows at the first command that the server does not know, anew for each connection.
 */
import type { Command } from './driver';
import type { Outcome } from './endpoint';
import { CacheError } from './errors';
import { bytes, leftOf, parts, reply, type Exec, type KeyId, type Look, type Ticket, type Wants } from './layout';
import { SharedEpochs } from './layouts-epochs';
import type { Entry } from './memory';

/** Other stores use the same tags, and their values may live longer than ours: a day at least. */
const KEEP_MS = 86_400_000;

function isUnknownCommand(error: unknown): boolean {
  return error instanceof CacheError && error.reason === 'server' && /unknown command/i.test(error.message);
}

export class SharedTags extends SharedEpochs {
  /** Whether the server has no tags, so that they are kept here. */
  private isOwn = false;

  protected override get keepMs(): number {
    return Math.max(KEEP_MS, 2 * this.options.hardMs);
  }

  protected override generationsOf(id: KeyId): string[] {
    const names = this.of(id.namespace);
    return [names.generation, ...(id.tags ?? []).map((tag) => names.tag(tag))];
  }

  /** What the proxy is told as tags. */
  private tagsOf(id: KeyId): string[] {
    const fence = this.is.isFenced ? [String(this.of(id.namespace).fenced(Buffer.from(id.key)))] : [];
    return [...this.generationsOf(id), ...fence];
  }

  private kept(id: KeyId): Buffer {
    return this.of(id.namespace).tagged(Buffer.from(id.key));
  }

  private async either<T>(byProxy: () => Promise<T>, byUs: () => Promise<T>): Promise<T> {
    if (!this.isOwn) {
      try {
        return await byProxy();
      } catch (error) {
        if (!isUnknownCommand(error)) throw error;
        this.isOwn = true;
      }
    }
    return byUs();
  }

  reset = (): void => {
    this.isOwn = false;
  };

  override lookupMany(exec: Exec, ids: readonly KeyId[], wants: Wants): Promise<Look[]> {
    return this.either(
      () => this.lookAtProxy(exec, ids, wants),
      () => super.lookupMany(exec, ids, wants),
    );
  }

  private async lookAtProxy(exec: Exec, ids: readonly KeyId[], wants: Wants): Promise<Look[]> {
    let looks: Look[] = ids.map(() => ({}));
    if (wants !== 'ticket') {
      const outcomes = await exec(ids.map((id): Command => ['SUMCACHE.GET', this.kept(id)]));
      looks = ids.map((id, i) => {
        const { ticket: _, ...look } = this.open(this.identity(id), bytes(outcomes[i]), 0n, { epoch: 0n, bucket: 0 });
        return look;
      });
    }
    if (wants === 'value') return looks;
    const now = Date.now();
    const isFresh = ({ entry }: Look): boolean => entry !== undefined && now < entry.created + entry.soft;
    const which = looks.map((_, i) => i).filter((i) => !isFresh(looks[i] as Look));
    if (which.length === 0) return looks;
    try {
      const commands = which.map((i): Command => ['SUMCACHE.TAGS', ...this.tagsOf(ids[i] as KeyId)]);
      const outcomes = await exec(commands, true);
      which.forEach((i, at) => (looks[i] = { ...looks[i], ticket: ticketOf(outcomes[at]) }));
    } catch (error) {
      if (!looks.some((look) => look.entry)) throw error;
    }
    return looks;
  }

  override ticket(exec: Exec, id: KeyId): Promise<Ticket> {
    const byProxy = async (): Promise<Ticket> => {
      if (this.is.isFenced) reply((await exec([['SUMCACHE.INVALIDATE', this.tagsOf(id).at(-1) as string]], true))[0]);
      return { epoch: 0n, bucket: 0, generations: 'now' };
    };
    return this.either(byProxy, () => super.ticket(exec, id));
  }

  override async write(exec: Exec, id: KeyId, entry: Entry, ticket: Ticket): Promise<void> {
    const { generations } = ticket;
    if (!generations) return super.write(exec, id, entry, ticket);
    const sealed = await this.seal(this.identity(id), entry, 0n);
    const of = generations === 'now' ? [] : ['GENERATIONS', ...generations];
    const set: Command = ['SUMCACHE.SET', this.kept(id), sealed, 'PX', leftOf(entry), 'TAGS', ...this.tagsOf(id), ...of];
    const byUs = async (): Promise<void> => {
      // A loader's ticket of another kind of server is worth nothing here.
      if (generations !== 'now') throw new CacheError('server', 'the server is another one than before');
      return super.write(exec, id, entry, await super.ticket(exec, id));
    };
    return this.either(async () => void reply((await exec([set], true))[0]), byUs);
  }

  override async remove(exec: Exec, id: KeyId): Promise<void> {
    if (this.is.isFenced) {
      const invalidate: Command = ['SUMCACHE.INVALIDATE', this.tagsOf(id).at(-1) as string];
      await this.either(async () => void reply((await exec([invalidate], true))[0]), () => Promise.resolve());
    }
    // DEL says nothing of what the server is: both names, then.
    reply((await exec([['DEL', this.kept(id)]], true))[0]);
    await super.remove(exec, id);
  }

  override async discard(exec: Exec, id: KeyId): Promise<void> {
    if (this.isOwn) return super.discard(exec, id);
    reply((await exec([['DEL', this.kept(id)]], true))[0]);
  }

  dropTag = (exec: Exec, namespace: string, tag: string): Promise<void> =>
    this.drop(exec, this.of(namespace).tag(tag));

  protected override clearAll(exec: Exec, namespace: string): Promise<void> {
    return this.drop(exec, this.of(namespace).generation);
  }

  private drop(exec: Exec, generation: string): Promise<void> {
    const run = async (command: Command): Promise<void> => void reply((await exec([command], true))[0]);
    return this.either(
      () => run(['SUMCACHE.INVALIDATE', generation]),
      () => run(['DEL', generation]),
    );
  }
}

function ticketOf(outcome: Outcome | undefined): Ticket {
  const generations = parts(outcome).filter((one): one is Buffer => Buffer.isBuffer(one));
  return { epoch: 0n, bucket: 0, generations };
}

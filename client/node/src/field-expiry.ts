// SPDX-License-Identifier: Apache-2.0
/**
 * Fields of a hash, each with an expiry of its own where the server has that: HSETEX (Redis 8, Valkey 9), else
 * HPEXPIRE (Redis 7.4), else none. It frees memory in time, and nothing depends on it: the end of a value is
 * written in the value.
 */
import type { Argument, Command } from './driver';
import type { Exec } from './layout';
import type { Outcome } from './endpoint';

const WAYS = ['HSETEX', 'HPEXPIRE', 'none'] as const;
/** Behind a proxy nodes differ, and they are upgraded: what one of them did not know is asked again. */
const RETRY_MS = 600_000;

function isUnknown(outcome: Outcome | undefined): boolean {
  return outcome instanceof Error && /^(ERR unknown command|NOPERM)/i.test(outcome.message);
}

export class FieldExpiry {
  private way: number;
  private retryAt = 0;
  private readonly first: number;

  /** isOff: never ask for it. */
  constructor(isOff: boolean) {
    this.way = this.first = isOff ? WAYS.indexOf('none') : 0;
  }

  /** A connection is new: the server may be too. */
  reset(): void {
    this.way = this.first;
  }

  /**
   * Sets the fields, which end in leftMs, and runs the other commands behind it. Gives the outcome of the write, and
   * those of the others. pairs: field, value, field, value, …
   */
  async write(
    exec: Exec,
    name: string,
    pairs: readonly Argument[],
    leftMs: number,
    others: readonly Command[],
  ): Promise<Outcome[]> {
    if (Date.now() >= this.retryAt) this.way = this.first;
    if (WAYS[this.way] === 'HSETEX') {
      const hsetex: Command = ['HSETEX', name, 'PX', leftMs, 'FIELDS', pairs.length / 2, ...pairs];
      const outcomes = await exec([hsetex, ...others], true);
      if (!isUnknown(outcomes[0])) return outcomes;
      this.giveUp();
    }
    const hset: Command = ['HSET', name, ...pairs];
    if (WAYS[this.way] === 'none') return exec([hset, ...others], true);
    const fields = pairs.filter((_, i) => i % 2 === 0);
    const hpexpire: Command = ['HPEXPIRE', name, leftMs, 'FIELDS', fields.length, ...fields];
    const [wrote, expires, ...rest] = await exec([hset, hpexpire, ...others], true);
    if (isUnknown(expires)) this.giveUp();
    return [wrote ?? null, ...rest];
  }

  private giveUp(): void {
    this.way = Math.min(this.way + 1, WAYS.length - 1);
    this.retryAt = Date.now() + RETRY_MS;
  }
}

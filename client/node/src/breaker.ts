// SPDX-License-Identifier: Apache-2.0
/**
 * Decides whether the server is worth a call at this moment.
 *
 * It opens for two reasons. *Silence*: a whole budget passed and no byte of any reply came; then the
 * connection as a whole hangs, and waiting once more would cost the next caller the same again. The
 * first byte that comes after all closes it at once, so that a pause of 60 ms costs 10 ms of misses.
 * *Ratio*: too many of the last calls failed, though some were answered; then only time and a probe
 * close it.
 *
 * While it is open no caller pays for finding out: a probe in the background does (`onProbe`), each
 * time later than the last.
 */
export interface BreakerOptions {
  /** Calls that the ratio is taken over. */
  window?: number;
  /** Share of failed calls, 0 to 1, at which it opens. */
  failureRatio?: number;
  /** With fewer calls than this in the window the ratio says nothing. */
  minCalls?: number;
  /** Time in ms until the first probe; each further one comes twice as late. */
  openMs?: number;
  /** The longest time in ms between two probes. */
  maxOpenMs?: number;
}

export type BreakerState = 'closed' | 'open';

export class Breaker {
  private readonly options: Required<BreakerOptions>;
  private readonly onChange: (state: BreakerState, reason: string) => void;
  private readonly onProbe: () => void;
  /** A ring of the last calls: 1 failed, 0 went well. */
  private readonly calls: Uint8Array;
  private next = 0;
  private count = 0;
  private failed = 0;
  private openMs: number;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private openedBySilence = false;
  private closed = true;
  opens = 0;

  /** onChange is told of each change once. onProbe has to end in `probed` sooner or later. */
  constructor(
    options: BreakerOptions,
    onChange: (state: BreakerState, reason: string) => void,
    onProbe: () => void,
  ) {
    this.options = {
      window: options.window ?? 20,
      failureRatio: options.failureRatio ?? 0.5,
      minCalls: options.minCalls ?? 5,
      openMs: options.openMs ?? 500,
      maxOpenMs: options.maxOpenMs ?? 10_000,
    };
    this.calls = new Uint8Array(Math.max(1, this.options.window));
    this.openMs = this.options.openMs;
    this.onChange = onChange;
    this.onProbe = onProbe;
  }

  get state(): BreakerState {
    return this.closed ? 'closed' : 'open';
  }

  get isClosed(): boolean {
    return this.closed;
  }

  /** A call was answered in time. */
  succeeded(): void {
    this.record(0);
    if (!this.closed && this.openedBySilence) this.close('answered');
  }

  /** A call failed, but the connection is alive. */
  failedOnce(): void {
    this.record(1);
    const enough = this.count >= Math.min(this.options.minCalls, this.calls.length);
    if (this.closed && enough && this.failed >= this.options.failureRatio * this.count) {
      this.open('too many failures', false);
    }
  }

  /** A whole budget passed without a byte. */
  silent(): void {
    this.record(1);
    if (this.closed) this.open('silent', true);
  }

  /** A reply came too late for its caller: it says that the server lives. */
  heard(): void {
    if (!this.closed && this.openedBySilence) this.close('answered late');
  }

  /** How the probe went. */
  probed(wasAnswered: boolean): void {
    if (this.closed) return;
    if (wasAnswered) {
      this.close('probe answered');
    } else {
      this.openMs = Math.min(this.openMs * 2, this.options.maxOpenMs);
      this.arm();
    }
  }

  /** Ends its timer. */
  stop(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
  }

  private record(failure: 0 | 1): void {
    if (this.count === this.calls.length) this.failed -= this.calls[this.next] ?? 0;
    else this.count++;
    this.calls[this.next] = failure;
    this.failed += failure;
    this.next = (this.next + 1) % this.calls.length;
  }

  private open(reason: string, bySilence: boolean): void {
    this.closed = false;
    this.openedBySilence = bySilence;
    this.opens++;
    this.arm();
    this.onChange('open', reason);
  }

  private close(reason: string): void {
    this.closed = true;
    this.openMs = this.options.openMs;
    this.count = this.failed = this.next = 0;
    this.stop();
    this.onChange('closed', reason);
  }

  private arm(): void {
    clearTimeout(this.timer);
    // Up to a quarter later, so that a hundred processes do not probe a sick server in step.
    this.timer = setTimeout(() => this.onProbe(), this.openMs * (1 + Math.random() / 4));
    this.timer.unref();
  }
}

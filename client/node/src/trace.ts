// SPDX-License-Identifier: Apache-2.0
/**
 * Spans for OpenTelemetry, or for anything that has its shape: no dependency. What a tracer throws is swallowed,
 * and the work that it was to trace runs exactly once, whatever the tracer does.
 */

/** What is used of a span. */
export interface TraceSpan {
  setAttribute(name: string, value: string | number | boolean): unknown;
  setStatus(status: { code: number; message?: string }): unknown;
  recordException(error: Error): void;
  end(): void;
}

/** What is used of a tracer: `trace.getTracer('sumcache')` of @opentelemetry/api is one. */
export interface Tracer {
  startActiveSpan<T>(
    name: string,
    options: { kind?: number; attributes?: Record<string, string | number | boolean> },
    work: (span: any) => T,
  ): T;
}

/** SpanKind and SpanStatusCode of OpenTelemetry. */
export const KIND = { internal: 0, client: 2 } as const;
const STATUS_ERROR = 2;

/** A span that cannot throw; without one behind it, nothing happens. */
export class Span {
  constructor(private readonly span?: TraceSpan) {}

  set(name: string, value: string | number | boolean): void {
    this.try((span) => span.setAttribute(`sumcache.${name}`, value));
  }

  fail(error: unknown): void {
    const known = error instanceof Error ? error : new Error(String(error));
    this.try((span) => span.recordException(known));
    this.try((span) => span.setStatus({ code: STATUS_ERROR, message: known.message }));
  }

  end(): void {
    this.try((span) => span.end());
  }

  private try(what: (span: TraceSpan) => unknown): void {
    if (!this.span) return;
    try {
      what(this.span);
    } catch {
      // a tracer's trouble is not the call's
    }
  }
}

const NO_SPAN = new Span();

export interface Traced {
  name: string;
  kind: number;
  attributes: Record<string, string | number | boolean>;
}

/** Runs work within a span that ends with it. */
export function traced<T>(
  tracer: Tracer | undefined,
  { name, kind, attributes }: Traced,
  work: (span: Span) => Promise<T>,
): Promise<T> {
  if (!tracer) return work(NO_SPAN);
  let running: Promise<T> | undefined;
  const run = async (span: Span): Promise<T> => {
    try {
      return await work(span);
    } catch (error) {
      span.fail(error);
      throw error;
    } finally {
      span.end();
    }
  };
  try {
    void tracer.startActiveSpan(name, { kind, attributes }, (span: TraceSpan) => (running ??= run(new Span(span))));
  } catch {
    // it has run all the same, or does so now
  }
  return (running ??= run(NO_SPAN));
}

const NOT_TRACED: Traced = { name: '', kind: KIND.internal, attributes: {} };

/** The spans of one store. Keys are not in them: they may be somebody's data. */
export class Tracing {
  constructor(
    private readonly name: string | undefined,
    private readonly tracer: () => Tracer | undefined,
  ) {}

  /** Work within a span, if there is a tracer. */
  run<T>(
    what: 'call' | 'many' | 'lookup' | 'load' | 'store' | 'invalidate',
    namespace: string | undefined,
    work: (span: Span) => Promise<T>,
  ): Promise<T> {
    const tracer = this.tracer();
    if (!tracer) return traced(undefined, NOT_TRACED, work);
    const attributes: Record<string, string> = {};
    if (this.name !== undefined) attributes['sumcache.function'] = this.name;
    if (namespace !== undefined) attributes['sumcache.namespace'] = namespace;
    const isRemote = what === 'lookup' || what === 'store' || what === 'invalidate';
    if (isRemote) attributes['db.system.name'] = 'redis';
    const kind = isRemote ? KIND.client : KIND.internal;
    return traced(tracer, { name: `sumcache.${what}`, kind, attributes }, work);
  }
}

// SPDX-License-Identifier: Apache-2.0
// Spans, with the real OpenTelemetry; and a timeout that follows what the server usually takes.
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import { closeConnections, getMemoize, getStore } from '../dist/index.mjs';
import { require, SLOWNESS, sleep, startFake, startRedis, timed, until } from './helpers.mjs';

const { context, trace, SpanKind, SpanStatusCode } = require('@opentelemetry/api');
const { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } = require('@opentelemetry/sdk-trace-base');
const { AsyncLocalStorageContextManager } = require('@opentelemetry/context-async-hooks');
const { Recent } = require('../dist/stats.js');

describe('tracing', () => {
  const exporter = new InMemorySpanExporter();
  const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
  const tracer = provider.getTracer('sumcache');
  let server;
  before(async () => {
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
    server = await startRedis();
  });
  after(async () => {
    context.disable();
    closeConnections();
    await provider.shutdown();
    await server.stop();
  });
  beforeEach(() => exporter.reset());

  const named = (name) => exporter.getFinishedSpans().filter((span) => span.name === name);
  const options = (more = {}, redis = {}) => ({
    layerConfigs: { MEMORY: { ttl: 5000 }, REDIS: { ttl: 60000, redisClient: server.url, ...redis } },
    layerOrder: ['MEMORY', 'REDIS'],
    setMode: 'await',
    budgetMs: 1000,
    tracer,
    ...more,
  });

  it('a call, what it looked up, loaded and stored; what the function does is below it', async () => {
    const getUser = getMemoize(async function getUser(id) {
      tracer.startSpan('SELECT').end();
      return { id, secret: 'of 7' };
    }, options());
    await tracer.startActiveSpan('request', async (span) => {
      await getUser(7);
      span.end();
    });
    const [[request], [call], [lookup], [load], [store], [select]] = ['request', 'sumcache.call', 'sumcache.lookup', 'sumcache.load', 'sumcache.store', 'SELECT'].map(named);
    const parent = (span) => span.parentSpanContext?.spanId;
    assert.equal(parent(call), request.spanContext().spanId);
    for (const span of [lookup, load, store]) assert.equal(parent(span), call.spanContext().spanId, span.name);
    assert.equal(parent(select), load.spanContext().spanId);
    assert.deepEqual(call.attributes, { 'sumcache.function': 'getUser', 'sumcache.outcome': 'miss' });
    assert.equal(lookup.kind, SpanKind.CLIENT);
    assert.equal(lookup.attributes['db.system.name'], 'redis');
    assert.equal(call.status.code, SpanStatusCode.UNSET);
    assert.ok(!JSON.stringify(exporter.getFinishedSpans().map((span) => span.attributes)).includes('of 7'));
    exporter.reset();
    await getUser(7);
    assert.equal(exporter.getFinishedSpans().length, 0, 'a hit in memory makes none');
    const again = getMemoize(getUser, options({ name: 'getUser' }, { prefix: 'getUser' }));
    await again(7);
    const { attributes } = named('sumcache.call')[0];
    assert.deepEqual([attributes['sumcache.outcome'], attributes['sumcache.layer']], ['hit', 'REDIS']);
    await again.invalidate(7);
    assert.equal(named('sumcache.invalidate').length, 1);
  });

  it('outcomes: joined, stale, fresh, many, and a function that fails', async () => {
    let fails = false;
    const read = getMemoize(async function read(id) {
      await sleep(5);
      if (fails) throw new Error('the database is away');
      return id;
    }, options({ stale: 60000, jitter: 0 }, { ttl: 40 }));
    await Promise.all([read(1), read(1)]);
    assert.deepEqual(named('sumcache.call').map((span) => span.attributes['sumcache.outcome']).sort(), ['joined', 'miss']);
    await read.store.layers[0].store.clear();
    await sleep(60);
    exporter.reset();
    assert.equal(await read(1), 1);
    assert.equal(named('sumcache.call')[0].attributes['sumcache.outcome'], 'stale');
    await until(() => named('sumcache.load').length === 1, 'the refresh has a span as well');
    await read.fresh(1);
    assert.equal(named('sumcache.call').at(-1).attributes['sumcache.outcome'], 'fresh');
    exporter.reset();
    await read.many([[1], [2]]);
    assert.deepEqual(named('sumcache.many')[0].attributes, { 'sumcache.function': 'read', 'sumcache.calls': 2, 'sumcache.hits': 1 });
    fails = true;
    await assert.rejects(read(3), /away/);
    for (const name of ['sumcache.load', 'sumcache.call']) {
      const span = named(name).at(-1);
      assert.equal(span.status.code, SpanStatusCode.ERROR);
      assert.equal(span.events[0].attributes['exception.message'], 'the database is away');
    }
  });

  it('a server that is away: the look-up fails, the call does not', async () => {
    const read = getMemoize(async function away() {
      return 1;
    }, options({}, { redisClient: 'redis://127.0.0.1:1' }));
    assert.equal(await read(), 1);
    assert.equal(named('sumcache.lookup')[0].status.code, SpanStatusCode.ERROR);
    const [call] = named('sumcache.call');
    assert.equal(call.status.code, SpanStatusCode.UNSET);
    assert.equal(call.attributes['sumcache.cause'], 'offline');
  });

  const broken = () => {
    throw new Error('a broken tracer');
  };
  const span = { setAttribute: broken, setStatus: broken, recordException: broken, end: broken };
  for (const [what, bad] of [
    ['throws at once', { startActiveSpan: broken }],
    ['throws after it has run the work', { startActiveSpan: (_name, _options, work) => (work(span), broken()) }],
    ['has spans that throw', { startActiveSpan: (_name, _options, work) => work(span) }],
    ['never runs the work', { startActiveSpan: () => undefined }],
    ['runs it twice', { startActiveSpan: (_name, _options, work) => (work(span), work(span)) }],
  ]) {
    it(`a tracer that ${what} changes nothing`, async () => {
      let calls = 0;
      const read = getMemoize(async function read(x) {
        calls++;
        if (x === 'bad') throw new Error('mine');
        return x;
      }, options({ tracer: bad }, { prefix: what }));
      assert.equal(await read('good'), 'good');
      await assert.rejects(read('bad'), /mine/);
      assert.equal(calls, 2);
    });
  }
});

describe('an adaptive timeout', () => {
  it('is of the last minute', () => {
    const recent = new Recent(0, 30_000);
    for (let i = 0; i < 99; i++) recent.add(1, i);
    assert.equal(recent.quantile(0.99, 100, 99), undefined, 'too few');
    recent.add(1, 99);
    assert.ok(Math.abs(recent.quantile(0.99, 100, 99) - 1) < 0.2);
    for (let i = 0; i < 100; i++) recent.add(20, 31_000);
    assert.ok(recent.quantile(0.99, 100, 31_000) > 15, 'the worse half');
    assert.ok(recent.quantile(0.99, 100, 61_000) > 15);
    assert.equal(recent.quantile(0.99, 1, 92_000), undefined, 'forgotten');
    for (let i = 0; i < 100; i++) recent.add(1, 100_000);
    assert.ok(recent.quantile(0.99, 1, 500_000) === undefined, 'after a long pause as well');
  });

  it('a server that is fast, and then hangs, costs a part of the budget', async () => {
    let isMute = false;
    const fake = await startFake((socket) => {
      socket.on('data', (data) => {
        if (isMute) return;
        const requests = data.toString().split(/^\*/m).length - 1;
        socket.write('$-1\r\n'.repeat(requests));
      });
    });
    const times = {};
    for (const adaptiveTimeout of [true, false]) {
      isMute = false;
      const store = getStore({
        layerConfigs: { REDIS: { ttl: 60000, redisClient: `${fake.url}/?adaptive=${adaptiveTimeout}` } },
        layerOrder: ['REDIS'],
        budgetMs: 2000,
        adaptiveTimeout,
      });
      await until(async () => (await store.entry('k')).cause === undefined, 'connected');
      for (let i = 0; i < 300; i++) await store.get('k');
      const { patienceMs } = store.layers[0].endpoint.stats();
      isMute = true;
      const { ms, value } = await timed(() => store.entry('k'));
      assert.equal(value.cause, 'timeout');
      times[adaptiveTimeout] = { ms, patienceMs };
    }
    closeConnections();
    await fake.stop();
    const { ms, patienceMs } = times[true];
    assert.ok(patienceMs >= 5);
    assert.ok(ms >= Math.min(2000, patienceMs) - 1 && ms < patienceMs + 200 * SLOWNESS, `${ms} ms with a patience of ${patienceMs} ms`);
    assert.ok(times[false].ms >= 1900);
  });
});

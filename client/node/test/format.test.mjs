// SPDX-License-Identifier: Apache-2.0
// The stored format: the vectors that the C library goes through as well, and what of it real servers hold.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { brotliCompressSync, brotliDecompressSync, deflateSync } from 'node:zlib';
import { getMemoize, getStore, typedKey } from '../dist/index.mjs';
import { ownRedis, require, sleep, until } from './helpers.mjs';

const { client } = await ownRedis();
const { hasZstd, open, pack, seal } = require('../dist/envelope.js');
const { callForm, SharedNames, canonical, Unhashable } = require('../dist/keys.js');
const { crc32, crc32Table } = require('../dist/crc32.js');
const vectors = JSON.parse(readFileSync(new URL('../../stored-format-vectors.json', import.meta.url), 'utf8'));

function argument([kind, value]) {
  switch (kind) {
    case 'null':
      return null;
    case 'undefined':
      return undefined;
    case 'int':
      return Number.isSafeInteger(Number(value)) ? Number(value) : BigInt(value);
    case 'real':
      return Buffer.from(value, 'hex').readDoubleBE();
    case 'bigint':
      return BigInt(value);
    case 'bytes':
      return Buffer.from(value, 'hex');
    case 'time':
      return new Date(Number(value));
    case 'list':
      return value.map(argument);
    case 'set':
      return new Set(value.map(argument));
    case 'map':
      return new Map(value.map((pair) => pair.map(argument)));
    default:
      return value; // bool, text
  }
}

describe('vectors', () => {
  it('are of the version that is written here', () => {
    assert.equal(vectors.format, 1);
    for (const part of ['keys', 'names', 'values', 'signed', 'zstd']) assert.ok(vectors[part].length > 0);
  });
  for (const { name, arguments: args, form, key } of vectors.keys) {
    it(`key ${name} ${JSON.stringify(args).slice(0, 60)}`, () => {
      const values = args.map(argument);
      assert.equal(callForm(name, values).toString('hex'), form);
      assert.equal(typedKey(name, values), key);
    });
  }
  for (const row of vectors.names) {
    it(`names of ${row.namespace}:${row.prefix}`, () => {
      const bytes = (hex) => Buffer.from(hex, 'hex');
      const names = new SharedNames(bytes(row.namespace), bytes(row.prefix));
      assert.equal(names.value(bytes(row.key)).toString('hex'), row.value_name);
      assert.equal(Buffer.from(names.generation).toString('hex'), row.generation_name);
      assert.equal(Buffer.from(names.bucket(BigInt(row.bucket))).toString('hex'), row.bucket_name);
      assert.equal(Buffer.from(names.list).toString('hex'), row.list_name);
      assert.equal(names.fenced(bytes(row.key)).toString('hex'), row.fenced_name);
    });
  }
  const rows = [...vectors.values, ...vectors.signed, ...(hasZstd ? vectors.zstd : [])];
  for (const row of rows) {
    it(`value: ${row.what}`, () => {
      const identity = Buffer.from(row.identity, 'hex');
      const raw = Buffer.from(row.bytes, 'hex');
      const knows = (codec) => codec === row.codec;
      const keys = (row.keys ?? []).map((key) => Buffer.from(key, 'hex'));
      const opened = open(identity, raw, Number(row.now), BigInt(`0x${row.epoch}`), row.size_max, knows, keys);
      const negative = opened?.isNegative ? 'negative' : '';
      const age = opened?.isStale ? 'stale' : 'fresh';
      const result = opened ? (negative ? (opened.isStale ? 'negative-stale' : 'negative') : age) : 'miss';
      assert.equal(result, row.result);
      assert.equal(opened ? opened.payload.toString('hex') : null, row.payload);
      if (!row.written) return;
      const { payload, created, soft, hard, delta, epoch, codec, negative: isNegative, key } = row.written;
      const header = { created: Number(created), soft, hard, delta, epoch: BigInt(`0x${epoch}`), codec, isNegative };
      const signing = key ? Buffer.from(key, 'hex') : undefined;
      assert.equal(seal(identity, header, Buffer.from(payload, 'hex'), undefined, signing).toString('hex'), row.bytes);
    });
  }
});

it('an object is a map whose keys are text', () => {
  assert.deepEqual(canonical({ b: 1, a: null }), canonical(new Map([['a', null], ['b', 1]])));
  for (const value of [new Date(NaN), '\udc00', Symbol('x')]) assert.throws(() => canonical(value), Unhashable);
  assert.ok(canonical(new Uint8Array([1])).equals(canonical(Buffer.from([1]))));
});

it('the checksum is that of zlib, with and without its help', () => {
  for (const text of ['', '123456789', 'x'.repeat(1000)]) {
    assert.equal(crc32Table(Buffer.from(text)), crc32(Buffer.from(text)));
    assert.equal(crc32Table(Buffer.from(text), 77), crc32(Buffer.from(text), 77));
  }
  assert.equal(crc32Table(Buffer.from('123456789')), 0xcbf43926);
});

it('a value that only claims to be small when unpacked is a miss, and costs no more than it may', () => {
  const identity = Buffer.from('k');
  const bomb = deflateSync(Buffer.alloc(50 << 20));
  const header = { created: 1000, soft: 1000, hard: 1000, delta: 0, epoch: 0n, codec: 0, isNegative: false };
  const raw = seal(identity, header, Buffer.alloc(100_000), { bytes: bomb, compression: 1 });
  assert.equal(open(identity, raw, 1000, 0n, 5 << 20, () => true), undefined);
});

describe('on a server', () => {
  const store = (more, others = {}) =>
    getStore({
      layerConfigs: { REDIS: { ttl: 60000, redisClient: client, namespace: 'shop', prefix: 'users', format: 'shared', ...more } },
      layerOrder: ['REDIS'],
      ...others,
    });

  it('keys: name, header, expiry', async () => {
    await store().set('42', { id: 42 });
    const raw = await client.getBuffer('shop:users:k:42');
    const opened = open(Buffer.from('shop:users:k:42'), raw, Date.now(), 0n, 1000, (codec) => codec === 2);
    assert.equal(opened.payload.toString(), '{"id":42}');
    assert.ok(opened.hard <= 60000 && opened.hard >= 54000, 'shortened by up to a tenth');
    const left = await client.pttl('shop:users:k:42');
    assert.ok(left <= opened.hard && left > opened.hard - 1000);
  });
  it('text is text, bytes are bytes, null is negative', async () => {
    for (const [value, codec, isNegative] of [['text', 1, false], [Buffer.from([0xc5]), 0, false], [null, 0, true], [new Set([1]), 3, false]]) {
      await store().set('k', value);
      const raw = await client.getBuffer('shop:users:k:k');
      assert.deepEqual([raw[3], Boolean(raw[2] & 4)], [codec, isNegative]);
      assert.deepEqual((await store().entry('k')).value, value);
    }
  });
  it('a value under another name is a miss', async () => {
    await store().set('a', 'secret');
    await client.rename('shop:users:k:a', 'shop:users:k:b');
    assert.equal(await store().get('b'), undefined);
  });
  it('large values are compressed', async () => {
    const packing = store({ compress: { over: 1000 } });
    await packing.set('k', 'x'.repeat(100_000));
    assert.ok((await client.strlen('shop:users:k:k')) < 1000);
    assert.equal(await packing.get('k'), 'x'.repeat(100_000));
    assert.equal((await store().get('k')).length, 100_000);
  });
  it('zstd where this Node.js has it, and zlib where not', async () => {
    const packing = store({ compress: { over: 1000, by: 'zstd' } });
    await packing.set('k', 'x'.repeat(100_000));
    const raw = await client.getBuffer('shop:users:k:k');
    assert.equal(raw[2] & 3, hasZstd ? 2 : 1);
    assert.ok(raw.length < 1000);
    assert.equal(await packing.get('k'), 'x'.repeat(100_000));
    const noise = Buffer.from(Array.from({ length: 5000 }, () => Math.floor(Math.random() * 256)));
    await packing.set('noise', noise);
    assert.equal((await client.getBuffer('shop:users:k:noise'))[2] & 3, 0, 'what does not shrink stays');
    assert.deepEqual(await packing.get('noise'), noise);
    const bomb = await pack(Buffer.alloc(50 << 20), 'zstd');
    const header = { created: Date.now(), soft: 1000, hard: 1000, delta: 0, epoch: 0n, codec: 0, isNegative: false };
    const identity = Buffer.from('shop:users:k:bomb');
    await client.set(identity, seal(identity, header, Buffer.alloc(100_000), bomb));
    assert.equal(await packing.get('bomb'), undefined);
  });
  it('signed values: only those are believed, of any of the keys', async () => {
    const [old, young] = ['an old key, of 16 bytes or more', Buffer.alloc(32, 9)];
    const signing = store({ signingKeys: [old] });
    await signing.set('k', { id: 42 });
    assert.deepEqual(await signing.get('k'), { id: 42 });
    assert.equal(await store().get('k'), undefined, 'who has no key takes it for nothing');
    assert.deepEqual(await store({ signingKeys: [young, old] }).get('k'), { id: 42 });
    assert.equal(await store({ signingKeys: [young] }).get('k'), undefined);
    await store().set('k', 'forged');
    assert.equal((await signing.entry('k')).cause, 'decode');
    await signing.set('null', null);
    assert.equal(await signing.get('null'), null);
    await client.rename('shop:users:k:null', 'shop:users:k:moved');
    assert.equal(await signing.get('moved'), undefined);
    for (const signingKeys of [[], ['short'], [old, 'short']]) {
      await assert.rejects(store({ signingKeys }).get('k'), /signingKeys/);
    }
    await assert.rejects(store({ signingKeys: [old], format: 'compatible' }).get('k'), /need format/);
  });
  it('generation: what is lost is a miss, never an old value', async () => {
    const group = store({ group: 'generation' });
    await group.set('k', 1);
    const old = await client.getBuffer('shop:users:g');
    assert.equal(old.length, 8);
    await client.del('shop:users:g'); // evicted
    assert.equal(await group.get('k'), undefined);
    assert.equal(await client.exists('shop:users:g'), 0, 'a look makes none');
    await group.set('k', 2);
    assert.equal((await client.getBuffer('shop:users:g')).equals(old), false);
    assert.equal(await group.get('k'), 2);
    await group.clearAll();
    assert.equal(await group.get('k'), undefined);
    await client.set('shop:users:g', 'something else');
    assert.equal((await group.entry('k')).hit, false);
    assert.equal(await group.getOrSet('k', async () => 3), 3);
    assert.equal(group.stats().causes.server, 1);
  });
  it('hash: fields of two buckets, each with its birth', async () => {
    const group = store({ group: 'hash' });
    await group.set('k', 1);
    const [bucket] = await client.keys('{shop:users}:h*');
    assert.deepEqual((await client.hkeys(bucket)).sort(), ['', 'k']);
    const left = await client.pttl(bucket);
    assert.ok(left > 179_000 && left <= 180_000);
    // What was written in the last bucket is read in this one.
    const number = Number(bucket.split(':h')[1]);
    await client.rename(bucket, `{shop:users}:h${number - 1}`);
    assert.equal(await group.get('k'), 1);
    assert.equal((await client.hkeys(bucket)).length, 1, 'the reader has made a birth');
    await client.hset(`{shop:users}:h${number - 1}`, '', Buffer.alloc(8, 7));
    assert.equal(await group.get('k'), undefined, 'of another birth');
    await group.clearAll();
    assert.equal((await client.keys('*')).length, 0);
  });
  it('list: clearing frees the memory', async () => {
    const group = store({ group: 'list' });
    await Promise.all(Array.from({ length: 1200 }, (_, i) => group.set(`k${i}`, i)).slice(0, 100));
    assert.ok((await client.scard('shop:users:l')) >= 100);
    await group.clearAll();
    assert.deepEqual(await client.keys('*'), []);
  });
  it('a serializer of the user, and only that one reads it', async () => {
    const upper = { codec: 200, encode: (v) => String(v).toUpperCase(), decode: (b) => b.toString().toLowerCase() };
    const own = store({ serializer: upper });
    await own.set('k', 'abc');
    assert.equal(await own.get('k'), 'abc');
    assert.equal(await store().get('k'), undefined);
    const raw = getStore({ layerConfigs: { REDIS: { ttl: 1000, redisClient: client, serializer: upper } }, layerOrder: ['REDIS'] });
    await raw.set('k', 'abc');
    assert.equal(await client.get('k'), 'ABC');
    assert.equal(await raw.get('k'), 'abc');
    await assert.rejects(store({ serializer: { ...upper, codec: 3 } }).get('k'), /codec/);
  });
  it('a compression of the user', async () => {
    const serializer = {
      codec: 200,
      encode: (value) => brotliCompressSync(JSON.stringify(value)),
      decode: (stored) => JSON.parse(brotliDecompressSync(stored, { maxOutputLength: 5 << 20 }).toString()),
    };
    const own = store({ serializer });
    const value = { html: '<p>'.repeat(1000) };
    await own.set('k', value);
    assert.deepEqual(await own.get('k'), value);
    assert.ok((await client.strlen('shop:users:k:k')) < 200);
    await own.set('k', null);
    assert.equal(await own.get('k'), null);
  });

  it('stale and early values are told by the header', async () => {
    let calls = 0;
    const cached = getMemoize(async function count() {
      return ++calls;
    }, {
      layerConfigs: { REDIS: { ttl: 100, redisClient: client } }, layerOrder: ['REDIS'], stale: 5000, jitter: 0, setMode: 'await',
    });
    assert.equal(await cached(), 1);
    assert.equal(await cached(), 1);
    await sleep(120);
    assert.equal((await cached.peek()).stale, true);
    assert.equal(await cached(), 1, 'stale, at once');
    await until(async () => (await cached()) === 2, 'refreshed behind it');
    assert.equal((await client.keys(':count:k:*')).length, 1);
  });
});

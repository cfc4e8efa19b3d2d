// SPDX-License-Identifier: Apache-2.0
// Fields that end by themselves. Debian 12 has no server that knows HSETEX or HPEXPIRE, so a model stands before a real
// one: it knows the two, as Redis 8 and Valkey 9 describe them, and hands on the rest. Servers that do know them are asked
// themselves where REDIS_SERVERS names some (as for tests/integration).
import assert from 'node:assert/strict';
import { after, it } from 'node:test';
import { closeConnections, getStore } from '../dist/index.mjs';
import { connect, drivers, ownRedis, require, startFake, startNamed, until } from './helpers.mjs';

const Parser = require('redis-parser');
const { client } = await ownRedis();
const models = [];
const clients = [];
after(async () => {
  closeConnections();
  for (const one of clients) one.disconnect();
  for (const model of models) await model.stop();
});

function encode(reply) {
  if (reply === null) return Buffer.from('$-1\r\n');
  if (typeof reply === 'number') return Buffer.from(`:${reply}\r\n`);
  if (reply instanceof Error) return Buffer.from(`-${reply.message}\r\n`);
  if (Array.isArray(reply)) return Buffer.concat([Buffer.from(`*${reply.length}\r\n`), ...reply.map(encode)]);
  const bytes = Buffer.from(reply);
  return Buffer.concat([Buffer.from(`$${bytes.length}\r\n`), bytes, Buffer.from('\r\n')]);
}

/** A server that knows these commands beyond those of the real one behind it; seen counts what it was asked. */
async function startModel(known) {
  const seen = {};
  const expire = (name, fields, ms) => {
    // Too early is as wrong as too late.
    for (const field of fields) setTimeout(() => client.hdel(name, field).catch(() => {}), Number(ms)).unref();
    return fields.map(() => 1);
  };
  const answer = async ([command, ...args]) => {
    const name = command.toString().toUpperCase();
    seen[name] = (seen[name] ?? 0) + 1;
    // Its clients share one connection to the real server, which stays as it is.
    if (name === 'HELLO') throw new Error("ERR unknown command 'HELLO'");
    const word = (at) => args[at].toString().toUpperCase();
    if (name === 'HSETEX' && known.includes(name)) {
      if (word(1) !== 'PX' || word(3) !== 'FIELDS') throw new Error('ERR syntax error');
      const pairs = args.slice(5);
      if (pairs.length !== 2 * Number(args[4])) throw new Error('ERR wrong number of arguments');
      await client.hset(args[0], ...pairs);
      expire(args[0], pairs.filter((_, i) => i % 2 === 0), args[2]);
      return 1;
    }
    if (name === 'HPEXPIRE' && known.includes(name)) {
      if (word(2) !== 'FIELDS' || args.length !== 4 + Number(args[3])) throw new Error('ERR syntax error');
      return expire(args[0], args.slice(4), args[1]);
    }
    return client.callBuffer(name, ...args);
  };
  const model = await startFake((socket) => {
    let last = Promise.resolve();
    const parser = new Parser({
      returnBuffers: true,
      returnReply: (request) => {
        last = last.then(() => answer(request).catch((error) => error)).then((reply) => socket.write(encode(reply)));
      },
      returnError: () => socket.destroy(),
    });
    socket.on('data', (data) => parser.execute(data));
  });
  models.push(model);
  return { ...model, seen };
}

const KINDS = [{ group: 'hash' }, { hashmap: true }];

/** Fields of one hash at the server of url, which admin looks into; freesFields: whether it ends them itself. */
async function endInTime(url, admin, more, freesFields, check = () => {}) {
  const store = getStore({
    layerConfigs: { REDIS: { ttl: 60000, redisClient: url, prefix: 'p', ...more } },
    layerOrder: ['REDIS'],
    budgetMs: 1000,
    jitter: 0,
  });
  await store.set('long', 'kept');
  await store.set('short', 'gone', 150);
  await store.set('null', null);
  await check();
  assert.equal(await store.get('short'), 'gone');
  const [hash] = await admin.keys('*');
  const holds = async (field) => (await admin.hexists(hash, field)) === 1;
  await until(async () => (await store.get('short')) === undefined, 'it ends, on every server');
  if (freesFields) await until(async () => !(await holds('short')), 'its memory is freed');
  assert.equal(await holds('short'), !freesFields);
  assert.equal(await store.get('long'), 'kept');
  assert.equal(await store.get('null'), null);
  assert.equal(store.stats().setErrors, 0);
  assert.ok((await admin.pttl(hash)) > 0);
}

for (const [known, asked] of [
  [['HSETEX', 'HPEXPIRE'], { HSETEX: 3, HSET: undefined, HPEXPIRE: undefined }],
  [['HPEXPIRE'], { HSETEX: 1, HSET: 3, HPEXPIRE: 3 }],
  [[], { HSETEX: 1, HSET: 3, HPEXPIRE: 1 }],
]) {
  for (const more of KINDS) {
    it(`a model of a server that knows ${known.join(' and ') || 'neither'}: ${JSON.stringify(more)}`, async () => {
      const model = await startModel(known);
      await endInTime(model.url, client, more, known.length > 0, () => {
        for (const [command, times] of Object.entries(asked)) assert.equal(model.seen[command], times, command);
      });
    });
  }
}

for (const command of ['HSETEX', 'HPEXPIRE']) {
  it(`a real server that knows ${command}`, async (t) => {
    const found = [];
    for (const binary of (process.env.REDIS_SERVERS ?? '').split(/[:\s]+/).filter(Boolean)) {
      const server = await startNamed(binary);
      const admin = connect(server);
      clients.push(admin);
      try {
        // HPEXPIRE is what is used where there is no HSETEX.
        const [hsetex, hpexpire] = (await admin.command('INFO', 'HSETEX', 'HPEXPIRE')).map(Boolean);
        if (!(command === 'HSETEX' ? hsetex : hpexpire && !hsetex)) continue;
        found.push(binary);
        for (const more of KINDS) {
          await admin.flushall();
          await endInTime(server.url, admin, more, true);
          const calls = await admin.info('commandstats');
          assert.match(calls, new RegExp(`cmdstat_${command.toLowerCase()}:calls=[1-9].*failed_calls=0`));
        }
      } finally {
        closeConnections();
        await server.stop();
      }
    }
    if (found.length === 0) t.skip(`machine: no server here knows ${command} (REDIS_SERVERS may name one): only the model was asked`);
  });
}

it('is asked again on a new connection, and a value of another type gives way', async () => {
  const model = await startModel([]);
  const options = { layerConfigs: { REDIS: { ttl: 60000, redisClient: model.url, prefix: 'p', hashmap: true } }, layerOrder: ['REDIS'], budgetMs: 1000 };
  const store = getStore(options);
  await client.set('p', 'in the way');
  await store.set('a', 1);
  assert.equal(await store.get('a'), 1);
  assert.equal(model.seen.HSETEX, 1);
  for (const socket of model.sockets) socket.destroy();
  await until(async () => {
    await store.set('a', 2);
    return model.seen.HSETEX === 2;
  }, 'asked again');
});

it('a client with a keyPrefix is not asked for commands that it may not know', async () => {
  for (const [name, driver] of Object.entries(drivers)) {
    await client.flushall();
    const model = await startModel(['HSETEX', 'HPEXPIRE']);
    const own = connect(model, { keyPrefix: 'mine:', protocol: 2 }, driver);
    clients.push(own);
    await until(() => own.status === 'ready', 'connected');
    for (const more of [{ group: 'hash' }, { hashmap: true }, { fence: true }, { group: 'list' }]) {
      const prefix = JSON.stringify(more);
      const store = getStore({ layerConfigs: { REDIS: { ttl: 60000, redisClient: own, prefix, ...more } }, layerOrder: ['REDIS'], budgetMs: 1000 });
      await store.set('a', 1);
      assert.equal(await store.get('a'), 1);
      await store.clear('a');
      assert.equal(await store.get('a'), undefined);
    }
    assert.equal(model.seen.HSETEX, undefined);
    // iovalkey puts it before no command that is sent by `call`.
    const keys = await client.keys('*');
    assert.ok(keys.every((key) => key.startsWith('mine:') === name.startsWith('ioredis')), `${name}: ${keys}`);
    const tags = getStore({ layerConfigs: { REDIS: { ttl: 60000, redisClient: own, group: 'tags' } }, layerOrder: ['REDIS'] });
    await assert.rejects(tags.get('a'), /keyPrefix/);
  }
});

// SPDX-License-Identifier: Apache-2.0
// Type-checks the recipes against the real packages and runs each: npm ci --omit=optional --ignore-scripts && npm run check.
// Needs ../dist, redis-server, and ../../../build/sumcache or SUMCACHE_BIN.
import assert from 'node:assert/strict';
import { mkdirSync, rmSync, symlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { after, before, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { startProxy, startRedis } from '../test/helpers.mjs';

const here = fileURLToPath(new URL('.', import.meta.url));
const require = createRequire(import.meta.url);
const ts = createRequire(path.join(here, '..', 'package.json'))('typescript');
const out = path.join(here, 'node_modules', '.recipes');
let node;
let proxy;
let sumcache;

before(async () => {
  // As an installed package would be found.
  rmSync(path.join(here, 'node_modules', 'sumcache'), { recursive: true, force: true });
  rmSync(out, { recursive: true, force: true });
  mkdirSync(out);
  symlinkSync(path.join(here, '..'), path.join(here, 'node_modules', 'sumcache'), 'dir');
  node = await startRedis();
  proxy = await startProxy([node]);
  process.env.REDIS_URL = proxy.url;
});
after(async () => {
  sumcache?.closeConnections();
  await proxy.stop();
  await node.stop();
});

it('types', () => {
  const files = ['nestjs.ts', 'fastify.ts', 'next-cache-handler.ts'].map((name) => path.join(here, name));
  const program = ts.createProgram(files, {
    strict: true, exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true, skipLibCheck: true, esModuleInterop: true, types: ['node'],
    typeRoots: [path.join(here, '..', 'node_modules', '@types')], target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.CommonJS,
    moduleResolution: ts.ModuleResolutionKind.Node10, experimentalDecorators: true, emitDecoratorMetadata: true, outDir: out, rootDir: here,
  });
  const found = ts.getPreEmitDiagnostics(program).map((one) => `${one.file?.fileName}: ${ts.flattenDiagnosticMessageText(one.messageText, '\n')}`);
  assert.deepEqual(found, []);
  program.emit();
  sumcache = require('sumcache');
});

it('Fastify', async () => {
  const { cachePlugin, routes } = require(path.join(out, 'fastify.js'));
  const server = require('fastify').fastify();
  await server.register(cachePlugin, { layerConfigs: { MEMORY: { ttl: 1000 }, REDIS: { ttl: 60000, redisClient: proxy.url, prefix: 'pages' } }, layerOrder: ['MEMORY', 'REDIS'] });
  let loads = 0;
  routes(server, async (id) => ({ id, name: `load ${++loads}` }));
  const get = async (url, method = 'GET') => (await server.inject({ url, method })).body;
  assert.equal(await get('/users/7'), '{"id":7,"name":"load 1"}');
  assert.equal(await get('/users/7'), '{"id":7,"name":"load 1"}');
  await get('/users/7', 'DELETE');
  assert.equal(await get('/users/7'), '{"id":7,"name":"load 2"}');
  assert.equal(await get('/pages/home'), '<h1>home</h1>');
  assert.equal(server.cache.stats().loads, 1);
  await server.close();
});

it('Next.js', async () => {
  const { default: Handler } = require(path.join(out, 'next-cache-handler.js'));
  const [one, other] = [new Handler(), new Handler()];
  const page = { kind: 'APP_PAGE', html: '<h1>', rscData: Buffer.from('rsc'), segmentData: new Map([['/', Buffer.from('s')]]), headers: { 'x-next-cache-tags': '_N_T_/shop,products' }, postponed: undefined, status: 200 };
  const fetched = { kind: 'FETCH', data: { headers: {}, body: '', url: 'https://x' }, tags: ['prices'], revalidate: 60 };
  await one.set('/shop', page, {});
  await one.set('f1', fetched, { fetchCache: true, tags: ['prices'] });
  const found = await other.get('/shop');
  const { postponed: _, ...stored } = page;
  assert.deepEqual(found.value, stored);
  assert.ok(Math.abs(found.lastModified - Date.now()) < 10000);
  await other.revalidateTag('prices');
  assert.equal(await one.get('f1'), null);
  assert.notEqual(await one.get('/shop'), null);
  await one.set('f1', fetched, { fetchCache: true, tags: ['prices'] });
  await other.revalidateTag(['_N_T_/shop']);
  assert.equal(await one.get('/shop'), null);
  assert.equal(await one.get('f1'), null, 'a path may have used it');
  await one.set('/shop', page, {});
  await one.set('/shop', null, {});
  assert.equal(await one.get('/shop'), null);
});

it('NestJS', async () => {
  const { Module } = require('@nestjs/common');
  const { NestFactory } = require('@nestjs/core');
  const { CACHE, CacheModule, UserService } = require(path.join(out, 'nestjs.js'));
  class App {}
  Module({
    imports: [CacheModule.forRoot({ layerConfigs: { REDIS: { ttl: 60000, redisClient: proxy.url, prefix: 'nest' } }, layerOrder: ['REDIS'], setMode: 'await' })],
    providers: [UserService],
  })(App);
  const app = await NestFactory.createApplicationContext(App, { logger: ['error'] });
  const users = app.get(UserService);
  assert.deepEqual(await users.find(7), { id: 7, name: 'user 7' });
  await users.find(7);
  assert.equal(users.loads, 1);
  await users.forget(7);
  await users.find(7);
  assert.equal(users.loads, 2);
  await app.get(CACHE).set('k', 1);
  assert.equal(await app.get(CACHE).get('k'), 1);
  await app.close();
});

// SPDX-License-Identifier: Apache-2.0
// The package as it is packed: what is in it, that both kinds of modules load it and share one state, that
// its types hold in both and for both kinds of decorators.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { require } from './helpers.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
let folder;
let files;
let tarball;

before(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'sumcache-package-'));
  const packed = JSON.parse(
    execFileSync('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', folder], { cwd: root, encoding: 'utf8' }),
  );
  tarball = path.join(folder, packed[0].filename);
  files = packed[0].files.map((file) => file.path);
  const installed = path.join(folder, 'node_modules', 'sumcache');
  mkdirSync(installed, { recursive: true });
  execFileSync('tar', ['xzf', path.join(folder, packed[0].filename), '-C', installed, '--strip-components=1']);
  mkdirSync(path.join(folder, 'node_modules', '@types'));
  symlinkSync(path.join(root, 'node_modules', '@types', 'node'), path.join(folder, 'node_modules', '@types', 'node'));
  for (const name of ['undici-types', 'ioredis', '@ioredis', 'cluster-key-slot', 'debug', 'denque', 'lodash.defaults', 'lodash.isarguments', 'ms', 'redis-errors', 'redis-parser', 'standard-as-callback', '@opentelemetry']) {
    try {
      symlinkSync(path.join(root, 'node_modules', name), path.join(folder, 'node_modules', name));
    } catch {
      // not every version of ioredis needs each of them
    }
  }
});
after(() => rmSync(folder, { recursive: true, force: true }));

function run(name, text) {
  writeFileSync(path.join(folder, name), text);
  return execFileSync(process.execPath, [name], { cwd: folder, encoding: 'utf8', timeout: 20000 }).trim();
}

it('holds what it needs and nothing else', () => {
  for (const name of ['package.json', 'README.md', 'LICENSE', 'dist/index.js', 'dist/index.mjs', 'dist/index.d.ts', 'dist/index.d.mts']) {
    assert.ok(files.includes(name), name);
  }
  assert.deepEqual(files.filter((name) => !/^(dist\/|README|FEATURES|LICENSE|package\.json)/.test(name)), []);
});

it('publint has nothing to say', () => {
  const done = spawnSync(path.join(root, 'node_modules', '.bin', 'publint'), ['--strict', '--pack', 'false', path.join(folder, 'node_modules', 'sumcache')], { encoding: 'utf8' });
  assert.equal(done.status, 0, done.stdout + done.stderr);
});

it('the types are right however they are resolved (arethetypeswrong)', () => {
  const attw = path.join(root, 'node_modules', '.bin', 'attw');
  const done = spawnSync(attw, ['--no-color', '--no-emoji', tarball], { encoding: 'utf8', timeout: 60000 });
  assert.equal(done.status, 0, done.stdout + done.stderr);
  assert.match(done.stdout, /No problems found/);
});

it('needs nothing but Node.js until a URL is given', () => {
  assert.deepEqual(require('../package.json').dependencies, undefined);
  rmSync(path.join(folder, 'alone'), { recursive: true, force: true });
  mkdirSync(path.join(folder, 'alone', 'node_modules'), { recursive: true });
  execFileSync('cp', ['-r', path.join(folder, 'node_modules', 'sumcache'), path.join(folder, 'alone', 'node_modules')]);
  writeFileSync(
    path.join(folder, 'alone', 'a.cjs'),
    // Whatever folders above may hold, here it is not installed.
    `const Module = require('node:module'); const find = Module._resolveFilename;
     Module._resolveFilename = function (name, ...more) {
       if (/^io/.test(name)) throw Object.assign(new Error(name), { code: 'MODULE_NOT_FOUND' });
       return find.call(this, name, ...more);
     };
     const { getMemoize, getStore } = require('sumcache');
     getMemoize(async (x) => x, { name: 'f' })(7).then(console.log);
     getStore({ layerConfigs: { REDIS: { ttl: 5, redisClient: 'redis://127.0.0.1:1' } }, layerOrder: ['REDIS'] }).get('k').catch((e) => console.log(e.message));`,
  );
  const output = execFileSync(process.execPath, ['a.cjs'], { cwd: path.join(folder, 'alone'), encoding: 'utf8', timeout: 20000, env: { ...process.env, NODE_PATH: '' } });
  assert.match(output, /^a URL as redisClient needs ioredis or iovalkey.*\n7\n$|^7\na URL as redisClient needs ioredis or iovalkey.*\n$/);
});

it('import and require give the same objects', () => {
  const text = `import * as all from 'sumcache'; import { createRequire } from 'node:module';
    const other = createRequire(import.meta.url)('sumcache');
    console.log(Object.keys(other).every((name) => all[name] === other[name]) && Object.keys(all).length === Object.keys(other).length);`;
  assert.equal(run('both.mjs', text), 'true');
});

const program = `
import { AvailableCacheLayer, getMemoize, getStore, Memoize, useAsDefault, type Found } from 'sumcache';
import { trace } from '@opentelemetry/api';
import { Redis } from 'ioredis';
useAsDefault({ layerConfigs: { [AvailableCacheLayer.MEMORY]: { ttl: 1000 } }, layerOrder: [AvailableCacheLayer.MEMORY] });
const user = getMemoize(async (id: number, lang = 'fr') => ({ id, lang }), { ttlOf: (u) => u.id, name: 'user' });
const traced = getStore({ tracer: trace.getTracer('sumcache') });
void traced.set('k', 1, 5, { tags: ['t'] });
export const tagged = getMemoize(async (id: number) => id, { tags: ([id]) => [\`user:\${id.toFixed()}\`] });
const one: Promise<{ id: number; lang: string }> = user(7);
const peeked: Promise<Found<{ id: number; lang: string }>> = user.peek(7, 'en');
// @ts-expect-error: a number is asked for
void user('7');
// @ts-expect-error: no such layer
export const wrong = () => getStore({ layerOrder: ['DISK'] });
export const withClient = (client: Redis) => getStore({ layerConfigs: { REDIS: { ttl: 5, redisClient: client, driver: Redis } }, layerOrder: ['REDIS'] });
class Service {
  private calls = 0;
  @Memoize({ per: 'function' })
  async load(id: number): Promise<string> {
    return id + ':' + ++this.calls;
  }
}
const service = new Service();
void Promise.all([one, peeked, service.load(1).then(async (first: string) => console.log(first, await service.load(1)))]);
`;

it('what the README shows first compiles, and works', () => {
  const readme = readFileSync(path.join(root, 'README.md'), 'utf8');
  const shown = /```ts\n([^]*?)```/.exec(readme)[1];
  const ts = require('typescript');
  const file = path.join(folder, 'readme.mts');
  const database = 'const db = { users: { find: async (id: number) => ({ id }) } };';
  // Whether there is a Redis: this must work without one.
  const text = shown.replace('redis://127.0.0.1:6379', 'redis://127.0.0.1:1');
  writeFileSync(file, `${database}\n${text}\nconsole.log((await getUser(9)).id);\nprocess.exit();\n`);
  const made = ts.createProgram([file], {
    strict: true, module: ts.ModuleKind.Node16, moduleResolution: ts.ModuleResolutionKind.Node16, target: ts.ScriptTarget.ES2022,
    skipLibCheck: true, types: ['node'],
  });
  assert.deepEqual(ts.getPreEmitDiagnostics(made).map((one) => ts.flattenDiagnosticMessageText(one.messageText, '\n')), []);
  made.emit();
  assert.equal(execFileSync(process.execPath, ['readme.mjs'], { cwd: folder, encoding: 'utf8', timeout: 20000 }), '9\n');
});

for (const [kind, name, extra] of [
  ['a module, decorators of the standard', 'a.mts', {}],
  ['CommonJS, experimentalDecorators', 'b.cts', { experimentalDecorators: true }],
]) {
  it(`types and decorators: ${kind}`, () => {
    const ts = require('typescript');
    const file = path.join(folder, name);
    writeFileSync(file, program);
    const options = {
      strict: true, module: ts.ModuleKind.Node16, moduleResolution: ts.ModuleResolutionKind.Node16, target: ts.ScriptTarget.ES2022,
      skipLibCheck: true, types: ['node'], esModuleInterop: true, ...extra,
    };
    const made = ts.createProgram([file], options);
    const found = ts.getPreEmitDiagnostics(made).map((one) => ts.flattenDiagnosticMessageText(one.messageText, '\n'));
    assert.deepEqual(found, []);
    made.emit();
    const output = execFileSync(process.execPath, [file.replace(/ts$/, 'js')], { cwd: folder, encoding: 'utf8', timeout: 20000 });
    assert.equal(output, '1:1 1:1\n');
    assert.ok(readdirSync(folder).length > 0);
  });
}

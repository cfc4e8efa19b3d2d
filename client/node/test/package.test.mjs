// SPDX-License-Identifier: Apache-2.0
// The package as it is packed: what is in it, that both kinds of modules load it and share one state, that
// its types hold in both and for both kinds of decorators.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { freePort, require, startProxy, startRedis } from './helpers.mjs';

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

const ts = require('typescript');
/** Compiles text, as strictly as TypeScript can, and gives the name of the program. */
function compiled(name, text, extra = {}) {
  const file = path.join(folder, name);
  writeFileSync(file, text);
  const options = {
    strict: true, exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true, esModuleInterop: true, skipLibCheck: true, types: ['node'],
    module: ts.ModuleKind.Node16, moduleResolution: ts.ModuleResolutionKind.Node16, target: ts.ScriptTarget.ES2022, ...extra,
  };
  const made = ts.createProgram([file], options);
  assert.deepEqual(ts.getPreEmitDiagnostics(made).map((one) => ts.flattenDiagnosticMessageText(one.messageText, '\n')), []);
  made.emit();
  return name.replace(/ts$/, 'js');
}

const readme = readFileSync(path.join(root, 'README.md'), 'utf8');
// What each program of the README is shown to do, where there is no server, and through a sumcache.
const shown = [
  ['getUser', 'const db = { users: { find: async (id: number) => ({ id }) } };', "console.log((await getUser(9)).id, await getUser.store.layers[1]!.type);", ['9 REDIS', '9 REDIS']],
  ['pages', '', "console.log(await pages.get('home') !== undefined, pages.stats().unreadable);", ['false 0', 'true 0']],
];

it('every program of the README compiles, and works: without a server, and through a sumcache', async () => {
  const programs = [...readme.matchAll(/```ts\n([^]*?)```/g)].map(([, text]) => text);
  assert.equal(programs.length, shown.length);
  const node = await startRedis();
  const proxy = await startProxy([node]);
  try {
    for (const [at, [name, before, then, outputs]] of shown.entries()) {
      for (const [i, url] of [`redis://127.0.0.1:${await freePort()}`, proxy.url].entries()) {
        const text = programs[at].replace('redis://127.0.0.1:6379', url);
        assert.notEqual(text, programs[at]);
        const program = compiled(`${name}${i}.mts`, `${before}\n${text}\n${then}\nprocess.exit();\n`);
        const output = execFileSync(process.execPath, [program], { cwd: folder, encoding: 'utf8', timeout: 20000 });
        assert.equal(output, `${outputs[i]}\n`);
      }
    }
  } finally {
    await proxy.stop();
    await node.stop();
  }
});

it('each feature that is in has a test of the name that FEATURES.md gives', () => {
  const rows = readFileSync(path.join(root, 'FEATURES.md'), 'utf8').matchAll(/^\| (\d+) \|(.*)\|$/gm);
  const titles = new Map();
  const titlesOf = (name) => {
    const text = readFileSync(path.join(root, 'test', `${name}.test.mjs`), 'utf8');
    return text.split('\n').filter((line) => /^ *(it|describe)\(/.test(line));
  };
  let count = 0;
  for (const [row, number, cells] of rows) {
    const [, , is, , tests] = cells.split('|').map((cell) => cell.trim());
    const named = [...tests.matchAll(/`([\w-]+): ([^`]+)`/g)];
    assert.ok(is !== 'yes' || named.length > 0, row);
    for (const [, file, words] of named) {
      if (!titles.has(file)) titles.set(file, titlesOf(file));
      assert.ok(titles.get(file).some((title) => title.includes(words)), `${number}: ${file}: ${words}`);
      count++;
    }
  }
  assert.ok(count > 50, String(count));
});

for (const [kind, name, extra] of [
  ['a module, decorators of the standard', 'a.mts', {}],
  ['CommonJS, experimentalDecorators', 'b.cts', { experimentalDecorators: true }],
]) {
  it(`types and decorators: ${kind}`, () => {
    const made = compiled(name, program, extra);
    const output = execFileSync(process.execPath, [made], { cwd: folder, encoding: 'utf8', timeout: 20000 });
    assert.equal(output, '1:1 1:1\n');
  });
}

// SPDX-License-Identifier: Apache-2.0
// Runs test/*.test.mjs, or those whose names hold one of the arguments, and ends with what failed.
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const wanted = process.argv.slice(2);
const files = readdirSync(`${root}test`)
  .filter((name) => name.endsWith('.test.mjs'))
  .filter((name) => wanted.length === 0 || wanted.some((part) => name.includes(part)))
  .map((name) => `test/${name}`);
if (files.length === 0) {
  console.error('no test file has such a name');
  process.exit(2);
}
const reporters = ['--test-reporter=spec', '--test-reporter-destination=stdout'];
const done = spawnSync(process.execPath, ['--test', '--test-timeout=120000', ...reporters, ...files], { cwd: root, stdio: 'inherit' });
process.exit(done.status ?? 1);

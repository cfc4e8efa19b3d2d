// SPDX-License-Identifier: Apache-2.0
// Makes dist/: CommonJS by the compiler, and a module beside it that hands on the same objects, so that a
// program that loads the package both ways has one set of defaults and connections, not two.
import { spawnSync } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const require = createRequire(import.meta.url);
rmSync(`${root}dist`, { recursive: true, force: true });
const tsc = require.resolve('typescript/bin/tsc');
const done = spawnSync(process.execPath, [tsc, '-p', root], { stdio: 'inherit' });
if (done.status !== 0) process.exit(done.status ?? 1);

const names = Object.keys(require(`${root}dist/index.js`)).sort();
const head = '// SPDX-License-Identifier: Apache-2.0\n';
writeFileSync(
  `${root}dist/index.mjs`,
  `${head}import all from './index.js';\nexport const { ${names.join(', ')} } = all;\n`,
);
// The names come from the same declarations; only the file says that this is a module.
writeFileSync(`${root}dist/index.d.mts`, `${head}export * from './index.js';\n`);
const { version } = JSON.parse(readFileSync(`${root}package.json`, 'utf8'));
console.log(`sumcache ${version}: ${names.length} names`);

// SPDX-License-Identifier: Apache-2.0
// What the programs for Node.js share. Each is told: library, port, mode, prefix of its keys. It prints
// "ok", or "refused: why" (exit status 3) when the proxy says that it does not do what the mode needs.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';

export const [library, portText, mode, prefix] = process.argv.slice(2);
export const port = Number(portText);
// With a CA's file in the variable CA, TLS is spoken.
export const tls = process.env.CA ? { tls: { ca: readFileSync(process.env.CA) } } : {};
export const key = (name) => `${prefix}:${name}`;
// Keys that share a node, for what needs that.
export const tagged = (name) => `{${prefix}}:${name}`;
export const bytes = (size, salt = 7) => Buffer.alloc(size, Buffer.from(Array.from({ length: 251 }, (_, i) => (i * salt) & 255)));
export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// The first value that a listener is called with, or an error after ten seconds.
export function within(promise, what, ms = 10000) {
  let timer;
  const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error(`no ${what}`)), ms); });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// Runs the mode, and ends the program: libraries keep timers and connections that nobody waits for.
export async function run(modes, close) {
  // What a library does in the background and nobody waits for ends the program too.
  const lost = new Promise((_, reject) => { process.on('unhandledRejection', reject); });
  const work = modes[mode]().then(close);
  const code = await Promise.race([work, lost]).then(() => { console.log('ok'); return 0; }, (error) => {
    const text = [error, error.cause, ...(error.previousErrors ?? []), ...(error.errorReplies ?? [])].join('; ');
    if (/sumcache: '/.test(text)) {
      console.log(`refused: ${text}`);
      return 3;
    }
    console.error(error);
    return 1;
  });
  process.exit(code);
}

// Sets and gets while others kill what it talks to, until stdin ends. What is got is what was set for
// that key, or a miss, or an error; and when all is well again, everything works.
export async function keepGoing(set, get) {
  let over = false;
  process.stdin.on('data', () => {}).on('end', () => { over = true; });
  const count = { rounds: 0, errors: 0, misses: 0, slowest: 0 };
  const once = async (i, round) => {
    const began = Date.now();
    try {
      await within(set(key(i), `${i}:${round}`), `answer to SET ${i}`);
      const value = await within(get(key(i)), `answer to GET ${i}`);
      assert.ok(value === null || value.startsWith(`${i}:`), `${i} holds ${value}`);
      count.misses += value === null;
      return value === `${i}:${round}`;
    } catch (error) {
      if (error.code === 'ERR_ASSERTION' || /^no answer/.test(error.message)) throw error;
      count.errors++;
      return false;
    } finally {
      count.slowest = Math.max(count.slowest, Date.now() - began);
    }
  };
  while (!over) {
    await Promise.all(Array.from({ length: 20 }, (_, i) => once(i, count.rounds)));
    if (count.rounds++ === 0) console.log('ready');
    await sleep(5);
  }
  for (let tries = 0; ; tries++) {
    const good = await Promise.all(Array.from({ length: 20 }, (_, i) => once(i, count.rounds)));
    if (good.every(Boolean)) break;
    assert.ok(tries < 100, 'it does not work again');
    await sleep(100);
  }
  console.log(JSON.stringify(count));
}

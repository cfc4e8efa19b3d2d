// SPDX-License-Identifier: Apache-2.0
// A real database for service.mjs: SQLite in a file, read by threads with a connection each. A query counts a user's
// orders without an index, as happens: some milliseconds of a processor.
//
// As a main program: database.mjs FILE writes the file. As a thread it answers queries.
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { fileURLToPath } from 'node:url';

const USERS = 2000;
const ORDERS = 40000;
const QUERY = `SELECT users.id, name, about, (SELECT count(*) FROM orders WHERE user = users.id) AS orders
  FROM users WHERE id = ?`;

/** better-sqlite3, or what Node.js has of its own since 22.5. */
async function openFile(file) {
  try {
    const { default: Database } = await import('better-sqlite3');
    return new Database(file);
  } catch (error) {
    if (error.code !== 'ERR_MODULE_NOT_FOUND' && error.code !== 'MODULE_NOT_FOUND') throw error;
    const { DatabaseSync } = await import('node:sqlite');
    return new DatabaseSync(file);
  }
}

async function fill(file) {
  const database = await openFile(file);
  database.exec('CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT, about TEXT); CREATE TABLE orders (user INTEGER, what TEXT); BEGIN');
  const user = database.prepare('INSERT INTO users VALUES (?, ?, ?)');
  for (let id = 0; id < USERS; id++) user.run(id, `user ${id}`, 'x'.repeat(500));
  const order = database.prepare('INSERT INTO orders VALUES (?, ?)');
  for (let i = 0; i < ORDERS; i++) order.run((i * 7919) % USERS, `order ${i}, of something with a name`);
  database.exec('COMMIT');
  database.close();
}

/** Gives query(id), run by so many threads, in the order in which they were asked for. */
export function openDatabase(file, threads) {
  const line = [];
  const idle = [];
  const next = () => {
    while (line.length > 0 && idle.length > 0) {
      const worker = idle.pop();
      worker.job = line.shift();
      worker.postMessage(worker.job.id);
    }
  };
  for (let i = 0; i < threads; i++) {
    const worker = new Worker(new URL(import.meta.url), { workerData: { file } });
    worker.on('message', (row) => {
      worker.job?.give(row);
      worker.job = undefined;
      idle.push(worker);
      next();
    });
    worker.on('error', (error) => {
      throw error;
    });
  }
  return (id) => new Promise((give) => {
    line.push({ id, give });
    next();
  });
}

if (!isMainThread && workerData?.file) {
  const query = (await openFile(workerData.file)).prepare(QUERY);
  parentPort.on('message', (id) => parentPort.postMessage({ ...query.get(id) }));
  parentPort.postMessage('ready');
} else if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await fill(process.argv[2]);
}

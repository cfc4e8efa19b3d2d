// SPDX-License-Identifier: Apache-2.0
/**
 * Names of keys. Two kinds: those of docs/stored-format.md, which cannot collide, and those of
 * cache-cache 0.11, which a service that moves over finds its values under.
 */
import { createHash } from 'node:crypto';

const SAFE = new Set(Buffer.from('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/'));

/** What cannot be part of a key: a function, a symbol, a cycle, an instance of an unknown class. */
export class Unhashable extends Error {}

export function escapeName(bytes: Buffer): string {
  let text = '';
  for (const byte of bytes) {
    text += SAFE.has(byte) ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return text;
}

/** The names of one store in the shared format. */
export class SharedNames {
  private readonly base: string;
  private readonly space: string;
  private readonly values: Buffer;

  constructor(namespace: string | Buffer, prefix: string | Buffer) {
    const part = (text: string | Buffer): string => escapeName(Buffer.from(text as string));
    this.space = part(namespace);
    this.base = `${this.space}:${part(prefix)}`;
    this.values = Buffer.from(`${this.base}:k:`);
  }

  value(key: Buffer): Buffer {
    return Buffer.concat([this.values, key]);
  }

  /** The hash of a value that is fenced by itself. */
  fenced(key: Buffer): Buffer {
    return Buffer.concat([Buffer.from(`${this.base}:f:`), key]);
  }

  /** The hash of a value whose tags a proxy keeps. */
  tagged(key: Buffer): Buffer {
    return Buffer.concat([Buffer.from(`${this.base}:p:`), key]);
  }

  /** The generation of a tag, which all stores of a namespace share. */
  tag(tag: string): string {
    return `${this.space}::t:${tag}`;
  }

  get generation(): string {
    return `${this.base}:g`;
  }

  get list(): string {
    return `${this.base}:l`;
  }

  bucket(number: number | bigint): string {
    return `{${this.base}}:h${number}`;
  }
}

function withLength(tag: string, bytes: Buffer): Buffer {
  const head = Buffer.allocUnsafe(5);
  head.write(tag, 0, 'latin1');
  head.writeUInt32LE(bytes.length, 1);
  return Buffer.concat([head, bytes]);
}

function withInt64(tag: string, value: bigint): Buffer {
  const bytes = Buffer.allocUnsafe(9);
  bytes.write(tag, 0, 'latin1');
  bytes.writeBigInt64LE(value, 1);
  return bytes;
}

function withCount(tag: string, parts: Buffer[]): Buffer {
  const head = Buffer.allocUnsafe(5);
  head.write(tag, 0, 'latin1');
  head.writeUInt32LE(parts.length, 1);
  return Buffer.concat([head, ...parts]);
}

const INT64_MAX = (1n << 63n) - 1n;
const INT64_MIN = -(1n << 63n);
const NAN_BYTES = Buffer.from('64000000000000f87f', 'hex');

function numberForm(value: number): Buffer {
  if (Number.isSafeInteger(value)) return withInt64('i', BigInt(value));
  if (Number.isNaN(value)) return NAN_BYTES;
  const bytes = Buffer.allocUnsafe(9);
  bytes.write('d', 0, 'latin1');
  bytes.writeDoubleLE(value, 1);
  return bytes;
}

/** The canonical form of one argument. Throws Unhashable. */
export function canonical(value: unknown, depth = 0): Buffer {
  switch (typeof value) {
    case 'string':
      // What has no UTF-8 would be replaced, and two keys become one.
      if (/\p{Surrogate}/u.test(value)) throw new Unhashable('text with half a character');
      return withLength('s', Buffer.from(value));
    case 'number':
      return numberForm(value);
    case 'boolean':
      return Buffer.from(value ? 't' : 'f');
    case 'undefined':
      return Buffer.from('u');
    case 'bigint':
      return value >= INT64_MIN && value <= INT64_MAX
        ? withInt64('i', value)
        : withLength('I', Buffer.from(String(value)));
    case 'object':
      return value === null ? Buffer.from('n') : objectForm(value, depth);
    default:
      throw new Unhashable(`a ${typeof value} cannot be part of a key`);
  }
}

function objectForm(value: object, depth: number): Buffer {
  if (depth > 64) throw new Unhashable('nested too deeply, or in a circle');
  const inner = (part: unknown): Buffer => canonical(part, depth + 1);
  if (Array.isArray(value)) return withCount('l', Array.from(value, inner));
  if (value instanceof Date) {
    if (Number.isNaN(value.getTime())) throw new Unhashable('an invalid date');
    return withInt64('D', BigInt(value.getTime()));
  }
  if (value instanceof Uint8Array) {
    return withLength('b', Buffer.from(value.buffer, value.byteOffset, value.length));
  }
  if (value instanceof Set) return withCount('S', Array.from(value, inner).sort(Buffer.compare));
  if (value instanceof Map) {
    const pairs = Array.from(value, ([key, part]) => Buffer.concat([inner(key), inner(part)]));
    return withCount('m', pairs.sort(Buffer.compare));
  }
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) {
    throw new Unhashable('an instance of a class cannot be part of a key: use computeHash');
  }
  const pairs = Object.entries(value).map(([key, part]) => Buffer.concat([inner(key), inner(part)]));
  return withCount('m', pairs.sort(Buffer.compare));
}

/** The canonical form of a call. */
export function callForm(name: string, args: readonly unknown[]): Buffer {
  const head = Buffer.concat([Buffer.from([1]), withLength('s', Buffer.from(name))]);
  return Buffer.concat([head, ...args.map((arg) => canonical(arg))]);
}

/** 22 characters that stand for the function's name and its arguments. Throws Unhashable. */
export function typedKey(name: string, args: readonly unknown[]): string {
  return createHash('sha256').update(callForm(name, args)).digest().subarray(0, 16).toString('base64url');
}

/** Whether JSON says all there is to say of value. */
function isExactInJson(value: unknown, depth: number): boolean {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return true;
    case 'number':
      return Number.isFinite(value);
    case 'object':
      break;
    default:
      return false;
  }
  if (value === null) return true;
  if (depth > 64) return false;
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) if (!isExactInJson(value[i], depth + 1)) return false;
    return true;
  }
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) return false;
  return Object.values(value).every((part) => isExactInJson(part, depth + 1));
}

/**
 * The key that cache-cache 0.11 would take, the SHA-1 of the arguments as JSON, where JSON tells
 * arguments apart; else a typed key, whose length is another. Throws Unhashable.
 */
export function compatibleKey(name: string, args: readonly unknown[]): string {
  return isExactInJson(args, 0)
    ? createHash('sha1').update(JSON.stringify(args)).digest('base64')
    : typedKey(name, args);
}

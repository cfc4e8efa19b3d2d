// SPDX-License-Identifier: Apache-2.0
/**
 * Values as bytes. Decoding never runs code and never makes an object of a class that is not in the
 * list below, whatever the bytes are.
 *
 * Typed JSON is JSON in which what JSON has no word for is written as {"type": NAME, "value": …}: the way
 * in which cache-cache 0.11 wrote Maps, and Node.js writes Buffers. An object of the user that happens to look
 * like that is wrapped as {"type":"Object","value":{…}}, so that it comes back as it was.
 */
import { ConfigError } from './errors';

/** Codecs of docs/stored-format.md. */
export const CODEC = { bytes: 0, text: 1, json: 2, typedJson: 3 } as const;

/** Turns values into bytes and back. `decode` throws on what it does not understand: that is a miss. */
export interface Serializer {
  /** 128 to 255: what the header of a value says, so that a reader with another one takes it as a miss. */
  readonly codec: number;
  encode(value: unknown): Buffer | string;
  decode(bytes: Buffer): unknown;
}

const VIEWS = {
  Int8Array,
  Uint8Array,
  Uint8ClampedArray,
  Int16Array,
  Uint16Array,
  Int32Array,
  Uint32Array,
  Float32Array,
  Float64Array,
  BigInt64Array,
  BigUint64Array,
};

type Tagged = { type: string; value: unknown };

function isLookalike(value: object): boolean {
  const { type } = value as { type?: unknown };
  if (typeof type !== 'string') return false;
  const keys = Object.keys(value);
  if (keys.length !== 2) return false;
  if (type === 'Buffer') return keys.includes('data');
  return keys.includes('value') && (type in REVIVE || type === 'Object');
}

interface Tally {
  tags: number;
}

/** Gives value with tags where JSON has no word. Throws a TypeError on functions, symbols and cycles. */
function toTagged(value: unknown, tally: Tally, depth: number): unknown {
  switch (typeof value) {
    case 'number':
      if (Number.isFinite(value) && !Object.is(value, -0)) return value;
      tally.tags++;
      return { type: 'Number', value: Object.is(value, -0) ? '-0' : String(value) };
    case 'bigint':
      tally.tags++;
      return { type: 'BigInt', value: String(value) };
    case 'undefined':
      tally.tags++;
      return { type: 'Undefined', value: null };
    case 'function':
    case 'symbol':
      throw new TypeError(`a ${typeof value} cannot be stored`);
    case 'object':
      break;
    default:
      return value;
  }
  if (value === null) return null;
  if (depth > 500) throw new TypeError('nested too deeply, or in a circle');
  if (Array.isArray(value)) return value.map((part) => toTagged(part, tally, depth + 1));
  return objectToTagged(value, tally, depth);
}

function objectToTagged(value: object, tally: Tally, depth: number): unknown {
  const tag = (type: string, inner: unknown): Tagged => {
    tally.tags++;
    return { type, value: inner };
  };
  if (value instanceof Date) return tag('Date', Number.isNaN(value.getTime()) ? null : value.toISOString());
  if (value instanceof Map) {
    return tag(
      'Map',
      [...value].map((pair) => pair.map((part) => toTagged(part, tally, depth + 1))),
    );
  }
  if (value instanceof Set) return tag('Set', [...value].map((part) => toTagged(part, tally, depth + 1)));
  if (Buffer.isBuffer(value)) return tag('Bytes', value.toString('base64'));
  if (ArrayBuffer.isView(value)) {
    const { name } = value.constructor;
    if (!(name in VIEWS)) throw new TypeError(`a ${name} cannot be stored`);
    return tag(name, Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64'));
  }
  if (value instanceof RegExp || value instanceof Promise || value instanceof WeakMap || value instanceof WeakSet) {
    throw new TypeError(`a ${value.constructor.name} cannot be stored`);
  }
  const { toJSON } = value as { toJSON?: unknown };
  if (typeof toJSON === 'function') return toTagged(toJSON.call(value), tally, depth + 1);
  const result: Record<string, unknown> = {};
  for (const key of Object.keys(value)) {
    const part = (value as Record<string, unknown>)[key];
    // As JSON does: what an object does not have and what is undefined in it are one.
    if (part === undefined || typeof part === 'function' || typeof part === 'symbol') continue;
    const made = toTagged(part, tally, depth + 1);
    if (key === '__proto__') Object.defineProperty(result, key, { value: made, enumerable: true, configurable: true, writable: true });
    else result[key] = made;
  }
  return isLookalike(value) ? tag('Object', result) : result;
}

const NUMBERS: Record<string, number> = { NaN: NaN, Infinity: Infinity, '-Infinity': -Infinity, '-0': -0 };

function bytesOf(value: unknown): Buffer {
  if (typeof value !== 'string') throw new TypeError('not base64');
  return Buffer.from(value, 'base64');
}

function listOf(value: unknown): unknown[] {
  if (!Array.isArray(value)) throw new TypeError('not a list');
  return value;
}

/** What a tag means. The value has been revived already. */
const REVIVE: Record<string, (value: unknown) => unknown> = Object.assign(
  Object.create(null) as Record<string, (value: unknown) => unknown>,
  {
    Map: (value: unknown) => new Map(listOf(value).map((pair) => listOf(pair) as [unknown, unknown])),
    Set: (value: unknown) => new Set(listOf(value)),
    Date: (value: unknown) => new Date(value === null ? NaN : String(value)),
    BigInt: (value: unknown) => BigInt(String(value)),
    Undefined: () => undefined,
    Bytes: (value: unknown) => bytesOf(value),
    Number: (value: unknown) => {
      const found = NUMBERS[String(value)];
      if (found === undefined) throw new TypeError('not a number that needs a tag');
      return found;
    },
  },
);
for (const [name, View] of Object.entries(VIEWS)) {
  REVIVE[name] = (value: unknown): unknown => {
    const bytes = bytesOf(value);
    if (bytes.length % View.BYTES_PER_ELEMENT !== 0) throw new RangeError('half an element');
    const copy = new ArrayBuffer(bytes.length);
    new Uint8Array(copy).set(bytes);
    return new View(copy);
  };
}

function fromTagged(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) value[i] = fromTagged(value[i]) as never;
    return value;
  }
  const object = value as Record<string, unknown>;
  const keys = Object.keys(object);
  const { type } = object;
  if (keys.length === 2 && typeof type === 'string') {
    if (type === 'Buffer' && Array.isArray(object['data'])) return Buffer.from(object['data'] as number[]);
    if ('value' in object && type === 'Object') {
      const inner = object['value'];
      if (typeof inner !== 'object' || inner === null) throw new TypeError('not an object');
      return fromFields(inner as Record<string, unknown>, Object.keys(inner));
    }
    const revive = REVIVE[type];
    if ('value' in object && revive) return revive(fromTagged(object['value']));
  }
  return fromFields(object, keys);
}

function fromFields(object: Record<string, unknown>, keys: string[]): unknown {
  for (const key of keys) {
    if (key !== '__proto__') object[key] = fromTagged(object[key]);
  }
  return object;
}

/** JSON with tags where needed, and whether any was needed. A Map and a Buffer as cache-cache wrote them. */
export function encodeTyped(value: unknown): { text: string; isPlain: boolean } {
  const tally = { tags: 0 };
  const text = JSON.stringify(toTagged(value, tally, 0));
  return { text, isPlain: tally.tags === 0 };
}

export function decodeTyped(text: string): unknown {
  return fromTagged(JSON.parse(text));
}

/** A value as bytes with its codec: what every reader understands where it can be, typed JSON else. */
export function encodeAny(value: unknown): { codec: number; bytes: Buffer } {
  if (Buffer.isBuffer(value)) return { codec: CODEC.bytes, bytes: value };
  // A lone surrogate has no UTF-8, but JSON has an escape for it.
  if (typeof value === 'string' && !/\p{Surrogate}/u.test(value)) {
    return { codec: CODEC.text, bytes: Buffer.from(value) };
  }
  const { text, isPlain } = encodeTyped(value);
  return { codec: isPlain ? CODEC.json : CODEC.typedJson, bytes: Buffer.from(text) };
}

/** The value of such bytes; throws on what is not understood. */
export function decodeAny(codec: number, bytes: Buffer): unknown {
  switch (codec) {
    case CODEC.bytes:
      return bytes;
    case CODEC.text:
      return bytes.toString();
    case CODEC.json:
      return JSON.parse(bytes.toString());
    case CODEC.typedJson:
      return decodeTyped(bytes.toString());
    default:
      throw new TypeError(`codec ${codec} is not known`);
  }
}

/** Checks a serializer of the user. */
export function checkSerializer(serializer: Serializer): Serializer {
  const { codec } = serializer;
  if (!Number.isInteger(codec) || codec < 128 || codec > 255) {
    throw new ConfigError('the codec of a serializer is a number from 128 to 255');
  }
  return serializer;
}

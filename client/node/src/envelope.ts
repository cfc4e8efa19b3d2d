// SPDX-License-Identifier: Apache-2.0
/** The bytes of a value: docs/stored-format.md, "A value", which this follows line by line. */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { deflate, inflateSync, type InputType, type ZlibOptions } from 'node:zlib';
import * as zlib from 'node:zlib';
import { crc32 } from './crc32';

const MAGIC = 0xc5;
const VERSION = 1;
const NEGATIVE = 4;
const SIGNED = 8;
const SIGNATURE_BYTES = 16;
const HEADER_BYTES = 40;
const FUTURE_MAX_MS = 60_000;
const UINT32_MAX = 0xffffffff;

export interface Header {
  created: number;
  soft: number;
  hard: number;
  delta: number;
  epoch: bigint;
  codec: number;
  isNegative: boolean;
}

export interface Opened extends Header {
  payload: Buffer;
  isStale: boolean;
}

/** As the flags of a value name it. */
export const COMPRESSION = { zlib: 1, zstd: 2 } as const;

export interface Packed {
  bytes: Buffer;
  compression: 1 | 2;
}

/** What Node.js 22.15 has and 18 has not. */
interface Zstd {
  zstdCompress?: (bytes: Buffer, give: (error: Error | null, packed: Buffer) => void) => void;
  zstdDecompressSync?: (bytes: InputType, options: ZlibOptions) => unknown;
}
const { zstdCompress, zstdDecompressSync } = zlib as unknown as Zstd;

/** Whether this Node.js has zstd. */
export const hasZstd = zstdCompress !== undefined && zstdDecompressSync !== undefined;

/** Compresses; by zlib where zstd is asked for and Node.js has none. */
export function pack(bytes: Buffer, wanted: 'zlib' | 'zstd'): Promise<Packed> {
  const isZstd = wanted === 'zstd' && hasZstd;
  return new Promise((resolve, reject) => {
    const give = (error: Error | null, packed: Buffer): void => {
      if (error) reject(error);
      else resolve({ bytes: packed, compression: isZstd ? COMPRESSION.zstd : COMPRESSION.zlib });
    };
    if (isZstd) zstdCompress?.(bytes, give);
    else deflate(bytes, give);
  });
}

/** Seals payload under its identity. packed is the same, compressed, if that was tried: taken if it pays. key signs it. */
export function seal(identity: Buffer, header: Header, payload: Buffer, packed?: Packed, key?: Buffer): Buffer {
  let stored = payload;
  let flags = (header.isNegative ? NEGATIVE : 0) | (key ? SIGNED : 0);
  if (packed && packed.bytes.length < payload.length) {
    stored = packed.bytes;
    flags |= packed.compression;
  }
  const end = HEADER_BYTES + stored.length;
  const raw = Buffer.allocUnsafe(end + (key ? SIGNATURE_BYTES : 0));
  raw[0] = MAGIC;
  raw[1] = VERSION;
  raw[2] = flags;
  raw[3] = header.codec;
  raw.writeBigUInt64LE(BigInt(header.created), 8);
  raw.writeUInt32LE(Math.min(header.soft, UINT32_MAX), 16);
  raw.writeUInt32LE(Math.min(header.hard, UINT32_MAX), 20);
  raw.writeUInt32LE(Math.min(header.delta, UINT32_MAX), 24);
  raw.writeUInt32LE(payload.length, 28);
  raw.writeBigUInt64LE(header.epoch, 32);
  stored.copy(raw, HEADER_BYTES);
  if (key) signature(key, identity, raw.subarray(0, end)).copy(raw, end);
  raw.writeUInt32LE(checksum(identity, raw), 4);
  return raw;
}

function checksum(identity: Buffer, raw: Buffer): number {
  return crc32(raw.subarray(8), crc32(raw.subarray(0, 4), crc32(identity)));
}

/** Of the identity and all of the value but the checksum, which changes with the signature. */
function signature(key: Buffer, identity: Buffer, unsigned: Buffer): Buffer {
  const length = Buffer.allocUnsafe(4);
  length.writeUInt32LE(identity.length);
  const mac = createHmac('sha256', key).update(length).update(identity);
  return mac.update(unsigned.subarray(0, 4)).update(unsigned.subarray(8)).digest().subarray(0, SIGNATURE_BYTES);
}

/**
 * Opens what was stored under identity, or gives undefined: whatever is not right is a miss. now is
 * Date.now(); epoch what the group's is, 0 without one; knows says which codecs are understood. With keys only what
 * was signed with one of them is believed, without any only what is not signed.
 */
export function open(
  identity: Buffer,
  raw: Buffer,
  now: number,
  epoch: bigint,
  sizeMax: number,
  knows: (codec: number) => boolean,
  keys: readonly Buffer[] = [],
): Opened | undefined {
  if (raw.length < HEADER_BYTES || raw[0] !== MAGIC || raw[1] !== VERSION) return undefined;
  const flags = raw.readUInt8(2);
  const compression = flags & 3;
  const isNegative = (flags & NEGATIVE) !== 0;
  const isSigned = (flags & SIGNED) !== 0;
  if (flags & 0xf0 || compression > (hasZstd ? 2 : 1) || isSigned !== keys.length > 0) return undefined;
  const end = raw.length - (isSigned ? SIGNATURE_BYTES : 0);
  if (end < HEADER_BYTES) return undefined;
  const size = raw.readUInt32LE(28);
  let payload = raw.subarray(HEADER_BYTES, end);
  if (isNegative && (size !== 0 || payload.length !== 0)) return undefined;
  if (compression === 0 && size !== payload.length) return undefined;
  const soft = raw.readUInt32LE(16);
  const hard = raw.readUInt32LE(20);
  if (size > sizeMax || hard < soft) return undefined;
  const created64 = raw.readBigUInt64LE(8);
  if (created64 > BigInt(now + FUTURE_MAX_MS)) return undefined;
  const created = Number(created64);
  if (now >= created + hard) return undefined;
  const codec = raw.readUInt8(3);
  if (!(isNegative || knows(codec)) || raw.readBigUInt64LE(32) !== epoch) return undefined;
  if (checksum(identity, raw) !== raw.readUInt32LE(4)) return undefined;
  if (isSigned) {
    const stored = raw.subarray(end);
    const isOf = (key: Buffer): boolean => timingSafeEqual(signature(key, identity, raw.subarray(0, end)), stored);
    if (!keys.some(isOf)) return undefined;
  }
  if (compression !== 0) {
    const unpacked = unpack(payload, size, compression);
    if (!unpacked) return undefined;
    payload = unpacked;
  }
  const delta = raw.readUInt32LE(24);
  const isStale = now >= created + soft;
  return { created, soft, hard, delta, epoch, codec, isNegative, payload, isStale };
}

/**
 * What to make of bytes that `open` did not open. `over`: by what they say of themselves they are of another epoch, or
 * past their end; nothing is wrong with them. `foreign`: whole, or of a version that is not known here: others may read
 * them. `broken`: nobody can.
 */
export function judge(identity: Buffer, raw: Buffer, now: number, epoch: bigint): 'over' | 'foreign' | 'broken' {
  if (raw[0] === MAGIC && raw.length > 1 && raw[1] !== VERSION) return 'foreign';
  if (raw[0] !== MAGIC || raw.length < HEADER_BYTES) return 'broken';
  if (raw.readBigUInt64LE(32) !== epoch) return 'over';
  if (now >= Number(raw.readBigUInt64LE(8)) + raw.readUInt32LE(20)) return 'over';
  return checksum(identity, raw) === raw.readUInt32LE(4) ? 'foreign' : 'broken';
}

/** Exactly size bytes out of all of packed, or undefined. */
function unpack(packed: Buffer, size: number, compression: number): Buffer | undefined {
  const work = compression === COMPRESSION.zstd ? zstdDecompressSync : inflateSync;
  try {
    const { buffer, engine } = work?.(packed, { maxOutputLength: Math.max(1, size), info: true } as ZlibOptions) as {
      buffer: Buffer;
      engine: { bytesWritten: number };
    };
    return buffer.length === size && engine.bytesWritten === packed.length ? buffer : undefined;
  } catch {
    return undefined;
  }
}

// SPDX-License-Identifier: Apache-2.0
/** The bytes of a value: docs/stored-format.md, "A value", which this follows line by line. */
import { inflateSync } from 'node:zlib';
import { crc32 } from './crc32';

const MAGIC = 0xc5;
const VERSION = 1;
const NEGATIVE = 4;
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

/** Seals payload under its identity. packed is the same by zlib, if that was tried: taken if it pays. */
export function seal(identity: Buffer, header: Header, payload: Buffer, packed?: Buffer): Buffer {
  let stored = payload;
  let flags = header.isNegative ? NEGATIVE : 0;
  if (packed && packed.length < payload.length) {
    stored = packed;
    flags |= 1;
  }
  const raw = Buffer.allocUnsafe(HEADER_BYTES + stored.length);
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
  raw.writeUInt32LE(checksum(identity, raw), 4);
  return raw;
}

function checksum(identity: Buffer, raw: Buffer): number {
  return crc32(raw.subarray(8), crc32(raw.subarray(0, 4), crc32(identity)));
}

/**
 * Opens what was stored under identity, or gives undefined: whatever is not right is a miss. now is
 * Date.now(); epoch what the group's is, 0 without one; knows says which codecs are understood.
 */
export function open(
  identity: Buffer,
  raw: Buffer,
  now: number,
  epoch: bigint,
  sizeMax: number,
  knows: (codec: number) => boolean,
): Opened | undefined {
  if (raw.length < HEADER_BYTES || raw[0] !== MAGIC || raw[1] !== VERSION) return undefined;
  const flags = raw.readUInt8(2);
  const compression = flags & 3;
  const isNegative = (flags & NEGATIVE) !== 0;
  if (flags & 0xf8 || compression > 1) return undefined;
  const size = raw.readUInt32LE(28);
  let payload = raw.subarray(HEADER_BYTES);
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
  if (!knows(codec) || raw.readBigUInt64LE(32) !== epoch) return undefined;
  if (checksum(identity, raw) !== raw.readUInt32LE(4)) return undefined;
  if (compression === 1) {
    const unpacked = inflate(payload, size);
    if (!unpacked) return undefined;
    payload = unpacked;
  }
  const delta = raw.readUInt32LE(24);
  const isStale = now >= created + soft;
  return { created, soft, hard, delta, epoch, codec, isNegative, payload, isStale };
}

/** The epoch that raw claims to be of; undefined if raw is nothing of ours. */
export function epochIn(raw: Buffer): bigint | undefined {
  const isOurs = raw.length >= HEADER_BYTES && raw[0] === MAGIC && raw[1] === VERSION;
  return isOurs ? raw.readBigUInt64LE(32) : undefined;
}

/** Exactly size bytes out of all of packed, or undefined. */
function inflate(packed: Buffer, size: number): Buffer | undefined {
  try {
    const { buffer, engine } = inflateSync(packed, {
      maxOutputLength: Math.max(1, size),
      info: true,
    }) as unknown as { buffer: Buffer; engine: { bytesWritten: number } };
    return buffer.length === size && engine.bytesWritten === packed.length ? buffer : undefined;
  } catch {
    return undefined;
  }
}

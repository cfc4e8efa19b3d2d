// SPDX-License-Identifier: Apache-2.0
/** CRC-32 as of zlib. Node.js has it from 20.15 and 22.2 on; older ones take the table. */
import * as zlib from 'node:zlib';

const TABLE = new Uint32Array(256);
for (let i = 0; i < 256; i++) {
  let rest = i;
  for (let bit = 0; bit < 8; bit++) rest = rest & 1 ? 0xedb88320 ^ (rest >>> 1) : rest >>> 1;
  TABLE[i] = rest >>> 0;
}

/** The checksum of data after data that had the checksum `before`. */
export function crc32Table(data: Uint8Array, before = 0): number {
  let rest = ~before;
  for (let i = 0; i < data.length; i++) rest = TABLE[(rest ^ data[i]!) & 255]! ^ (rest >>> 8);
  return ~rest >>> 0;
}

const native = (zlib as { crc32?: (data: Uint8Array, before?: number) => number }).crc32;

export const crc32: (data: Uint8Array, before?: number) => number = native ?? crc32Table;

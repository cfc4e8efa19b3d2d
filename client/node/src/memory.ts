// SPDX-License-Identifier: Apache-2.0
/**
 * The memory layer: least recently used goes first, bounded by entries and by bytes.
 *
 * A Map keeps its keys in the order of insertion, and taking a key out and putting it back makes it the
 * youngest; so the Map itself is the list. Expired entries are dropped when they are met or become the
 * oldest: there is no timer that would keep a process awake.
 */
import { copyOf, snapshot } from './clone';

/** What a layer knows of a value. Times in ms; created is Date.now()'s clock. */
export interface Entry {
  value: unknown;
  created: number;
  /** Fresh until created + soft, usable until created + hard. */
  soft: number;
  hard: number;
  /** What the loader took. */
  delta: number;
  /** undefined: none, or not known. */
  tags?: readonly string[] | undefined;
}

interface Kept extends Entry {
  bytes: number;
  isCopy: boolean;
}

/** What Map and Kept take themselves, roughly. */
const ENTRY_BYTES = 160;
/** What a tag of an entry takes, roughly. */
const TAG_BYTES = 160;
/** What a value weighs that cannot be copied, and so not be looked into either. */
const UNKNOWN_BYTES = 1024;

export class MemoryStore {
  private readonly entries = new Map<string, Kept>();
  private readonly keysOfTag = new Map<string, Set<string>>();
  private bytesKept = 0;
  evictions = 0;

  /** maxEntries and maxBytes may change at any time; isCopying is false to hand out what was put in. */
  constructor(
    public maxEntries: number,
    public maxBytes: number,
    public isCopying: boolean,
  ) {}

  get size(): number {
    return this.entries.size;
  }

  get bytes(): number {
    return this.bytesKept;
  }

  keys(): IterableIterator<string> {
    return this.entries.keys();
  }

  /** The entry of key with a copy of its value that is the caller's, or undefined. */
  get(key: string, now: number): Entry | undefined {
    const kept = this.entries.get(key);
    if (!kept) return undefined;
    if (now >= kept.created + kept.hard) {
      this.drop(key, kept);
      return undefined;
    }
    this.entries.delete(key);
    this.entries.set(key, kept);
    return kept.isCopy ? { ...kept, value: copyOf(kept.value) } : kept;
  }

  /** Keeps entry under key; what is larger than all there is room for is not kept. */
  set(key: string, entry: Entry): void {
    const old = this.entries.get(key);
    if (old) this.drop(key, old);
    const made = this.isCopying ? snapshot(entry.value) : undefined;
    const weight = made?.bytes ?? (typeof entry.value === 'object' ? UNKNOWN_BYTES : 8);
    let bytes = ENTRY_BYTES + key.length * 2 + weight;
    for (const tag of entry.tags ?? []) bytes += TAG_BYTES + tag.length * 2;
    if (bytes > this.maxBytes || this.maxEntries < 1) return;
    const value = made ? made.value : entry.value;
    const { created, soft, hard, delta, tags } = entry;
    this.entries.set(key, { value, created, soft, hard, delta, tags, bytes, isCopy: made !== undefined });
    for (const tag of tags ?? []) {
      let keys = this.keysOfTag.get(tag);
      if (!keys) this.keysOfTag.set(tag, (keys = new Set()));
      keys.add(key);
    }
    this.bytesKept += bytes;
    this.shrink(entry.created);
  }

  delete(key: string): boolean {
    const kept = this.entries.get(key);
    if (kept) this.drop(key, kept);
    return kept !== undefined;
  }

  /** Drops all keys that begin with prefix. */
  clear(prefix = ''): void {
    for (const [key, kept] of this.entries) {
      if (key.startsWith(prefix)) this.drop(key, kept);
    }
  }

  /** Drops all that has this tag. */
  dropTag(tag: string): void {
    for (const key of this.keysOfTag.get(tag) ?? []) this.delete(key);
  }

  private shrink(now: number): void {
    for (const [key, kept] of this.entries) {
      const isOver = this.entries.size > this.maxEntries || this.bytesKept > this.maxBytes;
      if (!isOver && now < kept.created + kept.hard) break;
      this.drop(key, kept);
      if (isOver) this.evictions++;
    }
  }

  private drop(key: string, kept: Kept): void {
    this.entries.delete(key);
    this.bytesKept -= kept.bytes;
    for (const tag of kept.tags ?? []) {
      const keys = this.keysOfTag.get(tag);
      keys?.delete(key);
      if (keys?.size === 0) this.keysOfTag.delete(tag);
    }
  }
}

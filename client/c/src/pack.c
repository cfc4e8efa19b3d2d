/* SPDX-License-Identifier: Apache-2.0 */
#include "pack.h"

#include <stdint.h>
#include <string.h>
#include <zlib.h>
#ifdef SUMCACHE_HAS_ZSTD
#include <zstd.h>
#endif

enum { LEVEL = 1 /* of both: the I/O thread has other things to do */ };

/* Bytes written to `to`, at most `room`; 0: they do not fit, or there is no memory. */
static size_t pack_zlib(void *to, size_t room, const void *payload, size_t len)
{
    uLongf packed = room;
    return compress2(to, &packed, payload, len, LEVEL) == Z_OK ? packed : 0;
}

static bool unpack_zlib(void *to, size_t size, const void *packed, size_t len)
{
    /* One byte of room more than it may need: zlib wants some, even for nothing. */
    z_stream z = {.next_in = (Bytef *)(uintptr_t)packed,
                  .avail_in = (uInt)len,
                  .next_out = to,
                  .avail_out = (uInt)size + 1};
    if (inflateInit(&z) != Z_OK) {
        return false;
    }
    int rc = inflate(&z, Z_FINISH);
    bool is_whole = rc == Z_STREAM_END && z.total_out == size && z.avail_in == 0;
    inflateEnd(&z);
    return is_whole;
}

#ifdef SUMCACHE_HAS_ZSTD
static size_t pack_zstd(void *to, size_t room, const void *payload, size_t len)
{
    size_t packed = ZSTD_compress(to, room, payload, len, LEVEL);
    return ZSTD_isError(packed) ? 0 : packed;
}

static bool unpack_zstd(void *to, size_t size, const void *packed, size_t len)
{
    static const unsigned char magic[4] = {0x28, 0xB5, 0x2F, 0xFD};
    /* One frame of today's format: no frame that is skipped, none of the formats before 0.8, which
     * the library may still know. It writes straight into `to`, so no window is allocated. */
    if (len < sizeof(magic) || memcmp(packed, magic, sizeof(magic)) != 0 ||
        ZSTD_findFrameCompressedSize(packed, len) != len) {
        return false;
    }
    return ZSTD_decompress(to, size, packed, len) == size;
}
#else
static size_t pack_zstd(void *to, size_t room, const void *payload, size_t len)
{
    (void)to, (void)room, (void)payload, (void)len;
    return 0;
}

static bool unpack_zstd(void *to, size_t size, const void *packed, size_t len)
{
    (void)to, (void)size, (void)packed, (void)len;
    return false;
}
#endif

bool pack_is_known(enum pack_kind kind)
{
    return kind == PACK_NONE || kind == PACK_ZLIB || kind == pack_best();
}

enum pack_kind pack_best(void)
{
#ifdef SUMCACHE_HAS_ZSTD
    return PACK_ZSTD;
#else
    return PACK_ZLIB;
#endif
}

struct bytes *pack(enum pack_kind kind, const void *payload, size_t len, size_t head)
{
    struct bytes *b = len > 1 ? bytes_new(head + len) : NULL;
    if (b == NULL) {
        return NULL;
    }
    char *to = b->data + head;
    size_t room = len - 1; /* smaller, or not worth it */
    size_t packed =
        kind == PACK_ZSTD ? pack_zstd(to, room, payload, len) : pack_zlib(to, room, payload, len);
    if (packed == 0) {
        return bytes_unref(b);
    }
    b->len = head + packed;
    return b;
}

struct bytes *unpack(enum pack_kind kind, const void *packed, size_t len, size_t size)
{
    struct bytes *b = bytes_new(size + 1);
    if (b == NULL) {
        return NULL;
    }
    bool is_whole = kind == PACK_ZSTD ? unpack_zstd(b->data, size, packed, len)
                                      : unpack_zlib(b->data, size, packed, len);
    if (!is_whole) {
        return bytes_unref(b);
    }
    b->len = size;
    return b;
}

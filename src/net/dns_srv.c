/* SPDX-License-Identifier: Apache-2.0 */
#include "net/dns_srv.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
    HEADER_LEN = 12,
    QUESTION_LEN = 4, /* type and class, behind the name */
    RECORD_LEN = 10,  /* type, class, TTL and length of the data, behind the name */
    SRV_LEN = 6,      /* priority, weight and port, before the target */
    CLASS_IN = 1,
    TYPE_CNAME = 5,
    TYPE_SRV = 33,
    LABEL_MAX = 63,
    POINTER_BITS = 0xc0,
    /* The smallest record is a name of one byte and a fixed part, so a message of 64 KiB cannot
     * hold more; a count that says so is a lie and must not become an allocation. */
    RECORDS_MAX = 65535 / (1 + RECORD_LEN),
};

struct reader {
    const uint8_t *bytes;
    size_t len, at;
};

static bool has(const struct reader *r, size_t count)
{
    return r->len - r->at >= count;
}

static uint16_t take16(struct reader *r)
{
    uint16_t v = (uint16_t)(r->bytes[r->at] << 8 | r->bytes[r->at + 1]);
    r->at += 2;
    return v;
}

static uint32_t take32(struct reader *r)
{
    uint32_t high = take16(r);
    return high << 16 | take16(r);
}

static int skip_name(struct reader *r)
{
    while (has(r, 1)) {
        uint8_t label_len = r->bytes[r->at++];
        if (label_len == 0)
            return 0;
        if ((label_len & POINTER_BITS) == POINTER_BITS) {
            if (!has(r, 1))
                return -EINVAL;
            r->at++;
            return 0;
        }
        if (label_len > LABEL_MAX || !has(r, label_len))
            return -EINVAL;
        r->at += label_len;
    }
    return -EINVAL;
}

static bool is_host_char(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
}

/* Follows pointers, which may only lead back before the place that the present run of labels began
 * at: so it ends. */
static int read_name(const struct reader *from, char to[RESOLVER_NAME_MAX])
{
    struct reader r = *from;
    size_t start = r.at, len = 0;
    for (;;) {
        if (!has(&r, 1))
            return -EINVAL;
        uint8_t label_len = r.bytes[r.at++];
        if (label_len == 0)
            break;
        if ((label_len & POINTER_BITS) == POINTER_BITS) {
            if (!has(&r, 1))
                return -EINVAL;
            size_t target = (size_t)(label_len & ~POINTER_BITS) << 8 | r.bytes[r.at];
            if (target >= start)
                return -EINVAL;
            start = r.at = target;
            continue;
        }
        /* The dot before, and room for one behind that a caller may want to add, and the NUL. */
        if (label_len > LABEL_MAX || !has(&r, label_len) ||
            len + 1 + label_len > RESOLVER_NAME_MAX - 3)
            return -EINVAL;
        if (len > 0)
            to[len++] = '.';
        for (unsigned i = 0; i < label_len; i++, r.at++) {
            if (!is_host_char(r.bytes[r.at]))
                return -EINVAL;
            to[len++] = (char)r.bytes[r.at];
        }
    }
    to[len] = '\0';
    return 0;
}

static int read_service(struct reader *r, size_t data_len, uint32_t ttl,
                        struct resolver_service *ret)
{
    struct resolver_service s = {.ttl = ttl};
    if (data_len < SRV_LEN + 1)
        return -EINVAL;
    struct reader data = {r->bytes, r->at + data_len, r->at};
    s.priority = take16(&data);
    s.weight = take16(&data);
    s.port = take16(&data);
    /* It has to end inside its data. A pointer may lead anywhere before. */
    struct reader target = data;
    if (skip_name(&data) != 0 || read_name(&target, s.target) != 0)
        return -EINVAL;
    *ret = s;
    return 0;
}

/* Adds a record's service, if it is one, or notes the TTL of a CNAME. */
static int read_record(struct reader *r, struct resolver_service *services, size_t *count,
                       uint32_t *alias_ttl)
{
    if (skip_name(r) != 0 || !has(r, RECORD_LEN))
        return -EINVAL;
    uint16_t type = take16(r), class = take16(r);
    uint32_t ttl = take32(r);
    uint16_t data_len = take16(r);
    if (!has(r, data_len))
        return -EINVAL;
    if (ttl > INT32_MAX)
        ttl = 0; /* RFC 2181 §8 */
    if (class == CLASS_IN && type == TYPE_CNAME && ttl < *alias_ttl)
        *alias_ttl = ttl;
    if (class == CLASS_IN && type == TYPE_SRV) {
        if (read_service(r, data_len, ttl, &services[*count]) != 0)
            return -EINVAL;
        ++*count;
    }
    r->at += data_len;
    return 0;
}

int dns_srv_parse(const uint8_t *bytes, size_t len, struct resolver_service **ret_services,
                  size_t *ret_count)
{
    struct reader r = {bytes, len, 0};
    if (len < HEADER_LEN)
        return -EINVAL;
    r.at = 4; /* behind id and flags */
    uint16_t questions = take16(&r), answers = take16(&r);
    r.at = HEADER_LEN;
    for (unsigned i = 0; i < questions; i++) {
        if (skip_name(&r) != 0 || !has(&r, QUESTION_LEN))
            return -EINVAL;
        r.at += QUESTION_LEN;
    }
    if (answers > RECORDS_MAX || answers > (len - r.at) / (1 + RECORD_LEN))
        return -EINVAL;
    struct resolver_service *services CLEANUP(freep) = calloc(answers + 1U, sizeof(*services));
    size_t count = 0;
    uint32_t alias_ttl = UINT32_MAX;
    if (!services)
        return -ENOMEM;
    for (unsigned i = 0; i < answers; i++)
        if (read_record(&r, services, &count, &alias_ttl) != 0)
            return -EINVAL;
    for (size_t i = 0; i < count; i++)
        if (alias_ttl < services[i].ttl)
            services[i].ttl = alias_ttl;
    *ret_count = count;
    *ret_services = count > 0 ? take_ptr(services) : NULL;
    return 0;
}

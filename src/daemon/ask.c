/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/ask.h"

#include "base/nsec.h"
#include "os/host.h"
#include "resp/frame.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    DEFAULT_PORT = 6379,
    ANSWER_MAX =
        16 * 1024 * 1024, /* far more than a line for each of the most nodes there may be */
};

#define PATIENCE (5 * NSEC_S) /* a proxy answers such questions from memory */

__attribute__((format(printf, 3, 4))) static int fail(struct ask *a, int err, const char *what, ...)
{
    va_list ap;
    va_start(ap, what);
    vsnprintf(a->why, sizeof(a->why), what, ap);
    va_end(ap);
    return err;
}

int ask_init(struct ask *a, const char *connect)
{
    *a = (struct ask){.connect = connect};
    struct str text = str_of(connect), host;
    uint16_t port;
    const char *why;
    int64_t bare;
    if (str_to_i64(text, &bare) == 0 && bare >= 1 && bare <= UINT16_MAX) {
        a->at = (struct addr){ADDR_V4, (uint16_t)bare, {127, 0, 0, 1}};
        return 0;
    }
    if (addr_split_host_port(text, &host, &port) != 0)
        return fail(a, -EINVAL, "--connect: not HOST:PORT: %.300s", connect);
    if (host_find(host, port ? port : DEFAULT_PORT, &a->at, &why) != 0)
        return fail(a, -ENOENT, "%.300s cannot be found: %s", connect, why);
    return 0;
}

void ask_fini(struct ask *a)
{
    free(a->bytes);
    a->bytes = NULL;
}

struct answer {
    struct frame frame;
    struct frame_limits limits;
    char *bytes; /* owned */
    size_t len;
    int err; /* -ENOMEM, -EMSGSIZE, or -EPROTO: what comes is not RESP */
};

static bool take(void *owner, const char *bytes, size_t len)
{
    struct answer *a = owner;
    size_t used;
    enum frame_result result = frame_feed(&a->frame, bytes, len, &used);
    if (result == FRAME_BAD)
        a->err = -EPROTO;
    else if (a->len + used > ANSWER_MAX)
        a->err = -EMSGSIZE;
    if (a->err)
        return true;
    char *more = realloc(a->bytes, a->len + used);
    if (!more) {
        a->err = -ENOMEM;
        return true;
    }
    memcpy(more + a->len, bytes, used);
    a->bytes = more;
    a->len += used;
    return result == FRAME_READY;
}

/* Its text: of a bulk string that, of a line what comes behind its type. */
static struct str text_of(const struct answer *a)
{
    const char *eol = memchr(a->bytes, '\n', a->len);
    size_t line = (size_t)(eol - a->bytes) + 1; /* a frame has seen one */
    if (a->frame.type == '$' && !a->frame.is_null)
        return (struct str){a->bytes + line, a->len - line - 2};
    return (struct str){a->bytes + 1, line - 3};
}

int ask(struct ask *a, struct str question)
{
    struct answer answer = {.limits = {.bulk_max = ANSWER_MAX,
                                       .elements_max = 64,
                                       .depth_max = 3,
                                       .line_max = FRAME_LINE_MAX}};
    ask_fini(a);
    frame_init(&answer.frame, FRAME_REPLY, &answer.limits);
    int err = host_ask(&a->at, question, PATIENCE, take, &answer);
    err = err ? err : answer.err;
    a->bytes = answer.bytes;
    if (err == -EPROTO)
        return fail(a, err, "%.300s is no sumcache: it does not answer as Redis does", a->connect);
    if (err == -ETIMEDOUT)
        return fail(a, err, "%.300s does not answer within %d s", a->connect,
                    (int)(PATIENCE / NSEC_S));
    if (err)
        return fail(a, err, "%.300s cannot be asked: %s", a->connect, strerror(-err));
    a->type = answer.frame.type;
    a->text = text_of(&answer);
    a->whole = (struct str){answer.bytes, answer.len};
    if (a->type == '-')
        return fail(a, -EREMOTE, "%.300s answers: %.*s", a->connect,
                    (int)(a->text.len < 300 ? a->text.len : 300), a->text.p);
    return 0;
}

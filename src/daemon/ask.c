/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/ask.h"

#include "base/nsec.h"
#include "base/secret.h"
#include "daemon/question.h"
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

/* Where `connect` leads. */
static int find(struct ask *a, const char *connect)
{
    struct str text = str_of(connect), host;
    uint16_t port;
    const char *why;
    int64_t bare;
    if (str_to_i64(text, &bare) == 0 && bare >= 1 && bare <= UINT16_MAX) {
        a->server.addr = (struct addr){ADDR_V4, (uint16_t)bare, {127, 0, 0, 1}};
        str_fill(a->name, sizeof(a->name), STR("127.0.0.1"));
        return 0;
    }
    if (strncmp(connect, "unix:", 5) == 0 && connect[5] == '/') {
        a->server.unix_path = connect + 5;
        return 0;
    }
    if (addr_split_host_port(text, &host, &port) != 0 || text.len >= sizeof(a->name))
        return fail(a, -EINVAL, "--connect: not HOST:PORT: %.300s", connect);
    str_fill(a->name, sizeof(a->name), text);
    if (host_find(host, port ? port : DEFAULT_PORT, &a->server.addr, &why) != 0)
        return fail(a, -ENOENT, "%.300s cannot be found: %s", connect, why);
    return 0;
}

int ask_init(struct ask *a, const char *connect, const struct server_options *options)
{
    char error[SERVER_OPTIONS_ERROR_MAX];
    *a = (struct ask){.connect = connect, .user = options->user ? options->user : ""};
    a->server.name = a->name;
    int err = find(a, connect);
    if (err)
        return err;
    if (a->server.unix_path && options->tls)
        return fail(a, -EINVAL, "--tls: a Unix socket speaks none");
    err = server_options_password(options, a->password, error);
    if (!err && options->user && !a->password[0])
        return fail(a, -EINVAL, "--user: no password is given for %.200s", options->user);
    if (!err)
        err = server_options_tls(options, &a->tls, error);
    a->server.tls = a->tls;
    return err ? fail(a, err, "%s", error) : 0;
}

/* Of the last answer. */
static void forget(struct ask *a)
{
    free(a->bytes);
    a->bytes = NULL;
    a->text = a->whole = (struct str){0};
}

void ask_fini(struct ask *a)
{
    forget(a);
    a->tls = tls_context_free(a->tls);
    secret_wipe(a->password, sizeof(a->password));
}

struct answer {
    struct frame frame;
    struct frame_limits limits;
    uint32_t before; /* answers that come first, and that are only looked at if they are errors */
    char *bytes;     /* owned */
    size_t len;
    int err; /* -ENOMEM, -EMSGSIZE, or -EPROTO: what comes is not RESP */
};

/* True: it is done, as a->err says. */
static bool take_one(struct answer *a, struct str *bytes)
{
    size_t used;
    enum frame_result result = frame_feed(&a->frame, bytes->p, bytes->len, &used);
    if (result == FRAME_BAD)
        a->err = -EPROTO;
    else if (a->len + used > ANSWER_MAX)
        a->err = -EMSGSIZE;
    char *more = a->err ? NULL : realloc(a->bytes, a->len + used);
    if (!more) {
        a->err = a->err ? a->err : -ENOMEM;
        return true;
    }
    memcpy(more + a->len, bytes->p, used);
    a->bytes = more;
    a->len += used;
    *bytes = (struct str){bytes->p + used, bytes->len - used};
    if (result != FRAME_READY || a->before == 0 || a->frame.type == '-')
        return result == FRAME_READY;
    a->before--;
    a->len = 0;
    frame_reset(&a->frame);
    return false;
}

static bool take(void *owner, const char *bytes, size_t len)
{
    struct str rest = {bytes, len};
    while (rest.len > 0)
        if (take_one(owner, &rest))
            return true;
    return false;
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

static int judge(struct ask *a, int err, const char *why)
{
    if (err == -EPROTO)
        return fail(a, err, "%.300s is no sumcache: it does not answer as Redis does", a->connect);
    if (err == -ETIMEDOUT)
        return fail(a, err, "%.300s does not answer within %d s", a->connect,
                    (int)(PATIENCE / NSEC_S));
    if (err)
        return fail(a, err, "%.300s cannot be asked: %s", a->connect, why);
    if (a->type == '-')
        return fail(a, -EREMOTE, "%.300s answers: %.*s", a->connect,
                    (int)(a->text.len < 300 ? a->text.len : 300), a->text.p);
    return 0;
}

int ask(struct ask *a, const struct str *words, size_t count)
{
    struct answer answer = {.limits = {.bulk_max = ANSWER_MAX,
                                       .elements_max = 64,
                                       .depth_max = 3,
                                       .line_max = FRAME_LINE_MAX}};
    struct question q = {0};
    char why[TALK_WHY_MAX];
    forget(a);
    if (!question_add_login(&q, str_of(a->user), str_of(a->password)))
        return fail(a, -EINVAL, "the name of the user is too long");
    answer.before = q.commands;
    if (!question_add(&q, words, count)) {
        secret_wipe(q.bytes, sizeof(q.bytes));
        return fail(a, -E2BIG, "%.*s: too long", (int)(words[0].len < 60 ? words[0].len : 60),
                    words[0].p);
    }
    frame_init(&answer.frame, FRAME_REPLY, &answer.limits);
    int err = talk(&a->server, (struct str){q.bytes, q.len}, PATIENCE, take, &answer, why);
    secret_wipe(q.bytes, sizeof(q.bytes));
    a->bytes = answer.bytes;
    if (answer.err) {
        err = answer.err;
        snprintf(why, sizeof(why), "%s", strerror(-err));
    }
    if (!err) {
        a->type = answer.frame.type;
        a->text = text_of(&answer);
        a->whole = (struct str){answer.bytes, answer.len};
    }
    return judge(a, err, why);
}

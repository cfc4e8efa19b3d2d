/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests that have been found whole, however odd: which command is it, where are its keys? An
 * input is a byte that chooses how the request is cut into pieces, then arguments divided by bytes
 * 0xff. What is found does not depend on the pieces, keys are arguments and none twice by position,
 * and the request that a request carries (COMMAND GETKEYS) has the same keys.
 */
#include "base/must.h"
#include "resp/command.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ARGS_MAX = 64, PIECE_MAX = 64 };

/* A request in pieces, parsed. */
struct request {
    char *bytes;
    struct iovec *iov;
    struct args args;
};

static void request_make(struct request *r, const struct str *words, size_t count, size_t piece)
{
    size_t room = 32;
    for (size_t i = 0; i < count; i++)
        room += words[i].len + 32;
    r->bytes = malloc(room);
    must(r->bytes != NULL);
    size_t len = (size_t)sprintf(r->bytes, "*%zu\r\n", count);
    for (size_t i = 0; i < count; i++) {
        len += (size_t)sprintf(r->bytes + len, "$%zu\r\n", words[i].len);
        memcpy(r->bytes + len, words[i].p, words[i].len);
        len += words[i].len;
        memcpy(r->bytes + len, "\r\n", 2);
        len += 2;
    }
    size_t pieces = (len + piece - 1) / piece;
    r->iov = calloc(pieces, sizeof(*r->iov));
    must(r->iov != NULL);
    for (size_t i = 0; i < pieces; i++) {
        size_t left = len - i * piece;
        /* Each piece in memory of its own, so that reading past its end is seen. */
        size_t here = left < piece ? left : piece;
        r->iov[i].iov_base = malloc(here);
        must(r->iov[i].iov_base != NULL);
        memcpy(r->iov[i].iov_base, r->bytes + i * piece, here);
        r->iov[i].iov_len = here;
    }
    args_init(&r->args);
    must(args_parse(&r->args, r->iov, pieces) == 0);
    must(r->args.count == count);
}

static void request_end(struct request *r)
{
    for (size_t i = 0; i < r->args.iov_count; i++)
        free(r->iov[i].iov_base);
    args_fini(&r->args);
    free(r->iov);
    free(r->bytes);
}

/* What the router asks of a request, in its order. */
struct findings {
    const struct command *command;
    bool arity_ok, blind;
    int err;
    const char *refusal;
    struct command_keys_found keys;
};

static void look(struct findings *f, struct args *a)
{
    *f = (struct findings){.command = command_find(a)};
    if (f->command == NULL)
        return;
    f->arity_ok = command_arity_ok(f->command, a->count);
    if (!f->arity_ok)
        return;
    f->blind = command_is_blind(f->command, a);
    f->err = command_find_keys(f->command, a, &f->keys, &f->refusal);
    must(f->err == 0 || f->err == -EINVAL || f->err == -ENOTSUP);
    must((f->err == -ENOTSUP) == (f->refusal != NULL));
    if (f->err == -EINVAL)
        return;
    must(f->keys.count < a->count);
    for (size_t i = 0; i < f->keys.count; i++) {
        must(f->keys.index[i] > 0 && f->keys.index[i] < a->count);
        for (size_t k = 0; k < i; k++)
            must(f->keys.index[k] != f->keys.index[i]);
    }
}

static void check_same(const struct findings *a, const struct findings *b)
{
    must(a->command == b->command && a->arity_ok == b->arity_ok && a->blind == b->blind);
    must(a->err == b->err && a->refusal == b->refusal);
    if (a->err == -EINVAL)
        return;
    must(a->keys.count == b->keys.count);
    for (size_t i = 0; i < a->keys.count; i++)
        must(a->keys.index[i] == b->keys.index[i]);
}

/* The same request behind two other words. */
static void check_tail(const struct findings *f, const struct str *words, size_t count,
                       size_t piece)
{
    struct str longer[ARGS_MAX + 2] = {STR("command"), STR("getkeys")};
    memcpy(longer + 2, words, count * sizeof(*words));
    struct request r;
    request_make(&r, longer, count + 2, piece);
    struct args tail;
    must(args_tail(&r.args, 2, &tail) == 0);
    struct findings inner;
    look(&inner, &tail);
    check_same(f, &inner);
    command_keys_fini(&inner.keys);
    args_fini(&tail);
    request_end(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    size_t piece = 1 + data[0] % PIECE_MAX;
    struct str words[ARGS_MAX];
    size_t count = 0;
    const char *p = (const char *)data + 1, *end = (const char *)data + size;
    while (p < end && count < ARGS_MAX) {
        const char *mark = memchr(p, 0xff, (size_t)(end - p));
        size_t len = mark != NULL ? (size_t)(mark - p) : (size_t)(end - p);
        words[count++] = (struct str){p, len};
        p += len + 1;
    }
    struct request whole, cut;
    struct findings a, b;
    request_make(&whole, words, count, SIZE_MAX / 4);
    request_make(&cut, words, count, piece);
    look(&a, &whole.args);
    look(&b, &cut.args);
    check_same(&a, &b);
    check_tail(&a, words, count, piece);
    command_keys_fini(&a.keys);
    command_keys_fini(&b.keys);
    request_end(&whole);
    request_end(&cut);
    return 0;
}

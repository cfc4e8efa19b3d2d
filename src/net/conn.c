/* SPDX-License-Identifier: Apache-2.0 */
#include "net/conn.h"

#include "base/must.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* 64 chunks of 16 KiB: 1 MiB a call, more than a socket takes. */
enum { FLUSH_PIECES = 64 };

void conn_init(struct conn *c, struct loop *loop, struct chunk_pool *chunks,
               void (*on_ready)(struct source *, unsigned))
{
    *c = (struct conn){.loop = loop, .chunks = chunks, .handle = CONN_CLOSED};
    source_init(&c->source, on_ready);
    list_init(&c->dirty);
}

int conn_open(struct conn *c, int handle)
{
    must(!conn_is_open(c));
    struct io *io = c->loop->io;
    int err = io->ops->watch(io->ctx, handle, &c->source);
    if (err) {
        io->ops->close(io->ctx, handle);
        return err;
    }
    c->handle = handle;
    c->blocked = false;
    return 0;
}

static void end(struct conn *c, void (*close)(void *ctx, int handle))
{
    if (c->tls)
        tls_close(c);
    if (conn_is_open(c))
        close(c->loop->io->ctx, c->handle);
    c->handle = CONN_CLOSED;
    buf_clear(&c->out, c->chunks);
    list_remove(&c->dirty);
    list_remove(&c->source.again);
}

void conn_close(struct conn *c)
{
    end(c, c->loop->io->ops->close);
}

void conn_finish(struct conn *c)
{
    end(c, c->loop->io->ops->finish);
}

void conn_mark_dirty(struct conn *c, struct list *list)
{
    if (list_empty(&c->dirty) && !c->blocked && conn_is_open(c))
        list_push_tail(list, &c->dirty);
}

static size_t sum(const struct iovec *iov, int count)
{
    size_t len = 0;
    for (int i = 0; i < count; i++)
        len += iov[i].iov_len;
    return len;
}

ssize_t conn_send(struct conn *c, const void *bytes, size_t len, size_t *ret_taken)
{
    *ret_taken = 0;
    if (c->blocked)
        return 0;
    if (c->tls)
        return tls_send(c, bytes, len, ret_taken);
    struct iovec iov[FLUSH_PIECES];
    int count = buf_iov(&c->out, 0, iov, FLUSH_PIECES - 1);
    size_t before = sum(iov, count);
    if (before < c->out.len)
        return conn_flush(c); /* more than a socket takes is waiting already */
    iov[count++] = (struct iovec){(void *)(uintptr_t)bytes, len};
    struct io *io = c->loop->io;
    ssize_t n = io->ops->writev(io->ctx, c->handle, iov, count);
    if (n == -EAGAIN || n == -EINTR)
        n = 0;
    if (n < 0)
        return n;
    size_t sent = (size_t)n;
    c->blocked = sent < before + len;
    *ret_taken = sent > before ? sent - before : 0;
    buf_consume(&c->out, c->chunks, sent - *ret_taken);
    return n;
}

ssize_t conn_flush(struct conn *c)
{
    if (c->tls)
        return tls_flush(c);
    struct io *io = c->loop->io;
    ssize_t sent = 0;
    while (c->out.len > 0) {
        struct iovec iov[FLUSH_PIECES];
        int count = buf_iov(&c->out, 0, iov, FLUSH_PIECES);
        size_t asked = sum(iov, count);
        ssize_t n = io->ops->writev(io->ctx, c->handle, iov, count);
        if (n == -EAGAIN || n == -EINTR)
            n = 0;
        if (n < 0)
            return n;
        buf_consume(&c->out, c->chunks, (size_t)n);
        sent += n;
        if ((size_t)n < asked) {
            c->blocked = true;
            break;
        }
    }
    return sent;
}

char *conn_why(const struct conn *c, int err, char to[CONN_WHY_MAX])
{
    const char *why = c->tls ? tls_why(c->tls) : NULL;
    snprintf(to, CONN_WHY_MAX, "%s", why ? why : strerror(-err));
    return to;
}

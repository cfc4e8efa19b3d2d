/* SPDX-License-Identifier: Apache-2.0 */
#include "net/listener.h"

#include "base/nsec.h"

#include <errno.h>

enum {
    BACKLOG = 1024,   /* the kernel cuts it to net.core.somaxconn */
    ACCEPTS_MAX = 64, /* per event */
    PAUSE_MS = 100,   /* then a descriptor may have come free */
};

static bool is_shortage(int err)
{
    return err == -EMFILE || err == -ENFILE || err == -ENOBUFS || err == -ENOMEM;
}

static void on_ready(struct source *s, unsigned ready)
{
    (void)ready;
    struct listener *l = container_of(s, struct listener, source);
    struct io *io = l->loop->io;
    for (int i = 0; i < ACCEPTS_MAX; i++) {
        if (l->paused || l->handle < 0)
            return;
        struct addr peer;
        int handle = io->ops->accept(io->ctx, l->handle, &l->options, &peer);
        if (handle == -EAGAIN)
            return;
        if (is_shortage(handle)) {
            l->paused = true;
            timer_set(&l->resume, l->loop->now + PAUSE_MS * NSEC_MS);
            l->events->on_pause(l->owner, handle);
            return;
        }
        if (handle >= 0)
            l->events->on_accept(l->owner, l, handle, &peer);
        /* Other errors concern a connection that died in the queue: on to the next. */
    }
    if (l->handle >= 0)
        loop_again(l->loop, &l->source);
}

static void on_resume(struct timer *t)
{
    struct listener *l = container_of(t, struct listener, resume);
    l->paused = false;
    loop_again(l->loop, &l->source);
}

int listener_open(struct listener *l, struct loop *loop, int handle, const struct addr *at,
                  const struct io_socket_options *options, const struct listener_events *events,
                  void *owner)
{
    struct io *io = loop->io;
    if (handle < 0)
        handle = io->ops->listen(io->ctx, at, BACKLOG);
    if (handle < 0)
        return handle;
    *l = (struct listener){.loop = loop,
                           .events = events,
                           .owner = owner,
                           .options = *options,
                           .at = *at,
                           .handle = -1};
    source_init(&l->source, on_ready);
    int err = timer_make(&l->resume, &loop->timers, on_resume);
    if (err) {
        io->ops->close(io->ctx, handle);
        return err;
    }
    l->handle = handle;
    err = io->ops->watch(io->ctx, handle, &l->source);
    if (err)
        listener_close(l);
    return err;
}

void listener_close(struct listener *l)
{
    if (l->handle < 0)
        return;
    struct io *io = l->loop->io;
    io->ops->unwatch(io->ctx, l->handle);
    io->ops->close(io->ctx, l->handle);
    l->handle = -1;
    list_remove(&l->source.again);
    timer_unmake(&l->resume);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/sockets.h"

#include "os/host.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

/* Where `--local` looks for a port when 6379 is taken. */
enum { LOCAL_PORT_FIRST = 6380, LOCAL_PORT_LAST = 6399 };
/* Where it shows the page, if admin.listen does not say. */
enum { LOCAL_ADMIN_FIRST = 9379, LOCAL_ADMIN_LAST = 9399 };

static int __attribute__((format(printf, 2, 3))) fail(struct sockets *s, const char *text, ...)
{
    va_list ap;
    va_start(ap, text);
    vsnprintf(s->error, sizeof(s->error), text, ap);
    va_end(ap);
    return -ECANCELED;
}

const char *sockets_text(const struct sockets *s, const struct config *c, uint32_t index,
                         char to[SOCKETS_TEXT_MAX])
{
    if (s->listen[index].family != ADDR_UNIX)
        return addr_print(&s->listen[index], to);
    snprintf(to, SOCKETS_TEXT_MAX, "unix:%s", c->sockets[index].path);
    return to;
}

static int cannot_listen(struct sockets *s, const struct config *c, uint32_t index, int err)
{
    char text[SOCKETS_TEXT_MAX];
    return fail(s, "cannot listen on %s: %s", sockets_text(s, c, index, text), strerror(-err));
}

int sockets_refuse_admin(struct sockets *s, int err)
{
    char text[ADDR_TEXT_MAX];
    return fail(s, "cannot listen on %s (admin.listen): %s", addr_print(&s->admin_at, text),
                strerror(-err));
}

int sockets_receive(struct sockets *s)
{
    int bad = 0;
    *s = (struct sockets){0};
    int err = handover_receive(&s->inherited, &bad);
    return err ? fail(s, "descriptor %d of LISTEN_FDS is no socket that listens: %s", bad,
                      strerror(-err))
               : 0;
}

void sockets_fini(struct sockets *s)
{
    handover_fini(&s->inherited);
}

static unsigned left_of(const struct sockets *s, const struct config *c, uint32_t index)
{
    return handover_left(&s->inherited, &s->listen[index], c->sockets[index].path);
}

/* ---- where ---- */

/* `--local` without an address of its own is somebody trying it out: any port will do. */
static int choose_local_port(struct sockets *s, FILE *out)
{
    struct addr at = s->listen[0];
    char was[ADDR_TEXT_MAX], is[ADDR_TEXT_MAX];
    for (int port = LOCAL_PORT_FIRST; port <= LOCAL_PORT_LAST; port++) {
        at.port = (uint16_t)port;
        if (host_can_listen(&at) != 0)
            continue;
        fprintf(out, "%s is taken, so sumcache listens on %s instead\n",
                addr_print(&s->listen[0], was), addr_print(&at, is));
        s->listen[0] = at;
        return 0;
    }
    return fail(s, "cannot listen on %s nor on ports %d to %d: all are taken",
                addr_print(&s->listen[0], was), LOCAL_PORT_FIRST, LOCAL_PORT_LAST);
}

static int choose_listen(struct sockets *s, const struct config *c, FILE *out)
{
    s->listen_count = c->listen_count;
    memcpy(s->listen, c->listen, s->listen_count * sizeof(s->listen[0]));
    for (uint32_t i = 0; i < s->listen_count; i++) {
        /* A Unix socket is tried when it is opened. */
        bool is_sure = s->listen[i].family == ADDR_UNIX || left_of(s, c, i) > 0;
        int err = is_sure ? 0 : host_can_listen(&s->listen[i]);
        if (err == -EADDRINUSE && c->local_nodes > 0 && !config_is_given(c, "listen"))
            return choose_local_port(s, out);
        if (err)
            return cannot_listen(s, c, i, err);
    }
    return 0;
}

/* Somebody who tries it out is shown the page too; with no port free, there is none. */
static void choose_local_admin(struct sockets *s, const struct config *c)
{
    uint16_t port;
    if (c->local_nodes > 0 && !config_is_given(c, "admin.listen") &&
        host_free_port(LOCAL_ADMIN_FIRST, LOCAL_ADMIN_LAST, &port) == 0)
        s->admin_at = (struct addr){ADDR_V4, port, {127, 0, 0, 1}};
}

static int choose_admin(struct sockets *s, const struct config *c)
{
    int err = config_admin_addr(c, &s->admin_at);
    if (!err && s->admin_at.family == ADDR_NONE)
        choose_local_admin(s, c);
    if (!err && s->admin_at.family != ADDR_NONE &&
        handover_left(&s->inherited, &s->admin_at, "") == 0)
        err = host_can_listen(&s->admin_at);
    return err ? sockets_refuse_admin(s, err) : 0;
}

int sockets_choose(struct sockets *s, const struct config *c, FILE *out)
{
    int err = choose_listen(s, c, out);
    return err ? err : choose_admin(s, c);
}

/* ---- listening ---- */

static int listen_unix(struct sockets *s, const struct config *c, struct worker *w, uint32_t index)
{
    const struct config_socket *socket = &c->sockets[index];
    int handle = host_listen_unix(socket->path, socket->mode);
    if (handle < 0)
        return handle;
    s->unix_is_ours[index] = true;
    return worker_listen(w, handle, &s->listen[index], c->listen_tls[index]);
}

/* Sockets that were taken over are dealt out to the workers that are still to come, this one
 * included, so that none with clients in its queue is left. */
static int adopt(struct sockets *s, const struct config *c, struct worker *w, uint32_t index,
                 unsigned workers)
{
    const struct addr *at = &s->listen[index];
    unsigned left = left_of(s, c, index), share = (left + workers - 1) / workers;
    for (unsigned i = 0; i < share; i++) {
        int handle = handover_take(&s->inherited, at, c->sockets[index].path);
        /* The last one, and there are more workers: if they cannot open one beside it, they get
         * copies, by which they take turns. */
        bool is_last = left - i == 1 && workers > 1 && at->family != ADDR_UNIX;
        if (is_last && !handover_is_shared(handle)) {
            int copy = handover_copy(handle);
            if (copy < 0)
                return copy;
            handover_put(&s->inherited, copy, at);
        }
        int err = worker_listen(w, handle, at, c->listen_tls[index]);
        if (err && err != -E2BIG)
            return err;
    }
    if (at->family == ADDR_UNIX)
        s->unix_is_ours[index] |= !s->inherited.activated;
    return 0;
}

int sockets_listen(struct sockets *s, const struct config *c, struct worker *w, unsigned index,
                   unsigned count)
{
    for (uint32_t i = 0; i < s->listen_count; i++) {
        bool is_unix = s->listen[i].family == ADDR_UNIX;
        int err = 0;
        if (left_of(s, c, i) > 0)
            err = adopt(s, c, w, i, count - index);
        else if (!is_unix)
            err = worker_listen(w, -1, &s->listen[i], c->listen_tls[i]);
        else if (index == 0) /* it has no port that workers could share: the first one deals out */
            err = listen_unix(s, c, w, i);
        if (err)
            return cannot_listen(s, c, i, err);
    }
    return 0;
}

int sockets_take_admin(struct sockets *s)
{
    int handle = handover_take(&s->inherited, &s->admin_at, "");
    return handle < 0 ? -1 : handle;
}

int sockets_settle(struct sockets *s)
{
    char text[HANDOVER_TEXT_MAX];
    const char *stray = s->inherited.by_a_process ? NULL : handover_stray(&s->inherited, text);
    if (stray)
        return fail(s,
                    "LISTEN_FDS has a socket at %s, which is neither in `listen` nor admin.listen",
                    stray);
    handover_close_rest(&s->inherited);
    return 0;
}

void sockets_remove(const struct sockets *s, const struct config *c)
{
    for (uint32_t i = 0; i < s->listen_count; i++)
        if (s->unix_is_ours[i])
            host_remove_unix(c->sockets[i].path);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "os/linger.h"

#include "base/nsec.h"

#include <errno.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    SOCKETS_MAX = 1024, /* a drain closes many at once; the acknowledgement takes a round trip */
    READ_BYTES = 16 * 1024,
    READS_MAX = 64, /* a socket's buffer, and then the others */
};

#define STILL_MAX  (500 * NSEC_MS) /* nothing arrives: a lost segment is sent again after 200 ms */
#define LINGER_MAX NSEC_S          /* however slowly it is taken */
#define LOOK_EACH  (5 * NSEC_MS)

struct linger_socket {
    int fd;
    int unsent; /* when it last moved */
    uint64_t moved_at, until;
};

/* Throws away what has come. True: the other side has closed or is gone. */
static bool drop_input(int fd)
{
    uint8_t bytes[READ_BYTES];
    for (int i = 0; i < READS_MAX; i++) {
        ssize_t n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            return true;
        if (n < 0)
            return false;
    }
    return false;
}

/* Bytes that have not been acknowledged (TCP), or read (Unix). */
static int unsent_of(int fd)
{
    int bytes = 0;
    return ioctl(fd, SIOCOUTQ, &bytes) == 0 ? bytes : 0;
}

void linger_take(struct linger_list *l, int fd, uint64_t now)
{
    int unsent = drop_input(fd) ? 0 : unsent_of(fd);
    if (unsent == 0 || l->count >= SOCKETS_MAX) {
        close(fd);
        return;
    }
    if (l->count == l->room) {
        size_t room = l->room ? 2 * l->room : 16;
        struct linger_socket *sockets = realloc(l->sockets, room * sizeof(*sockets));
        if (!sockets) {
            close(fd);
            return;
        }
        l->sockets = sockets;
        l->room = room;
    }
    shutdown(fd, SHUT_WR);
    l->sockets[l->count++] = (struct linger_socket){fd, unsent, now, now + LINGER_MAX};
}

static bool is_over(struct linger_socket *s, uint64_t now)
{
    int unsent = drop_input(s->fd) ? 0 : unsent_of(s->fd);
    if (unsent < s->unsent)
        s->moved_at = now;
    s->unsent = unsent;
    return unsent == 0 || now >= s->until || now >= s->moved_at + STILL_MAX;
}

void linger_step(struct linger_list *l, uint64_t now)
{
    for (size_t i = 0; i < l->count;) {
        if (is_over(&l->sockets[i], now)) {
            close(l->sockets[i].fd);
            l->sockets[i] = l->sockets[--l->count];
        } else {
            i++;
        }
    }
    if (l->count == 0) {
        free(take_ptr(l->sockets));
        l->room = 0;
    }
}

uint64_t linger_due(const struct linger_list *l, uint64_t now)
{
    return l->count > 0 ? now + LOOK_EACH : NSEC_NEVER;
}

void linger_fini(struct linger_list *l)
{
    for (size_t i = 0; i < l->count; i++)
        close(l->sockets[i].fd);
    free(take_ptr(l->sockets));
    *l = (struct linger_list){0};
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "address.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <time.h>

enum {
    HOST_MAX = 255,
    AGAIN_KNOWN_S = 30, /* a name that is known is looked up again after that */
    AGAIN_UNKNOWN_S = 1,
};

struct place {
    char host[HOST_MAX + 1];
    char port[8];
    bool is_name;
    int count;
    struct address found[ADDRESS_MAX];
};

struct address_book {
    atomic_int shares;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_stopping;
    bool has_names;
    int count;
    struct place places[ADDRESS_PLACES];
};

static int look_up(const struct place *p, int flags, struct address found[ADDRESS_MAX])
{
    struct addrinfo hints = {.ai_flags = flags, .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    if (getaddrinfo(p->host, p->port, &hints, &list) != 0) {
        return 0;
    }
    int count = 0;
    for (struct addrinfo *i = list; i != NULL && count < ADDRESS_MAX; i = i->ai_next) {
        if (i->ai_addrlen <= sizeof(found[0].storage)) {
            memcpy(&found[count].storage, i->ai_addr, i->ai_addrlen);
            found[count++].len = i->ai_addrlen;
        }
    }
    freeaddrinfo(list);
    return count;
}

static bool read_file_place(struct place *p, const char *text, size_t len)
{
    struct sockaddr_un *un = (struct sockaddr_un *)&p->found[0].storage;
    if (len >= sizeof(un->sun_path)) {
        return false;
    }
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, text, len);
    p->found[0].len = sizeof(*un);
    p->count = 1;
    return true;
}

/* host, host:port, [v6], [v6]:port or /path */
static bool read_place(struct place *p, const char *text, size_t len)
{
    if (len > 0 && text[0] == '/') {
        return read_file_place(p, text, len);
    }
    const char *end = text + len;
    const char *host = text, *host_end = memchr(text, ':', len), *port = "6379";
    size_t port_len = 4;
    if (len > 0 && text[0] == '[') {
        host++;
        host_end = memchr(text, ']', len);
        if (host_end == NULL || (host_end + 1 < end && host_end[1] != ':')) {
            return false;
        }
    }
    host_end = host_end == NULL ? end : host_end;
    const char *colon = host_end < end && *host_end == ']' ? host_end + 1 : host_end;
    if (colon < end) {
        port = colon + 1;
        port_len = (size_t)(end - port);
    }
    if (host_end == host || host_end - host > HOST_MAX || port_len == 0 || port_len > 5 ||
        strspn(port, "0123456789") < port_len) {
        return false;
    }
    memcpy(p->host, host, (size_t)(host_end - host));
    memcpy(p->port, port, port_len);
    long number = strtol(p->port, NULL, 10);
    if (number < 1 || number > 65535) {
        return false;
    }
    p->count = look_up(p, AI_NUMERICHOST | AI_NUMERICSERV, p->found);
    p->is_name = p->count == 0;
    return true;
}

int address_book_new(const char *text, struct address_book **ret_book)
{
    struct address_book *b = calloc(1, sizeof(*b));
    if (b == NULL) {
        return -ENOMEM;
    }
    atomic_init(&b->shares, 1);
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->changed, NULL);
    for (;;) {
        size_t len = strcspn(text, ",");
        if (b->count == ADDRESS_PLACES || !read_place(&b->places[b->count], text, len)) {
            address_book_free(b);
            return -EINVAL;
        }
        b->has_names |= b->places[b->count++].is_name;
        if (text[len] == 0) {
            break;
        }
        text += len + 1;
    }
    *ret_book = b;
    return 0;
}

static void unref(struct address_book *b)
{
    if (atomic_fetch_sub(&b->shares, 1) == 1) {
        pthread_mutex_destroy(&b->lock);
        pthread_cond_destroy(&b->changed);
        free(b);
    }
}

static bool resolve_all(struct address_book *b)
{
    bool is_known = true;
    for (int i = 0; i < b->count; i++) {
        struct place *p = &b->places[i];
        struct address found[ADDRESS_MAX];
        if (!p->is_name) {
            continue;
        }
        int count = look_up(p, AI_ADDRCONFIG | AI_NUMERICSERV, found);
        if (count == 0) { /* what was known is better than nothing */
            is_known = false;
            continue;
        }
        pthread_mutex_lock(&b->lock);
        memcpy(p->found, found, (size_t)count * sizeof(found[0]));
        p->count = count;
        pthread_mutex_unlock(&b->lock);
    }
    return is_known;
}

static void *resolver_run(void *arg)
{
    struct address_book *b = arg;
    pthread_mutex_lock(&b->lock);
    while (!b->is_stopping) {
        pthread_mutex_unlock(&b->lock);
        bool is_known = resolve_all(b);
        pthread_mutex_lock(&b->lock);
        struct timespec at;
        clock_gettime(CLOCK_REALTIME, &at);
        at.tv_sec += is_known ? AGAIN_KNOWN_S : AGAIN_UNKNOWN_S;
        if (!b->is_stopping) {
            pthread_cond_timedwait(&b->changed, &b->lock, &at);
        }
    }
    pthread_mutex_unlock(&b->lock);
    unref(b);
    return NULL;
}

int address_book_start(struct address_book *b)
{
    if (!b->has_names) {
        return 0;
    }
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    atomic_fetch_add(&b->shares, 1);
    pthread_t thread;
    int rc = pthread_create(&thread, NULL, resolver_run, b);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0) {
        atomic_fetch_sub(&b->shares, 1);
        return -EAGAIN;
    }
    pthread_detach(thread);
    return 0;
}

struct address_book *address_book_free(struct address_book *b)
{
    if (b != NULL) {
        pthread_mutex_lock(&b->lock);
        b->is_stopping = true;
        pthread_cond_signal(&b->changed);
        pthread_mutex_unlock(&b->lock);
        unref(b);
    }
    return NULL;
}

int address_book_read(struct address_book *b, struct address ret[ADDRESS_MAX])
{
    int count = 0;
    pthread_mutex_lock(&b->lock);
    for (int i = 0; i < b->count; i++) {
        for (int k = 0; k < b->places[i].count && count < ADDRESS_MAX; k++) {
            ret[count++] = b->places[i].found[k];
        }
    }
    pthread_mutex_unlock(&b->lock);
    return count;
}

int address_book_reopen(struct address_book *b)
{
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->changed, NULL);
    atomic_store(&b->shares, 1);
    return address_book_start(b);
}

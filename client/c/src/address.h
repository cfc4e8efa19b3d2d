/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the cache is. Numeric addresses and sockets of files are known at once; names are resolved
 * by a thread of their own, again and again, since getaddrinfo() has no deadline. That thread is
 * never waited for: it shares the object and ends when it can.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

enum { ADDRESS_PLACES = 8, ADDRESS_MAX = 16 };

struct address {
    struct sockaddr_storage storage;
    socklen_t len;
};

struct address_book;

/* 0, -EINVAL (text is no list of at most 8 addresses) or -ENOMEM. */
int address_book_new(const char *text, struct address_book **ret_book);
/* Starts the resolver if there is a name to be resolved. 0, or -EAGAIN. */
int address_book_start(struct address_book *b);
/* Ends it, some time. NULL is fine. Returns NULL. */
struct address_book *address_book_free(struct address_book *b);
/* What is known now, in the order of the text. Returns how many, maybe 0. Any thread. */
int address_book_read(struct address_book *b, struct address ret[ADDRESS_MAX]);
/* In the child of a fork: the lock and the thread are gone. */
int address_book_reopen(struct address_book *b);

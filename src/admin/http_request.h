/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The head of an HTTP/1.x request, judged strictly: GET or HEAD, no body, one Host, no folded
 * lines, no control characters. Pure; texts are loans of the bytes.
 */
#pragma once
#include "base/cleanup.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>

enum { HTTP_HEAD_MAX = 4096 }; /* bytes of the longest head that is taken */

enum http_result {
    HTTP_MORE, /* its end has not come; never said of HTTP_HEAD_MAX bytes or more */
    HTTP_READY,
    HTTP_BAD,       /* 400 */
    HTTP_NO_METHOD, /* 405: neither GET nor HEAD */
    HTTP_TOO_LONG,  /* 431 */
};

struct http_request {
    struct str path;          /* begins with '/'; as it came, nothing decoded */
    struct str query;         /* what follows '?'; empty: nothing */
    struct str host;          /* the value of Host; empty: HTTP/1.0 without one */
    struct str authorization; /* the value of Authorization; empty: none */
    struct str encodings;     /* of Accept-Encoding; the last one, if there are several */
    struct str known;         /* of If-None-Match; the same */
    bool head;                /* HEAD: the answer has no body */
};

/* `ret` is set on HTTP_READY only. */
enum http_result http_request_parse(const char *bytes, size_t len, struct http_request *ret);

/* The value of `name` in a query, decoded ("%41", '+' is a blank). Its bytes, or -ENOENT: it has no
 * such; -EINVAL: it is badly written or longer than `size`. Anything may be among them, NUL too. */
int http_query_find(struct str query, struct str name, char *to, size_t size) MUST_CHECK;

/* Is it this host by a number, or by the name localhost? A page of elsewhere that is opened in a
 * browser of ours can make its own name point to us, but not change what the browser calls us. */
bool http_host_is_local(struct str host);

/* Of Accept-Encoding: may it be gzip? What only "*" would allow is not. */
bool http_takes_gzip(struct str encodings);
/* Of If-None-Match: is `tag`, with its quotes, among them, weak or not? */
bool http_knows_tag(struct str known, struct str tag);

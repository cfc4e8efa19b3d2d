/* SPDX-License-Identifier: Apache-2.0 */
/* A client as CLIENT LIST and CLIENT INFO show it: one line, in redis-server's words. */
#pragma once
#include "proxy/client.h"

enum {
    CLIENT_LINE_MAX = 1024,
    CLIENT_LIB_MAX = 64, /* bytes of lib-name and lib-ver that are kept */
    CLIENT_NAME_SHOWN = 128,
};

/* "id=… addr=… …\n". Returns its length; the worker's thread. */
size_t client_line_print(struct client *c, char to[CLIENT_LINE_MAX]);

/* The address it has connected to. ADDR_NONE: the socket does not say. */
struct addr client_local_addr(struct client *c);

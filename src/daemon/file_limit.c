/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/file_limit.h"

#include "os/process.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    NODES_OF_A_NAME = 32
}; /* room for so many is made for each name of nodes.dns and nodes.srv */

int file_limit_raise(const struct config *c, unsigned worker_count,
                     char error[CONFIG_LOAD_ERROR_MAX])
{
    uint32_t clients = c->proxy.clients_max;
    /* Per worker, node and RESP version one shared upstream and the bulk ones, which surprises may
     * double (lanes.c), and per node its probe; per worker its listeners, epoll and wake-up; 100
     * for what is left, from standard input to the resolver's sockets. How many nodes a name will
     * bring is not known yet. */
    uint64_t per_node = 2 * (1 + 2 * (uint64_t)c->proxy.bulk_max) * worker_count + 1;
    uint64_t names = c->node_names.count + c->node_services.count;
    uint64_t nodes = c->node_count + c->local_nodes + names * NODES_OF_A_NAME;
    /* Private upstreams: no node needs many, unless it has the keys that all wait for. */
    uint64_t need = (uint64_t)clients + nodes * per_node + c->proxy.private_max +
                    c->admin_connections + 1 + (uint64_t)worker_count * (c->listen_count + 2) + 100;
    uint64_t limit = 0;
    int err = process_raise_file_limit(need, &limit);
    if (err == -EPERM)
        snprintf(error, CONFIG_LOAD_ERROR_MAX,
                 "%" PRIu32 " clients (limits.clients), %" PRIu64 " nodes and %u workers need "
                 "%" PRIu64 " open files, but the hard limit is %" PRIu64
                 ": raise it (ulimit -Hn, LimitNOFILE=) or lower limits.clients",
                 clients, nodes, worker_count, need, limit);
    else if (err)
        snprintf(error, CONFIG_LOAD_ERROR_MAX, "cannot read the limit of open files: %s",
                 strerror(-err));
    return err;
}

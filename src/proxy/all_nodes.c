/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/all_nodes.h"

#include "base/must.h"
#include "proxy/flush.h"
#include "proxy/gather.h"
#include "proxy/keyspace.h"
#include "proxy/router.h"
#include "proxy/scan.h"
#include "proxy/worker_internal.h"

void all_nodes_refuse(struct client *c, const char *text)
{
    struct request *r;
    struct reply_out o = client_reply_begin(c, &r);
    reply_error(&o, "%s", text);
    client_reply_end(c, r, &o);
}

struct request *all_nodes_request(struct client *c, const struct command *command)
{
    struct worker *w = c->worker;
    struct request *r = request_new(c, command, w->args.count);
    if (!r) {
        client_close(c);
        return NULL;
    }
    for (uint32_t i = 0; w->view && i < w->view->node_count; i++)
        if (gather_is_asked(&w->view->nodes[i]))
            return r;
    const char *name;
    enum failure f = router_no_node(w, &name);
    request_fail(r, f, name);
    return NULL;
}

void all_nodes_start(struct client *c, const struct command *command)
{
    metric_add(&c->worker->metrics.requests_all_nodes, 1);
    switch (command->id) {
    case COMMAND_ID_SCAN:
        scan_start(c, command);
        return;
    case COMMAND_ID_KEYS:
        keyspace_keys(c, command);
        return;
    case COMMAND_ID_DBSIZE:
        keyspace_dbsize(c, command);
        return;
    case COMMAND_ID_RANDOMKEY:
        keyspace_randomkey(c, command);
        return;
    case COMMAND_ID_FLUSHALL:
    case COMMAND_ID_FLUSHDB:
        flush_start(c, command);
        return;
    default:
        unreachable(); /* a row of the table says ALL_NODES and nobody answers it */
    }
}

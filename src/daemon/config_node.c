/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/config_node.h"

#include "base/must.h"
#include "cluster/discovery.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void config_node_write_name(struct str host, uint16_t port, char to[VIEW_NODE_NAME_MAX])
{
    bool is_v6 = memchr(host.p, ':', host.len) != NULL;
    int len = snprintf(to, VIEW_NODE_NAME_MAX, is_v6 ? "[%.*s]:%u" : "%.*s:%u", (int)host.len,
                       host.p, (unsigned)port);
    must(len > 0 && len < VIEW_NODE_NAME_MAX); /* addr_split_host_port() bounds the host */
}

/* The next word of `text`, which is cut off it; empty: there is none. */
static struct str next_word(struct str *text)
{
    for (; text->len > 0 && *text->p == ' '; text->len--)
        text->p++;
    const char *blank = text->len ? memchr(text->p, ' ', text->len) : NULL;
    struct str word = {text->p, blank ? (size_t)(blank - text->p) : text->len};
    *text = (struct str){word.p + word.len, text->len - word.len};
    return word;
}

/* Does `word` begin with `key`? Then what is behind it. */
static bool takes(struct str word, struct str key, struct str *ret_value)
{
    if (word.len <= key.len || memcmp(word.p, key.p, key.len) != 0)
        return false;
    *ret_value = (struct str){word.p + key.len, word.len - key.len};
    return true;
}

/* It has to survive being printed in quotes, and being listed with commas. */
static bool is_good_id(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.p[i] <= ' ' || s.p[i] > '~' || strchr("\"\\,", s.p[i]))
            return false;
    return s.len > 0 && s.len < VIEW_NODE_NAME_MAX;
}

static int read_options(struct str text, struct config_node *n)
{
    bool weighed = false;
    for (struct str word; (word = next_word(&text)).len > 0;) {
        struct str value;
        int64_t weight;
        if (takes(word, STR("weight="), &value)) {
            if (weighed || str_to_i64(value, &weight) != 0 || weight < 1 ||
                weight > DISCOVERY_WEIGHT_MAX)
                return -EINVAL;
            n->weight = (uint32_t)weight;
            weighed = true;
        } else if (takes(word, STR("name="), &value)) {
            if (n->id[0] || !is_good_id(value))
                return -EINVAL;
            str_fill(n->id, sizeof(n->id), value);
        } else {
            return -EINVAL;
        }
    }
    return 0;
}

int config_node_read(struct str text, struct config_node *ret)
{
    struct config_node n = {.weight = 1};
    const char *blank = text.len ? memchr(text.p, ' ', text.len) : NULL;
    struct str place = {text.p, blank ? (size_t)(blank - text.p) : text.len}, host;
    uint16_t port = 0;
    struct str rest = {place.p + place.len, text.len - place.len};
    if (addr_split_host_port(place, &host, &port) != 0)
        return -EINVAL;
    /* A blank with nothing behind it is a slip; it is not taken for a name that was forgotten. */
    if (rest.len > 0 && text.p[text.len - 1] == ' ')
        return -EINVAL;
    if (read_options(rest, &n) != 0)
        return -EINVAL;
    config_node_write_name(host, port > 0 ? port : CONFIG_PORT, n.name);
    if (addr_parse(str_of(n.name), 0, &n.addr) != 0)
        n.addr = (struct addr){0};
    *ret = n;
    return 0;
}

char *config_node_print(const struct config_node *n, char to[CONFIG_NODE_TEXT_MAX])
{
    char weight[32] = "";
    if (n->weight != 1)
        snprintf(weight, sizeof(weight), " weight=%" PRIu32, n->weight);
    snprintf(to, CONFIG_NODE_TEXT_MAX, "%s%s%s%s", n->name, weight, n->id[0] ? " name=" : "",
             n->id);
    return to;
}

static const char *id_of(const struct config_node *n)
{
    return n->id[0] ? n->id : n->name;
}

bool config_node_is_same(const struct config_node *a, const struct config_node *b)
{
    /* "A:1" and "a:1" are two identities but one server, as are two spellings of an address. */
    return (a->addr.family != ADDR_NONE && addr_eq(&a->addr, &b->addr)) ||
           str_eq_nocase(str_of(a->name), str_of(b->name)) || strcmp(id_of(a), id_of(b)) == 0;
}

static bool any_id(const struct config *c)
{
    for (uint32_t i = 0; i < c->node_count; i++)
        if (c->nodes[i].id[0])
            return true;
    return false;
}

bool config_has_layout(const struct config *c)
{
    return c->layout_kind != LAYOUT_MAGLEV || any_id(c);
}

int config_layout(const struct config *c, struct layout **ret, const char **ret_why)
{
    *ret_why = "";
    if (!config_has_layout(c)) {
        *ret = NULL;
        return 0;
    }
    *ret_why = "ring.kind: ketama and modula have their nodes from nodes.static alone, for their "
               "slots are cut at the start";
    if (c->layout_kind != LAYOUT_MAGLEV &&
        (c->node_names.count > 0 || c->node_services.count > 0 || c->local_nodes > 0))
        return -EINVAL;
    struct layout_node *nodes CLEANUP(freep) = calloc(c->node_count + 1, sizeof(*nodes));
    if (!nodes)
        return -ENOMEM;
    for (uint32_t i = 0; i < c->node_count; i++)
        nodes[i] = (struct layout_node){str_of(c->nodes[i].name), str_of(id_of(&c->nodes[i])),
                                        c->nodes[i].weight};
    int err = layout_new((enum layout_kind)c->layout_kind, (enum hash32_kind)c->layout_hash, nodes,
                         c->node_count, ret);
    if (err == -E2BIG)
        *ret_why = c->layout_kind == LAYOUT_KETAMA
                       ? "ring.kind: ketama holds about 409 nodes"
                       : "ring.kind: the weights of modula come to more than 65537";
    else if (err == -EINVAL)
        *ret_why =
            "ring.kind: ketama takes names of nodes (name=, or host:port) of at most 79 bytes";
    return err == -E2BIG ? -EINVAL : err;
}

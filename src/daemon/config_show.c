/* SPDX-License-Identifier: Apache-2.0 */
/* How each kind of setting is shown: its range and its value. */
#include "base/must.h"
#include "cluster/discovery.h"
#include "daemon/config_members.h"
#include "daemon/config_node.h"
#include "daemon/config_policy.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void print_choices(const struct config_row *row, char to[CONFIG_TEXT_MAX])
{
    size_t len = 0;
    for (const char *const *choice = row->choices; *choice; choice++) {
        int n = snprintf(to + len, CONFIG_TEXT_MAX - len, "%s%s", len ? " | " : "", *choice);
        len += (size_t)n;
        must(len < CONFIG_TEXT_MAX);
    }
}

static char *print_number(const struct config_row *row, uint64_t v, char to[CONFIG_TEXT_MAX])
{
    if (row->kind == CONFIG_DURATION)
        return str_from_duration_ns(v, to, CONFIG_TEXT_MAX);
    if (row->kind == CONFIG_SIZE)
        return str_from_size(v, to, CONFIG_TEXT_MAX);
    snprintf(to, CONFIG_TEXT_MAX, "%" PRIu64, v);
    return to;
}

char *config_row_range(const struct config_row *row, char to[CONFIG_TEXT_MAX])
{
    char min[CONFIG_TEXT_MAX], max[CONFIG_TEXT_MAX];
    print_number(row, row->min, min);
    print_number(row, row->max, max);
    switch (row->kind) {
    case CONFIG_LISTEN:
        snprintf(to, CONFIG_TEXT_MAX,
                 "%.8s to %.8s of ADDRESS:PORT [tls] or unix:/PATH [mode=0700]", min, max);
        break;
    case CONFIG_SERVERS:
        snprintf(to, CONFIG_TEXT_MAX, "%.8s to %.8s of ADDRESS:PORT", min, max);
        break;
    case CONFIG_NODES:
        snprintf(to, CONFIG_TEXT_MAX, "%.8s to %.8s of HOST:PORT [weight=1 to %d] [name=ID]", min,
                 max, DISCOVERY_WEIGHT_MAX);
        break;
    case CONFIG_NAMES:
        snprintf(to, CONFIG_TEXT_MAX, "%.8s to %.8s of NAME:PORT", min, max);
        break;
    case CONFIG_SERVICES:
        snprintf(to, CONFIG_TEXT_MAX, "%.8s to %.8s of _SERVICE._tcp.NAME", min, max);
        break;
    case CONFIG_RULES:
        snprintf(to, CONFIG_TEXT_MAX,
                 "%.8s to %.8s of PREFIX* [default_ttl=] [max_ttl=] [max_value=] [deny]", min, max);
        break;
    case CONFIG_USERS:
        snprintf(to, CONFIG_TEXT_MAX,
                 "%.8s to %.8s of NAME RIGHT... ~PREFIX*... password_file=", min, max);
        break;
    case CONFIG_LOGINS:
        snprintf(to, CONFIG_TEXT_MAX, "%.8s to %.8s of SOURCE [user=] password_file=", min, max);
        break;
    case CONFIG_RANGES:
        snprintf(to, CONFIG_TEXT_MAX, "%.8s to %.8s of ADDRESS[/BITS]", min, max);
        break;
    case CONFIG_SECRET:
        snprintf(to, CONFIG_TEXT_MAX, "${NAME}");
        break;
    case CONFIG_COMMAND_LIST:
        snprintf(to, CONFIG_TEXT_MAX, "%.8s to %.8s of COMMAND", min, max);
        break;
    case CONFIG_COMMAND_MAP:
        snprintf(to, CONFIG_TEXT_MAX, "%.8s to %.8s of COMMAND: %s", min, max,
                 row->offset == CONFIG_COMMANDS_RENAME ? "NAME" : "FIRST [LAST [STEP]]");
        break;
    case CONFIG_SWITCH:
        snprintf(to, CONFIG_TEXT_MAX, "on | off");
        break;
    case CONFIG_CHOICE:
        print_choices(row, to);
        break;
    case CONFIG_WORD:
        snprintf(to, CONFIG_TEXT_MAX, "at most %.8s printable bytes", max);
        break;
    case CONFIG_COUNT:
    case CONFIG_AUTO:
    case CONFIG_DURATION:
    case CONFIG_SIZE:
        snprintf(to, CONFIG_TEXT_MAX, "%s%.24s to %.24s",
                 row->kind == CONFIG_AUTO ? "auto or "
                 : row->zero_ok           ? "0 or "
                                          : "",
                 min, max);
        break;
    }
    return to;
}

/* Would YAML take it for itself, and not for a list, a comment or nothing at all? */
static bool word_is_plain(const char *word)
{
    return *word && !strpbrk(word, "'#:,[]{}&*!|>%@`") && !strchr("-?", *word);
}

char *config_row_value(const struct config_row *row, const struct config *c,
                       char to[CONFIG_TEXT_MAX])
{
    const char *quote;
    switch (row->kind) {
    case CONFIG_SWITCH:
        snprintf(to, CONFIG_TEXT_MAX, "%s", *member_bool(row, c) ? "on" : "off");
        return to;
    case CONFIG_CHOICE:
        snprintf(to, CONFIG_TEXT_MAX, "%s", row->choices[*member32(row, c)]);
        return to;
    case CONFIG_SECRET:
        snprintf(to, CONFIG_TEXT_MAX, "\"%s\"", member_word(row, c));
        return to;
    case CONFIG_WORD:
        quote = word_is_plain(member_word(row, c)) ? "" : "\"";
        snprintf(to, CONFIG_TEXT_MAX, "%s%s%s", quote, member_word(row, c), quote);
        return to;
    case CONFIG_AUTO:
        if (*member32(row, c) == 0) {
            snprintf(to, CONFIG_TEXT_MAX, "auto");
            return to;
        }
        return print_number(row, *member32(row, c), to);
    case CONFIG_COUNT:
        return print_number(row, *member32(row, c), to);
    case CONFIG_DURATION:
    case CONFIG_SIZE:
        return print_number(row, *member64(row, c), to);
    case CONFIG_LISTEN:
    case CONFIG_NODES:
    case CONFIG_NAMES:
    case CONFIG_SERVICES:
    case CONFIG_COMMAND_LIST:
    case CONFIG_COMMAND_MAP:
    case CONFIG_SERVERS:
    case CONFIG_RULES:
    case CONFIG_USERS:
    case CONFIG_RANGES:
    case CONFIG_LOGINS:
        break;
    }
    unreachable();
}

const char *config_row_item(const struct config_row *row, const struct config *c, uint32_t index,
                            char to[CONFIG_ITEM_MAX])
{
    switch (row->kind) {
    case CONFIG_LISTEN:
        if (index >= c->listen_count)
            return NULL;
        if (c->listen[index].family != ADDR_UNIX) {
            addr_print(&c->listen[index], to);
            if (c->listen_tls[index])
                memcpy(to + strlen(to), CONFIG_TLS_MARK, sizeof(CONFIG_TLS_MARK));
            return to;
        }
        snprintf(to, CONFIG_ITEM_MAX, "unix:%s mode=%04o", c->sockets[index].path,
                 (unsigned)c->sockets[index].mode);
        return to;
    case CONFIG_SERVERS:
        return index < c->dns.server_count ? addr_print(&c->dns.servers[index], to) : NULL;
    case CONFIG_NODES:
        return index < c->node_count ? config_node_print(&c->nodes[index], to) : NULL;
    case CONFIG_NAMES:
    case CONFIG_SERVICES:
        return index < member_names(row, c)->count ? member_names(row, c)->names[index] : NULL;
    case CONFIG_RULES:
        return index < c->proxy.policy.count
                   ? config_policy_print(&c->rules[index], to, CONFIG_ITEM_MAX)
                   : NULL;
    case CONFIG_LOGINS:
        return index < c->login_count ? config_login_print(&c->logins[index], to, CONFIG_ITEM_MAX)
                                      : NULL;
    case CONFIG_RANGES:
        return index < c->proxy.balancer_count ? addr_range_print(&c->proxy.balancers[index], to)
                                               : NULL;
    case CONFIG_USERS:
        return c->users && index < c->users->access.count ? c->users->of[index].text : NULL;
    case CONFIG_COMMAND_LIST:
    case CONFIG_COMMAND_MAP:
        return config_commands_item(&c->commands, (enum config_commands_list)row->offset, index, to,
                                    CONFIG_ITEM_MAX);
    default:
        unreachable();
    }
}

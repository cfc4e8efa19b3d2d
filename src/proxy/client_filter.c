/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/client_filter.h"

#include "base/nsec.h"
#include "proxy/client_line.h"
#include "proxy/guard.h"
#include "proxy/subscriber.h"
#include "proxy/worker_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_OPTION = 2, QUOTED_MAX = 128 };

struct parse {
    struct client_filter *f;
    struct args *a;
    struct client_filter_error *error; /* loan */
    const struct access *users;        /* loan; NULL: there is "default" alone */
};

static int wrong(const struct parse *p, const char *text)
{
    str_fill(p->error->text, sizeof(p->error->text), str_of(text));
    return -EINVAL;
}

static int wrong_value(const struct parse *p, const char *prefix, struct str value)
{
    char text[256];
    int shown = (int)(value.len < QUOTED_MAX ? value.len : QUOTED_MAX);
    snprintf(text, sizeof(text), "%s '%.*s'", prefix, shown, value.p ? value.p : "");
    return wrong(p, text);
}

static bool is(struct str s, const char *word)
{
    return str_eq_nocase(s, str_of(word));
}

static int take_id(const struct parse *p, struct str value, int64_t least, const char *error)
{
    int64_t id;
    if (str_to_i64(value, &id) != 0 || id < least)
        return wrong(p, error);
    p->f->ids[p->f->id_count++] = (uint64_t)id;
    p->f->by_id = true;
    return 0;
}

static int take_type(const struct parse *p, struct str value)
{
    if (is(value, "normal") || is(value, "pubsub")) {
        p->f->by_type = true;
        p->f->pubsub = is(value, "pubsub");
        return 0;
    }
    if (!is(value, "replica") && !is(value, "slave") && !is(value, "master"))
        return wrong_value(p, "ERR Unknown client type", value);
    p->f->nobody = true;
    return 0;
}

static int make_room(struct client_filter *f, size_t count)
{
    f->ids = malloc((count > 0 ? count : 1) * sizeof(*f->ids));
    return f->ids ? 0 : -ENOMEM;
}

/* Frees what a parse that fails has got. */
static int end(struct client_filter *f, int err)
{
    if (err)
        client_filter_fini(f);
    return err;
}

static int parse_list(const struct parse *p)
{
    struct args *a = p->a;
    struct str option = args_str(a, FIRST_OPTION);
    if (a->count == FIRST_OPTION + 2 && is(option, "TYPE"))
        return take_type(p, args_str(a, FIRST_OPTION + 1));
    if (a->count < FIRST_OPTION + 2 || !is(option, "ID"))
        return wrong(p, "ERR syntax error");
    int err = 0;
    for (size_t i = FIRST_OPTION + 1; i < a->count && !err; i++)
        err = take_id(p, args_str(a, i), INT64_MIN, "ERR Invalid client ID");
    return err;
}

int client_filter_parse_list(struct client_filter *f, struct args *a,
                             struct client_filter_error *ret_error)
{
    struct parse p = {f, a, ret_error, NULL};
    *f = (struct client_filter){0};
    if (a->count == FIRST_OPTION)
        return 0;
    int err = make_room(f, a->count);
    return end(f, err ? err : parse_list(&p));
}

static int take_addr(char *to, bool *by, struct str value)
{
    *by = true;
    str_fill(to, ADDR_TEXT_MAX, value.len < ADDR_TEXT_MAX ? value : STR("?"));
    return 0;
}

static int take_user(const struct parse *p, struct str value)
{
    bool is_there = p->users ? access_find(p->users, value) != NULL : str_eq(value, STR("default"));
    if (!is_there)
        return wrong_value(p, "ERR No such user", value);
    p->f->by_user = true;
    str_fill(p->f->user, sizeof(p->f->user), value);
    return 0;
}

static int take_kill_option(const struct parse *p, struct str name, struct str value)
{
    struct client_filter *f = p->f;
    int64_t age;
    if (is(name, "ID"))
        return take_id(p, value, 1, "ERR client-id should be greater than 0");
    if (is(name, "TYPE"))
        return take_type(p, value);
    if (is(name, "ADDR"))
        return take_addr(f->addr, &f->by_addr, value);
    if (is(name, "LADDR"))
        return take_addr(f->laddr, &f->by_laddr, value);
    if (is(name, "USER"))
        return take_user(p, value);
    if (is(name, "SKIPME") && (is(value, "yes") || is(value, "no"))) {
        f->skips_me = is(value, "yes");
        return 0;
    }
    if (!is(name, "MAXAGE"))
        return wrong(p, "ERR syntax error");
    if (str_to_i64(value, &age) != 0)
        return wrong(p, "ERR maxage is not an integer or out of range");
    if (age <= 0)
        return wrong(p, "ERR maxage should be greater than 0");
    f->by_age = true;
    f->age_min = (uint64_t)age;
    return 0;
}

static int parse_kill(const struct parse *p)
{
    struct args *a = p->a;
    if (a->count == FIRST_OPTION + 1) {
        p->f->old_style = true;
        return take_addr(p->f->addr, &p->f->by_addr, args_str(a, FIRST_OPTION));
    }
    p->f->skips_me = true;
    int err = 0;
    for (size_t i = FIRST_OPTION; i < a->count && !err; i += 2)
        err = i + 1 < a->count ? take_kill_option(p, args_str(a, i), args_str(a, i + 1))
                               : wrong(p, "ERR syntax error");
    return err;
}

int client_filter_parse_kill(struct client_filter *f, struct args *a, uint64_t me,
                             const struct access *users, struct client_filter_error *ret_error)
{
    struct parse p = {f, a, ret_error, users};
    *f = (struct client_filter){.me = me};
    int err = make_room(f, a->count);
    return end(f, err ? err : parse_kill(&p));
}

void client_filter_fini(struct client_filter *f)
{
    free(f->ids);
    f->ids = NULL;
}

static bool has_id(const struct client_filter *f, uint64_t id)
{
    for (size_t i = 0; i < f->id_count; i++)
        if (f->ids[i] == id)
            return true;
    return false;
}

static bool is_at(const struct addr *at, const char *text)
{
    char here[ADDR_TEXT_MAX];
    return strcmp(addr_print(at, here), text) == 0;
}

bool client_filter_matches(const struct client_filter *f, struct client *c)
{
    if (f->nobody || (f->skips_me && c->id == f->me))
        return false;
    if (f->by_type && subscriber_is_one(c) != f->pubsub)
        return false;
    if (f->by_id && !has_id(f, c->id))
        return false;
    if (f->by_age && (worker_now(c->worker) - c->since) / NSEC_S < f->age_min)
        return false;
    if (f->by_addr && !is_at(&c->peer, f->addr))
        return false;
    if (f->by_user && strcmp(guard_user_name(c), f->user) != 0)
        return false;
    if (!f->by_laddr)
        return true;
    struct addr local = client_local_addr(c);
    return is_at(&local, f->laddr);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/scripts.h"

#include <stdlib.h>
#include <string.h>

void scripts_init(struct scripts *s, size_t bytes_max)
{
    *s = (struct scripts){.bytes_max = bytes_max};
    list_init(&s->entries);
}

static size_t size_of(const struct script_entry *e)
{
    return sizeof(*e) + e->name_len + e->body_len;
}

static void drop(struct scripts *s, struct script_entry *e)
{
    list_remove(&e->link);
    s->count--;
    s->bytes -= size_of(e);
    free(e);
}

void scripts_fini(struct scripts *s)
{
    list_for_each_safe (link, &s->entries)
        drop(s, list_item(link, struct script_entry, link));
}

static bool is_of_functions(enum script_kind kind)
{
    return kind >= FUNCTION_LOADED;
}

/* Does `e` no longer matter when this comes after it? */
static bool overtakes(enum script_kind kind, struct str name, const struct script_entry *e)
{
    switch (kind) {
    case SCRIPT_LOADED:
    case FUNCTIONS_RESTORED:
        return false;
    case SCRIPTS_FLUSHED:
    case FUNCTIONS_FLUSHED:
        return is_of_functions(kind) == is_of_functions((enum script_kind)e->kind);
    case FUNCTION_LOADED:
    case FUNCTION_DELETED:
        return (e->kind == FUNCTION_LOADED || e->kind == FUNCTION_DELETED) &&
               str_eq(script_name(e), name);
    }
    return false;
}

/* The same, and nothing that came since says otherwise. */
static bool is_there(const struct scripts *s, enum script_kind kind, struct str name,
                     struct str body)
{
    const struct script_entry *found = NULL;
    if (kind != SCRIPT_LOADED && kind != FUNCTION_LOADED)
        return false;
    list_for_each (link, &s->entries) {
        const struct script_entry *e = list_item(link, struct script_entry, link);
        if (e->kind == kind && str_eq(script_name(e), name) && str_eq(script_body(e), body))
            found = e;
        else if (e->kind == FUNCTIONS_RESTORED && kind == FUNCTION_LOADED)
            found = NULL; /* it may have brought another of that name */
    }
    return found != NULL;
}

/* Forgets scripts, the oldest first, until so many bytes fit, or there are no more. */
static void make_room(struct scripts *s, size_t size)
{
    /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): what was dropped is off the list */
    list_for_each_safe (link, &s->entries) {
        struct script_entry *e = list_item(link, struct script_entry, link);
        if (s->bytes + size <= s->bytes_max)
            return;
        if (e->kind != SCRIPT_LOADED)
            continue;
        drop(s, e);
        s->forgotten++;
    }
}

bool scripts_add(struct scripts *s, enum script_kind kind, struct str name, struct str body)
{
    size_t size = sizeof(struct script_entry) + name.len + body.len;
    if (is_there(s, kind, name, body))
        return false;
    list_for_each_safe (link, &s->entries) {
        struct script_entry *e = list_item(link, struct script_entry, link);
        if (overtakes(kind, name, e))
            drop(s, e);
    }
    if (size <= s->bytes_max)
        make_room(s, size);
    struct script_entry *e = s->bytes + size <= s->bytes_max ? malloc(size) : NULL;
    if (!e) {
        s->forgotten++;
        return false;
    }
    *e = (struct script_entry){
        .number = ++s->last, .kind = (uint8_t)kind, .name_len = name.len, .body_len = body.len};
    if (name.len > 0)
        memcpy(e->bytes, name.p, name.len);
    if (body.len > 0)
        memcpy(e->bytes + name.len, body.p, body.len);
    list_push_tail(&s->entries, &e->link);
    s->count++;
    s->bytes += size;
    return true;
}

struct script_entry *scripts_after(const struct scripts *s, uint64_t number)
{
    list_for_each (link, &s->entries) {
        struct script_entry *e = list_item(link, struct script_entry, link);
        if (e->number > number)
            return e;
    }
    return NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "import/draft.h"

#include "base/must.h"
#include "base/nsec.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Room for one more in an array that doubles. False: there is no memory, which is remembered. */
static bool make_room(struct draft *d, void **array, size_t count, size_t *room, size_t size)
{
    if (count < *room)
        return true;
    size_t more = *room ? *room * 2 : 32;
    void *grown = realloc(*array, more * size);
    if (!grown) {
        d->no_memory = true;
        return false;
    }
    *array = grown;
    *room = more;
    return true;
}

void draft_fini(struct draft *d)
{
    for (size_t i = 0; i < d->item_count; i++)
        free(d->items[i].value);
    free(d->items);
    free(d->notes);
    *d = (struct draft){0};
}

/* ---- settings ---- */

static struct draft_item *find_item(const struct draft *d, const char *setting)
{
    for (size_t i = 0; i < d->item_count; i++)
        if (!d->items[i].listed && strcmp(d->items[i].setting, setting) == 0)
            return &d->items[i];
    return NULL;
}

static void put_item(struct draft *d, const char *setting, bool listed, char *value)
{
    struct draft_item *item = listed ? NULL : find_item(d, setting);
    if (item) {
        free(item->value);
        item->value = value;
        return;
    }
    void *items = d->items;
    if (d->item_count == DRAFT_ITEMS_MAX) {
        free(value);
        if (!d->failed)
            draft_refuse(d, NULL, "more than %d nodes", DRAFT_ITEMS_MAX);
        return;
    }
    if (!make_room(d, &items, d->item_count, &d->item_room, sizeof(*d->items))) {
        free(value);
        return;
    }
    d->items = items;
    item = &d->items[d->item_count++];
    *item = (struct draft_item){.value = value, .listed = listed};
    snprintf(item->setting, sizeof(item->setting), "%s", setting);
}

static void __attribute__((format(printf, 4, 0)))
put_format(struct draft *d, const char *setting, bool listed, const char *format, va_list ap)
{
    char text[DRAFT_TEXT_MAX];
    vsnprintf(text, sizeof(text), format, ap);
    for (const char *p = text; *p; p++)
        if (*p < ' ' || *p > '~') {
            draft_refuse(d, NULL, "%s: it takes printable ASCII only", setting);
            return;
        }
    char *value = strdup(text);
    if (value)
        put_item(d, setting, listed, value);
    else
        d->no_memory = true;
}

void draft_set(struct draft *d, const char *setting, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    put_format(d, setting, false, format, ap);
    va_end(ap);
}

void draft_add(struct draft *d, const char *setting, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    put_format(d, setting, true, format, ap);
    va_end(ap);
}

size_t draft_count(const struct draft *d, const char *setting)
{
    size_t count = 0;
    for (size_t i = 0; i < d->item_count; i++)
        count += strcmp(d->items[i].setting, setting) == 0;
    return count;
}

/* Plain where nobody could take it for something else, else in double quotes. */
static void print_quoted(const char *text, FILE *out)
{
    size_t plain = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_");
    if (text[0] && !text[plain]) {
        fprintf(out, "%s\n", text);
        return;
    }
    fputc('"', out);
    for (const char *p = text; *p; p++) {
        if (*p == '"' || *p == '\\')
            fputc('\\', out);
        fputc(*p, out);
    }
    fputs("\"\n", out);
}

/* One setting, with all items if it is a list. `name` is its last part. */
static void print_item(const struct draft *d, size_t index, int indent, FILE *out)
{
    const struct draft_item *item = &d->items[index];
    const char *dot = strchr(item->setting, '.');
    fprintf(out, "%*s%s:", indent, "", dot ? dot + 1 : item->setting);
    if (!item->listed) {
        fputc(' ', out);
        print_quoted(item->value, out);
        return;
    }
    fputc('\n', out);
    for (size_t i = index; i < d->item_count; i++)
        if (strcmp(d->items[i].setting, item->setting) == 0) {
            fprintf(out, "%*s- ", indent + 2, "");
            print_quoted(d->items[i].value, out);
        }
}

/* Is it the first item of its setting? */
static bool is_first(const struct draft *d, size_t index)
{
    for (size_t i = 0; i < index; i++)
        if (strcmp(d->items[i].setting, d->items[index].setting) == 0)
            return false;
    return true;
}

/* Section by section, as people write them. */
static void print_all(const struct draft *d, FILE *out)
{
    static const char *const SECTIONS[] = {"listen",   "protected_mode", "auth",   "nodes", "ring",
                                           "timeouts", "health",         "limits", "dns"};
    for (size_t i = 0; i < sizeof(SECTIONS) / sizeof(SECTIONS[0]); i++) {
        size_t len = strlen(SECTIONS[i]);
        bool begun = false;
        for (size_t k = 0; k < d->item_count; k++) {
            const char *setting = d->items[k].setting;
            if (strncmp(setting, SECTIONS[i], len) != 0 || !is_first(d, k))
                continue;
            if (setting[len] == '.' && !begun)
                fprintf(out, "%s:\n", SECTIONS[i]);
            begun = true;
            print_item(d, k, setting[len] == '.' ? 2 : 0, out);
        }
    }
}

/* In the order of the file, those without a place behind. What it failed for is last. */
static void sort_notes(struct draft *d)
{
    for (size_t i = 1; i < d->note_count; i++) {
        struct import_note moved = d->notes[i];
        size_t at = i;
        for (; at > 0 && moved.line > 0; at--) {
            const struct import_note *before = &d->notes[at - 1];
            if (before->line > 0 && (before->line < moved.line || (before->line == moved.line &&
                                                                   before->column <= moved.column)))
                break;
            d->notes[at] = *before;
        }
        d->notes[at] = moved;
    }
}

int draft_finish(struct draft *d, struct import_result *ret)
{
    void *notes = d->notes;
    *ret = (struct import_result){0};
    if (make_room(d, &notes, d->note_count, &d->note_room, sizeof(*d->notes)))
        d->notes = notes; /* for the refusal */
    if (!d->failed && !d->no_memory) {
        size_t len;
        FILE *out = open_memstream(&ret->yaml, &len);
        if (out)
            print_all(d, out);
        if (!out || fclose(out) != 0)
            d->no_memory = true;
    }
    if (d->no_memory) {
        free(ret->yaml);
        ret->yaml = NULL;
        return -ENOMEM;
    }
    sort_notes(d);
    if (d->failed)
        d->notes[d->note_count++] = d->refusal;
    ret->note_count = d->note_count;
    ret->notes = take_ptr(d->notes);
    return 0;
}

/* ---- notes ---- */

static void __attribute__((format(printf, 3, 0)))
write_note(struct import_note *n, const yaml_node_t *at, const char *format, va_list ap)
{
    *n = (struct import_note){0};
    if (at) {
        n->line = (unsigned)at->start_mark.line + 1;
        n->column = (unsigned)at->start_mark.column + 1;
    }
    vsnprintf(n->text, sizeof(n->text), format, ap);
}

void draft_note(struct draft *d, const yaml_node_t *at, const char *format, ...)
{
    void *notes = d->notes;
    if (d->note_count == DRAFT_NOTES_MAX)
        d->note_count--; /* who has so many reads the first of them */
    if (!make_room(d, &notes, d->note_count, &d->note_room, sizeof(*d->notes)))
        return;
    d->notes = notes;
    va_list ap;
    va_start(ap, format);
    write_note(&d->notes[d->note_count++], at, format, ap);
    va_end(ap);
}

void draft_refuse(struct draft *d, const yaml_node_t *at, const char *format, ...)
{
    if (d->failed)
        return; /* the first reason is the one to read */
    va_list ap;
    va_start(ap, format);
    write_note(&d->refusal, at, format, ap);
    va_end(ap);
    d->failed = true;
}

/* ---- the document ---- */

bool draft_key_eq(struct str key, const char *name)
{
    size_t i = 0;
    for (; *name; name++) {
        if (*name == '_')
            continue;
        while (i < key.len && key.p[i] == '_')
            i++;
        if (i == key.len || tolower((unsigned char)key.p[i]) != tolower((unsigned char)*name))
            return false;
        i++;
    }
    return i == key.len;
}

struct str draft_text(const yaml_node_t *node)
{
    if (!node || node->type != YAML_SCALAR_NODE)
        return STR("");
    return (struct str){(const char *)node->data.scalar.value, node->data.scalar.length};
}

char *draft_show(const yaml_node_t *node, char to[DRAFT_SHOWN_MAX])
{
    struct str text = draft_text(node);
    size_t len = text.len < DRAFT_SHOWN_MAX - 1 ? text.len : DRAFT_SHOWN_MAX - 1;
    for (size_t i = 0; i < len; i++)
        to[i] = text.p[i] >= ' ' && text.p[i] <= '~' ? text.p[i] : '?';
    to[len] = '\0';
    return to;
}

bool draft_is_true(const yaml_node_t *node)
{
    struct str text = draft_text(node);
    return str_eq_nocase(text, STR("true")) || str_eq_nocase(text, STR("yes")) ||
           str_eq_nocase(text, STR("on"));
}

const yaml_node_t *draft_get(const struct draft *d, const yaml_node_t *node, const char *key)
{
    if (!node || node->type != YAML_MAPPING_NODE)
        return NULL;
    yaml_node_pair_t *pair = node->data.mapping.pairs.start;
    for (; pair < node->data.mapping.pairs.top; pair++)
        if (draft_key_eq(draft_text(yaml_document_get_node(d->doc, pair->key)), key))
            return yaml_document_get_node(d->doc, pair->value);
    return NULL;
}

const yaml_node_t *draft_find(const struct draft *d, const yaml_node_t *node, const char *path)
{
    char key[64];
    while (node && *path) {
        size_t len = strcspn(path, ".");
        must(len < sizeof(key));
        snprintf(key, sizeof(key), "%.*s", (int)len, path);
        node = draft_get(d, node, key);
        path += len + (path[len] == '.');
    }
    return node;
}

const yaml_node_t *draft_item_of(const struct draft *d, const yaml_node_t *list, size_t index)
{
    if (!list)
        return NULL;
    if (list->type != YAML_SEQUENCE_NODE)
        return index == 0 ? list : NULL;
    yaml_node_item_t *start = list->data.sequence.items.start;
    if (index >= (size_t)(list->data.sequence.items.top - start))
        return NULL;
    return yaml_document_get_node(d->doc, start[index]);
}

void draft_walk(struct draft *d, const yaml_node_t *node, const char *where,
                const struct draft_field *fields, size_t count)
{
    char shown[DRAFT_SHOWN_MAX];
    if (!node)
        return;
    if (node->type != YAML_MAPPING_NODE) {
        draft_note(d, node, "%s: expected a block of keys; it is passed over", where);
        return;
    }
    yaml_node_pair_t *pair = node->data.mapping.pairs.start;
    for (; pair < node->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key = yaml_document_get_node(d->doc, pair->key);
        const yaml_node_t *value = yaml_document_get_node(d->doc, pair->value);
        const struct draft_field *f = NULL;
        for (size_t i = 0; i < count && !f; i++)
            if (draft_key_eq(draft_text(key), fields[i].name))
                f = &fields[i];
        if (!f)
            draft_note(d, key, "unknown key '%s' in %s: not kept", draft_show(key, shown), where);
        else if (f->take)
            f->take(d, value);
        else if (f->said)
            draft_note(d, key, "%s: not kept: %s", f->name, f->said);
    }
}

bool draft_number(struct draft *d, const yaml_node_t *node, uint64_t max, uint64_t *ret)
{
    char shown[DRAFT_SHOWN_MAX];
    int64_t v;
    if (str_to_i64(draft_text(node), &v) != 0 || v < 0 || (uint64_t)v > max) {
        draft_note(d, node, "expected a number from 0 to %" PRIu64 ", not '%s': not kept", max,
                   draft_show(node, shown));
        return false;
    }
    *ret = (uint64_t)v;
    return true;
}

void draft_set_duration(struct draft *d, const yaml_node_t *at, const char *setting, uint64_t ns,
                        uint64_t min_ns, uint64_t max_ns)
{
    char was[32], is[32];
    uint64_t kept = ns < min_ns ? min_ns : ns > max_ns ? max_ns : ns;
    kept -= kept % NSEC_US;
    str_from_duration_ns(kept, is, sizeof(is));
    if (kept != ns)
        draft_note(d, at, "%s is %s, for it takes no %s", setting, is,
                   str_from_duration_ns(ns, was, sizeof(was)));
    draft_set(d, setting, "%s", is);
}

bool draft_seconds(struct draft *d, const yaml_node_t *node, uint64_t *ret_ns)
{
    enum { DIGITS_MAX = 9 };
    char shown[DRAFT_SHOWN_MAX];
    struct str text = draft_text(node);
    uint64_t seconds = 0, nanos = 0, unit = NSEC_S;
    size_t i = 0, digits = 0;
    for (; i < text.len && isdigit((unsigned char)text.p[i]) && digits < DIGITS_MAX; i++, digits++)
        seconds = seconds * 10 + (uint64_t)(text.p[i] - '0');
    if (digits > 0 && i < text.len && text.p[i] == '.')
        for (i++; i < text.len && isdigit((unsigned char)text.p[i]) && unit > 1; i++) {
            unit /= 10;
            nanos += (uint64_t)(text.p[i] - '0') * unit;
        }
    if (digits == 0 || i + 1 != text.len || text.p[i] != 's') {
        draft_note(d, node, "expected a duration such as 0.25s, not '%s': not kept",
                   draft_show(node, shown));
        return false;
    }
    *ret_ns = seconds * NSEC_S + nanos;
    return true;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * YAML text → struct config. libyaml builds the document, we walk it by the table of settings.
 *
 * An alias makes the document a graph, perhaps with a circle. The walk never goes deeper than the
 * table does (section, setting, item) and takes every setting once, so neither can hurt it. libyaml
 * takes time in the square of the depth, so the depth is looked at before it builds anything.
 */
#include "base/must.h"
#include "daemon/config.h"
#include "daemon/config_rows.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <yaml.h>

enum { DEPTH_MAX = 8 }; /* settings lie three deep; this leaves room to say what is wrong there */

struct reader {
    struct config *c;
    yaml_document_t doc;
    struct config_error *error; /* set once, when the reading ends */
    bool seen[CONFIG_ROWS_MAX];
};

static struct config_mark mark_of(const yaml_node_t *node)
{
    return (struct config_mark){(unsigned)node->start_mark.line + 1,
                                (unsigned)node->start_mark.column + 1};
}

static void place(struct reader *r, const yaml_node_t *node)
{
    struct config_mark mark = mark_of(node);
    r->error->line = mark.line;
    r->error->column = mark.column;
}

static int __attribute__((format(printf, 3, 4)))
refuse(struct reader *r, const yaml_node_t *node, const char *text, ...)
{
    place(r, node);
    va_list ap;
    va_start(ap, text);
    vsnprintf(r->error->text, sizeof(r->error->text), text, ap);
    va_end(ap);
    return -EINVAL;
}

static const char *kind_name(const yaml_node_t *node)
{
    switch (node->type) {
    case YAML_SCALAR_NODE:
        return "a single value";
    case YAML_SEQUENCE_NODE:
        return "a list";
    case YAML_MAPPING_NODE:
        return "a block of settings";
    case YAML_NO_NODE:
        break;
    }
    return "nothing";
}

static struct str text_of(const yaml_node_t *scalar)
{
    return (struct str){(const char *)scalar->data.scalar.value, scalar->data.scalar.length};
}

/* `key:` with nothing behind it, as it is left when all below is commented out. */
static bool is_blank(const yaml_node_t *node)
{
    return node->type == YAML_SCALAR_NODE && node->data.scalar.length == 0 &&
           node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
}

static int read_scalar(struct reader *r, const struct config_row *row, const yaml_node_t *node)
{
    place(r, node);
    if (strcmp((const char *)node->tag, YAML_STR_TAG) != 0)
        return refuse(r, node, "%s: tags such as !!int have no use here", row->name);
    return config_row_set(row, r->c, text_of(node), r->error->text);
}

static int read_list(struct reader *r, const struct config_row *row, const yaml_node_t *node)
{
    char name[CONFIG_TEXT_MAX];
    config_row_name(row, name);
    if (config_row_takes_one(row) && node->type == YAML_SCALAR_NODE && !is_blank(node))
        return read_scalar(r, row, node);
    if (node->type != YAML_SEQUENCE_NODE)
        return refuse(r, node, "%s: expected a list such as [a:6379, b:6379], not %s", name,
                      is_blank(node) ? "nothing" : kind_name(node));
    yaml_node_item_t *item = node->data.sequence.items.start;
    for (; item < node->data.sequence.items.top; item++) {
        const yaml_node_t *value = yaml_document_get_node(&r->doc, *item);
        must(value);
        if (value->type != YAML_SCALAR_NODE)
            return refuse(r, value, "%s: expected %s, not %s", name,
                          row->kind == CONFIG_COMMAND_LIST ? "COMMAND" : "HOST:PORT",
                          kind_name(value));
        int err = read_scalar(r, row, value);
        if (err)
            return err;
    }
    if (node->data.sequence.items.top - node->data.sequence.items.start < (long)row->min)
        return refuse(r, node, "%s: expected at least one item", name);
    return 0;
}

/* Each pair goes on as the item "name: value". */
static int read_map(struct reader *r, const struct config_row *row, const yaml_node_t *node)
{
    char name[CONFIG_TEXT_MAX], item[CONFIG_ERROR_MAX];
    config_row_name(row, name);
    if (is_blank(node))
        return 0;
    if (node->type != YAML_MAPPING_NODE)
        return refuse(r, node, "%s: expected {COMMAND: VALUE, ...}, not %s", name, kind_name(node));
    yaml_node_pair_t *pair = node->data.mapping.pairs.start;
    for (; pair < node->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key = yaml_document_get_node(&r->doc, pair->key);
        const yaml_node_t *value = yaml_document_get_node(&r->doc, pair->value);
        must(key && value);
        const yaml_node_t *odd = key->type != YAML_SCALAR_NODE ? key : value;
        if (odd->type != YAML_SCALAR_NODE)
            return refuse(r, odd, "%s: expected a single value, not %s", name, kind_name(odd));
        struct str from = text_of(key), to = text_of(value);
        /* No name has these; the item would be cut elsewhere than here. */
        if (memchr(from.p, ':', from.len) || memchr(from.p, '\0', from.len) ||
            memchr(to.p, '\0', to.len))
            from = STR("");
        snprintf(item, sizeof(item), "%.*s: %.*s", (int)(from.len < 100 ? from.len : 100), from.p,
                 (int)(to.len < 100 ? to.len : 100), to.p);
        place(r, key);
        int err = config_row_set(row, r->c, str_of(item), r->error->text);
        if (err)
            return err;
    }
    return 0;
}

static int read_row(struct reader *r, const struct config_row *row, const yaml_node_t *key,
                    const yaml_node_t *value)
{
    char name[CONFIG_TEXT_MAX];
    unsigned index = (unsigned)(row - CONFIG_ROWS);
    config_row_name(row, name);
    if (r->seen[index])
        return refuse(r, key, "%s is given twice", name);
    r->seen[index] = true;
    config_row_begin(row, r->c, mark_of(value));
    if (row->kind == CONFIG_COMMAND_MAP)
        return read_map(r, row, value);
    if (config_row_is_list(row))
        return read_list(r, row, value);
    if (value->type != YAML_SCALAR_NODE)
        return refuse(r, value, "%s: expected a single value, not %s", name, kind_name(value));
    return read_scalar(r, row, value);
}

/* "unknown key 'x'; known here: a, b, c": the list is what the writer needs next. */
static int refuse_key(struct reader *r, const char *section, const yaml_node_t *key)
{
    char known[CONFIG_ERROR_MAX - 200];
    size_t len = 0;
    const char *last = NULL;
    known[0] = '\0';
    for (unsigned i = 0; i < CONFIG_ROW_COUNT; i++) {
        const struct config_row *row = &CONFIG_ROWS[i];
        bool top = section == NULL;
        const char *name = top && row->section ? row->section : row->name;
        if (!top && (!row->section || strcmp(row->section, section) != 0))
            continue;
        if (last && strcmp(last, name) == 0)
            continue; /* the next setting of the same section */
        int n = snprintf(known + len, sizeof(known) - len, "%s%s", last ? ", " : "", name);
        last = name;
        len += (size_t)n;
        must(len < sizeof(known));
    }
    struct str text = text_of(key);
    char shown[41];
    size_t shown_len = text.len < sizeof(shown) - 1 ? text.len : sizeof(shown) - 1;
    for (size_t i = 0; i < shown_len; i++)
        shown[i] = text.p[i] >= ' ' && text.p[i] <= '~' ? text.p[i] : '?';
    shown[shown_len] = '\0';
    return refuse(r, key, "unknown key '%s%s%s'; known here: %s", section ? section : "",
                  section ? "." : "", shown, known);
}

static const char *find_section(struct str name)
{
    for (unsigned i = 0; i < CONFIG_ROW_COUNT; i++)
        if (CONFIG_ROWS[i].section && str_eq(str_of(CONFIG_ROWS[i].section), name))
            return CONFIG_ROWS[i].section;
    return NULL;
}

static int read_section(struct reader *r, const char *section, const yaml_node_t *node)
{
    if (is_blank(node))
        return 0;
    if (node->type != YAML_MAPPING_NODE)
        return refuse(r, node, "%s: expected a block of settings, not %s", section,
                      kind_name(node));
    yaml_node_pair_t *pair = node->data.mapping.pairs.start;
    for (; pair < node->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key = yaml_document_get_node(&r->doc, pair->key);
        const yaml_node_t *value = yaml_document_get_node(&r->doc, pair->value);
        must(key && value);
        if (key->type != YAML_SCALAR_NODE)
            return refuse(r, key, "%s: expected the name of a setting, not %s", section,
                          kind_name(key));
        const struct config_row *row = config_row_find(section, text_of(key));
        int err = row ? read_row(r, row, key, value) : refuse_key(r, section, key);
        if (err)
            return err;
    }
    return 0;
}

static int read_root(struct reader *r, const yaml_node_t *root)
{
    const char *seen[CONFIG_ROWS_MAX] = {NULL};
    unsigned seen_count = 0;
    if (is_blank(root))
        return 0;
    if (root->type != YAML_MAPPING_NODE)
        return refuse(r, root, "expected settings such as 'workers: 2', not %s", kind_name(root));
    yaml_node_pair_t *pair = root->data.mapping.pairs.start;
    for (; pair < root->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key = yaml_document_get_node(&r->doc, pair->key);
        const yaml_node_t *value = yaml_document_get_node(&r->doc, pair->value);
        must(key && value);
        if (key->type != YAML_SCALAR_NODE)
            return refuse(r, key, "expected the name of a setting, not %s", kind_name(key));
        const struct config_row *row = config_row_find(NULL, text_of(key));
        const char *section = row ? NULL : find_section(text_of(key));
        if (!row && !section)
            return refuse_key(r, NULL, key);
        for (unsigned i = 0; section && i < seen_count; i++)
            if (seen[i] == section)
                return refuse(r, key, "%s is given twice", section);
        if (section)
            seen[seen_count++] = section;
        int err = row ? read_row(r, row, key, value) : read_section(r, section, value);
        if (err)
            return err;
    }
    return 0;
}

/* libyaml's own complaint. */
static int parser_error(const yaml_parser_t *parser, struct config_error *ret_error)
{
    /* Its reader knows no mark for a bad byte; where the parser has come to is close enough. */
    const yaml_mark_t *mark =
        parser->error == YAML_READER_ERROR ? &parser->mark : &parser->problem_mark;
    ret_error->line = (unsigned)mark->line + 1;
    ret_error->column = (unsigned)mark->column + 1;
    if (parser->error == YAML_MEMORY_ERROR)
        return -ENOMEM;
    snprintf(ret_error->text, sizeof(ret_error->text), "not valid YAML: %s%s%s",
             parser->problem ? parser->problem : "unknown error", parser->context ? " " : "",
             parser->context ? parser->context : "");
    return -EINVAL;
}

static void begin_parser(yaml_parser_t *parser, struct str yaml)
{
    /* It asks for a pointer even to no bytes. */
    const unsigned char *text = (const unsigned char *)(yaml.len ? yaml.p : "");
    yaml_parser_set_input_string(parser, text, yaml.len);
}

/* How an event changes the depth. */
static int depth_change(const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_SEQUENCE_START_EVENT:
    case YAML_MAPPING_START_EVENT:
        return 1;
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        return -1;
    default:
        return 0;
    }
}

static int refuse_deep(struct str yaml, struct config_error *ret_error)
{
    yaml_parser_t parser;
    yaml_event_t event;
    bool ended = false;
    if (!yaml_parser_initialize(&parser))
        return -ENOMEM;
    begin_parser(&parser, yaml);
    int depth = 0;
    /* What is not YAML is told by the reading itself. */
    while (!ended && depth <= DEPTH_MAX && yaml_parser_parse(&parser, &event)) {
        depth += depth_change(&event);
        ended = event.type == YAML_STREAM_END_EVENT;
        ret_error->line = (unsigned)event.start_mark.line + 1;
        ret_error->column = (unsigned)event.start_mark.column + 1;
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    if (depth <= DEPTH_MAX)
        return 0;
    snprintf(ret_error->text, sizeof(ret_error->text), "nested deeper than any setting is");
    return -EINVAL;
}

static int read_document(struct reader *r, yaml_parser_t *parser)
{
    if (!yaml_parser_load(parser, &r->doc))
        return parser_error(parser, r->error);
    const yaml_node_t *root = yaml_document_get_root_node(&r->doc);
    int err = root ? read_root(r, root) : 0; /* nothing but comments: all defaults */
    bool ended = root == NULL;
    yaml_document_delete(&r->doc);
    if (err || ended)
        return err;
    if (!yaml_parser_load(parser, &r->doc))
        return parser_error(parser, r->error);
    root = yaml_document_get_root_node(&r->doc);
    if (root)
        err = refuse(r, root, "expected one document, this begins another");
    yaml_document_delete(&r->doc);
    return err;
}

int config_read(struct config *c, struct str yaml, struct config_error *ret_error)
{
    yaml_parser_t parser;
    *ret_error = (struct config_error){.text = "out of memory"};
    int err = refuse_deep(yaml, ret_error);
    if (err)
        return err;
    if (!yaml_parser_initialize(&parser))
        return -ENOMEM;
    begin_parser(&parser, yaml);
    struct reader r = {.c = c, .error = ret_error};
    err = read_document(&r, &parser);
    yaml_parser_delete(&parser);
    return err;
}

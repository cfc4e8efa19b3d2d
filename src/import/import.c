/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libyaml builds the document, and one of two readers walks it by tables of what it knows. An alias
 * makes a document a graph, perhaps with a circle: the walks go only as deep as their tables do,
 * and give up at a count of nodes, so that neither a circle nor a bomb of aliases can hurt.
 */
#include "import/import.h"

#include "base/must.h"
#include "import/draft.h"
#include "import/envoy.h"
#include "import/nutcracker.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { DEPTH_MAX = 64 }; /* libyaml takes time in the square of it; Envoy's files go to some 25 */

static void begin_parser(yaml_parser_t *parser, struct str text)
{
    const unsigned char *bytes = (const unsigned char *)(text.len ? text.p : "");
    yaml_parser_set_input_string(parser, bytes, text.len);
}

/* False: it is deeper than any real file. What is not YAML is told by the reading itself. */
static int look_at_depth(struct str text, bool *ret_deep)
{
    yaml_parser_t parser;
    yaml_event_t event;
    int depth = 0;
    bool ended = false;
    if (!yaml_parser_initialize(&parser))
        return -ENOMEM;
    begin_parser(&parser, text);
    while (!ended && depth <= DEPTH_MAX && yaml_parser_parse(&parser, &event)) {
        bool opens =
            event.type == YAML_SEQUENCE_START_EVENT || event.type == YAML_MAPPING_START_EVENT;
        bool closes = event.type == YAML_SEQUENCE_END_EVENT || event.type == YAML_MAPPING_END_EVENT;
        depth += opens - closes;
        ended = event.type == YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    *ret_deep = depth > DEPTH_MAX;
    return 0;
}

static void read_root(struct draft *d, const yaml_node_t *root)
{
    if (!root || root->type != YAML_MAPPING_NODE)
        draft_refuse(d, root, "expected an Envoy bootstrap or the pools of a nutcracker.yml");
    else if (envoy_is_it(d, root))
        envoy_read(d, root);
    else
        nutcracker_read(d, root);
}

static void read_text(struct draft *d, struct str text)
{
    yaml_parser_t parser;
    yaml_document_t doc;
    if (!yaml_parser_initialize(&parser)) {
        d->no_memory = true;
        return;
    }
    begin_parser(&parser, text);
    if (yaml_parser_load(&parser, &doc)) {
        d->doc = &doc;
        read_root(d, yaml_document_get_root_node(&doc));
        d->doc = NULL;
        yaml_document_delete(&doc);
    } else if (parser.error == YAML_MEMORY_ERROR) {
        d->no_memory = true;
    } else {
        /* Its reader knows no mark for a bad byte; where the parser has come to is close enough. */
        yaml_node_t at = {.start_mark = parser.error == YAML_READER_ERROR ? parser.mark
                                                                          : parser.problem_mark};
        draft_refuse(d, &at, "not valid YAML: %s", parser.problem ? parser.problem : "?");
    }
    yaml_parser_delete(&parser);
}

/* Both let in whoever reaches them, which has to be said here. */
static void stay_open(struct draft *d)
{
    if (d->failed || draft_count(d, "auth.password_file") > 0)
        return;
    for (size_t i = 0; i < d->item_count; i++) {
        const struct draft_item *item = &d->items[i];
        bool near = strncmp(item->value, "127.", 4) == 0 || strncmp(item->value, "[::1]", 5) == 0 ||
                    strncmp(item->value, "unix:", 5) == 0;
        if (strcmp(item->setting, "listen") != 0 || near)
            continue;
        draft_set(d, "protected_mode", "off");
        draft_note(d, NULL,
                   "protected_mode: off, for clients are asked for no password, as before; better "
                   "set auth.password_file or auth.users");
        return;
    }
}

int import_config(struct str text, const char *name, struct import_result *ret)
{
    struct draft d = {.wanted = name};
    bool deep = false;
    int err = look_at_depth(text, &deep);
    if (!err) {
        if (deep)
            draft_refuse(&d, NULL, "nested deeper than %d", DEPTH_MAX);
        else
            read_text(&d, text);
        stay_open(&d);
        err = draft_finish(&d, ret);
    }
    draft_fini(&d);
    return err;
}

void import_result_fini(struct import_result *r)
{
    free(r->yaml);
    free(r->notes);
    *r = (struct import_result){0};
}

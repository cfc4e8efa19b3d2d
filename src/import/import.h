/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration of another proxy → ours, as text: an Envoy bootstrap with a redis_proxy filter
 * (YAML, or JSON, which is YAML too), or a nutcracker.yml. What cannot be kept, and each key that
 * is not known, is noted with its place; nothing is passed over in silence.
 *
 * Pure: no file is opened and no name looked up. It stands in `sumcache import`.
 */
#pragma once
#include "base/cleanup.h"
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>

enum {
    IMPORT_FILE_MAX = 4 << 20, /* bytes; an Envoy file of thousands of hosts fits */
    IMPORT_NOTE_MAX = 400,
};

struct import_note {
    unsigned line, column; /* from 1; 0: it is about no one place */
    char text[IMPORT_NOTE_MAX];
};

struct import_result {
    char *yaml; /* owned; NULL: it cannot be turned into ours, and the last note says why */
    struct import_note *notes; /* owned; in the order of the file, about */
    size_t note_count;
};

/*
 * `name`: which pool (nutcracker), or which filter's stat_prefix or which cluster (Envoy), if the
 * file has several; NULL: there is only one. 0 also if yaml is NULL; -ENOMEM. The caller calls
 * import_result_fini() on 0.
 */
int import_config(struct str text, const char *name, struct import_result *ret) MUST_CHECK;
void import_result_fini(struct import_result *r);

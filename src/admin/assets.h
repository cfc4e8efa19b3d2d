/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files of the page (src/admin/page/ and the chart library), in the program since it was built
 * (tools/embed_page.py). Constant; any thread.
 */
#pragma once
#include "base/str.h"

#include <stddef.h>

struct asset {
    const char *path; /* begins with '/' */
    const char *type; /* its Content-Type */
    const char *tag;  /* of its content, with the quotes of an ETag */
    const unsigned char *plain;
    size_t plain_len;
    const unsigned char *packed; /* the same, by gzip */
    size_t packed_len;
};

extern const struct asset ASSETS[];
extern const size_t ASSET_COUNT;

/* NULL: there is none of that path. */
const struct asset *asset_find(struct str path);

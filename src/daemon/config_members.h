/* SPDX-License-Identifier: Apache-2.0 */
/* Between config_show.c, config_set.c and config_lists.c: where a row's value is, and what its
 * errors look like. */
#pragma once
#include "daemon/config_rows.h"

#define CONFIG_TLS_MARK " tls" /* behind an address of `listen` */

/* A row's member in `c`. Readers of a const config share these with writers and only read. */
static inline uint32_t *member32(const struct config_row *row, const struct config *c)
{
    return (uint32_t *)((uintptr_t)c + row->offset);
}

static inline uint64_t *member64(const struct config_row *row, const struct config *c)
{
    return (uint64_t *)((uintptr_t)c + row->offset);
}

static inline struct config_names *member_names(const struct config_row *row,
                                                const struct config *c)
{
    return (struct config_names *)((uintptr_t)c + row->offset);
}

static inline char *member_word(const struct config_row *row, const struct config *c)
{
    return (char *)((uintptr_t)c + row->offset);
}

static inline bool *member_bool(const struct config_row *row, const struct config *c)
{
    return (bool *)((uintptr_t)c + row->offset);
}

/* Writes "NAME: what, not 'VALUE'", where the value is cut and made printable. → -EINVAL */
int config_row_refuse(const struct config_row *row, struct str value, char error[CONFIG_ERROR_MAX],
                      const char *what, ...) __attribute__((format(printf, 4, 5)));

/* config_row_set() of a list. */
int config_list_add(const struct config_row *row, struct config *c, struct str value,
                    char error[CONFIG_ERROR_MAX]) MUST_CHECK;
/* Empties a list; of another row: nothing. */
void config_list_clear(const struct config_row *row, struct config *c);

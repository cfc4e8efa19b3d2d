/* SPDX-License-Identifier: Apache-2.0 */
#include "admin/assets.h"

const struct asset *asset_find(struct str path)
{
    for (size_t i = 0; i < ASSET_COUNT; i++)
        if (str_eq(path, str_of(ASSETS[i].path)))
            return &ASSETS[i];
    return NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The token of admin.token_file in an Authorization header: as a scraper sends it (Bearer), or as a
 * browser does (Basic, where it is the password and the name does not matter). Pure. */
#pragma once
#include "base/secret.h"
#include "base/str.h"

/* `header` is its value, empty if there is none. Takes as long for any token of that length. */
bool authorization_shows(struct str header, const uint8_t token_hash[SECRET_HASH_BYTES]);

/* SPDX-License-Identifier: Apache-2.0 */
/* Commands for a server, given as words, to be sent in one go. */
#pragma once
#include "base/str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { QUESTION_MAX = 8 * 1024 };

/* All zero: nothing is asked. */
struct question {
    char bytes[QUESTION_MAX];
    size_t len;
    uint32_t commands;
};

/* Appends one command. False: it does not fit, and nothing was added. */
bool question_add(struct question *q, const struct str *words, size_t count);
/* AUTH, unless the password is empty; the same. An empty `user`: the default one. */
bool question_add_login(struct question *q, struct str user, struct str password);

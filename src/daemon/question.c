/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/question.h"

#include <stdio.h>
#include <string.h>

enum { HEAD_MAX = 24 }; /* of an array or a bulk string */

/* False: there is no room. */
static bool append(struct question *q, size_t *at, struct str s)
{
    if (s.len > QUESTION_MAX - *at)
        return false;
    memcpy(q->bytes + *at, s.p, s.len);
    *at += s.len;
    return true;
}

static bool append_head(struct question *q, size_t *at, char type, size_t number)
{
    char head[HEAD_MAX];
    int n = snprintf(head, sizeof(head), "%c%zu\r\n", type, number);
    return append(q, at, (struct str){head, (size_t)n});
}

bool question_add(struct question *q, const struct str *words, size_t count)
{
    size_t at = q->len;
    bool fits = append_head(q, &at, '*', count);
    for (size_t i = 0; i < count && fits; i++)
        fits = append_head(q, &at, '$', words[i].len) && append(q, &at, words[i]) &&
               append(q, &at, STR("\r\n"));
    if (!fits)
        return false;
    q->len = at;
    q->commands++;
    return true;
}

bool question_add_login(struct question *q, struct str user, struct str password)
{
    const struct str with_user[] = {STR("AUTH"), user, password};
    const struct str without[] = {STR("AUTH"), password};
    if (password.len == 0)
        return true;
    return user.len > 0 ? question_add(q, with_user, 3) : question_add(q, without, 2);
}

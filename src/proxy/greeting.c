/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/greeting.h"

#include "proxy/worker_internal.h"

#include <stdio.h>
#include <string.h>

int greeting_append_auth(const struct upstream_node *n, struct buf *to, uint8_t *left)
{
    const struct proxy_settings *s = n->worker->settings;
    const struct str user = n->login ? n->login->user : s->node_user;
    const struct str password = n->login ? n->login->password : s->node_password;
    const struct str words[] = {STR("AUTH"), user, password};
    struct chunk_pool *chunks = &n->worker->chunks;
    char head[32];
    if (password.len == 0)
        return 0;
    (*left)++;
    int len = snprintf(head, sizeof(head), "*%u\r\n", user.len > 0 ? 3U : 2U);
    int err = buf_append_urgent(to, chunks, head, (size_t)len);
    for (unsigned i = 0; i < 3 && !err; i++) {
        if (i == 1 && user.len == 0)
            continue;
        len = snprintf(head, sizeof(head), "$%zu\r\n", words[i].len);
        err = buf_append_urgent(to, chunks, head, (size_t)len);
        if (!err)
            err = buf_append_urgent(to, chunks, words[i].p, words[i].len);
        if (!err)
            err = buf_append_urgent(to, chunks, "\r\n", 2);
    }
    return err;
}

static int append_select(struct upstream *u)
{
    char text[40];
    int digits = u->database < 10 ? 1 : 2;
    if (u->database == 0)
        return 0;
    u->greetings_left++;
    int n =
        snprintf(text, sizeof(text), "*2\r\n$6\r\nSELECT\r\n$%d\r\n%u\r\n", digits, u->database);
    return buf_append_urgent(&u->conn.out, &u->worker->chunks, text, (size_t)n);
}

int greeting_append(struct upstream *u)
{
    static const char PING[] = "*1\r\n$4\r\nPING\r\n*2\r\n$6\r\nCLIENT\r\n$2\r\nID\r\n";
    static const char HELLO[] =
        "*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n*2\r\n$6\r\nCLIENT\r\n$2\r\nID\r\n";
    const char *text = u->proto == 3 ? HELLO : PING;
    u->greetings_left = 2;
    int err = greeting_append_auth(u->node, &u->conn.out, &u->greetings_left);
    if (!err)
        err = append_select(u);
    return err ? err : buf_append_urgent(&u->conn.out, &u->worker->chunks, text, strlen(text));
}

void greeting_complain(const uint8_t *reply, size_t len, char why[GREETING_WHY_MAX])
{
    static const char BEGIN[] = "unexpected greeting: ";
    size_t n = sizeof(BEGIN) - 1;
    memcpy(why, BEGIN, n);
    for (size_t i = 0; i < len && n < GREETING_WHY_MAX - 1 && reply[i] >= ' '; i++)
        why[n++] = (char)(reply[i] == '"' || reply[i] > '~' ? '?' : reply[i]);
    why[n] = '\0';
}

bool greeting_take(struct upstream *u, const uint8_t *reply, size_t len, char why[GREETING_WHY_MAX])
{
    bool ok = true;
    switch (--u->greetings_left) {
    case 3: /* AUTH */
    case 2: /* AUTH or SELECT */
        ok = u->frame.type == '+';
        break;
    case 1:
        ok = u->proto == 3 ? u->frame.type == '%' : len == 7 && memcmp(reply, "+PONG\r\n", 7) == 0;
        break;
    default: /* who does not tell its id cannot be asked to kill the connection: no fault */
        if (u->frame.type == ':' && u->frame.number > 0)
            u->client_id = (uint64_t)u->frame.number;
        break;
    }
    if (!ok)
        greeting_complain(reply, len, why);
    return ok;
}

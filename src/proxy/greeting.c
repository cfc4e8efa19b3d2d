/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/greeting.h"

#include "proxy/worker_internal.h"

#include <stdio.h>
#include <string.h>

static int append_auth(struct upstream *u)
{
    const struct proxy_settings *s = u->worker->settings;
    const struct node_login all = {s->node_user, s->node_password};
    const struct node_login *login = u->node->login ? u->node->login : &all;
    const struct str words[] = {STR("AUTH"), login->user, login->password};
    char head[32];
    if (login->password.len == 0)
        return 0;
    u->greetings_left++;
    int n = snprintf(head, sizeof(head), "*%u\r\n", login->user.len > 0 ? 3U : 2U);
    int err = buf_append_urgent(&u->conn.out, &u->worker->chunks, head, (size_t)n);
    for (unsigned i = 0; i < 3 && !err; i++) {
        if (i == 1 && login->user.len == 0)
            continue;
        n = snprintf(head, sizeof(head), "$%zu\r\n", words[i].len);
        err = buf_append_urgent(&u->conn.out, &u->worker->chunks, head, (size_t)n);
        if (!err)
            err = buf_append_urgent(&u->conn.out, &u->worker->chunks, words[i].p, words[i].len);
        if (!err)
            err = buf_append_urgent(&u->conn.out, &u->worker->chunks, "\r\n", 2);
    }
    return err;
}

int greeting_append(struct upstream *u)
{
    static const char PING[] = "*1\r\n$4\r\nPING\r\n*2\r\n$6\r\nCLIENT\r\n$2\r\nID\r\n";
    static const char HELLO[] =
        "*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n*2\r\n$6\r\nCLIENT\r\n$2\r\nID\r\n";
    const char *text = u->proto == 3 ? HELLO : PING;
    u->greetings_left = 2;
    int err = append_auth(u);
    return err ? err : buf_append_urgent(&u->conn.out, &u->worker->chunks, text, strlen(text));
}

bool greeting_take(struct upstream *u, const uint8_t *reply, size_t len, char why[GREETING_WHY_MAX])
{
    static const char BEGIN[] = "unexpected greeting: ";
    bool ok = true;
    switch (--u->greetings_left) {
    case 2: /* AUTH */
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
    if (ok)
        return true;
    size_t n = sizeof(BEGIN) - 1;
    memcpy(why, BEGIN, n);
    for (size_t i = 0; i < len && n < GREETING_WHY_MAX - 1 && reply[i] >= ' '; i++)
        why[n++] = (char)(reply[i] == '"' || reply[i] > '~' ? '?' : reply[i]);
    why[n] = '\0';
    return false;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* hiredis as a program uses it. Usage: hiredis PORT work|connect PREFIX */
#include <hiredis/hiredis.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BINARY_LEN = 300000, PIPELINE = 500 };

static void check(int right, const char *what)
{
    if (!right) {
        fprintf(stderr, "wrong: %s\n", what);
        exit(1);
    }
}

static void check_reply(redisReply *reply, int type, const char *text, const char *what)
{
    check(reply != NULL, what);
    if (reply->type != type || (text != NULL && strcmp(reply->str, text) != 0)) {
        fprintf(stderr, "%s: type %d, %s\n", what, reply->type, reply->str ? reply->str : "");
        exit(1);
    }
    freeReplyObject(reply);
}

static void work(redisContext *c, const char *p)
{
    check_reply(redisCommand(c, "SET %s:a one", p), REDIS_REPLY_STATUS, "OK", "SET");
    check_reply(redisCommand(c, "GET %s:a", p), REDIS_REPLY_STRING, "one", "GET");
    check_reply(redisCommand(c, "GET %s:nothing", p), REDIS_REPLY_NIL, NULL, "GET nothing");

    unsigned char *binary = malloc(BINARY_LEN);
    check(binary != NULL, "malloc");
    for (size_t i = 0; i < BINARY_LEN; i++)
        binary[i] = (unsigned char)(i * 7);
    check_reply(redisCommand(c, "SET %s:binary %b", p, binary, (size_t)BINARY_LEN),
                REDIS_REPLY_STATUS, "OK", "SET binary");
    redisReply *reply = redisCommand(c, "GET %s:binary", p);
    check(reply != NULL && reply->type == REDIS_REPLY_STRING && reply->len == BINARY_LEN &&
              memcmp(reply->str, binary, BINARY_LEN) == 0,
          "GET binary");
    freeReplyObject(reply);
    free(binary);

    check_reply(redisCommand(c, "MSET %s:b 2 %s:c 3", p, p), REDIS_REPLY_STATUS, "OK", "MSET");
    reply = redisCommand(c, "MGET %s:a %s:x %s:c", p, p, p);
    check(reply != NULL && reply->type == REDIS_REPLY_ARRAY && reply->elements == 3 &&
              strcmp(reply->element[0]->str, "one") == 0 &&
              reply->element[1]->type == REDIS_REPLY_NIL &&
              strcmp(reply->element[2]->str, "3") == 0,
          "MGET");
    freeReplyObject(reply);

    for (int i = 0; i < PIPELINE; i++) {
        check(redisAppendCommand(c, "SET %s:p%d v%d", p, i, i) == REDIS_OK, "append");
        check(redisAppendCommand(c, "GET %s:p%d", p, i) == REDIS_OK, "append");
    }
    for (int i = 0; i < PIPELINE; i++) {
        char wanted[32];
        void *got;
        snprintf(wanted, sizeof wanted, "v%d", i);
        check(redisGetReply(c, &got) == REDIS_OK, "pipeline");
        check_reply(got, REDIS_REPLY_STATUS, "OK", "pipelined SET");
        check(redisGetReply(c, &got) == REDIS_OK, "pipeline");
        check_reply(got, REDIS_REPLY_STRING, wanted, "pipelined GET");
    }

    reply = redisCommand(c, "DEL %s:a %s:b %s:c %s:x", p, p, p, p);
    check(reply != NULL && reply->type == REDIS_REPLY_INTEGER && reply->integer == 3, "DEL");
    freeReplyObject(reply);
    check_reply(redisCommand(c, "NOSUCHCOMMAND x"), REDIS_REPLY_ERROR, NULL, "unknown command");
    check_reply(redisCommand(c, "PING"), REDIS_REPLY_STATUS, "PONG", "PING after it");
}

int main(int argc, char **argv)
{
    check(argc == 4, "usage: hiredis PORT work|connect PREFIX");
    redisContext *c = redisConnect("127.0.0.1", atoi(argv[1]));
    check(c != NULL && c->err == 0, "connect");
    check_reply(redisCommand(c, "PING"), REDIS_REPLY_STATUS, "PONG", "PING");
    if (strcmp(argv[2], "work") == 0)
        work(c, argv[3]);
    redisFree(c);
    puts("ok");
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* hiredis as a program uses it. Usage: hiredis PORT MODE PREFIX
 * Prints "ok", or "refused: why" with exit status 3. */
#include <hiredis/hiredis.h>

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { BINARY_LEN = 1 << 20, PIPELINE = 500, MESSAGES = 20, KEYS = 20 };

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
    if (reply->type == REDIS_REPLY_ERROR && strstr(reply->str, "sumcache: '") != NULL) {
        printf("refused: %s\n", reply->str);
        exit(3);
    }
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

    check_reply(redisCommand(c, "SET %s:e v EX 1000", p), REDIS_REPLY_STATUS, "OK", "SET EX");
    reply = redisCommand(c, "TTL %s:e", p);
    check(reply != NULL && reply->type == REDIS_REPLY_INTEGER && reply->integer >= 999, "TTL");
    freeReplyObject(reply);
    check_reply(redisCommand(c, "HSET %s:h f v", p), REDIS_REPLY_INTEGER, NULL, "HSET");
    check_reply(redisCommand(c, "HGET %s:h f", p), REDIS_REPLY_STRING, "v", "HGET");
    check_reply(
        redisCommand(c, "EVAL %s 1 %s:h f", "return redis.call('hget', KEYS[1], ARGV[1])", p),
        REDIS_REPLY_STRING, "v", "EVAL");

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

static void multi(redisContext *c, const char *p)
{
    check_reply(redisCommand(c, "MULTI"), REDIS_REPLY_STATUS, "OK", "MULTI");
    check_reply(redisCommand(c, "SET %s:a 1", p), REDIS_REPLY_STATUS, "QUEUED", "SET in MULTI");
    check_reply(redisCommand(c, "INCR %s:a", p), REDIS_REPLY_STATUS, "QUEUED", "INCR in MULTI");
    redisReply *reply = redisCommand(c, "EXEC");
    check(reply != NULL && reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 &&
              reply->element[1]->integer == 2,
          "EXEC");
    freeReplyObject(reply);
}

static void scan(redisContext *c, const char *p)
{
    enum { COUNT = 100 };
    for (int i = 0; i < COUNT; i++)
        check_reply(redisCommand(c, "SET %s:%d v", p, i), REDIS_REPLY_STATUS, "OK", "SET");
    char cursor[32] = "0";
    size_t found = 0;
    do {
        redisReply *reply = redisCommand(c, "SCAN %s MATCH %s:* COUNT 30", cursor, p);
        if (reply == NULL || reply->type != REDIS_REPLY_ARRAY)
            check_reply(reply, REDIS_REPLY_ARRAY, NULL, "SCAN");
        snprintf(cursor, sizeof cursor, "%s", reply->element[0]->str);
        found += reply->element[1]->elements;
        freeReplyObject(reply);
    } while (strcmp(cursor, "0") != 0);
    check(found == COUNT, "all keys, each once");
}

static void pubsub(redisContext *c, const char *p, int port)
{
    check_reply(redisCommand(c, "SUBSCRIBE %s:news", p), REDIS_REPLY_ARRAY, NULL, "SUBSCRIBE");
    redisContext *speaker = redisConnect("127.0.0.1", port);
    check(speaker != NULL && speaker->err == 0, "connect");
    for (int i = 0; i < MESSAGES; i++)
        check_reply(redisCommand(speaker, "PUBLISH %s:news %d", p, i), REDIS_REPLY_INTEGER, NULL,
                    "PUBLISH");
    redisFree(speaker);
    for (int i = 0; i < MESSAGES; i++) {
        redisReply *reply = NULL;
        check(redisGetReply(c, (void **)&reply) == REDIS_OK && reply->elements == 3 &&
                  atoi(reply->element[2]->str) == i,
              "message");
        freeReplyObject(reply);
    }
    check_reply(redisCommand(c, "UNSUBSCRIBE"), REDIS_REPLY_ARRAY, NULL, "UNSUBSCRIBE");
}

struct count {
    int rounds, errors, misses;
    long slowest; /* ms */
};

static long now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Whether it got what it set; anything but that, a miss or an error ends the program. */
static int once(redisContext *c, const char *p, int i, struct count *count)
{
    char wanted[32], begin[16];
    snprintf(wanted, sizeof wanted, "%d:%d", i, count->rounds);
    snprintf(begin, sizeof begin, "%d:", i);
    long began = now_ms();
    redisReply *set = redisCommand(c, "SET %s:%d %s", p, i, wanted);
    redisReply *get = set != NULL ? redisCommand(c, "GET %s:%d", p, i) : NULL;
    int good = 0;
    if (set == NULL || get == NULL) {
        count->errors++;
        usleep(10000);
        redisReconnect(c);
    } else if (set->type == REDIS_REPLY_ERROR || get->type == REDIS_REPLY_ERROR) {
        count->errors++;
    } else if (get->type == REDIS_REPLY_NIL) {
        count->misses++;
    } else {
        check(get->type == REDIS_REPLY_STRING && strncmp(get->str, begin, strlen(begin)) == 0,
              "another key's value");
        good = strcmp(get->str, wanted) == 0;
    }
    if (set != NULL)
        freeReplyObject(set);
    if (get != NULL)
        freeReplyObject(get);
    if (now_ms() - began > count->slowest)
        count->slowest = now_ms() - began;
    return good;
}

/* While others kill what it talks to, until stdin ends; then everything works. */
static void killed(redisContext *c, const char *p)
{
    struct count count = {0};
    struct pollfd end = {.fd = 0, .events = POLLIN};
    do {
        for (int i = 0; i < KEYS; i++)
            once(c, p, i, &count);
        if (count.rounds++ == 0) {
            puts("ready");
            fflush(stdout);
        }
    } while (poll(&end, 1, 5) == 0);
    int good = 0;
    for (int tries = 0; tries < 100 && good < KEYS; tries++) {
        good = 0;
        for (int i = 0; i < KEYS; i++)
            good += once(c, p, i, &count);
        if (good < KEYS)
            usleep(100000);
    }
    check(good == KEYS, "it works again");
    printf("{\"rounds\": %d, \"errors\": %d, \"misses\": %d, \"slowest\": %ld}\n", count.rounds,
           count.errors, count.misses, count.slowest);
}

int main(int argc, char **argv)
{
    check(argc == 4, "usage: hiredis PORT MODE PREFIX");
    int port = atoi(argv[1]);
    const char *mode = argv[2], *prefix = argv[3];
    redisContext *c = redisConnect("127.0.0.1", port);
    check(c != NULL && c->err == 0, "connect");
    check_reply(redisCommand(c, "PING"), REDIS_REPLY_STATUS, "PONG", "PING");
    if (strcmp(mode, "work") == 0)
        work(c, prefix);
    else if (strcmp(mode, "multi") == 0)
        multi(c, prefix);
    else if (strcmp(mode, "scan") == 0)
        scan(c, prefix);
    else if (strcmp(mode, "pubsub") == 0)
        pubsub(c, prefix, port);
    else if (strcmp(mode, "killed") == 0)
        killed(c, prefix);
    redisFree(c);
    puts("ok");
    return 0;
}

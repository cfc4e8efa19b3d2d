/* SPDX-License-Identifier: Apache-2.0 */
#include "admin/http_request.h"

#include "base/addr.h"

#include <errno.h>

/* Takes a line without its CR LF off the front. False: there is none. */
static bool take_line(struct str *text, struct str *ret_line)
{
    const char *end = text->len > 0 ? memmem(text->p, text->len, "\r\n", 2) : NULL;
    if (!end)
        return false;
    *ret_line = (struct str){text->p, (size_t)(end - text->p)};
    *text = (struct str){end + 2, text->len - ret_line->len - 2};
    return true;
}

/* Takes what comes before `end` off the front. False: there is no `end`. */
static bool take_until(struct str *text, char end, struct str *ret)
{
    const char *at = text->len > 0 ? memchr(text->p, end, text->len) : NULL;
    if (!at)
        return false;
    *ret = (struct str){text->p, (size_t)(at - text->p)};
    *text = (struct str){at + 1, text->len - ret->len - 1};
    return true;
}

static bool is_token(struct str s)
{
    static const char OTHERS[] = "!#$%&'*+-.^_`|~";
    for (size_t i = 0; i < s.len; i++) {
        char c = s.p[i];
        bool good = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                    memchr(OTHERS, c, sizeof(OTHERS) - 1);
        if (!good)
            return false;
    }
    return s.len > 0;
}

static enum http_result parse_first(struct str line, struct http_request *r, bool *ret_new)
{
    struct str method, target;
    if (!take_until(&line, ' ', &method) || !take_until(&line, ' ', &target) || !is_token(method))
        return HTTP_BAD;
    *ret_new = str_eq(line, STR("HTTP/1.1"));
    if (!*ret_new && !str_eq(line, STR("HTTP/1.0")))
        return HTTP_BAD;
    r->head = str_eq(method, STR("HEAD"));
    if (!r->head && !str_eq(method, STR("GET")))
        return HTTP_NO_METHOD;
    if (target.len == 0 || target.p[0] != '/')
        return HTTP_BAD;
    for (size_t i = 0; i < target.len; i++)
        if (target.p[i] <= ' ' || target.p[i] > '~' || target.p[i] == '#')
            return HTTP_BAD;
    if (!take_until(&target, '?', &r->path))
        r->path = target;
    else
        r->query = target;
    return HTTP_READY;
}

static struct str trim(struct str s)
{
    while (s.len > 0 && (s.p[0] == ' ' || s.p[0] == '\t'))
        s = (struct str){s.p + 1, s.len - 1};
    while (s.len > 0 && (s.p[s.len - 1] == ' ' || s.p[s.len - 1] == '\t'))
        s.len--;
    return s;
}

static bool take_field(struct str line, struct http_request *r, bool *has_host)
{
    struct str name;
    if (!take_until(&line, ':', &name) || !is_token(name))
        return false;
    struct str value = trim(line);
    for (size_t i = 0; i < value.len; i++)
        if (((unsigned char)value.p[i] < ' ' && value.p[i] != '\t') || value.p[i] == 0x7f)
            return false;
    if (str_eq_nocase(name, STR("host"))) {
        if (*has_host)
            return false;
        *has_host = true;
        r->host = value;
    }
    if (str_eq_nocase(name, STR("authorization"))) {
        if (r->authorization.len > 0)
            return false;
        r->authorization = value;
    }
    if (str_eq_nocase(name, STR("accept-encoding")))
        r->encodings = value;
    if (str_eq_nocase(name, STR("if-none-match")))
        r->known = value;
    /* Where a body begins and ends is what parsers disagree about; nothing here needs one. */
    if (str_eq_nocase(name, STR("content-length")))
        return str_eq(value, STR("0"));
    return !str_eq_nocase(name, STR("transfer-encoding"));
}

enum http_result http_request_parse(const char *bytes, size_t len, struct http_request *ret)
{
    size_t looked_at = len < HTTP_HEAD_MAX ? len : HTTP_HEAD_MAX;
    const char *end = looked_at > 0 ? memmem(bytes, looked_at, "\r\n\r\n", 4) : NULL;
    if (!end)
        return len < HTTP_HEAD_MAX ? HTTP_MORE : HTTP_TOO_LONG;
    struct str text = {bytes, (size_t)(end - bytes) + 2}, line;
    struct http_request r = {0};
    bool is_new = false, has_host = false;
    if (!take_line(&text, &line))
        return HTTP_BAD;
    enum http_result result = parse_first(line, &r, &is_new);
    if (result != HTTP_READY)
        return result;
    while (take_line(&text, &line))
        if (!take_field(line, &r, &has_host))
            return HTTP_BAD;
    if (is_new && !has_host)
        return HTTP_BAD;
    *ret = r;
    return HTTP_READY;
}

static int hex_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static int decode(struct str from, char *to, size_t size)
{
    size_t len = 0;
    for (size_t i = 0; i < from.len; i++) {
        char c = from.p[i] == '+' ? ' ' : from.p[i];
        if (c == '%') {
            bool whole = i + 2 < from.len;
            int high = whole ? hex_of(from.p[i + 1]) : -1;
            int low = whole ? hex_of(from.p[i + 2]) : -1;
            if (high < 0 || low < 0)
                return -EINVAL;
            c = (char)(high << 4 | low);
            i += 2;
        }
        if (len == size)
            return -EINVAL;
        to[len++] = c;
    }
    return (int)len;
}

int http_query_find(struct str query, struct str name, char *to, size_t size)
{
    while (query.len > 0) {
        struct str item, key;
        if (!take_until(&query, '&', &item)) {
            item = query;
            query.len = 0;
        }
        if (take_until(&item, '=', &key) && str_eq(key, name))
            return decode(item, to, size);
    }
    return -ENOENT;
}

bool http_host_is_local(struct str host)
{
    struct addr a;
    struct str name;
    uint16_t port;
    if (addr_parse(host, 80, &a) == 0)
        return true;
    return addr_split_host_port(host, &name, &port) == 0 && str_eq_nocase(name, STR("localhost"));
}

/* Takes what comes before the next comma, or all. False: nothing is left. */
static bool take_item(struct str *list, struct str *ret)
{
    if (list->len == 0)
        return false;
    if (!take_until(list, ',', ret)) {
        *ret = *list;
        list->len = 0;
    }
    *ret = trim(*ret);
    return true;
}

/* "q=0", "q=0.0" and the like: not at all. */
static bool is_refused(struct str weight)
{
    if (weight.len < 3 || !str_eq_nocase((struct str){weight.p, 2}, STR("q=")))
        return false;
    for (size_t i = 2; i < weight.len; i++)
        if (weight.p[i] != '0' && weight.p[i] != '.')
            return false;
    return true;
}

bool http_takes_gzip(struct str encodings)
{
    struct str item, name;
    while (take_item(&encodings, &item)) {
        bool weighed = take_until(&item, ';', &name);
        if (str_eq_nocase(weighed ? trim(name) : item, STR("gzip")))
            return !weighed || !is_refused(trim(item));
    }
    return false;
}

bool http_knows_tag(struct str known, struct str tag)
{
    struct str item;
    while (take_item(&known, &item)) {
        if (item.len > 2 && memcmp(item.p, "W/", 2) == 0)
            item = (struct str){item.p + 2, item.len - 2};
        if (str_eq(item, tag) || str_eq(item, STR("*")))
            return true;
    }
    return false;
}

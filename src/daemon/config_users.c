/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/config_users.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool config_secret_is_reference(struct str text)
{
    if (text.len < 4 || memcmp(text.p, "${", 2) != 0 || text.p[text.len - 1] != '}' ||
        text.len >= CONFIG_SOURCE_MAX)
        return false;
    for (size_t i = 2; i < text.len - 1; i++) {
        char c = text.p[i];
        bool letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
        if (!letter && !(c >= '0' && c <= '9' && i > 2))
            return false;
    }
    return true;
}

/* Takes the next word off the front; an empty one: there is none. */
static struct str take_word(struct str *text)
{
    for (; text->len > 0 && *text->p == ' '; text->len--)
        text->p++;
    struct str word = {text->p, 0};
    while (word.len < text->len && word.p[word.len] != ' ')
        word.len++;
    text->p += word.len;
    text->len -= word.len;
    return word;
}

static bool is_given(struct str word, struct str name, struct str *ret_value)
{
    if (word.len <= name.len || memcmp(word.p, name.p, name.len) != 0)
        return false;
    *ret_value = (struct str){word.p + name.len, word.len - name.len};
    return true;
}

/* Is the word about where the password is? Then it is noted. 1, 0: it is something else, or
 * -EINVAL. */
static int take_source(struct config_user *from, struct str word)
{
    struct str value;
    if (is_given(word, STR("password_file="), &value)) {
        if (value.len >= CONFIG_SOURCE_MAX || from->password_file[0])
            return -EINVAL;
        str_fill(from->password_file, sizeof(from->password_file), value);
        return 1;
    }
    if (is_given(word, STR("password="), &value)) {
        if (!config_secret_is_reference(value) || from->password[0])
            return -EINVAL;
        str_fill(from->password, sizeof(from->password), value);
        return 1;
    }
    return 0;
}

static const char *read_user(struct config_user *from, struct access_user *u, struct str line)
{
    struct str text = line;
    if (line.len >= CONFIG_USER_MAX)
        return "expected a line of at most 255 bytes";
    for (size_t i = 0; i < line.len; i++)
        if (line.p[i] < ' ' || line.p[i] > '~' || line.p[i] == '"' || line.p[i] == '\\')
            return "expected printable characters without quotes and backslashes";
    if (access_user_init(u, take_word(&text)) != 0)
        return "expected NAME and its rights; a name has at most 63 bytes, none of \"\\=~+@";
    for (struct str word = take_word(&text); word.len > 0; word = take_word(&text)) {
        int err = take_source(from, word);
        if (err == 1)
            continue;
        if (err)
            return "expected password_file=PATH or password=${NAME}; a password itself has no "
                   "place here";
        err = access_user_apply(u, word);
        if (err == -ENOENT)
            return "expected a known command or category behind + and -";
        if (err)
            return "expected read, write, admin, all, ~PREFIX*, +@CATEGORY, -@CATEGORY, +COMMAND, "
                   "-COMMAND, rate=N, off, nopass, password_file= or password=${NAME}";
    }
    bool has_password = from->password_file[0] || from->password[0];
    if (!has_password && !u->nopass && !u->off)
        return "expected password_file=, password=${NAME}, nopass or off";
    if (has_password && u->nopass)
        return "expected a password or nopass, not both";
    str_fill(from->text, sizeof(from->text), line);
    access_user_settle(u);
    return NULL;
}

int config_users_add(struct config_users **users, struct str line, char why[CONFIG_USERS_WHY_MAX])
{
    if (!*users)
        *users = calloc(1, sizeof(**users));
    if (!*users)
        return -ENOMEM;
    struct config_users *all = *users;
    uint32_t count = all->access.count;
    const char *wrong = NULL;
    if (count == ACCESS_USERS_MAX) {
        wrong = "expected at most 64 users";
    } else {
        all->of[count] = (struct config_user){0};
        wrong = read_user(&all->of[count], &all->access.users[count], line);
        if (!wrong && access_find(&all->access, str_of(all->access.users[count].name)))
            wrong = "expected a user that is not listed twice";
    }
    if (wrong) {
        snprintf(why, CONFIG_USERS_WHY_MAX, "%s", wrong);
        return -EINVAL;
    }
    all->access.count++;
    return 0;
}

static bool is_plain(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.p[i] <= ' ' || s.p[i] > '~' || s.p[i] == '"' || s.p[i] == '\\')
            return false;
    return true;
}

int config_login_read(struct str line, struct config_login *ret, char why[CONFIG_USERS_WHY_MAX])
{
    struct config_login l = {0};
    struct config_user from = {0};
    struct str text = line, value, source = take_word(&text);
    bool good = source.len > 0 && source.len < sizeof(l.source) && is_plain(source);
    str_fill(l.source, sizeof(l.source), source);
    for (struct str word = take_word(&text); good && word.len > 0; word = take_word(&text)) {
        int err = is_plain(word) ? take_source(&from, word) : -EINVAL;
        if (err == 1)
            continue;
        good = !err && is_given(word, STR("user="), &value) && value.len < sizeof(l.user);
        if (good)
            str_fill(l.user, sizeof(l.user), value);
    }
    if (!good || !(from.password_file[0] || from.password[0]) ||
        (from.password_file[0] && from.password[0])) {
        snprintf(why, CONFIG_USERS_WHY_MAX,
                 "expected SOURCE [user=NAME] password_file=PATH, or password=${NAME}; a password "
                 "itself has no place here");
        return -EINVAL;
    }
    memcpy(l.password_file, from.password_file, sizeof(l.password_file));
    memcpy(l.password, from.password, sizeof(l.password));
    *ret = l;
    return 0;
}

char *config_login_print(const struct config_login *l, char *to, size_t size)
{
    snprintf(to, size, "%s%s%s %s%s", l->source, l->user[0] ? " user=" : "", l->user,
             l->password_file[0] ? "password_file=" : "password=",
             l->password_file[0] ? l->password_file : l->password);
    return to;
}

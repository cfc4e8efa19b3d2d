/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/secrets.h"

#include "base/secret.h"
#include "daemon/config_users.h"
#include "os/file.h"
#include "os/process.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_BYTES_MAX = ACCESS_PASSWORDS_MAX * (CONFIG_PASSWORD_MAX + 1) };

static int __attribute__((format(printf, 2, 3)))
fail(char error[SECRETS_ERROR_MAX], const char *text, ...)
{
    va_list ap;
    va_start(ap, text);
    vsnprintf(error, SECRETS_ERROR_MAX, text, ap);
    va_end(ap);
    return -EINVAL;
}

/* The whole of one source: a block that the caller wipes and frees. */
static int read_source(const char *setting, const char *file, const char *reference,
                       char **ret_bytes, size_t *ret_len, char error[SECRETS_ERROR_MAX])
{
    if (file[0]) {
        int err = file_read(file, FILE_BYTES_MAX, ret_bytes, ret_len);
        return err ? fail(error, "cannot read %s_file %.127s: %s", setting, file, strerror(-err))
                   : 0;
    }
    char name[CONFIG_SOURCE_MAX];
    str_fill(name, sizeof(name), (struct str){reference + 2, strlen(reference) - 3});
    const char *value = process_env(name);
    if (!value || !*value)
        return fail(error, "%s: the variable %.100s is not set", setting, name);
    *ret_bytes = strdup(value);
    *ret_len = strlen(value);
    return *ret_bytes ? 0 : fail(error, "out of memory");
}

int secrets_read(const char *setting, const char *file, const char *reference, char *to,
                 size_t size, char error[SECRETS_ERROR_MAX])
{
    char *bytes = NULL;
    size_t len = 0;
    to[0] = '\0';
    if (!file[0] && !reference[0])
        return 0;
    int err = read_source(setting, file, reference, &bytes, &len, error);
    if (err)
        return err;
    struct str rest = {bytes, len}, line = str_cut_line(&rest);
    if (line.len == 0)
        err =
            fail(error, "%s%s%s: its first line is empty", setting, file[0] ? "_file " : "", file);
    else if (line.len >= size)
        err = fail(error, "%s: longer than %zu bytes", setting, size - 1);
    else
        str_fill(to, size, line);
    secret_wipe(bytes, len);
    free(bytes);
    return err;
}

int secrets_logins(const struct config *c, struct node_login *all[CONFIG_LOGINS_MAX],
                   char error[SECRETS_ERROR_MAX])
{
    char password[CONFIG_PASSWORD_MAX];
    int err = 0;
    for (uint32_t i = 0; i < c->login_count && !err; i++) {
        const struct config_login *l = &c->logins[i];
        char setting[CONFIG_USER_MAX + 32];
        snprintf(setting, sizeof(setting), "nodes.logins: %s: password", l->source);
        err =
            secrets_read(setting, l->password_file, l->password, password, sizeof(password), error);
        if (err)
            break;
        all[i] = node_login_new(str_of(l->user), str_of(password));
        if (!all[i])
            err = fail(error, "out of memory");
    }
    secret_wipe(password, sizeof(password));
    return err;
}

/* Each line is a password, or "#" and the SHA-256 of one, as Redis's ACL files have it. */
static int read_passwords(struct access_user *u, const char *file, const char *reference,
                          char error[SECRETS_ERROR_MAX])
{
    char setting[ACCESS_NAME_MAX + 32];
    char *bytes = NULL;
    size_t len = 0;
    snprintf(setting, sizeof(setting), "auth: user %s: password", u->name);
    int err = read_source(setting, file, reference, &bytes, &len, error);
    if (err)
        return err;
    struct str rest = {bytes, len};
    while (rest.len > 0 && !err) {
        struct str line = str_cut_line(&rest);
        if (line.len == 0)
            continue;
        if (u->hash_count == ACCESS_PASSWORDS_MAX) {
            err = fail(error, "%s: more than %d lines", setting, ACCESS_PASSWORDS_MAX);
            break;
        }
        uint8_t *hash = u->hashes[u->hash_count++];
        if (line.p[0] != '#' || secret_parse((struct str){line.p + 1, line.len - 1}, hash) != 0)
            secret_hash(line, hash);
    }
    if (!err && u->hash_count == 0)
        err = fail(error, "%s: empty", setting);
    secret_wipe(bytes, len);
    free(bytes);
    return err;
}

static int fill(const struct config *c, struct access *a, char error[SECRETS_ERROR_MAX])
{
    int err = 0;
    for (uint32_t i = 0; i < a->count && !err; i++) {
        const struct config_user *from = &c->users->of[i];
        if (from->password_file[0] || from->password[0])
            err = read_passwords(&a->users[i], from->password_file, from->password, error);
    }
    if (err || (!c->auth_password_file[0] && !c->auth_password[0]))
        return err;
    struct access_user *u = &a->users[a->count++]; /* config_check() has seen that it fits */
    err = access_user_init(u, STR("default"));
    if (!err)
        err = access_user_apply(u, STR("all"));
    access_user_settle(u);
    return err ? err : read_passwords(u, c->auth_password_file, c->auth_password, error);
}

int secrets_access(const struct config *c, struct access **ret, char error[SECRETS_ERROR_MAX])
{
    *ret = NULL;
    if (!c->users && !c->auth_password_file[0] && !c->auth_password[0])
        return 0;
    struct access *a = calloc(1, sizeof(*a));
    if (!a)
        return fail(error, "out of memory");
    if (c->users)
        *a = c->users->access;
    a->meters = aligned_alloc(64, ACCESS_USERS_MAX * sizeof(*a->meters));
    if (!a->meters) {
        free(a);
        return fail(error, "out of memory");
    }
    for (uint32_t i = 0; i < ACCESS_USERS_MAX; i++)
        atomic_init(&a->meters[i].due, 0);
    int err = fill(c, a, error);
    if (err)
        a = secrets_access_free(a);
    *ret = a;
    return err;
}

struct access *secrets_access_free(struct access *a)
{
    if (!a)
        return NULL;
    free(a->meters);
    secret_wipe(a->users, sizeof(a->users));
    free(a);
    return NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/config_load.h"

#include "os/file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

void config_load_say(const struct options *o, const struct config_error *e,
                     char error[CONFIG_LOAD_ERROR_MAX])
{
    if (o->config_path && e->line > 0)
        snprintf(error, CONFIG_LOAD_ERROR_MAX, "%.250s:%u:%u: %s", o->config_path, e->line,
                 e->column, e->text);
    else
        snprintf(error, CONFIG_LOAD_ERROR_MAX, "%s", e->text);
}

int config_load(const struct options *o, bool whole, struct config *c,
                char error[CONFIG_LOAD_ERROR_MAX])
{
    struct config_error e;
    if (o->config_path) {
        char *bytes CLEANUP(freep) = NULL;
        size_t len = 0;
        int err = file_read(o->config_path, CONFIG_FILE_MAX, &bytes, &len);
        if (err) {
            snprintf(error, CONFIG_LOAD_ERROR_MAX, "cannot read %.250s: %s", o->config_path,
                     strerror(-err));
            return err;
        }
        err = config_read(c, (struct str){bytes, len}, &e);
        if (err) {
            config_load_say(o, &e, error);
            return err;
        }
    }
    int err = options_apply(o, c, &e);
    if (err) {
        e.line = 0; /* it is in no file */
        config_load_say(o, &e, error);
        return err;
    }
    err = whole ? config_check(c, &e) : 0;
    if (err)
        config_load_say(o, &e, error);
    return err;
}

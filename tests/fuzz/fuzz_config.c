/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a config file: they are read or refused with a place and a line of text, and what
 * was read prints as a file that reads back equal.
 */
#include "base/must.h"
#include "daemon/config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static char *print(const struct config *c, size_t *ret_len)
{
    char *text = NULL;
    FILE *f = open_memstream(&text, ret_len);
    must(f);
    config_print(c, f);
    must(fclose(f) == 0);
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct config c, again;
    struct config_error error;
    config_init(&c);
    int err = config_read(&c, (struct str){(const char *)bytes, len}, &error);
    if (err) {
        must(err == -EINVAL && error.line > 0 && error.column > 0);
        must(error.text[0] && !strpbrk(error.text, "\n\r"));
        config_fini(&c);
        return 0;
    }
    (void)!config_check(&c, &error);
    size_t text_len, text_again_len;
    char *text = print(&c, &text_len);
    config_init(&again);
    must(config_read(&again, (struct str){text, text_len}, &error) == 0);
    char *text_again = print(&again, &text_again_len);
    must(text_len == text_again_len && memcmp(text, text_again, text_len) == 0);
    free(text);
    free(text_again);
    config_fini(&c);
    config_fini(&again);
    return 0;
}

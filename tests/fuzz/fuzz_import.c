/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as the file of another proxy: what they come to is YAML that our reader takes, or
 * refuses for what it says, never for its form; else there is a reason, in one line of text.
 */
#include "base/must.h"
#include "daemon/config.h"
#include "import/import.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

/* Further on it may be a value that the error repeats. */
static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct import_result r;
    must(import_config((struct str){(const char *)bytes, len}, NULL, &r) == 0);
    must(r.yaml || r.note_count > 0);
    for (size_t i = 0; i < r.note_count; i++)
        must(r.notes[i].text[0] && !strpbrk(r.notes[i].text, "\n\r"));
    if (r.yaml) {
        struct config c;
        struct config_error error = {0};
        config_init(&c);
        int err = config_read(&c, str_of(r.yaml), &error);
        must(!err || !begins(error.text, "not valid YAML"));
        must(!err || !begins(error.text, "unknown key"));
        config_fini(&c);
    }
    import_result_fini(&r);
    return 0;
}

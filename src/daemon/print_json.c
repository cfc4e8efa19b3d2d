/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/print_json.h"

void print_json_string(struct str s, FILE *out)
{
    fputc('"', out);
    for (size_t i = 0; i < s.len; i++) {
        char c = s.p[i];
        if (c == '"' || c == '\\')
            fprintf(out, "\\%c", c);
        else
            fputc(c >= ' ' && c <= '~' ? c : '?', out);
    }
    fputc('"', out);
}

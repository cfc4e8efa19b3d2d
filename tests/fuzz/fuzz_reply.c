/* SPDX-License-Identifier: Apache-2.0 */
/* Streams from nodes (see fuzz_streams.h). Each message has a type, and no other mark of a
 * request; and the short way, frame_try_reply(), agrees with the frame, and so does the cursor. */
#include "fuzz_streams.h"

#include "resp/reply_cursor.h"

/* What a frame takes for a whole reply is one to the cursor that reads it. */
static void check_cursor(const uint8_t *p, size_t len)
{
    struct reply_cursor at = reply_cursor_at((struct str){(const char *)p, len});
    must(reply_cursor_skip(&at) == 0 && at.p == at.end);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size <= FUZZ_HEAD)
        return 0;
    struct transcript t = fuzz_stream(FRAME_REPLY, data, size);
    check_tried_replies(&FUZZ_LIMITS[data[0] & 1], data + FUZZ_HEAD, size - FUZZ_HEAD, &t);
    const uint8_t *message = data + FUZZ_HEAD;
    for (size_t i = 0; i < t.count; message += t.v[i++].len) {
        const struct outcome *o = &t.v[i];
        if (o->result == FRAME_READY)
            check_cursor(message, o->len);
        must(!o->is_inline && !o->sloppy);
        must(o->result != FRAME_READY || (o->type != 0 && strchr("+-:$*_#,(!=%~>", o->type)));
        must(o->result != FRAME_READY || o->body_left == 0);
    }
    transcript_free(&t);
    return 0;
}

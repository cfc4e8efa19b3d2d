/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/top_session.h"

#include "base/nsec.h"
#include "daemon/top_keys.h"
#include "daemon/top_screen.h"
#include "os/process.h"
#include "os/terminal.h"

#include <errno.h>
#include <string.h>

#define ESCAPE_AFTER (50 * NSEC_MS)  /* bytes of one key come together, over ssh nearly so */
#define SILENT_AFTER (2 * NSEC_S)    /* an answer that takes longer is worth a word */
#define TICK_EACH    NSEC_S          /* that the seconds of silence are seen to go by */
#define LEAVE_AFTER  (100 * NSEC_MS) /* nobody who has pressed q waits for a proxy */

struct session {
    const struct top_session_config *config;
    struct terminal *terminal;
    struct top_asker *asker;
    struct top_view view;
    struct top_keys keys;
    struct top_pages pages; /* the last good answer */
    char why[TOP_WHY_MAX];  /* what the last one said, if it was none; else empty */
    bool is_asking, colours;
    bool is_due;       /* it is to be drawn */
    uint64_t asked_at; /* the last question */
    uint64_t good_at;  /* the last good answer, or the start */
    uint64_t drawn_at;
};

/* ---- drawing ---- */

static const char *why_not(const struct session *s, uint64_t now)
{
    if (*s->why)
        return s->why;
    return s->is_asking && now - s->asked_at >= SILENT_AFTER ? "it does not answer" : NULL;
}

static int draw(struct session *s)
{
    uint64_t now = process_now_ns();
    struct top_state state = {s->config->address, &s->pages, why_not(s, now), now - s->good_at};
    struct top_canvas canvas;
    struct text bytes = {0};
    int columns, rows;
    terminal_size(s->terminal, &columns, &rows);
    if (top_canvas_init(&canvas, columns, rows) != 0)
        return -ENOMEM;
    top_screen_draw(&s->view, &state, &canvas);
    top_canvas_print(&canvas, s->colours, &bytes);
    int err = bytes.failed ? -ENOMEM : terminal_write(s->terminal, bytes.bytes, bytes.len);
    text_fini(&bytes);
    top_canvas_fini(&canvas);
    s->drawn_at = now;
    s->is_due = err == -EAGAIN; /* what was lost is drawn again */
    return err == -EAGAIN ? 0 : err;
}

/* ---- asking ---- */

static void tell(void *listener)
{
    terminal_poke(listener);
}

static void ask_now(struct session *s)
{
    if (s->is_asking)
        return;
    s->is_asking = true;
    s->asked_at = process_now_ns();
    top_asker_ask(s->asker);
}

static void take_answer(struct session *s)
{
    struct top_answer answer;
    if (!top_asker_take(s->asker, &answer))
        return;
    s->is_asking = false;
    s->is_due |= !s->view.is_paused;
    memcpy(s->why, answer.why, sizeof(s->why));
    if (answer.status != 0)
        return;
    s->why[0] = 0;
    s->good_at = process_now_ns();
    top_pages_fini(&s->pages);
    s->pages = answer.pages;
}

/* ---- what comes next ---- */

static uint64_t until(uint64_t at, uint64_t now)
{
    return at > now ? at - now : 0;
}

/* How long there is nothing to do if nothing happens. */
static uint64_t idle_ns(const struct session *s)
{
    uint64_t now = process_now_ns(), wait = s->is_due ? 0 : NSEC_NEVER;
    if (s->keys.is_inside)
        wait = nsec_min(wait, ESCAPE_AFTER);
    if (!s->is_asking && !s->view.is_paused)
        wait = nsec_min(wait, until(s->asked_at + s->view.interval_ns, now));
    if (why_not(s, now))
        wait = nsec_min(wait, until(s->drawn_at + TICK_EACH, now));
    else if (s->is_asking)
        wait = nsec_min(wait, until(s->asked_at + SILENT_AFTER, now));
    return wait;
}

/* False: that was the end. */
static bool press(struct session *s, int key)
{
    enum top_act act = top_view_press(&s->view, key);
    s->is_due |= act != TOP_ACT_NONE;
    if (act == TOP_ACT_ASK)
        ask_now(s);
    return act != TOP_ACT_END;
}

static bool press_all(struct session *s, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (!press(s, top_keys_feed(&s->keys, bytes[i])))
            return false;
    return true;
}

static void keep_time(struct session *s)
{
    uint64_t now = process_now_ns();
    if (!s->is_asking && !s->view.is_paused && now >= s->asked_at + s->view.interval_ns)
        ask_now(s);
    if (why_not(s, now) && now >= s->drawn_at + TICK_EACH)
        s->is_due = true;
}

static int serve(struct session *s)
{
    char bytes[256];
    size_t len;
    int err = 0;
    ask_now(s);
    s->is_due = true;
    while (!err) {
        if (s->is_due)
            err = draw(s);
        unsigned seen = terminal_wait(s->terminal, idle_ns(s), bytes, sizeof(bytes), &len);
        if (seen & TERMINAL_END)
            return 0;
        if (!press_all(s, bytes, len) || (seen == 0 && !press(s, top_keys_end(&s->keys))))
            return 0;
        if (seen & TERMINAL_DRAW)
            s->is_due = true;
        take_answer(s);
        keep_time(s);
    }
    return err;
}

int top_session_run(const struct top_session_config *config)
{
    const char *plain = process_env("NO_COLOR");
    struct session s = {.config = config, .colours = !(plain && *plain)};
    int err = terminal_open(config->out, &s.terminal);
    if (err)
        return err;
    s.good_at = process_now_ns();
    top_view_init(&s.view);
    struct top_asking asking = {config->ask, config->owner, tell, s.terminal};
    err = top_asker_start(&asking, &s.asker);
    if (!err) {
        err = serve(&s);
        terminal_give(s.terminal);
        if (top_asker_stop(s.asker, LEAVE_AFTER) != 0)
            process_exit_now(err ? 1 : 0);
    }
    terminal_close(s.terminal);
    top_pages_fini(&s.pages);
    return err;
}

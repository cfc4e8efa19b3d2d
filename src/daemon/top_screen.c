/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/top_screen.h"

#include "base/nsec.h"
#include "daemon/top_lists.h"

#include <inttypes.h>
#include <string.h>

enum {
    ROWS_FOR_SUM = 10, /* fewer are better used for what is in focus */
    ROWS_FOR_BAR = 8,
    ROWS_OTHER = 8, /* of a section that is not in focus */
    ROWS_WHY = 3,   /* of what is wrong */
    WHY_MAX = 1024,
};

/* ---- the head ---- */

static void put_uptime(struct top_canvas *c, double ms)
{
    unsigned long s = ms > 0 && ms < 1e15 ? (unsigned long)(ms / 1000) : 0;
    unsigned long days = s / 86400;
    top_canvas_put(c, TOP_PLAIN, "up ");
    if (days > 0)
        top_canvas_put(c, TOP_PLAIN, "%lu d ", days);
    top_canvas_put(c, TOP_PLAIN, "%02lu:%02lu:%02lu", s / 3600 % 24, s / 60 % 60, s % 60);
}

static void put_title(const struct top_view *v, const struct top_state *s, struct top_canvas *c)
{
    char version[24], right[32];
    const json_t *summary = s->pages->summary;
    top_canvas_at(c, 0, 0);
    top_canvas_put(c, TOP_BOLD, "sumcache top");
    top_canvas_put(c, TOP_PLAIN, "  %s", s->address);
    if (summary) {
        top_text(summary, "version", version, sizeof(version));
        top_canvas_put(c, TOP_PLAIN, "  %s, ", version);
        put_uptime(c, top_number(summary, "uptime_ms"));
    }
    if (v->is_paused)
        snprintf(right, sizeof(right), "PAUSED");
    else
        snprintf(right, sizeof(right), "every %g s", (double)v->interval_ns / (double)NSEC_S);
    int at = c->columns - (int)strlen(right);
    if (at >= c->column + 2) {
        top_canvas_at(c, 0, at);
        top_canvas_put(c, v->is_paused ? TOP_REVERSED : TOP_PLAIN, "%s", right);
    }
}

static void put_sum(const json_t *s, struct top_canvas *c)
{
    const json_t *last = json_object_get(s, "last_second");
    char used[TOP_BYTES_MAX], max[TOP_BYTES_MAX];
    double hits = top_number(s, "hits");
    top_canvas_at(c, 1, 0);
    top_canvas_put(c, TOP_PLAIN, "memory %s of %s",
                   top_print_bytes(top_number(s, "memory_used"), used),
                   top_print_bytes(top_number(s, "memory_max"), max));
    top_canvas_put(c, TOP_PLAIN, "   keys %.0f   hit ratio %.1f%%   clients %.0f",
                   top_number(s, "keys"), top_percent(hits, hits + top_number(s, "misses")),
                   top_number(s, "clients"));
    top_canvas_at(c, 2, 0);
    top_canvas_put(c, TOP_PLAIN, "requests/s %.0f   p99 %.2f ms   failed/s %.0f",
                   top_number(last, "requests"), top_number(last, "p99_us") / 1000,
                   top_number(last, "failed"));
    double out = top_number(s, "nodes_out");
    top_canvas_put(c, TOP_PLAIN, "   nodes in ring %.0f, ", top_number(s, "nodes_in_ring"));
    top_canvas_put(c, out > 0 ? TOP_RED | TOP_BOLD : TOP_PLAIN, "out %.0f", out);
}

/* ---- the sections ---- */

struct room {
    int rows[TOP_SECTION_COUNT]; /* with the title, and the blank row above all but the first */
};

/* Whoever is in focus has two thirds, or what it needs of them; the others, in their order, have
 * what they need of the rest, if a title, a row and the blank row fit; what is left falls to the
 * focus again. */
static struct room share(const struct top_rows rows[TOP_SECTION_COUNT], enum top_section focus,
                         int all)
{
    struct room r = {{0}};
    int blank = focus > 0 ? 1 : 0;
    int need = rows[focus].count < (size_t)all ? (int)rows[focus].count + 1 + blank : all;
    int most = (all * 2 + 2) / 3;
    int left = all - (need < most ? need : most);
    r.rows[focus] = all;
    for (unsigned i = 0; i < TOP_SECTION_COUNT; i++) {
        int count = rows[i].count < ROWS_OTHER ? (int)rows[i].count : ROWS_OTHER;
        blank = i > 0 ? 1 : 0;
        int want = count + 1 + blank < left ? count + 1 + blank : left;
        if (i == focus || want < 2 + blank)
            continue;
        r.rows[i] = want;
        r.rows[focus] -= want;
        left -= want;
    }
    return r;
}

static void put_section(const struct top_rows *rows, struct top_view *v, struct top_canvas *c,
                        int from, int room)
{
    struct top_list *l = &v->lists[rows->section];
    bool is_focus = rows->section == v->focus;
    unsigned look = is_focus ? TOP_REVERSED : TOP_BOLD;
    top_canvas_at(c, from, 0);
    top_rows_put_title(rows, c, look, &v->sort);
    if (is_focus)
        top_canvas_mark(c, from, TOP_REVERSED);
    top_list_fit(l, rows->count, room > 1 ? (size_t)room - 1 : 0);
    for (size_t i = 0; i < l->room && l->first + i < rows->count; i++) {
        int row = from + 1 + (int)i;
        top_canvas_at(c, row, 0);
        top_rows_put(rows, c, l->first + i);
        if (is_focus && l->first + i == l->selected)
            top_canvas_mark(c, row, TOP_REVERSED);
    }
}

static void put_sections(struct top_view *v, const struct top_state *s, struct top_canvas *c,
                         int from, int room)
{
    struct top_rows rows[TOP_SECTION_COUNT];
    for (unsigned i = 0; i < TOP_SECTION_COUNT; i++)
        top_rows_init(&rows[i], (enum top_section)i, s->pages, &v->sort, c->columns);
    struct room shares = share(rows, v->focus, room);
    bool is_first = true;
    for (unsigned i = 0; i < TOP_SECTION_COUNT; i++) {
        int blank = is_first ? 0 : 1;
        if (shares.rows[i] > blank) {
            put_section(&rows[i], v, c, from + blank, shares.rows[i] - blank);
            is_first = false;
        }
        from += shares.rows[i];
        top_rows_fini(&rows[i]);
    }
}

/* ---- the bottom ---- */

static void print_why(const struct top_state *s, char to[WHY_MAX])
{
    uint64_t seconds = s->silent_ns / NSEC_S;
    if (!s->pages->summary)
        snprintf(to, WHY_MAX, "no answer yet: %s", s->why);
    else if (seconds < 120)
        snprintf(to, WHY_MAX, "no answer for %" PRIu64 " s: %s", seconds, s->why);
    else if (seconds < UINT64_C(7200))
        snprintf(to, WHY_MAX, "no answer for %" PRIu64 " min: %s", seconds / 60, s->why);
    else
        snprintf(to, WHY_MAX, "no answer for %" PRIu64 " h: %s", seconds / 3600, s->why);
}

static int why_rows(const struct top_canvas *c, const char *why)
{
    int rows = ((int)strlen(why) + c->columns - 1) / c->columns;
    int max = c->rows / 3 < ROWS_WHY ? c->rows / 3 : ROWS_WHY;
    return rows < max ? rows : max > 1 ? max : 1;
}

static void put_why(struct top_canvas *c, int from, const char *why)
{
    for (size_t at = 0, len = strlen(why); at < len && from < c->rows; from++) {
        top_canvas_at(c, from, 0);
        top_canvas_put(c, TOP_RED | TOP_BOLD, "%.*s", c->columns, why + at);
        at += (size_t)c->columns;
    }
}

static void put_bar(const struct top_view *v, struct top_canvas *c)
{
    const struct top_list *l = &v->lists[v->focus];
    char right[80];
    int row = c->rows - 1;
    top_canvas_at(c, row, 0);
    if (v->is_typing) {
        top_canvas_put(c, TOP_BOLD, "seconds between two looks (0.5 to 60): %s_", v->typed);
        return;
    }
    top_canvas_put(c, TOP_PLAIN, "q quit  h help  Tab section  s sort  r reverse  p pause");
    size_t last = l->first + l->room < l->count ? l->first + l->room : l->count;
    int len = snprintf(right, sizeof(right), "  %s %zu-%zu of %zu", top_section_name(v->focus),
                       last > l->first ? l->first + 1 : 0, last, l->count);
    top_canvas_at(c, row, c->columns - len);
    top_canvas_put(c, TOP_PLAIN, "%s", right);
}

/* ---- the whole ---- */

static void draw_help(struct top_canvas *c)
{
    static const char *const LINES[] = {
        "sumcache top: keys",
        "",
        "  q, Ctrl-C            end",
        "  h, ?                 this help",
        "",
        "  Tab, Shift-Tab, 1-4  nodes, events, hot keys, prefixes: which has the room",
        "  Up, Down, k, j       a row up, down",
        "  PgUp, PgDn           a page up, down",
        "  Home, End, g, G      the first row, the last one",
        "",
        "  s, >, <              sort the nodes by the next column, the one before",
        "  r                    the other way round",
        "",
        "  p, Space             pause, and go on",
        "  +, -                 look less often, more often",
        "  d                    type how often, in seconds (0.5 to 60)",
        "  Ctrl-Z               stop; fg goes on",
        "",
        "Any key leaves this help.",
    };
    for (size_t i = 0; i < sizeof(LINES) / sizeof(*LINES); i++) {
        top_canvas_at(c, (int)i, 0);
        top_canvas_put(c, i == 0 ? TOP_BOLD : TOP_PLAIN, "%s", LINES[i]);
    }
}

static int bottom_rows(const struct top_view *v, const struct top_canvas *c, const char *why)
{
    if (*why && !v->is_typing)
        return why_rows(c, why);
    return v->is_typing || c->rows >= ROWS_FOR_BAR ? 1 : 0;
}

void top_screen_draw(struct top_view *v, const struct top_state *s, struct top_canvas *c)
{
    char why[WHY_MAX] = "";
    if (v->shows_help) {
        draw_help(c);
        return;
    }
    if (s->why)
        print_why(s, why);
    int bottom = bottom_rows(v, c, why);
    int head = c->rows >= ROWS_FOR_SUM ? 4 : c->rows > bottom ? 1 : 0;
    if (head > 0)
        put_title(v, s, c);
    if (head > 1 && s->pages->summary)
        put_sum(s->pages->summary, c);
    if (s->pages->summary)
        put_sections(v, s, c, head, c->rows - head - bottom);
    if (*why && !v->is_typing)
        put_why(c, c->rows - bottom, why);
    else if (bottom > 0)
        put_bar(v, c);
}

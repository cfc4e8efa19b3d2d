/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/top_view.h"

#include "base/nsec.h"
#include "daemon/top_keys.h"

#include <stdlib.h>
#include <string.h>

/* Below, the proxy's own figures, which are of whole seconds, hardly change. */
#define INTERVAL_MIN (NSEC_S / 2)
#define INTERVAL_MAX (60 * NSEC_S)

/* Where + and - go. */
static const uint64_t INTERVALS[] = {INTERVAL_MIN, NSEC_S,      2 * NSEC_S,
                                     3 * NSEC_S,   5 * NSEC_S,  10 * NSEC_S,
                                     15 * NSEC_S,  30 * NSEC_S, INTERVAL_MAX};

enum { INTERVAL_COUNT = sizeof(INTERVALS) / sizeof(*INTERVALS) };

void top_view_init(struct top_view *v)
{
    *v = (struct top_view){.interval_ns = NSEC_S};
}

/* ---- lists ---- */

void top_list_fit(struct top_list *l, size_t count, size_t room)
{
    l->count = count;
    l->room = room;
    if (l->selected >= count)
        l->selected = count > 0 ? count - 1 : 0;
    if (l->first > l->selected)
        l->first = l->selected;
    if (room > 0 && l->selected - l->first >= room)
        l->first = l->selected - room + 1;
    size_t first_max = count > room ? count - room : 0;
    if (l->first > first_max)
        l->first = first_max;
}

static void move(struct top_list *l, bool down, size_t by)
{
    size_t last = l->count > 0 ? l->count - 1 : 0;
    if (down)
        l->selected = by < last - l->selected ? l->selected + by : last;
    else
        l->selected = by < l->selected ? l->selected - by : 0;
}

/* False: it is another key. */
static bool press_in_list(struct top_list *l, int key)
{
    size_t page = l->room > 1 ? l->room - 1 : 1; /* the last row of this one is seen again */
    top_list_fit(l, l->count, l->room);
    switch (key) {
    case TOP_KEY_UP:
    case 'k':
        move(l, false, 1);
        return true;
    case TOP_KEY_DOWN:
    case 'j':
        move(l, true, 1);
        return true;
    case TOP_KEY_PAGE_UP:
        move(l, false, page);
        return true;
    case TOP_KEY_PAGE_DOWN:
        move(l, true, page);
        return true;
    case TOP_KEY_HOME:
    case 'g':
        move(l, false, l->count);
        return true;
    case TOP_KEY_END:
    case 'G':
        move(l, true, l->count);
        return true;
    default:
        return false;
    }
}

/* ---- the interval ---- */

static void lengthen(struct top_view *v)
{
    size_t i = 0;
    while (i < INTERVAL_COUNT - 1 && INTERVALS[i] <= v->interval_ns)
        i++;
    v->interval_ns = INTERVALS[i];
}

static void shorten(struct top_view *v)
{
    size_t i = INTERVAL_COUNT - 1;
    while (i > 0 && INTERVALS[i] >= v->interval_ns)
        i--;
    v->interval_ns = INTERVALS[i];
}

/* Nothing, or no number: it stays as it is. */
static void take_typed(struct top_view *v)
{
    char *end;
    double seconds = strtod(v->typed, &end);
    v->is_typing = false;
    if (*v->typed == 0 || *end)
        return;
    uint64_t ns = seconds > 60 ? INTERVAL_MAX : (uint64_t)(seconds * (double)NSEC_S);
    v->interval_ns = ns < INTERVAL_MIN ? INTERVAL_MIN : ns;
}

static void type(struct top_view *v, int key)
{
    size_t len = strlen(v->typed);
    if (key == TOP_KEY_ENTER)
        take_typed(v);
    else if (key == TOP_KEY_ESCAPE || key == 'q')
        v->is_typing = false;
    else if (key == TOP_KEY_BACKSPACE && len > 0)
        v->typed[len - 1] = 0;
    else if (((key >= '0' && key <= '9') || key == '.') && len + 1 < TOP_TYPED_MAX)
        v->typed[len] = (char)key;
}

/* ---- all keys ---- */

static enum top_act press_elsewhere(struct top_view *v, int key)
{
    switch (key) {
    case 'q':
        return TOP_ACT_END;
    case 'h':
    case '?':
        v->shows_help = true;
        return TOP_ACT_DRAW;
    case 'p':
    case ' ':
        v->is_paused = !v->is_paused;
        return v->is_paused ? TOP_ACT_DRAW : TOP_ACT_ASK;
    case 's':
    case '>':
        top_sort_step(&v->sort, 1);
        return TOP_ACT_DRAW;
    case '<':
        top_sort_step(&v->sort, -1);
        return TOP_ACT_DRAW;
    case 'r':
        v->sort.is_reversed = !v->sort.is_reversed;
        return TOP_ACT_DRAW;
    case '+':
        lengthen(v);
        return TOP_ACT_DRAW;
    case '-':
        shorten(v);
        return TOP_ACT_DRAW;
    case 'd':
        v->is_typing = true;
        memset(v->typed, 0, sizeof(v->typed));
        return TOP_ACT_DRAW;
    default:
        return TOP_ACT_NONE;
    }
}

static bool press_for_section(struct top_view *v, int key)
{
    unsigned focus = v->focus;
    if (key == TOP_KEY_TAB)
        focus = (focus + 1) % TOP_SECTION_COUNT;
    else if (key == TOP_KEY_BACK_TAB)
        focus = (focus + TOP_SECTION_COUNT - 1) % TOP_SECTION_COUNT;
    else if (key >= '1' && key < '1' + TOP_SECTION_COUNT)
        focus = (unsigned)(key - '1');
    else
        return false;
    v->focus = (enum top_section)focus;
    return true;
}

enum top_act top_view_press(struct top_view *v, int key)
{
    if (key == TOP_KEY_INTERRUPT)
        return TOP_ACT_END;
    if (key == TOP_KEY_NONE)
        return TOP_ACT_NONE;
    if (v->shows_help) {
        v->shows_help = false;
        return TOP_ACT_DRAW;
    }
    if (v->is_typing) {
        type(v, key);
        return TOP_ACT_DRAW;
    }
    if (press_for_section(v, key) || press_in_list(&v->lists[v->focus], key))
        return TOP_ACT_DRAW;
    return press_elsewhere(v, key);
}

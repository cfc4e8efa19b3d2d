/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Intrusive doubly linked list. A struct list is both head and link; a link that is in no list
 * points to itself, so that list_remove() is safe to repeat. The list owns nothing.
 */
#pragma once
#include "base/cleanup.h"

#include <stdbool.h>

struct list {
    struct list *prev, *next;
};

static inline void list_init(struct list *l)
{
    l->prev = l->next = l;
}

static inline bool list_empty(const struct list *l)
{
    return l->next == l;
}

static inline void list_insert_before(struct list *at, struct list *link)
{
    link->prev = at->prev;
    link->next = at;
    at->prev->next = link;
    at->prev = link;
}

static inline void list_push_tail(struct list *head, struct list *link)
{
    list_insert_before(head, link);
}

static inline void list_push_head(struct list *head, struct list *link)
{
    list_insert_before(head->next, link);
}

/* Leaves `link` in no list. */
static inline void list_remove(struct list *link)
{
    link->prev->next = link->next;
    link->next->prev = link->prev;
    list_init(link);
}

/* Moves all of `from` to the tail of `to`; `from` is empty afterwards. */
static inline void list_append_all(struct list *to, struct list *from)
{
    if (list_empty(from))
        return;
    from->next->prev = to->prev;
    from->prev->next = to;
    to->prev->next = from->next;
    to->prev = from->prev;
    list_init(from);
}

#define list_item(link, type, member)  container_of(link, type, member)
#define list_first(head, type, member) list_item((head)->next, type, member)

/* The loop variable is the link; the body may remove it (_safe) but not its successor. */
#define list_for_each(link, head)                                                                  \
    for (struct list *link = (head)->next; link != (head); link = link->next)
#define list_for_each_safe(link, head)                                                             \
    for (struct list *link = (head)->next, *link##_next = link->next; link != (head);              \
         link = link##_next, link##_next = link->next)

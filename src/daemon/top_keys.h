/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the bytes that a terminal sends to the keys that were pressed. Many keys send several bytes,
 * which begin with that of Escape; they may come in pieces.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

/* Printable ASCII stands for itself. */
enum {
    TOP_KEY_NONE = 0,
    TOP_KEY_UP = 256,
    TOP_KEY_DOWN,
    TOP_KEY_PAGE_UP,
    TOP_KEY_PAGE_DOWN,
    TOP_KEY_HOME,
    TOP_KEY_END,
    TOP_KEY_TAB,
    TOP_KEY_BACK_TAB,
    TOP_KEY_ENTER,
    TOP_KEY_BACKSPACE,
    TOP_KEY_ESCAPE,
    TOP_KEY_INTERRUPT, /* Ctrl-C where the terminal makes no signal of it */
    TOP_KEY_OTHER,
};

enum { TOP_KEY_BYTES_MAX = 16 /* longer sequences are of no key that we know */ };

/* All zeroes: nothing has come. */
struct top_keys {
    char sequence[TOP_KEY_BYTES_MAX]; /* behind the byte of Escape */
    uint8_t len;
    bool is_inside;
};

/* The key that this byte completes, or TOP_KEY_NONE. */
int top_keys_feed(struct top_keys *k, char byte);
/* If is_inside and nothing more has come for a moment: it was the key Escape, or nothing. */
int top_keys_end(struct top_keys *k);

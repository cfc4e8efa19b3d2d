/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the operator says of commands: which of the gated ones are open, which are denied, which go
 * by another name, and where the keys of those are that command_table.h does not know.
 *
 * Built before workers start, only read afterwards, by any thread: an array that says of each row
 * whether there is anything to say, and beside it, for names that no row has, a small hash table.
 */
#pragma once
#include "base/cleanup.h"
#include "base/str.h"
#include "resp/command.h"

#include <stddef.h>
#include <stdint.h>

enum {
    RULE_SHUT = 1 << 0,    /* gated, and not opened */
    RULE_DENIED = 1 << 1,  /* by commands.deny */
    RULE_RENAMED = 1 << 2, /* its own name is no command's any more */

    COMMAND_RULES_NAMES_MAX = 128, /* renamed and unknown commands together */
    COMMAND_RULES_NAME_MAX = 31,   /* bytes of such a name, as the longest in the table */
};

struct command_rules_names;

struct command_rules {
    uint8_t of[COMMAND_ID_COUNT + 1];  /* RULE_…, by id; the last one is 0: see below */
    struct command_rules_names *names; /* owned; NULL: no command is renamed or made known */
};

/* As without any setting: what is gated is shut. */
void command_rules_init(struct command_rules *r);
void command_rules_fini(struct command_rules *r);

/*
 * Names are those of the table, in any case; that of a container stands for its subcommands too.
 * -ENOENT: there is no such command. -EPERM: it can't be opened. -EINVAL: it is not gated.
 * "all" opens what can be opened.
 */
int command_rules_allow(struct command_rules *r, struct str name) MUST_CHECK;
int command_rules_deny(struct command_rules *r, struct str name) MUST_CHECK; /* 0, -ENOENT */

/* -ENOENT: no such command; -EINVAL: `from` is a subcommand, or `to` not of 1 to
 * COMMAND_RULES_NAME_MAX printable bytes without blanks; -EEXIST: `to` is taken, or `from` has been
 * renamed already; -ENOSPC, -ENOMEM. */
int command_rules_rename(struct command_rules *r, struct str from, struct str to) MUST_CHECK;

/* A command that the table does not know is sent to the node of its keys, at first, first + step, …
 * up to last (as in COMMAND INFO). -EINVAL: that is no place, or the name none; -EEXIST, -ENOSPC,
 * -ENOMEM. Its row is a write's with id COMMAND_ID_COUNT: what it does nobody knows. */
int command_rules_add(struct command_rules *r, struct str name, int first, int last,
                      int step) MUST_CHECK;

/* For a request whose name the table does not know, or whose row is RULE_RENAMED. NULL: no command
 * has this name. The rules of what is found hold, but for RULE_RENAMED. Never allocates. */
const struct command *command_rules_find(const struct command_rules *r, const struct args *a);

/* The same by name alone, of all commands: as clients may call them. */
const struct command *command_rules_find_name(const struct command_rules *r, struct str name);

/* How clients call a command (not a subcommand): its new name, if it has been renamed. A constant
 * as long as the rules are. */
const char *command_rules_name(const struct command_rules *r, const struct command *c);

/* The commands made known by command_rules_add(): how many, and one of them. */
size_t command_rules_added(const struct command_rules *r);
const struct command *command_rules_added_at(const struct command_rules *r, size_t index);

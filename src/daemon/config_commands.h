/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The settings commands.*: lists of names, and the rules for workers that follow from them.
 * Private to config*.c, but for the lists themselves, which lie in struct config.
 */
#pragma once
#include "base/cleanup.h"
#include "base/str.h"
#include "proxy/command_rules.h"

#include <stddef.h>
#include <stdint.h>

enum {
    CONFIG_COMMANDS_MAX = 128, /* items of one list; more than there are gated commands */
    CONFIG_COMMANDS_WHY_MAX = 160,
};

enum config_commands_list {
    CONFIG_COMMANDS_ALLOW,
    CONFIG_COMMANDS_DENY,
    CONFIG_COMMANDS_RENAME,  /* with the new name as value */
    CONFIG_COMMANDS_UNKNOWN, /* with FIRST [LAST [STEP]] as value */
    CONFIG_COMMANDS_LISTS,
};

struct config_command {
    char name[COMMAND_RULES_NAME_MAX + 1];
    char value[COMMAND_RULES_NAME_MAX + 1]; /* empty in lists without */
};

struct config_commands {
    struct config_commands_items {
        uint32_t count;
        struct config_command items[CONFIG_COMMANDS_MAX];
    } lists[CONFIG_COMMANDS_LISTS];
};

void config_commands_clear(struct config_commands *c, enum config_commands_list list);

/* Adds "NAME" or "NAME: VALUE" and makes `rules` anew of all lists. 0, -ENOMEM, or -EINVAL with
 * what would have been right ("expected …"); the settings are then of no more use. */
int config_commands_add(struct config_commands *c, enum config_commands_list list, struct str item,
                        struct command_rules *rules, char why[CONFIG_COMMANDS_WHY_MAX]) MUST_CHECK;

/* An item as it stands in a file, quoted if it is a pair. Returns `to`; NULL behind the last. */
const char *config_commands_item(const struct config_commands *c, enum config_commands_list list,
                                 uint32_t index, char *to, size_t size);

/* SPDX-License-Identifier: Apache-2.0 */
#include "resp/command_facts.h"

#include <stddef.h>

static const struct command_facts FACTS[COMMAND_ID_COUNT] = {
#define COMMAND_FACT(ID, GROUP, SINCE, FIRST_KEY, OTHER_KEYS)                                      \
    [COMMAND_ID_##ID] = {                                                                          \
        .group = (GROUP), .since = (SINCE), .first_key = (FIRST_KEY), .other_keys = (OTHER_KEYS)},
#include "resp/command_fact_table.h"
#undef COMMAND_FACT
};

const struct command_facts *command_facts(const struct command *c)
{
    static const struct command_facts NOTHING = {"", "", "", ""};
    if (c->id >= COMMAND_ID_COUNT || FACTS[c->id].group == NULL)
        return &NOTHING;
    return &FACTS[c->id];
}

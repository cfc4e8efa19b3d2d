/* SPDX-License-Identifier: Apache-2.0 */
/* What model clients say. */
#pragma once
#include "client_model.h"

/* Puts a drawn command at the end of what the client is to send. */
void workload_command(struct client_model *m);
void workload_quit(struct client_model *m);
void workload_malformed(struct client_model *m);
/* The beginning of a command whose rest never comes; not recorded. */
void workload_half_command(struct client_model *m);

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A node's databases. Which node has a key does not depend on the database, so slots, homes and
 * owners know nothing of it; but what is written, and what a node is made to forget, is a key of
 * one database.
 */
#pragma once

enum { DATABASES_MAX = 16 }; /* as many as a redis-server has, if nobody says otherwise */

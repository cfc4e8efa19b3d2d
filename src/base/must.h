/* SPDX-License-Identifier: Apache-2.0 */
/*
 * must(): what has to hold for the program to go on. It stays on in release builds: a proxy that
 * goes on with a broken invariant gives one client another client's data. For what peers, files
 * and the kernel may do wrong, return an error instead.
 */
#pragma once

#define must(cond)    ((cond) ? (void)0 : must_fail(#cond, __FILE__, __LINE__, __func__))
#define unreachable() must_fail("unreachable", __FILE__, __LINE__, __func__)

/* Writes one line to standard error and aborts. */
void must_fail(const char *what, const char *file, int line, const char *func)
    __attribute__((noreturn, cold));

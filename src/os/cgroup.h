/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel's control groups let this process have: a container's CPU limit is one. Reads
 * files; for start-up. */
#pragma once
#include <stdint.h>

/*
 * The CPU time per second that the quotas of our group and of those around it allow, in thousandths
 * of a CPU; 0: there is no quota, or none that can be seen. Version 2 (cpu.max) and version 1
 * (cpu.cfs_quota_us).
 *
 * `self` lists our groups ("/proc/self/cgroup"), `root` is where they are mounted
 * ("/sys/fs/cgroup"). Inside a container the paths of `self` may be those of the host, which do not
 * exist below `root`: what does not exist is passed over, up to `root` itself, which then is ours.
 */
uint64_t cgroup_cpu_quota(const char *self, const char *root);

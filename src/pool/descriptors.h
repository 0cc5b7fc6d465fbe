/* SPDX-License-Identifier: MIT */
/*
 * Which descriptors a process that was forked from the program keeps.
 */
#ifndef TANDEM_POOL_DESCRIPTORS_H
#define TANDEM_POOL_DESCRIPTORS_H

#include <stddef.h>

/*
 * Closes every descriptor from 3 on but those; negative ones among them are ignored. Also where close_range is missing or
 * forbidden, and as well as can be where there is no /proc either. Only in a process with one thread.
 */
void descriptors_keep_only(const int *kept, size_t count);

#endif

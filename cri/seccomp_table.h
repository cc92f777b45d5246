/* The default seccomp profile as a table; see seccomp_table.c. */
#pragma once

#include <stdint.h>

#define SECCOMP_ALWAYS (-1)

struct seccomp_group {
    int capability;    /* the calls are allowed with it; SECCOMP_ALWAYS: without any */
    const char *calls; /* names, separated by blanks */
};
/* Ends with a group whose calls are NULL. */
extern const struct seccomp_group seccomp_groups[];

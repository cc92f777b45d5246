/* A container as its shim knows it; see shim_client.h. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "cri/shim_proto.h"

enum shim_container_state { SHIM_CREATED, SHIM_RUNNING, SHIM_EXITED };

struct shim_state {
    char id[SHIM_ID_MAX + 1];
    enum shim_container_state state;
    pid_t pid; /* running */
    int64_t created_ns, started_ns, finished_ns;
    int exit_code, signal;
    bool oom_killed;
};

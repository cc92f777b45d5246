/*
 * Logging: one line an event, key=value, to stderr. Components log; libraries below lib/kube do
 * not, except at debug level. Quiet when nothing is wrong.
 *
 *   log_info("container started", "pod", "default/web", "container", "nginx", NULL);
 *   → 2026-01-02T03:04:05.678Z info msg="container started" pod=default/web container=nginx
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* @verbosity as upstream's --v: below 2 info and up, from 4 debug. */
void log_init(const char *program, int verbosity);
bool log_enabled(enum log_level level);

/* @msg, then pairs of strings (key, value), then NULL. Values are quoted where needed; a NULL
 * value is left out with its key. */
void log_event(enum log_level level, const char *msg, ...) __attribute__((sentinel));
#define log_error(...) log_event(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)  log_event(LOG_WARN, __VA_ARGS__)
#define log_info(...)  log_event(LOG_INFO, __VA_ARGS__)
#define log_debug(...)                         \
    do {                                       \
        if (log_enabled(LOG_DEBUG))            \
            log_event(LOG_DEBUG, __VA_ARGS__); \
    } while (0)
/* printf form, for a message with no keys worth naming. */
void log_printf(enum log_level level, const char *fmt, ...) _printf_(2, 3);

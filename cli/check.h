/* What a machine needs to run a node, checked before anything is changed. */
#pragma once

#include <stdbool.h>

#include "cli/node.h"

enum check_result { CHECK_OK, CHECK_WARN, CHECK_FAIL };

/* One finding: what was looked at, how it is, and (unless ok) what to do. */
typedef void check_report(enum check_result result, const char *what, const char *finding,
                          const char *remedy, void *arg);

/* Runs every check, reporting each. Returns the number of failures. @c must be complete when
 * @ports is asked for. */
int check_machine(const struct node_config *c, bool ports, check_report *report, void *arg);

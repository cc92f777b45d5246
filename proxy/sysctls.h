/* Kernel settings that a mode needs, journalled before they are changed. */
#pragma once

#include "proxy/config.h"

/* What services cannot do without is an error; limits and timeouts that cannot be set are logged.
 * @mode: "iptables" and so on. @journal NULL: none is kept. */
int sysctls_apply(const struct config *c, const char *mode, const char *journal, struct error *err);
/* Whether conntrack is told to tolerate packets outside the window. */
bool sysctls_tcp_be_liberal(void);

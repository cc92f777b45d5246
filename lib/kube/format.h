/* The string formats of schema.h: what is wrong with a name, key, address or path. */
#pragma once

#include "kube/schema.h"

/* NULL when @text has the format, else a static text in upstream's words ("must be no more than
 * 63 bytes"). FORMAT_NONE takes everything; FORMAT_PERCENT_OR_COUNT takes "25%". */
const char *format_problem(enum schema_format format, const char *text);

/* An RFC 1123 subdomain in front of a random suffix: may end in a dash (generateName). */
const char *format_name_prefix_problem(enum schema_format format, const char *text);

/* "1.2.3.4" or "::1"; the family (AF_INET, AF_INET6) or 0. */
int format_ip_family(const char *text);
/* "10.0.0.0/8"; the family or 0. */
int format_cidr_family(const char *text);

/* The WWW-Authenticate field of a registry (RFC 9110 section 11.6.1, and the token
 * authentication that registries use: realm, service, scope). */
#pragma once

#include <stdbool.h>

#include "base/error.h"

#define CHALLENGE_PARAM_MAX 2048

enum challenge_scheme { CHALLENGE_NONE, CHALLENGE_BASIC, CHALLENGE_BEARER };

struct challenge {
    enum challenge_scheme scheme;
    char *realm, *service, *scope, *error; /* NULL when absent */
};

/* Reads one field, which may hold several challenges: Bearer is preferred to Basic, others are
 * passed over. -EINVAL for a field that is malformed; scheme is CHALLENGE_NONE when there is no
 * challenge we can answer. */
int challenge_parse(const char *field, struct challenge *ret);
void challenge_done(struct challenge *c);

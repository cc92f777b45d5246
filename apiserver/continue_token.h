/*
 * Revisions and continue tokens as clients carry them. A token is base64url of upstream's form:
 * {"v":"meta.k8s.io/v1","rv":123,"start":"default/web\u0000"}; rv -1 reads the newest state.
 */
#pragma once

#include "base/error.h"

/* @from: the first key of the rest, below @prefix. The caller frees. */
char *continue_token_make(const char *prefix, const char *from, int64_t revision);
/* @ret_from: the caller frees. @ret_revision: 0 for the newest. 0 or -EINVAL with a text. */
int continue_token_parse(const char *token, const char *prefix, char **ret_from,
                         int64_t *ret_revision, struct error *err);

/* A resourceVersion: "" is 0. 0, or -EINVAL when it is no decimal number that fits. */
int version_parse(const char *text, int64_t *ret);

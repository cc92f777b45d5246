/*
 * The patch types of the API. Each makes a new tree and leaves its inputs alone. Limits: a JSON
 * patch has at most 10,000 operations, and depth and size of results are bounded.
 *
 * Server-side apply (application/apply-patch+yaml) is not here yet: patch_kind_parse() knows its
 * media type and patch_apply() answers -EOPNOTSUPP with a text that says so.
 */
#pragma once

#include <jansson.h>

#include "base/error.h"
#include "kube/schema.h"

enum patch_kind { PATCH_JSON, PATCH_MERGE, PATCH_STRATEGIC, PATCH_APPLY };

/* From a Content-Type (parameters ignored). -EINVAL when it is no patch type. */
int patch_kind_parse(const char *content_type, enum patch_kind *ret);
/* What to name in a 415: every accepted media type, separated by ", ". */
extern const char *const PATCH_MEDIA_TYPES;

/*
 * Applies @patch (a parsed document) to @doc.
 * Returns 0 and *ret (new reference), or
 *   -EINVAL      the patch is malformed (answer 400),
 *   -ENOENT      a JSON patch path is not there, or its test failed (answer 422),
 *   -EFBIG       the result or the work would exceed a limit (answer 413),
 *   -EOPNOTSUPP  server-side apply.
 */
int patch_apply(enum patch_kind kind, const struct schema_resource *res, const json_t *doc,
                const json_t *patch, json_t **ret, struct error *err);

/* RFC 6902. */
int patch_json(const json_t *doc, const json_t *patch, json_t **ret, struct error *err);
/* RFC 7386. */
int patch_merge(const json_t *doc, const json_t *patch, json_t **ret, struct error *err);
/* Strategic merge against @type. */
int patch_strategic(const struct schema *type, const json_t *doc, const json_t *patch, json_t **ret,
                    struct error *err);

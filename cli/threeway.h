/*
 * The patch of `apply`: from what was applied last to what is to be applied now, as a strategic
 * merge patch for the live object. Fields that others have set stay; fields that we set before
 * and no longer name are removed.
 */
#pragma once

#include "base/json.h"
#include "kube/schema.h"

/* New reference. @last may be NULL (nothing is removed then). */
json_t *threeway_patch(const struct schema *type, const json_t *last, const json_t *wanted);

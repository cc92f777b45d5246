/* The pure part of the endpoints controller: from a service and its pods to slices. */
#pragma once

#include "controllers/objects.h"

/* An array of {endpoints, ports}, at least one. New reference. */
json_t *endpoints_wanted_slices(const struct service *s, const struct pod *const *pods, size_t n);
/* The same as subsets of an Endpoints object. New reference. */
json_t *endpoints_wanted_subsets(const json_t *slices);

/* Asking a daemon of this node what it knows: its HTTP address on loopback. */
#pragma once

#include "base/error.h"
#include "base/json.h"

/* GET http://@address/@path, where coracle-@daemon listens; *ret is what it answers, a new
 * reference. -ENOENT and -EINVAL with its own words for 404 and 400; -EIO when it is not the one
 * that was meant; -errno when nobody answers. */
int local_get(const char *daemon, const char *address, const char *path, json_t **ret,
              struct error *err);

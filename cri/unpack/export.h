/*
 * Writing an archive of images as a stream: a tar of small texts, of the store's blobs, and of
 * layers that are rebuilt from their recipes.
 */
#pragma once

#include "base/json.h"

#define EXPORT_LIST_MAX (64U << 20)

/* Reads the list of what the archive is to hold, from the start of the file @fd; an array of
 *
 *   {"name": "index.json", "text": "…"}
 *   {"name": "blobs/sha256/<hex>", "blob": "<hex>"}                    a file of blobs/sha256
 *   {"name": …, "layer": 12, "size": 10240, "digest": "sha256:<hex>"}  layers/12, rebuilt
 *
 * NULL with @err. */
json_t *export_list_read(int fd, struct error *err);
/* Writes it to @out; the current directory is the store's. 0 or -errno; -EBADMSG: a blob or a
 * rebuilt layer does not have its digest (the archive is of no use then). */
int export_write(const json_t *list, int out, struct error *err);

/* Importing an image archive that arrives in pieces. */
#pragma once

#include "cri/image/ingest.h"

struct import;

struct import_ops {
    /* The archive's reader caught up after import_write() said that it had not. NULL with
     * import_file(). */
    void (*writable)(void *arg);
    /* The end: @images (borrowed, @count of them) or @err. The import is gone after this. Comes
     * from the loop, never from inside the calls below. */
    void (*done)(struct image *const *images, size_t count, const struct error *err, void *arg);
};

/* Begins; @name as in coracle.images.v1.ImportRequest. NULL with @err. */
struct import *import_start(struct ingest_table *table, const char *name,
                            const struct import_ops *ops, void *arg, struct error *err);
/* Begins to import the archive in the file @fd (borrowed), from its start; no bytes are to be
 * added. */
struct import *import_file(struct ingest_table *table, int fd, const struct import_ops *ops,
                           void *arg, struct error *err);
/* Adds bytes; false when the reader lags behind: nothing more should be added until writable(). */
bool import_write(struct import *import, const void *data, size_t len);
/* The archive is complete. */
void import_end(struct import *import);
/* Stops without calling back. NULL is harmless. Returns NULL. */
struct import *import_cancel(struct import *import);

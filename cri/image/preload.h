/*
 * The directory of archives (<root>/var/lib/coracle/images.d): what is in it is loaded when the
 * daemon starts and when it changes, for nodes that reach no registry, and pinned for as long as
 * its file is there. An archive is read again when it has changed, and at the start when an image
 * of it is gone.
 */
#pragma once

#include "cri/image/ingest.h"

struct preload;

/* Makes the directory when it is missing. Nothing happens before preload_start(). Never NULL. */
struct preload *preload_new(struct ingest_table *table, const char *dir);
/* Begins to look, and to follow changes. Failures are logged, a line each, and concern one file
 * only; it is tried again when it changes and at the next start. */
void preload_start(struct preload *p);
struct preload *preload_free(struct preload *p); /* ends what runs; returns NULL */

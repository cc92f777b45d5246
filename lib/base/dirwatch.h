/*
 * Watching a directory, by inotify, that may not be there yet: until it is, the deepest of its
 * parents that is there is watched instead.
 */
#pragma once

#include "base/error.h"
#include "base/loop.h"

struct dirwatch;

/* Calls @changed on the loop when entries of @dir were written, renamed or removed, when it appears
 * and when it goes; once for changes that follow one another closely. What is there already is not
 * told; that a parent was renamed is not seen. NULL with @err when inotify is exhausted. */
struct dirwatch *dirwatch_new(struct loop *loop, const char *dir, void (*changed)(void *arg),
                              void *arg, struct error *err);
struct dirwatch *dirwatch_free(struct dirwatch *w); /* NULL is harmless; returns NULL */

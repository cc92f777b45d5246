/*
 * What the daemon must know again after it was killed, one JSON file each on tmpfs, replaced
 * atomically and never synced:
 *
 *   <sandboxes_dir>/<id>/sandbox.json
 *   <sandboxes_dir>/<id>/containers/<container id>.json
 */
#pragma once

#include "cri/container.h"

int sandbox_save(const struct sandbox *sandbox, struct error *err);
int container_save(const struct container *container, struct error *err);
void container_forget(const struct container *container);

/* Reads a record and makes the object, not yet in any map. NULL with @err for a record that is
 * damaged. */
struct sandbox *sandbox_load(struct runtime *rt, const char *id, struct error *err);
struct container *container_load(struct sandbox *sandbox, const char *id, struct error *err);

/*
 * User namespaces of pods (NamespaceOption.userns_options, Kubernetes' hostUsers: false): what a
 * request may ask for, and whether this host can.
 *
 * A pod with one has every namespace owned by it. Its user 0 is an ordinary, unprivileged user of
 * the host; files of images and of volumes that say so keep their owners by id-mapped mounts.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "net/cri.pb-c.h"

/* Ids below are the host's own users', and a pod gets at least as many. */
#define USERNS_HOST_MIN   65536
#define USERNS_LENGTH_MIN 65536

struct userns_map {
    uint32_t host, length; /* ids 0 … length - 1 inside are host … outside */
};
struct userns {
    bool own; /* else the host's */
    struct userns_map uids, gids;
};

/* What @options (NULL: nothing said, the host's) ask for. -EINVAL: a mode other than POD and NODE,
 * or mappings that are not one contiguous range from 0 within the bounds; the field, below @field,
 * is named. */
int userns_parse(const Runtime__V1__UserNamespace *options, const char *field, struct userns *ret,
                 struct error *err);
bool userns_equal(const struct userns *a, const struct userns *b);
/* A mount's mappings must be those of its pod. Without any *ret is false. -EINVAL. */
int userns_check_mount(const Runtime__V1__Mount *m, const struct userns *pod, const char *field,
                       bool *ret, struct error *err);
/* The id outside of one that is inside; an id that has none is root's. */
uint32_t userns_outside(const struct userns_map *map, uint32_t id);
/* The id inside of one that is outside. */
int64_t userns_inside(const struct userns_map *map, int64_t id);

struct runtime;
/* Finds out whether user namespaces, and id-mapped mounts of layers where the images are, work
 * here: sets @rt->userns_problem if they do not. Start-up waits for it (rt->adopting). */
void userns_probe(struct runtime *rt);

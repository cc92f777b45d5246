/*
 * What a request is about, read from its path: the URL space of the Kubernetes API.
 *
 *   /api/v1/…            core group
 *   /apis/GROUP/VERSION/…
 *   …/RESOURCE[/NAME[/SUBRESOURCE]]
 *   …/namespaces/NAMESPACE/RESOURCE[/NAME[/SUBRESOURCE]]
 *   …/watch/…            the old form of a watch
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"

enum verb {
    VERB_NONE,
    VERB_GET,
    VERB_LIST,
    VERB_WATCH,
    VERB_CREATE,
    VERB_UPDATE,
    VERB_PATCH,
    VERB_DELETE,
    VERB_DELETE_COLLECTION,
};
/* "get", "list", … as upstream names them; "" for VERB_NONE. */
const char *verb_name(enum verb verb);

/* Longest path segment that is taken: a group (253) or a name (253). */
#define REQUEST_SEGMENT_MAX 256

struct request_info {
    bool is_resource; /* else nothing below is set */
    char *group;      /* "" for the core group; owned, like all strings here */
    char *version;
    char *namespace_; /* "" when none; for the resource "namespaces" itself its name */
    char *resource;
    char *name;        /* "" for a collection */
    char *subresource; /* "" when none */
    char *rest;        /* what follows the subresource, without the slash; "" when nothing */
    bool watch;        /* the old watch form */
};
#define REQUEST_INFO_INIT    \
    {                        \
        .is_resource = false \
    }
#define _cleanup_request_info_ _cleanup_(request_info_done)

/* Reads @path (still percent-encoded). A path that is no resource's is no error: is_resource stays
 * false. -EINVAL for broken escapes and segments that are too long or hold a slash. */
int request_info_parse(struct request_info *info, const char *path, struct error *err);
void request_info_done(struct request_info *info);

/* The verb of @method on @info; @watch: the query asks for a watch. VERB_NONE: not allowed there.
 */
enum verb request_verb(const struct request_info *info, const char *method, bool watch);

/*
 * Recording Events (core/v1) as upstream's recorders do: the same reason and message on the same
 * object within ten minutes raises `count` of the event that is there; a burst is cut
 * by a token bucket per object (25, one more every 5 minutes).
 */
#pragma once

#include "kube/client.h"

struct event_recorder;

/* @component and @host become source.component and source.host. @client may be NULL: events are
 * only logged. */
struct event_recorder *event_recorder_new(struct kube_client *client, const char *component,
                                          const char *host);
struct event_recorder *event_recorder_free(struct event_recorder *r);

/* All that was recorded has been written or given up. */
bool event_recorder_is_idle(const struct event_recorder *r);

struct event_object {
    const char *api_version, *kind, *ns, *name, *uid; /* ns NULL for cluster-scoped (→ default) */
    const char *resource_version;                     /* may be NULL */
    const char *field_path;                           /* "spec.containers{web}", may be NULL */
};

/* @type is "Normal" or "Warning". Fire and forget: a failed write is logged, retried three times,
 * then dropped. */
void event_record(struct event_recorder *r, const struct event_object *about, const char *type,
                  const char *reason, const char *fmt, ...) _printf_(5, 6);

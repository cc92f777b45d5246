/*
 * nodes/NAME/proxy and pods/NAME/proxy: any request, passed on to a kubelet or to a port of a pod,
 * with its method, query, headers and body; the answer is streamed back. What would tell the other
 * side who asks (Authorization, impersonation, cookies) is not passed on.
 *
 * NAME may be [SCHEME:]NAME[:PORT] as upstream has it. A node's port can only be its kubelet's,
 * where this server shows its own certificate and verifies the kubelet's as for logs. A pod is
 * asked over http at its first port, unless it is said otherwise; https is not verified, as
 * upstream.
 */
#pragma once

#include "apiserver/server.h"

/* Whether the request is one of these. */
bool proxy_serves(const struct request_info *info);
/* Takes the request over; its body has been read. */
void verb_proxy(struct request *r);

/* ---- parts, for tests ---- */
struct proxy_target {
    char *scheme, *name, *port; /* scheme and port "" when not given */
};
/* -EINVAL for what is no [SCHEME:]NAME[:PORT]. */
int proxy_target_parse(const char *text, struct proxy_target *ret);
void proxy_target_done(struct proxy_target *t);
/* What follows "…/proxy" in the path as it was sent; NULL when that is not there. Borrowed. */
const char *proxy_rest(const char *path, bool namespaced);
/* "scheme://host:port" of a node's kubelet or of a pod. The caller frees. NULL with a new Status.
 */
char *proxy_base(const json_t *object, const struct proxy_target *t, bool node,
                 json_t **ret_status);

/* The request of an httpGet action, for probes and for lifecycle hooks. */
#pragma once

#include "kubelet/pod/spec.h"
#include "net/http_client.h"

struct http_get {
    char *url;
    struct http_headers headers;
    struct tls_client_config tls;
    bool secure; /* https: its certificate is not verified */
};

/* @pod_ip is the host when the action names none; @agent is the User-Agent when the action's
 * headers name none. -EINVAL: no such port, malformed headers. */
int http_get_init(struct http_get *g, const struct http_get_action *a,
                  const struct container_spec *c, const char *pod_ip, const char *agent,
                  struct error *err);
void http_get_done(struct http_get *g); /* harmless on a zeroed one */
/* A request that borrows from @g. */
struct http_request http_get_request(struct http_get *g, uint64_t timeout_ms);
/* Goes where @location leads, when that is the same host; false, and nothing changed, when it is
 * another one or malformed. */
bool http_get_redirect(struct http_get *g, const char *location);

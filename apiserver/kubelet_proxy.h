/*
 * What goes on to the kubelet of a pod's node: log, exec, attach, portforward. A log is streamed
 * through; the others are upgraded connections, over SPDY/3.1 to the kubelet in any case: a client
 * that speaks it too is spliced byte by byte once the kubelet has agreed, a WebSocket client is
 * relayed (net/remote.h), so that it works with kubelets of every version.
 */
#pragma once

#include "apiserver/server.h"

/* How the server presents itself to kubelets. Paths are borrowed; NULL when not given. */
struct kubelet_access {
    const char *client_cert, *client_key;
    const char *ca; /* NULL: the kubelet's certificate is not verified, as upstream does */
    struct http_client *http;
    struct list tunnels; /* upgraded connections under way */
};
/* Closes the tunnels. */
void kubelet_access_done(struct kubelet_access *access);

bool kubelet_proxy_serves(const char *subresource);
/* What the request is to be authorised as. An upgrade runs a command or opens connections: it is a
 * create, also where WebSocket's handshake makes it a GET. VERB_NONE: no such request. */
enum verb kubelet_proxy_verb(const char *subresource, enum verb verb);
/* Takes the request over. */
void kubelet_proxy_start(struct request *r);

/* How to speak to a kubelet: as this server, to one that is verified. Borrows from @access. */
struct tls_client_config kubelet_tls(const struct kubelet_access *access);
/* Where the kubelet of a Node is; the address is borrowed, NULL when it has none. */
const char *kubelet_address(const json_t *node);
int64_t kubelet_port(const json_t *node);

/* ---- parts, for tests ---- */

/* The URL of @subresource at the kubelet of @node for @pod, with the options of @query translated.
 * The caller frees. NULL with a new Status when something is missing or wrong. */
char *kubelet_url(const json_t *node, const json_t *pod, const char *subresource,
                  const struct http_query *query, json_t **ret_status);

/*
 * What goes on to the kubelet of a pod's node: log, exec, attach, portforward. A log is streamed
 * through; the others are upgraded connections (SPDY/3.1), spliced byte by byte once the kubelet
 * has agreed. WebSocket upgrades are refused, upon which clients fall back to SPDY.
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
/* Takes the request over. */
void kubelet_proxy_start(struct request *r);

/* ---- parts, for tests ---- */

/* The URL of @subresource at the kubelet of @node for @pod, with the options of @query translated.
 * The caller frees. NULL with a new Status when something is missing or wrong. */
char *kubelet_url(const json_t *node, const json_t *pod, const char *subresource,
                  const struct http_query *query, json_t **ret_status);

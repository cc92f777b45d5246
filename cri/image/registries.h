/*
 * registries.yaml: where images are really pulled from. The format is k3s':
 *
 *   mirrors:
 *     docker.io:                            # "*" is for every registry without an entry
 *       endpoint: ["https://mirror.example:5000"]
 *       rewrite: {"^library/(.*)": "hub/$1"}  # POSIX extended regular expressions, no \1, short
 *   configs:
 *     "mirror.example:5000":
 *       auth: {username: u, password: p}    # or auth, identity_token
 *       tls: {ca_file: /path, cert_file: /path, key_file: /path, insecure_skip_verify: false}
 *
 * Endpoints are tried in order, the registry itself last. Credentials of the file go to their own
 * host only, and those of a request to the image's registry only, never to a mirror.
 */
#pragma once

#include "cri/image/registry.h"

#define REGISTRIES_BYTES_MAX (1U << 20)
#define ENDPOINTS_MAX        16

struct registries;

/* Reads the file; one that is not there gives an empty configuration. NULL with @err naming file,
 * line or field. */
struct registries *registries_load(const char *path, struct error *err);
struct registries *registries_parse(const char *text, size_t len, struct error *err);
struct registries *registries_free(struct registries *r); /* returns NULL */
DEFINE_CLEANUP(struct registries *, registries_free);

/* Where to ask for @repository of the registry @host: an array of at most ENDPOINTS_MAX, the first
 * to try first, for the caller to free with registry_endpoints_free(). @auth are the request's
 * credentials; strings of it and of @r are borrowed. */
struct registry_endpoint *registries_endpoints(const struct registries *r, const char *host,
                                               const char *repository,
                                               const struct registry_auth *auth,
                                               const struct option_list *insecure,
                                               size_t *ret_count);
struct registry_endpoint *registry_endpoints_free(struct registry_endpoint *list, size_t count);

/* What the server says of itself: /version, health, discovery and OpenAPI. */
#pragma once

#include "apiserver/server.h"

struct documents;
struct documents *documents_new(void);
struct documents *documents_free(struct documents *d); /* returns NULL */

/* Answers a path that anybody may ask for (/version, /healthz, /livez, /readyz); false when @r is
 * for something else. Takes the request over when true. */
bool documents_serve_public(struct request *r, const char *path);
/* The same for discovery and OpenAPI. */
bool documents_serve(struct request *r, const char *path);

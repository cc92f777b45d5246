/*
 * OpenAPI documents generated from the schema: v2 as JSON and as the protobuf form that kubectl
 * asks for, v3 as an index and one document per group version.
 */
#pragma once

#include <jansson.h>

#include "base/strbuf.h"
#include "kube/schema.h"

/* What clients accept, and what the answer is called: the "@" is no media type to Go's parser, so
 * servers answer with a dot in its place. */
#define OPENAPI_V2_PROTO              "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
#define OPENAPI_V2_PROTO_CONTENT_TYPE "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"

/* swagger 2.0. New reference. Costs milliseconds: callers keep the encoded bytes. */
json_t *openapi_v2(const struct schema_registry *reg);
/* The same document as openapi.v2.Document in protobuf, appended to @out. 0, or -EINVAL when the
 * document holds something the message cannot express. */
int openapi_v2_proto(const json_t *document, struct strbuf *out);

/* The index at /openapi/v3: {"paths": {"api/v1": {"serverRelativeURL": …}}}. New reference. */
json_t *openapi_v3_index(const struct schema_registry *reg);
/* The document of a path of the index ("api/v1", "apis/apps/v1"); NULL when there is none. */
json_t *openapi_v3(const struct schema_registry *reg, const char *path);

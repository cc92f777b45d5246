/*
 * Content negotiation. The server speaks JSON; Accept chooses the shape: the object, a Table, or
 * metadata only. Bodies may also be YAML, or the protobuf that
 * typed Go clients send; CBOR is refused with 415.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"

enum shape { SHAPE_OBJECT, SHAPE_TABLE, SHAPE_METADATA };

struct negotiated {
    enum shape shape;
    const char *version; /* "v1" or "v1beta1" of the Table or PartialObjectMetadata; static */
    bool pretty;
};

/* Reads an Accept header (NULL: anything). The first clause that can be served wins, by order, as
 * clients write them in order of preference; when none can, plain JSON is what they get. */
struct negotiated negotiate_accept(const char *accept);

/* What the aggregated discovery asks for: "v2", "v2beta1", or NULL for the plain form. */
const char *negotiate_discovery(const char *accept);
/* Whether Accept prefers @media_type (without parameters) over JSON. */
bool negotiate_wants(const char *accept, const char *media_type);

enum body_kind { BODY_JSON, BODY_YAML, BODY_PROTOBUF, BODY_UNSUPPORTED };
/* What to name in a 415. */
#define BODY_MEDIA_TYPES "application/json, application/yaml, application/vnd.kubernetes.protobuf"
/* The form of a body by its Content-Type (NULL or "": JSON). */
enum body_kind negotiate_body(const char *content_type);

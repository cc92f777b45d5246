/*
 * Protocol buffers as JSON and back, driven by protobuf-c's descriptors. Field names are those of
 * the .proto file, enums their names, 64-bit numbers are JSON numbers, bytes are base64, maps are
 * objects; fields with their default value are left out, but for enums.
 */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "base/json.h"

/* New reference, an object. */
json_t *pbjson_from_message(const ProtobufCMessage *message);
/* A message of @type for protobuf_c_message_free_unpacked(message, NULL). Unknown fields, wrong
 * types and numbers out of range are refused: NULL, and @err names the field. */
ProtobufCMessage *pbjson_to_message(const ProtobufCMessageDescriptor *type, const json_t *j,
                                    struct error *err);
/* A deep copy, to be freed in the same way. Aborts on exhaustion; @message came from a peer whose
 * message size is bounded. */
ProtobufCMessage *pbjson_copy(const ProtobufCMessage *message);

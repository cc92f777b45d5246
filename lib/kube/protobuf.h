/*
 * Objects in application/vnd.kubernetes.protobuf, as typed Go clients send them since Kubernetes
 * 1.31: decoded into the JSON tree that the same object would be. Only requests: answers are JSON,
 * which those clients take.
 *
 * The wire form is "k8s\0" and a runtime.Unknown (apiVersion and kind, the object's bytes) around
 * messages whose field numbers are in protobuf.numbers. A field that is not listed there is
 * refused, never dropped.
 */
#pragma once

#include <stdbool.h>

#include <jansson.h>

#include "base/error.h"
#include "kube/schema.h"

#define PROTOBUF_MEDIA_TYPE "application/vnd.kubernetes.protobuf"

/* Whether @data starts like such an object. */
bool protobuf_is(const void *data, size_t len);

/* Decodes an object of the kind it says it has, which must be of @api_version's and @kind's schema
 * in @reg. Zero values that Go clients write for fields that are not set are left out. 0 and *ret
 * (new reference, with apiVersion and kind), or -EINVAL: malformed, an unknown kind, or an unknown
 * field. Depth and size are bounded by the input's. */
int protobuf_decode(const struct schema_registry *reg, const void *data, size_t len, json_t **ret,
                    struct error *err);

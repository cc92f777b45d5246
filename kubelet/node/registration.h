/*
 * What a new Node is registered with beside what the kubelet finds out: --node-labels and
 * --register-with-taints. A Node that is there already keeps what it has.
 */
#pragma once

#include "base/json.h"

/* "key=value,…" as an object of strings, which the caller owns. -EINVAL names the label: no key or
 * no label's syntax, or one of kubernetes.io that a kubelet may not set on its own Node
 * (NodeRestriction). */
int registration_labels(const char *text, json_t **ret, struct error *err);
/* "key=value:Effect,…" (the value may be left out, with its "=") as an array of core/v1 Taints.
 * -EINVAL names the taint: no such effect, no label's syntax, or there twice. */
int registration_taints(const char *text, json_t **ret, struct error *err);

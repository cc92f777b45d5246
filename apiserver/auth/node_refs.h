/* What a pod refers to by name in its namespace, packed: "sNAME\0cNAME\0…", a letter for the kind.
 */
#pragma once

#include <jansson.h>

#include "base/strbuf.h"

enum ref_kind { REF_SECRET = 's', REF_CONFIG_MAP = 'c', REF_CLAIM = 'p', REF_ACCOUNT = 'a' };

/* Appends. A mirror of a static pod refers to nothing. */
void node_refs_of_pod(const json_t *pod, struct strbuf *out);
/* Appends the Secrets that a PersistentVolume refers to, as "NAMESPACE/NAME\0…"; @ns is the claim's
 * namespace, for those that name none. */
void node_secrets_of_volume(const json_t *volume, const char *ns, struct strbuf *out);
bool node_refs_have(const char *refs, size_t len, enum ref_kind kind, const char *name);

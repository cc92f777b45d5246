/* Bootstrap tokens as kubeadm has them: "ID.SECRET", kept as Secrets bootstrap-token-ID of
 * kube-system. */
#pragma once

#include <stdbool.h>

#define TOKEN_ID_LEN     6
#define TOKEN_SECRET_LEN 16
#define TOKEN_LEN        (TOKEN_ID_LEN + 1 + TOKEN_SECRET_LEN)
#define TOKEN_NS         "kube-system"
#define TOKEN_TYPE       "bootstrap.kubernetes.io/token"
/* The group of nodes that join with a token; kubeadm's roles are bound to it. */
#define TOKEN_GROUP "system:bootstrappers:kubeadm:default-node-token"

/* "abcdef.0123456789abcdef" */
bool token_is(const char *text);
bool token_id_is(const char *text);
/* A new random one. */
void token_new(char out[TOKEN_LEN + 1]);

/*
 * Detached signatures of the cluster-info ConfigMap (RFC 7515, appendix F): "HEADER..SIGNATURE",
 * HS256 with a bootstrap token's secret as the key and its ID as "kid", as kubeadm checks
 * them.
 */
#pragma once

#include <stddef.h>

#include "base/error.h"

/* The caller frees. */
char *jws_sign(const char *token_id, const char *token_secret, const char *payload, size_t len);

/* Whether @jws is a signature of @payload by that token: HS256, its ID as "kid", nothing between
 * the dots. 0, or -EINVAL with what is wrong: no such signature, another algorithm, another key, or
 * a MAC that does not match (-EKEYREJECTED: the token's secret or the payload is not the signer's).
 */
int jws_verify(const char *jws, const char *token_id, const char *token_secret, const char *payload,
               size_t len, struct error *err);

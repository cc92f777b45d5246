/*
 * Detached signatures of the cluster-info ConfigMap (RFC 7515, appendix F): "HEADER..SIGNATURE",
 * HS256 with a bootstrap token's secret as the key and its ID as "kid", as kubeadm checks
 * them.
 */
#pragma once

#include <stddef.h>

/* The caller frees. */
char *jws_sign(const char *token_id, const char *token_secret, const char *payload, size_t len);

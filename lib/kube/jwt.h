/*
 * JSON Web Tokens (RFC 7519) in the compact form of RFC 7515, signed with RS256, ES256, ES384 or
 * ES512 (RFC 7518): what ServiceAccount tokens are. Keys go by the identifier upstream gives them:
 * the SHA-256 of the public key's DER form, in base64url.
 */
#pragma once

#include <jansson.h>
#include <openssl/evp.h>

#include "base/error.h"

#define JWT_MAX        16384 /* longest token that is looked at */
#define JWT_KEY_ID_LEN 43
#define JWT_KEYS_MAX   64

struct jwt_key {
    EVP_PKEY *key; /* its private half is needed for signing only */
    const char *algorithm;
    char id[JWT_KEY_ID_LEN + 1];
};

/* Takes @key, also on failure. -EINVAL: neither RSA of at least 2048 bits nor on a NIST curve. */
int jwt_key_init(struct jwt_key *ret, EVP_PKEY *key, struct error *err);
void jwt_key_done(struct jwt_key *key); /* harmless on a zeroed one */

/* The token for @claims; the caller frees. NULL with @err when the key has no private half. */
char *jwt_sign(const struct jwt_key *key, const json_t *claims, struct error *err);

/* What a token says, nothing verified: to see whose it is. New reference; NULL with @err when it is
 * no token at all. */
json_t *jwt_claims(const char *token, struct error *err);

/* Whether one of @keys has signed it: the one that its "kid" names, any when it names none. Times
 * and audiences are the caller's to check. 0, -EACCES, or -EINVAL when it is malformed (a "crit"
 * header counts as such: it asks for what is not understood). */
int jwt_verify(const char *token, const struct jwt_key *keys, size_t n, struct error *err);

/* The public key as a member of a JSON Web Key Set (RFC 7517). New reference. */
json_t *jwt_key_jwk(const struct jwt_key *key);

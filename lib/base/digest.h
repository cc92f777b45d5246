/* Digests and random bytes, through OpenSSL. */
#pragma once

#include "base/error.h"

#define SHA256_HEX_LEN 64

struct digest; /* a running SHA-256 */
struct digest *digest_new(void);
void digest_add(struct digest *d, const void *data, size_t len);
/* Ends the digest: 64 hexadecimal digits and a NUL. */
void digest_hex(struct digest *d, char out[SHA256_HEX_LEN + 1]);
struct digest *digest_free(struct digest *d); /* returns NULL */
DEFINE_CLEANUP(struct digest *, digest_free);

void sha256_hex(const void *data, size_t len, char out[SHA256_HEX_LEN + 1]);

/* @len random bytes; aborts when the system has none. */
void random_bytes(void *out, size_t len);
/* @len random lower-case hexadecimal digits and a NUL (@out holds len + 1). */
void random_hex(char *out, size_t len);
/* A random UUID (RFC 9562 version 4), 36 characters and a NUL. */
void random_uuid(char out[37]);

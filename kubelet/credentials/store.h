/*
 * Where a certificate of the kubelet's lies: with its key in <dir>/<prefix>-<time>.pem, which the
 * link <dir>/<prefix>-current.pem leads to (upstream's names); and, while a certificate is asked
 * for, the key for it in <dir>/<prefix>.key.tmp, so that a kubelet that is started again goes on
 * with the same request. Every change is atomic and on disk before it is reported.
 */
#pragma once

#include <openssl/evp.h>

#include "base/error.h"
#include "base/strbuf.h"

struct cert_store {
    const char *dir, *prefix; /* the caller's, for as long */
};

/* "<dir>/<prefix>-current.pem". The caller frees. */
char *cert_store_path(const struct cert_store *s);
/* Appends the certificate and its key. -ENOENT, -ESTALE (no longer valid), -EINVAL (not a
 * certificate with its key). */
int cert_store_read(const struct cert_store *s, struct strbuf *pem, struct error *err);
/* The certificate and key that are current from now on; those of before are removed. Makes the
 * directory. */
int cert_store_write(const struct cert_store *s, const char *pem, struct error *err);
/* When the current certificate was put there, in seconds since the epoch; 0: there is none. */
int64_t cert_store_written_at(const struct cert_store *s);

/* The key that a certificate is asked for with: the one that is there, else a new one. One that
 * cannot be read as a key is replaced. The caller frees *ret. */
int cert_store_key(const struct cert_store *s, EVP_PKEY **ret, struct error *err);
/* Nothing is asked for with it any more. */
void cert_store_forget_key(const struct cert_store *s);
/* As before, where it is the key of the certificate @pem: nobody was left to forget it. */
void cert_store_forget_key_of(const struct cert_store *s, const char *pem);

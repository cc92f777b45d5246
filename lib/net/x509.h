/*
 * Keys and certificates: EC P-256 keys, a CA, certificates issued by it, PEM files with the right
 * modes. Serial numbers are random; validity starts five minutes in the past (clocks differ).
 */
#pragma once

#include <stdbool.h>

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "base/error.h"
#include "base/strbuf.h"

/* A certificate with its key. */
struct x509_pair {
    X509 *cert;
    EVP_PKEY *key;
};
void x509_pair_done(struct x509_pair *p); /* harmless on a zeroed pair */
#define _cleanup_x509_pair_ _cleanup_(x509_pair_done)

enum x509_usage {
    X509_SERVER = 1,
    X509_CLIENT = 2,
};
struct x509_request {
    const char *common_name;
    const char *const *organizations; /* NULL-terminated, may be NULL */
    const char *const *dns_names;     /* NULL-terminated, may be NULL; "*.example" allowed */
    const char *const *ip_addresses;  /* NULL-terminated, may be NULL; IPv4 or IPv6 text */
    unsigned usage;                   /* enum x509_usage, ored */
    int days;                         /* validity from now */
};

/* A new P-256 key. Aborts when the system has no randomness. */
EVP_PKEY *x509_key_new(void);

/* A self-signed CA (basicConstraints critical CA:TRUE, keyCertSign and cRLSign). */
int x509_ca_new(const char *common_name, int days, struct x509_pair *ret, struct error *err);
/* A certificate for @request signed by @ca, with a new key. Never outlives the CA.
 * -EINVAL names the bad part of the request. */
int x509_issue(const struct x509_pair *ca, const struct x509_request *request,
               struct x509_pair *ret, struct error *err);
/* A self-signed certificate that is no CA (a kubelet's serving certificate without one). */
int x509_self_signed(const struct x509_request *request, struct x509_pair *ret, struct error *err);

/* ---- PEM ---- */
void x509_cert_pem(const X509 *cert, struct strbuf *out);   /* appends */
void x509_key_pem(const EVP_PKEY *key, struct strbuf *out); /* appends; PKCS #8, not encrypted */
/* The first certificate or key in the text. -EINVAL. */
int x509_cert_parse(const char *pem, size_t len, X509 **ret, struct error *err);
int x509_key_parse(const char *pem, size_t len, EVP_PKEY **ret, struct error *err);
/* Whether @key is the certificate's. */
bool x509_fits(const X509 *cert, const EVP_PKEY *key);
/* Reads both files and checks that they belong together. -ENOENT, -EINVAL, … */
int x509_pair_read(const char *cert_file, const char *key_file, struct x509_pair *ret,
                   struct error *err);
/* Writes both atomically and durably, the key (mode 0600) before the certificate (0644); makes the
 * directories (0755). */
int x509_pair_write(const struct x509_pair *p, const char *cert_file, const char *key_file,
                    struct error *err);
/* An existing P-256 (or RSA) key file, or a new one written there with mode 0600: for keys that
 * sign tokens. */
int x509_key_ensure(const char *key_file, EVP_PKEY **ret, struct error *err);
/* The private key of a file. -ENOENT, -EINVAL, … */
int x509_key_read(const char *key_file, EVP_PKEY **ret, struct error *err);
/* Writes the public half (SubjectPublicKeyInfo), mode 0644, atomic and durable. */
int x509_public_key_write(const EVP_PKEY *key, const char *file, struct error *err);
/* Every key of a file, which may hold public keys, private keys and certificates, one after the
 * other; at most @max. Returns the count (at least 1), the keys being the caller's, or -ENOENT,
 * -EINVAL, -E2BIG … */
int x509_keys_read(const char *file, EVP_PKEY **ret, size_t max, struct error *err);

/* ---- looking at certificates ---- */

/* Seconds since the epoch from which on it is valid, and at which it stops being so. */
int64_t x509_begins(const X509 *cert);
int64_t x509_expires(const X509 *cert);
/* The file's first certificate. 0 or -errno. */
int x509_file_expires(const char *cert_file, int64_t *ret, struct error *err);
/* The subject's CN, NULL when it has none or it is not plain text. The caller frees. */
char *x509_common_name(const X509 *cert);
/* The subject's O values in order. Returns the count and a NULL-terminated array that
 * x509_names_free() frees. At most 64. */
size_t x509_organizations(const X509 *cert, char ***ret);
char **x509_names_free(char **names); /* returns NULL */
/* "sha256:<64 hex digits>" of the DER-encoded public key, as kubeadm's
 * --discovery-token-ca-cert-hash.
 * @out holds X509_PIN_MAX bytes. */
#define X509_PIN_MAX 72
void x509_pin(const X509 *cert, char out[X509_PIN_MAX]);

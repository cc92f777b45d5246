/*
 * Certificate signing requests (PKCS #10, RFC 2986): what one asks for, and the certificate that a
 * CA makes of it.
 */
#pragma once

#include "net/x509.h"

/* Longest PEM text that is looked at. */
#define X509_CSR_MAX (64 * 1024)
/* Names of one kind in a request. */
#define X509_CSR_NAMES_MAX 256

struct x509_csr {
    X509_REQ *request;
    char *common_name; /* NULL when there is none; owned, like all here */
    /* NULL-terminated, never NULL. Addresses are text. */
    char **organizations, **dns_names, **ip_addresses, **emails, **uris;
};
void x509_csr_done(struct x509_csr *csr); /* harmless on a zeroed one */
#define _cleanup_x509_csr_ _cleanup_(x509_csr_done)

/* Reads PEM text that holds one request. -EINVAL says what is wrong: no request, a signature that
 * is not by the key in it, names that are no text. */
int x509_csr_parse(const char *pem, size_t len, struct x509_csr *ret, struct error *err);

/* Appends a request (PEM) for the names of @request, signed by @key. What the certificate is for,
 * and for how long, is said beside it: @request's usage and days are passed over. -EINVAL names the
 * bad part. */
int x509_csr_make(const struct x509_request *request, EVP_PKEY *key, struct strbuf *pem,
                  struct error *err);

/* What a certificate may be used for; bits for key usage and extended key usage. */
enum x509_key_use {
    X509_USE_DIGITAL_SIGNATURE = 1,
    X509_USE_KEY_ENCIPHERMENT = 2,
    X509_USE_CLIENT_AUTH = 4,
    X509_USE_SERVER_AUTH = 8,
};
/* The certificate that @csr asks for, with its subject and names, for @uses, valid from a little in
 * the past for @seconds but never longer than @ca. 0 and *ret, or -EINVAL. */
int x509_csr_sign(const struct x509_csr *csr, const struct x509_pair *ca, unsigned uses,
                  int64_t seconds, X509 **ret, struct error *err);

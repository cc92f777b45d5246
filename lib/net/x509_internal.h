/* What x509.c and x509_csr.c share: the pieces of a certificate under construction. */
#pragma once

#include <openssl/x509v3.h>

#include "net/x509.h"

/* @value is in OpenSSL's configuration syntax: for fixed texts only. */
int x509_add_extension(X509 *cert, const X509 *issuer, int nid, const char *value,
                       struct error *err);
void x509_set_serial(X509 *cert);
/* From a little in the past; never beyond @issuer's (NULL: no bound). */
void x509_set_validity(X509 *cert, const X509 *issuer, int64_t seconds);
/* What OpenSSL cached about a certificate while it was being made is stale: decodes it anew. */
int x509_reread(X509 **cert, struct error *err);
/* The UTF-8 text of an entry; NULL when it holds a NUL or cannot be converted. The caller frees. */
char *x509_entry_text(const X509_NAME_ENTRY *entry);
/* The names of @q, CN and O and alternative ones. */
int x509_add_subject(X509_NAME *subject, const struct x509_request *q, struct error *err);
/* The caller frees *ret, which may be empty. */
int x509_alternative_names(const struct x509_request *q, GENERAL_NAMES **ret, struct error *err);

/* Signing requests; see x509_csr.h. What goes into a certificate is rebuilt from what was
 * understood of the request, never copied: extensions that it asks for are looked at for names
 * only. */
#include "net/x509_csr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "net/tls.h"
#include "net/x509_internal.h"

void x509_csr_done(struct x509_csr *csr)
{
    X509_REQ_free(csr->request);
    free(csr->common_name);
    (void)x509_names_free(csr->organizations);
    (void)x509_names_free(csr->dns_names);
    (void)x509_names_free(csr->ip_addresses);
    (void)x509_names_free(csr->emails);
    (void)x509_names_free(csr->uris);
    *csr = (struct x509_csr){.request = NULL};
}

/* ---- reading ---- */

static char **list_new(void)
{
    return mem_zalloc((X509_CSR_NAMES_MAX + 1) * sizeof(char *));
}

/* Takes @text; NULL is a name that is no text. */
static int add(char **list, char *text, struct error *err)
{
    size_t n = 0;
    while (list[n])
        n++;
    if (text && n < X509_CSR_NAMES_MAX) {
        list[n] = text;
        return 0;
    }
    free(text);
    return error_set(err, -EINVAL,
                     text ? "the request has more than %d names"
                          : "the request has a name that is "
                            "not plain text (at most %d)",
                     X509_CSR_NAMES_MAX);
}

static int read_subject(struct x509_csr *csr, struct error *err)
{
    const X509_NAME *subject = X509_REQ_get_subject_name(csr->request);
    int r = 0;
    for (int i = 0; r == 0 && i < X509_NAME_entry_count(subject); i++) {
        const X509_NAME_ENTRY *entry = X509_NAME_get_entry(subject, i);
        int nid = OBJ_obj2nid(X509_NAME_ENTRY_get_object(entry));
        char *text = x509_entry_text(entry);
        if (nid == NID_organizationName) {
            r = add(csr->organizations, text, err);
        } else if (nid == NID_commonName && !csr->common_name && text) {
            csr->common_name = text;
        } else {
            free(text);
            r = error_set(err, -EINVAL,
                          nid == NID_commonName
                              ? "the request's subject has no plain, single common name"
                              : "the request's subject has parts other than CN and O");
        }
    }
    return r;
}

/* A name that is text in the certificate; NULL when it holds a NUL. */
static char *ia5_text(const ASN1_STRING *s)
{
    size_t len = (size_t)ASN1_STRING_length(s);
    const char *data = (const char *)ASN1_STRING_get0_data(s);
    return len && !memchr(data, '\0', len) ? str_ndup(data, len) : NULL;
}

static char *address_text(const ASN1_STRING *s)
{
    char text[INET6_ADDRSTRLEN];
    int len = ASN1_STRING_length(s);
    int family = len == 4 ? AF_INET : AF_INET6;
    if ((len != 4 && len != 16) || !inet_ntop(family, ASN1_STRING_get0_data(s), text, sizeof(text)))
        return NULL;
    return str_dup(text);
}

static int read_name(struct x509_csr *csr, const GENERAL_NAME *name, struct error *err)
{
    switch (name->type) {
    case GEN_DNS:
        return add(csr->dns_names, ia5_text(name->d.dNSName), err);
    case GEN_IPADD:
        return add(csr->ip_addresses, address_text(name->d.iPAddress), err);
    case GEN_EMAIL:
        return add(csr->emails, ia5_text(name->d.rfc822Name), err);
    case GEN_URI:
        return add(csr->uris, ia5_text(name->d.uniformResourceIdentifier), err);
    default:
        return error_set(err, -EINVAL,
                         "the request has an alternative name of a kind that is not supported");
    }
}

static int read_names(struct x509_csr *csr, struct error *err)
{
    STACK_OF(X509_EXTENSION) *extensions = X509_REQ_get_extensions(csr->request);
    int critical = -1;
    GENERAL_NAMES *names = X509V3_get_d2i(extensions, NID_subject_alt_name, &critical, NULL);
    int r = 0;
    if (!names && critical != -1)
        r = error_set(err, -EINVAL, "the request's alternative names are malformed");
    for (int i = 0; r == 0 && i < sk_GENERAL_NAME_num(names); i++)
        r = read_name(csr, sk_GENERAL_NAME_value(names, i), err);
    GENERAL_NAMES_free(names);
    sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
    return r;
}

/* The one PEM block, of the name that requests have. */
static X509_REQ *read_pem(const char *pem, size_t len)
{
    char *name = NULL, *header = NULL;
    unsigned char *der = NULL;
    long der_len = 0;
    X509_REQ *request = NULL;
    BIO *bio = BIO_new_mem_buf(pem, (int)len);
    if (bio && PEM_read_bio(bio, &name, &header, &der, &der_len) == 1 &&
        str_eq(name, PEM_STRING_X509_REQ)) {
        const unsigned char *at = der;
        request = d2i_X509_REQ(NULL, &at, der_len);
        if (request && at != der + der_len) {
            X509_REQ_free(request);
            request = NULL;
        }
    }
    OPENSSL_free(name);
    OPENSSL_free(header);
    OPENSSL_free(der);
    BIO_free(bio);
    return request;
}

static int check_key(const struct x509_csr *csr, struct error *err)
{
    EVP_PKEY *key = X509_REQ_get0_pubkey(csr->request);
    if (!key || X509_REQ_verify(csr->request, key) != 1)
        return error_set(err, -EINVAL, "the request is not signed by the key that is in it");
    if (EVP_PKEY_get_security_bits(key) < 80)
        return error_set(err, -EINVAL, "the request's key is too weak");
    return 0;
}

int x509_csr_parse(const char *pem, size_t len, struct x509_csr *ret, struct error *err)
{
    struct x509_csr csr = {.request = len <= X509_CSR_MAX ? read_pem(pem, len) : NULL,
                           .organizations = list_new(),
                           .dns_names = list_new(),
                           .ip_addresses = list_new(),
                           .emails = list_new(),
                           .uris = list_new()};
    int r = csr.request ? check_key(&csr, err)
                        : error_set(err, -EINVAL,
                                    "PEM block type must be CERTIFICATE REQUEST, with a valid "
                                    "request in it");
    if (r == 0)
        r = read_subject(&csr, err);
    if (r == 0)
        r = read_names(&csr, err);
    ERR_clear_error();
    if (r < 0)
        x509_csr_done(&csr);
    else
        *ret = csr;
    return r;
}

/* ---- signing ---- */

static int add_subject(X509 *cert, const struct x509_csr *csr, struct error *err)
{
    X509_NAME *subject = X509_get_subject_name(cert);
    bool ok = true;
    for (size_t i = 0; csr->organizations[i]; i++)
        ok = ok && X509_NAME_add_entry_by_NID(subject, NID_organizationName, MBSTRING_UTF8,
                                              (const unsigned char *)csr->organizations[i], -1, -1,
                                              0) == 1;
    if (csr->common_name)
        ok = ok &&
             X509_NAME_add_entry_by_NID(subject, NID_commonName, MBSTRING_UTF8,
                                        (const unsigned char *)csr->common_name, -1, -1, 0) == 1;
    return ok ? 0 : tls_error(err, -EINVAL, "certificate subject");
}

static void push_text(GENERAL_NAMES *names, int type, char *const *texts)
{
    for (size_t i = 0; texts[i]; i++) {
        GENERAL_NAME *name = GENERAL_NAME_new();
        ASN1_IA5STRING *text = ASN1_IA5STRING_new();
        if (!name || !text || ASN1_STRING_set(text, texts[i], -1) != 1)
            abort();
        GENERAL_NAME_set0_value(name, type, text);
        (void)sk_GENERAL_NAME_push(names, name);
    }
}

static int add_names(X509 *cert, const struct x509_csr *csr, struct error *err)
{
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    push_text(names, GEN_DNS, csr->dns_names);
    push_text(names, GEN_EMAIL, csr->emails);
    push_text(names, GEN_URI, csr->uris);
    for (size_t i = 0; csr->ip_addresses[i]; i++) {
        GENERAL_NAME *name = GENERAL_NAME_new();
        ASN1_OCTET_STRING *address = a2i_IPADDRESS(csr->ip_addresses[i]);
        if (!name || !address)
            abort();
        GENERAL_NAME_set0_value(name, GEN_IPADD, address);
        (void)sk_GENERAL_NAME_push(names, name);
    }
    int r = 0;
    if (sk_GENERAL_NAME_num(names) > 0 &&
        X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0, 0) != 1)
        r = tls_error(err, -EINVAL, "certificate names");
    GENERAL_NAMES_free(names);
    return r;
}

static int add_uses(X509 *cert, const X509 *issuer, unsigned uses, struct error *err)
{
    bool sign = uses & X509_USE_DIGITAL_SIGNATURE, encipher = uses & X509_USE_KEY_ENCIPHERMENT;
    bool client = uses & X509_USE_CLIENT_AUTH, server = uses & X509_USE_SERVER_AUTH;
    int r = x509_add_extension(cert, issuer, NID_basic_constraints, "critical,CA:FALSE", err);
    if (r == 0 && (sign || encipher))
        r = x509_add_extension(cert, issuer, NID_key_usage,
                               sign && encipher ? "critical,digitalSignature,keyEncipherment"
                               : sign           ? "critical,digitalSignature"
                                                : "critical,keyEncipherment",
                               err);
    if (r == 0 && (client || server))
        r = x509_add_extension(cert, issuer, NID_ext_key_usage,
                               client && server ? "serverAuth,clientAuth"
                               : client         ? "clientAuth"
                                                : "serverAuth",
                               err);
    return r;
}

int x509_csr_sign(const struct x509_csr *csr, const struct x509_pair *ca, unsigned uses,
                  int64_t seconds, X509 **ret, struct error *err)
{
    X509 *cert = X509_new();
    if (!cert)
        abort();
    (void)X509_set_version(cert, X509_VERSION_3);
    x509_set_serial(cert);
    x509_set_validity(cert, ca->cert, seconds);
    (void)X509_set_issuer_name(cert, X509_get_subject_name(ca->cert));
    int r = X509_set_pubkey(cert, X509_REQ_get0_pubkey(csr->request)) == 1
                ? add_subject(cert, csr, err)
                : tls_error(err, -EINVAL, "certificate key");
    if (r == 0)
        r = add_uses(cert, ca->cert, uses, err);
    if (r == 0)
        r = x509_add_extension(cert, ca->cert, NID_authority_key_identifier, "keyid", err);
    if (r == 0)
        r = add_names(cert, csr, err);
    if (r == 0 && X509_sign(cert, ca->key, EVP_sha256()) == 0)
        r = tls_error(err, -EINVAL, "signing the certificate");
    if (r == 0)
        r = x509_reread(&cert, err);
    if (r < 0)
        X509_free(cert);
    else
        *ret = cert;
    return r;
}

/* ---- making a request ---- */

static int add_request_names(X509_REQ *req, const struct x509_request *q, struct error *err)
{
    GENERAL_NAMES *names;
    STACK_OF(X509_EXTENSION) *list = NULL;
    int r = x509_alternative_names(q, &names, err);
    if (r < 0)
        return r;
    if (sk_GENERAL_NAME_num(names) > 0 &&
        (X509V3_add1_i2d(&list, NID_subject_alt_name, names, 0, 0) != 1 ||
         X509_REQ_add_extensions(req, list) != 1))
        r = tls_error(err, -EINVAL, "names of the request");
    sk_X509_EXTENSION_pop_free(list, X509_EXTENSION_free);
    GENERAL_NAMES_free(names);
    return r;
}

int x509_csr_make(const struct x509_request *request, EVP_PKEY *key, struct strbuf *pem,
                  struct error *err)
{
    X509_REQ *req = X509_REQ_new();
    BIO *out = BIO_new(BIO_s_mem());
    char *text = NULL;
    if (!req || !out)
        abort();
    int r = x509_add_subject(X509_REQ_get_subject_name(req), request, err);
    if (r == 0)
        r = add_request_names(req, request, err);
    if (r == 0 &&
        (X509_REQ_set_pubkey(req, key) != 1 || X509_REQ_sign(req, key, EVP_sha256()) <= 0 ||
         PEM_write_bio_X509_REQ(out, req) != 1))
        r = tls_error(err, -EINVAL, "signing the request");
    if (r == 0) {
        long len = BIO_get_mem_data(out, &text);
        strbuf_add(pem, text, (size_t)len);
    }
    BIO_free(out);
    X509_REQ_free(req);
    return r;
}

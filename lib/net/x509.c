/* Keys and certificates: see x509.h. */
#include "net/x509.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include <openssl/asn1.h>
#include <openssl/ec.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>

#include "net/tls.h"
#include "net/x509_internal.h"

#define BACKDATE_SECONDS 300
#define DAY_SECONDS      INT64_C(86400)
#define NAMES_MAX        64

void x509_pair_done(struct x509_pair *p)
{
    X509_free(p->cert);
    EVP_PKEY_free(p->key);
    *p = (struct x509_pair){.cert = NULL};
}

EVP_PKEY *x509_key_new(void)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    if (!key)
        abort();
    return key;
}

/* ---- making certificates ---- */

int x509_add_extension(X509 *cert, const X509 *issuer, int nid, const char *value,
                       struct error *err)
{
    X509V3_CTX ctx;
    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, (X509 *)(uintptr_t)issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    bool ok = e && X509_add_ext(cert, e, -1) == 1;
    X509_EXTENSION_free(e);
    return ok ? 0 : tls_error(err, -EINVAL, "certificate extension %s=%s", OBJ_nid2sn(nid), value);
}

static int add_name(X509_NAME *name, const char *field, const char *value, struct error *err)
{
    if (X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8, (const unsigned char *)value, -1, -1,
                                   0) != 1)
        return tls_error(err, -EINVAL, "certificate subject %s=%s", field, value);
    return 0;
}

/* Names go in through the typed interface: the configuration syntax would let a comma in. */
int x509_alternative_names(const struct x509_request *q, GENERAL_NAMES **ret, struct error *err)
{
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    int r = 0;
    for (size_t i = 0; r == 0 && q->dns_names && q->dns_names[i]; i++) {
        GENERAL_NAME *n = GENERAL_NAME_new();
        ASN1_IA5STRING *text = ASN1_IA5STRING_new();
        if (!n || !text || ASN1_STRING_set(text, q->dns_names[i], -1) != 1)
            abort();
        GENERAL_NAME_set0_value(n, GEN_DNS, text);
        (void)sk_GENERAL_NAME_push(names, n);
    }
    for (size_t i = 0; r == 0 && q->ip_addresses && q->ip_addresses[i]; i++) {
        ASN1_OCTET_STRING *address = a2i_IPADDRESS(q->ip_addresses[i]);
        if (!address) {
            r = tls_error(err, -EINVAL, "\"%s\" is no IP address", q->ip_addresses[i]);
            break;
        }
        GENERAL_NAME *n = GENERAL_NAME_new();
        GENERAL_NAME_set0_value(n, GEN_IPADD, address);
        (void)sk_GENERAL_NAME_push(names, n);
    }
    if (r < 0) {
        GENERAL_NAMES_free(names);
        return r;
    }
    *ret = names;
    return 0;
}

static int add_sans(X509 *cert, const struct x509_request *q, struct error *err)
{
    GENERAL_NAMES *names;
    int r = x509_alternative_names(q, &names, err);
    if (r < 0)
        return r;
    if (sk_GENERAL_NAME_num(names) > 0 &&
        X509_add1_ext_i2d(cert, NID_subject_alt_name, names, 0, 0) != 1)
        r = tls_error(err, -EINVAL, "certificate names");
    GENERAL_NAMES_free(names);
    return r;
}

void x509_set_serial(X509 *cert)
{
    unsigned char bytes[16];
    if (RAND_bytes(bytes, sizeof(bytes)) != 1)
        abort();
    bytes[0] = (bytes[0] & 0x7f) | 0x40; /* positive, always 16 bytes */
    BIGNUM *n = BN_bin2bn(bytes, sizeof(bytes), NULL);
    ASN1_INTEGER *serial = BN_to_ASN1_INTEGER(n, NULL);
    if (!serial || X509_set_serialNumber(cert, serial) != 1)
        abort();
    ASN1_INTEGER_free(serial);
    BN_free(n);
}

void x509_set_validity(X509 *cert, const X509 *issuer, int64_t seconds)
{
    time_t now = time(NULL);
    (void)X509_time_adj_ex(X509_getm_notBefore(cert), 0, -BACKDATE_SECONDS, &now);
    (void)X509_time_adj_ex(X509_getm_notAfter(cert), (int)(seconds / DAY_SECONDS),
                           (long)(seconds % DAY_SECONDS), &now);
    if (issuer && ASN1_TIME_compare(X509_get0_notAfter(cert), X509_get0_notAfter(issuer)) > 0)
        (void)X509_set1_notAfter(cert, X509_get0_notAfter(issuer));
}

int x509_add_subject(X509_NAME *subject, const struct x509_request *q, struct error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && q->organizations && q->organizations[i]; i++)
        r = add_name(subject, "O", q->organizations[i], err);
    return r == 0 && q->common_name ? add_name(subject, "CN", q->common_name, err) : r;
}

static int add_usage(X509 *cert, const X509 *issuer, const struct x509_request *q,
                     struct error *err)
{
    const char *extended = (q->usage & X509_SERVER) && (q->usage & X509_CLIENT)
                               ? "serverAuth,clientAuth"
                           : q->usage & X509_SERVER ? "serverAuth"
                                                    : "clientAuth";
    int r = x509_add_extension(cert, issuer, NID_basic_constraints, "critical,CA:FALSE", err);
    if (r == 0)
        r = x509_add_extension(cert, issuer, NID_key_usage, "critical,digitalSignature", err);
    if (r == 0)
        r = x509_add_extension(cert, issuer, NID_ext_key_usage, extended, err);
    return r;
}

int x509_reread(X509 **cert, struct error *err)
{
    unsigned char *der = NULL;
    int len = i2d_X509(*cert, &der);
    const unsigned char *at = der;
    X509 *fresh = len > 0 ? d2i_X509(NULL, &at, len) : NULL;
    OPENSSL_free(der);
    if (!fresh)
        return tls_error(err, -EINVAL, "encoding the certificate");
    X509_free(*cert);
    *cert = fresh;
    return 0;
}

/* @ca NULL: signed by itself. @request NULL: a CA of this name. */
static int make(const struct x509_pair *ca, const struct x509_request *q, const char *ca_name,
                int days, struct x509_pair *ret, struct error *err)
{
    struct x509_pair p = {.cert = X509_new(), .key = x509_key_new()};
    const X509 *issuer = ca ? ca->cert : p.cert;
    if (!p.cert)
        abort();
    (void)X509_set_version(p.cert, X509_VERSION_3);
    x509_set_serial(p.cert);
    x509_set_validity(p.cert, ca ? ca->cert : NULL, days * DAY_SECONDS);
    (void)X509_set_pubkey(p.cert, p.key);
    int r = q ? x509_add_subject(X509_get_subject_name(p.cert), q, err)
              : add_name(X509_get_subject_name(p.cert), "CN", ca_name, err);
    (void)X509_set_issuer_name(p.cert, X509_get_subject_name(issuer));
    if (r == 0 && q)
        r = add_usage(p.cert, issuer, q, err);
    if (r == 0 && !q)
        r = x509_add_extension(p.cert, issuer, NID_basic_constraints, "critical,CA:TRUE", err);
    if (r == 0 && !q)
        r = x509_add_extension(p.cert, issuer, NID_key_usage,
                               "critical,digitalSignature,keyCertSign,cRLSign", err);
    if (r == 0)
        r = x509_add_extension(p.cert, issuer, NID_subject_key_identifier, "hash", err);
    if (r == 0 && ca)
        r = x509_add_extension(p.cert, issuer, NID_authority_key_identifier, "keyid", err);
    if (r == 0 && q)
        r = add_sans(p.cert, q, err);
    if (r == 0 && X509_sign(p.cert, ca ? ca->key : p.key, EVP_sha256()) == 0)
        r = tls_error(err, -EINVAL, "signing the certificate");
    if (r == 0)
        r = x509_reread(&p.cert, err);
    if (r < 0)
        x509_pair_done(&p);
    else
        *ret = p;
    return r;
}

int x509_ca_new(const char *common_name, int days, struct x509_pair *ret, struct error *err)
{
    return make(NULL, NULL, common_name, days, ret, err);
}

int x509_issue(const struct x509_pair *ca, const struct x509_request *request,
               struct x509_pair *ret, struct error *err)
{
    return make(ca, request, NULL, request->days, ret, err);
}

int x509_self_signed(const struct x509_request *request, struct x509_pair *ret, struct error *err)
{
    return make(NULL, request, NULL, request->days, ret, err);
}

/* ---- looking at certificates ---- */

static int64_t seconds_of(const ASN1_TIME *time)
{
    struct tm tm;
    if (ASN1_TIME_to_tm(time, &tm) != 1)
        return 0;
    return (int64_t)timegm(&tm);
}

int64_t x509_expires(const X509 *cert)
{
    return seconds_of(X509_get0_notAfter(cert));
}

int64_t x509_begins(const X509 *cert)
{
    return seconds_of(X509_get0_notBefore(cert));
}

char *x509_entry_text(const X509_NAME_ENTRY *entry)
{
    unsigned char *utf8 = NULL;
    int len = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(entry));
    char *text = len >= 0 && strlen((const char *)utf8) == (size_t)len
                     ? str_ndup((const char *)utf8, (size_t)len)
                     : NULL;
    OPENSSL_free(utf8);
    return text;
}

char *x509_common_name(const X509 *cert)
{
    const X509_NAME *subject = X509_get_subject_name(cert);
    int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    return at < 0 ? NULL : x509_entry_text(X509_NAME_get_entry(subject, at));
}

size_t x509_organizations(const X509 *cert, char ***ret)
{
    const X509_NAME *subject = X509_get_subject_name(cert);
    char **names = mem_zalloc((NAMES_MAX + 1) * sizeof(*names));
    size_t n = 0;
    int at = -1;
    while (n < NAMES_MAX &&
           (at = X509_NAME_get_index_by_NID(subject, NID_organizationName, at)) >= 0) {
        char *text = x509_entry_text(X509_NAME_get_entry(subject, at));
        if (text)
            names[n++] = text;
    }
    *ret = names;
    return n;
}

char **x509_names_free(char **names)
{
    for (size_t i = 0; names && names[i]; i++)
        free(names[i]);
    free(names);
    return NULL;
}

void x509_pin(const X509 *cert, char out[X509_PIN_MAX])
{
    unsigned char *der = NULL;
    unsigned char digest[SHA256_DIGEST_LENGTH];
    int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &der);
    if (len < 0)
        abort();
    (void)SHA256(der, (size_t)len, digest);
    OPENSSL_free(der);
    (void)snprintf(out, X509_PIN_MAX, "sha256:");
    for (size_t i = 0; i < sizeof(digest); i++)
        (void)snprintf(out + 7 + 2 * i, 3, "%02x", digest[i]);
}

/* What comes of certificate signing requests; see certificates.h. */
#include "controllers/certificates.h"

#include <errno.h>

#include "base/strbuf.h"

#define NODE_PREFIX    "system:node:"
#define NODE_GROUP     "system:nodes"
#define SETTLED_S      3600
#define PENDING_S      (24 * 3600)
#define EXPIRATION_MIN 600

/* ---- decoding ---- */

static const struct decode_field condition_fields[] = {
    DECODE_FIELD(struct condition, type, "type", DECODE_STRING),
    DECODE_FIELD(struct condition, status, "status", DECODE_STRING),
    DECODE_FIELD(struct condition, reason, "reason", DECODE_STRING),
    DECODE_FIELD(struct condition, message, "message", DECODE_STRING),
    DECODE_FIELD(struct condition, changed, "lastUpdateTime", DECODE_TIME),
    DECODE_END};
static const struct decode_type condition_type = {"Condition", sizeof(struct condition),
                                                  condition_fields};
static const struct decode_field spec_fields[] = {
    DECODE_FIELD(struct csr, request, "request", DECODE_BYTES),
    DECODE_FIELD(struct csr, signer, "signerName", DECODE_STRING),
    DECODE_FIELD(struct csr, username, "username", DECODE_STRING),
    DECODE_FIELD(struct csr, uid, "uid", DECODE_STRING),
    DECODE_FIELD(struct csr, expiration_seconds, "expirationSeconds", DECODE_OPT_INT),
    DECODE_FIELD(struct csr, usages, "usages", DECODE_STRINGS),
    DECODE_FIELD(struct csr, groups, "groups", DECODE_STRINGS),
    DECODE_FIELD(struct csr, extra, "extra", DECODE_RAW),
    DECODE_END};
static const struct decode_type spec_type = {"CSRSpec", sizeof(struct csr), spec_fields};
static const struct decode_field status_fields[] = {
    DECODE_FIELD(struct csr, certificate, "certificate", DECODE_STRING),
    DECODE_SUB(struct csr, conditions, "conditions", DECODE_ARRAY, &condition_type), DECODE_END};
static const struct decode_type status_type = {"CSRStatus", sizeof(struct csr), status_fields};
static const struct decode_field csr_fields[] = {
    DECODE_SUB(struct csr, meta, "metadata", DECODE_OBJECT, &object_meta_type),
    {"spec", DECODE_OBJECT, 0, &spec_type},
    {"status", DECODE_OBJECT, 0, &status_type},
    DECODE_END};
const struct decode_type csr_type = {"CertificateSigningRequest", sizeof(struct csr), csr_fields};

/* ---- what is it for? ---- */

static bool only(char *const *list, const char *word)
{
    return str_eq(list[0], word) && !list[1];
}

/* Whether the usages are those of a TLS client or server: @auth, with digital signature, and key
 * encipherment where the key is RSA. */
static bool usages_are(const struct csr *csr, const char *auth)
{
    size_t known = (size_t)string_list_has(&csr->usages, "key encipherment") +
                   (size_t)string_list_has(&csr->usages, "digital signature") +
                   (size_t)string_list_has(&csr->usages, auth);
    return string_list_has(&csr->usages, "digital signature") &&
           string_list_has(&csr->usages, auth) && csr->usages.count == known;
}

static bool is_kubelet(const struct x509_csr *r)
{
    return only(r->organizations, NODE_GROUP) && r->common_name &&
           str_starts(r->common_name, NODE_PREFIX) && r->common_name[strlen(NODE_PREFIX)];
}

/* NULL, or why it is no request for a kubelet's client certificate. */
static const char *client_problem(const struct csr *csr, const struct x509_csr *r)
{
    if (!is_kubelet(r))
        return "the subject must be CN=" NODE_PREFIX "NAME, O=" NODE_GROUP;
    if (r->dns_names[0] || r->ip_addresses[0] || r->emails[0] || r->uris[0])
        return "alternative names are not allowed";
    return usages_are(csr, "client auth")
               ? NULL
               : "usages must be client auth, digital signature and, if wanted, key encipherment";
}

/* The users that a node's parts are: each may read what its part works from. */
static bool is_node_part(const struct csr *csr, const struct x509_csr *r)
{
    static const char *const users[] = {"system:kube-proxy", "system:coracle-dns",
                                        "system:flannel"};
    if (r->organizations[0] || r->dns_names[0] || r->ip_addresses[0] || r->emails[0] ||
        r->uris[0] || !usages_are(csr, "client auth"))
        return false;
    for (size_t i = 0; i < ARRAY_SIZE(users); i++)
        if (str_eq(r->common_name, users[i]))
            return true;
    return false;
}

static const char *serving_problem(const struct csr *csr, const struct x509_csr *r)
{
    if (!is_kubelet(r))
        return "the subject must be CN=" NODE_PREFIX "NAME, O=" NODE_GROUP;
    if (r->emails[0] || r->uris[0])
        return "alternative names that are mail addresses or URIs are not allowed";
    if (!r->dns_names[0] && !r->ip_addresses[0])
        return "a DNS name or an IP address is needed";
    return usages_are(csr, "server auth")
               ? NULL
               : "usages must be server auth, digital signature and, if wanted, key encipherment";
}

enum csr_kind csr_recognize(const struct csr *csr, const struct x509_csr *r)
{
    bool self = str_eq(csr->username, r->common_name) && csr->username;
    if (str_eq(csr->signer, SIGNER_KUBELET) && !client_problem(csr, r))
        return self ? CSR_SELF_NODE_CLIENT : CSR_NODE_CLIENT;
    if (str_eq(csr->signer, SIGNER_SERVING) && self && !serving_problem(csr, r) &&
        string_list_has(&csr->groups, NODE_GROUP))
        return CSR_SERVING;
    if (str_eq(csr->signer, SIGNER_CLIENT) && is_node_part(csr, r))
        return CSR_NODE_PART;
    return CSR_OTHER;
}

const char *csr_node(const struct x509_csr *request)
{
    return request->common_name && str_starts(request->common_name, NODE_PREFIX)
               ? request->common_name + strlen(NODE_PREFIX)
               : "";
}

static bool has_address(const struct node *node, const char *address)
{
    for (size_t i = 0; i < node->addresses.count; i++)
        if (str_eq(node->addresses.items[i].address, address))
            return true;
    return false;
}

bool csr_names_node(const struct x509_csr *request, const struct node *node)
{
    for (size_t i = 0; request->dns_names[i]; i++)
        if (!has_address(node, request->dns_names[i]))
            return false;
    for (size_t i = 0; request->ip_addresses[i]; i++)
        if (!has_address(node, request->ip_addresses[i]))
            return false;
    return true;
}

/* ---- signing ---- */

bool csr_is_ours(const struct csr *csr)
{
    return str_eq(csr->signer, SIGNER_CLIENT) || str_eq(csr->signer, SIGNER_KUBELET) ||
           str_eq(csr->signer, SIGNER_SERVING);
}

static const struct {
    const char *name;
    unsigned use;
} uses[] = {{"digital signature", X509_USE_DIGITAL_SIGNATURE},
            {"key encipherment", X509_USE_KEY_ENCIPHERMENT},
            {"client auth", X509_USE_CLIENT_AUTH},
            {"server auth", X509_USE_SERVER_AUTH}};

/* The uses that are asked for; 0 when one of them is none that is signed here. */
static unsigned uses_of(const struct csr *csr)
{
    unsigned all = 0;
    for (size_t i = 0; i < csr->usages.count; i++) {
        size_t k = 0;
        while (k < ARRAY_SIZE(uses) && !str_eq(uses[k].name, csr->usages.items[i]))
            k++;
        if (k == ARRAY_SIZE(uses))
            return 0;
        all |= uses[k].use;
    }
    return all;
}

static const char *problem_of(const struct csr *csr, const struct x509_csr *r)
{
    unsigned all = uses_of(csr);
    if (str_eq(csr->signer, SIGNER_KUBELET))
        return client_problem(csr, r);
    if (str_eq(csr->signer, SIGNER_SERVING))
        return serving_problem(csr, r);
    if (!all || !(all & X509_USE_CLIENT_AUTH) || (all & X509_USE_SERVER_AUTH))
        return "usages must be client auth and, if wanted, digital signature and key encipherment";
    return NULL;
}

int csr_sign(const struct csr *csr, const struct x509_csr *request, const struct x509_pair *ca,
             int64_t longest_s, struct strbuf *pem, struct error *err)
{
    const char *problem = problem_of(csr, request);
    if (problem)
        return error_set(err, -EINVAL, "invalid usage or names for signer %s: %s", csr->signer,
                         problem);
    int64_t seconds = longest_s;
    if (csr->expiration_seconds.set && csr->expiration_seconds.value < seconds)
        seconds = csr->expiration_seconds.value < EXPIRATION_MIN ? EXPIRATION_MIN
                                                                 : csr->expiration_seconds.value;
    X509 *cert = NULL;
    int r = x509_csr_sign(request, ca, uses_of(csr), seconds, &cert, err);
    if (r == 0)
        x509_cert_pem(cert, pem);
    X509_free(cert);
    return r;
}

/* ---- the end ---- */

/* When the certificate ends; 0 when there is none. */
static int64_t certificate_ends(const struct csr *csr)
{
    struct bytes pem = {.data = NULL};
    X509 *cert = NULL;
    int64_t ends = 0;
    if (csr->certificate && base64_decode(csr->certificate, strlen(csr->certificate), &pem) == 0 &&
        x509_cert_parse((const char *)pem.data, pem.len, &cert, NULL) == 0)
        ends = x509_expires(cert);
    X509_free(cert);
    free(pem.data);
    return ends;
}

int64_t csr_useless_at(const struct csr *csr)
{
    int64_t at = csr->meta.created / 1000000000 + PENDING_S, ends = certificate_ends(csr);
    for (size_t i = 0; i < csr->conditions.count; i++) {
        int64_t settled = csr->conditions.items[i].changed / 1000000000 + SETTLED_S;
        at = i == 0 || settled > at ? settled : at;
    }
    return ends && ends < at ? ends : at;
}

/* Rules about certificate signing requests (certificates.k8s.io). */
#include <string.h>

#include "base/json.h"
#include "base/strbuf.h"
#include "kube/decode.h"
#include "kube/format.h"
#include "kube/meta.h"
#include "kube/validate_internal.h"
#include "net/x509_csr.h"

#define SIGNER_MAX 571 /* a domain of 253, a slash, a path of 317: as upstream */

static void validate_request(const json_t *spec, const struct field_path *path,
                             struct field_errors *errs)
{
    struct bytes pem;
    struct error err = ERROR_INIT;
    const char *text = member_text(spec, "request");
    if (!*text || base64_decode(text, strlen(text), &pem) < 0)
        return; /* the schema says so */
    struct x509_csr csr = {.request = NULL};
    if (x509_csr_parse((const char *)pem.data, pem.len, &csr, &err) < 0)
        field_invalid_text(errs, FIELD(path, "request"), text, "%s", error_text(&err));
    x509_csr_done(&csr);
    free(pem.data);
}

/* "example.com/signer": a domain, and a path that names something below it. */
static void validate_signer(const json_t *spec, const struct field_path *path,
                            struct field_errors *errs)
{
    const char *name = member_text(spec, "signerName");
    const char *slash = strchr(name, '/');
    const struct field_path *field = FIELD(path, "signerName");
    if (!*name)
        return;
    if (!slash || !slash[1] || strchr(slash + 1, '/')) {
        field_invalid_text(errs, field, name,
                           "must be a fully qualified domain and path of the "
                           "form 'example.com/signer-name'");
        return;
    }
    _cleanup_free_ char *domain = str_ndup(name, (size_t)(slash - name));
    const char *problem = format_problem(FORMAT_DNS_SUBDOMAIN, domain);
    if (!problem && !strchr(domain, '.'))
        problem = "should be a domain with at least two segments separated by dots";
    if (!problem)
        problem = format_problem(FORMAT_DNS_SUBDOMAIN, slash + 1);
    if (problem)
        field_invalid_text(errs, field, name, "%s", problem);
    if (strlen(name) > SIGNER_MAX)
        field_too_long(errs, field, SIGNER_MAX);
    if (str_eq(name, "kubernetes.io/legacy-unknown"))
        field_invalid_text(errs, field, name,
                           "the legacy signerName is not allowed via this API "
                           "version");
}

static void validate_usages(const json_t *spec, const struct field_path *path,
                            struct field_errors *errs)
{
    static const char *const known[] = {"any",
                                        "cert sign",
                                        "client auth",
                                        "code signing",
                                        "content commitment",
                                        "crl sign",
                                        "data encipherment",
                                        "decipher only",
                                        "digital signature",
                                        "email protection",
                                        "encipher only",
                                        "ipsec end system",
                                        "ipsec tunnel",
                                        "ipsec user",
                                        "key agreement",
                                        "key encipherment",
                                        "microsoft sgc",
                                        "netscape sgc",
                                        "ocsp signing",
                                        "s/mime",
                                        "server auth",
                                        "signing",
                                        "timestamping",
                                        NULL};
    const json_t *usages = json_object_get(spec, "usages");
    const struct field_path *field = FIELD(path, "usages");
    if (!json_array_size(usages))
        field_required(errs, field, "");
    for (size_t i = 0; i < json_array_size(usages); i++) {
        const json_t *usage = json_array_get(usages, i);
        size_t k = 0;
        while (known[k] && !str_eq(known[k], json_string_value(usage)))
            k++;
        if (!known[k])
            field_not_supported(errs, FIELD_INDEX(field, i), usage, known);
        for (k = 0; k < i; k++)
            if (json_equal(json_array_get(usages, k), usage))
                field_duplicate(errs, FIELD_INDEX(field, i), usage);
    }
}

/* Approved, Denied and Failed are true or not there. */
static void validate_conditions(const json_t *obj, struct field_errors *errs)
{
    const json_t *list = json_path(obj, "status.conditions");
    const struct field_path *path = FIELD(FIELD(NULL, "status"), "conditions");
    bool approved = false, denied = false;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *c = json_array_get(list, i);
        const char *type = member_text(c, "type"), *status = member_text(c, "status");
        bool final = str_eq(type, "Approved") || str_eq(type, "Denied") || str_eq(type, "Failed");
        static const char *const only[] = {"True", NULL};
        if (final && *status && !str_eq(status, "True"))
            field_not_supported(errs, FIELD(FIELD_INDEX(path, i), "status"),
                                json_object_get(c, "status"), only);
        for (size_t k = 0; k < i; k++)
            if (str_eq(member_text(json_array_get(list, k), "type"), type))
                field_duplicate(errs, FIELD(FIELD_INDEX(path, i), "type"),
                                json_object_get(c, "type"));
        approved |= str_eq(type, "Approved");
        denied |= str_eq(type, "Denied");
    }
    if (approved && denied)
        field_invalid_text(errs, path, "Denied",
                           "Approved and Denied conditions are mutually exclusive");
}

void validate_csr(const json_t *obj, struct field_errors *errs)
{
    const json_t *spec = json_object_get(obj, "spec");
    const struct field_path *path = FIELD(NULL, "spec");
    validate_request(spec, path, errs);
    validate_signer(spec, path, errs);
    validate_usages(spec, path, errs);
    validate_conditions(obj, errs);
}

/* The condition of @type. */
static const json_t *condition_of(const json_t *obj, const char *type)
{
    size_t i;
    json_t *c;
    json_array_foreach(json_path(obj, "status.conditions"), i, c) {
        if (str_eq(member_text(c, "type"), type))
            return c;
    }
    return NULL;
}

void validate_csr_update(const json_t *obj, const json_t *old, const char *subresource,
                         struct field_errors *errs)
{
    static const char *const final[] = {"Approved", "Denied", "Failed"};
    bool approval = subresource && str_eq(subresource, "approval");
    const struct field_path *path = FIELD(FIELD(NULL, "status"), "conditions");
    if (subresource && *subresource)
        validate_conditions(obj, errs);
    for (size_t i = 0; i < ARRAY_SIZE(final); i++) {
        const json_t *was = condition_of(old, final[i]), *is = condition_of(obj, final[i]);
        bool may_come = approval != str_eq(final[i], "Failed");
        if (was && !is)
            field_forbidden(errs, path, "updates may not remove a condition of type \"%s\"",
                            final[i]);
        if (!was && is && !may_come)
            field_forbidden(errs, path, "updates may not add a condition of type \"%s\"", final[i]);
    }
    const json_t *certificate = json_path(old, "status.certificate");
    if (certificate && !json_equal(certificate, json_path(obj, "status.certificate")))
        field_forbidden(errs, FIELD(FIELD(NULL, "status"), "certificate"),
                        "updates may not modify a certificate that has been issued");
}

/*
 * Certificate signing requests: who asks is written by the server; who approves or signs must be
 * allowed to for that signer.
 */
#include <string.h>

#include "apiserver/admission/admission.h"
#include "apiserver/auth/authz.h"
#include "base/json.h"
#include "kube/decode.h"
#include "kube/meta.h"
#include "kube/status.h"
#include "net/x509_csr.h"

#define CLIENT_SIGNER "kubernetes.io/kube-apiserver-client"

/* Whether the request is for a certificate of the group that may do everything. */
static bool asks_for_masters(const json_t *csr)
{
    const char *text = json_path_string(csr, "spec.request");
    struct bytes pem = {.data = NULL};
    struct x509_csr request = {.request = NULL};
    bool masters = false;
    if (!text || base64_decode(text, strlen(text), &pem) < 0)
        return false;
    if (x509_csr_parse((const char *)pem.data, pem.len, &request, NULL) == 0)
        for (size_t i = 0; request.organizations[i]; i++)
            masters |= str_eq(request.organizations[i], GROUP_MASTERS);
    x509_csr_done(&request);
    free(pem.data);
    return masters;
}

enum verdict admit_csr(const struct admission *a, json_t *obj, json_t **status)
{
    static const char *const fields[] = {"username", "uid", "groups", "extra"};
    json_t *spec = json_object_get(obj, "spec");
    if (!json_is_object(spec))
        return VERDICT_WRITE; /* validation says so */
    for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
        (void)json_object_del(spec, fields[i]);
    _cleanup_json_ json_t *info = user_info(a->user);
    (void)json_object_update(spec, info);
    if (!str_eq(json_path_string(spec, "signerName"), CLIENT_SIGNER) || !asks_for_masters(obj))
        return VERDICT_WRITE;
    *status = status_forbidden(&a->route->about, meta_name(obj),
                               "use of " CLIENT_SIGNER " signer with " GROUP_MASTERS
                               " group is not allowed");
    return VERDICT_REFUSE;
}

/* @verb on the signer, by its name or by a star behind its domain. */
static bool may(const struct admission *a, const char *verb, const char *signer)
{
    struct access access = ACCESS_INIT;
    _cleanup_free_ char *domain = str_ndup(signer, strcspn(signer, "/"));
    _cleanup_free_ char *all = str_printf("%s/*", domain);
    access.user = a->user;
    access.verb = verb;
    access.is_resource = true;
    access.group = "certificates.k8s.io";
    access.resource = "signers";
    access.name = signer;
    if (authz_allows(a->srv->authz, &access, NULL))
        return true;
    access.name = all;
    return authz_allows(a->srv->authz, &access, NULL);
}

static bool changes(const json_t *obj, const json_t *old, const char *path)
{
    const json_t *is = json_path(obj, path), *was = json_path(old, path);
    return is != was && !(is && was && json_equal(is, was));
}

enum verdict admit_csr_write(const struct admission *a, const char *subresource, const json_t *obj,
                             const json_t *old, json_t **status)
{
    const char *signer = json_path_string(old, "spec.signerName");
    const char *verb = NULL;
    if (str_eq(subresource, "approval") && changes(obj, old, "status.conditions"))
        verb = "approve";
    if (str_eq(subresource, "status") &&
        (changes(obj, old, "status.certificate") || changes(obj, old, "status.conditions")))
        verb = "sign";
    if (!verb || !signer || may(a, verb, signer))
        return VERDICT_WRITE;
    *status =
        status_forbidden(&a->route->about, a->name,
                         "user not permitted to %s requests with signerName \"%s\"", verb, signer);
    return VERDICT_REFUSE;
}

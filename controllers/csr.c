/*
 * Certificate signing requests: those of kubelets are approved (a client certificate when the asker
 * may have one, a serving certificate when its names are the Node's), approved ones are signed by
 * the cluster's CA, old ones deleted.
 */
#include <errno.h>

#include "base/log.h"
#include "base/strbuf.h"
#include "base/times.h"
#include "controllers/certificates.h"
#include "controllers/controllers.h"

struct controller {
    struct controllers *c;
    struct queue *queue;
    struct x509_pair ca; /* key NULL: nothing is signed */
    int64_t longest_s;
};

struct look {
    struct controller *self;
    char *key, *uid;
    const char *reason, *message; /* of the approval that waits for an access review */
};

static struct look *look_new(struct controller *self, const struct csr *csr)
{
    struct look *look = mem_zalloc(sizeof(*look));
    *look =
        (struct look){.self = self, .key = str_dup(csr->meta.name), .uid = str_dup(csr->meta.uid)};
    return look;
}

static void look_done(struct look *look, const char *error, bool conflict)
{
    queue_done(look->self->queue, look->key, error, conflict);
    free(look->key);
    free(look->uid);
    free(look);
}

static void on_written(const struct kube_result *result, void *arg)
{
    struct look *look = arg;
    bool gone = str_eq(result->reason, "NotFound"), conflict = str_eq(result->reason, "Conflict");
    if (!result->error)
        cache_wrote(look->self->c->csrs, result->body);
    look_done(look, gone ? NULL : result->error, conflict);
}

/* ---- writing a condition or a certificate ---- */

static void patch(struct look *look, const struct csr *csr, const char *sub, json_t *status)
{
    _cleanup_free_ char *path =
        controller_path(cache_kind_of(look->self->c->csrs), &csr->meta, sub);
    _cleanup_json_ json_t *body = json_pack("{s:{s:s},s:o}", "metadata", "resourceVersion",
                                            csr->meta.version, "status", status);
    (void)kube_patch(look->self->c->client, path, KUBE_PATCH_STRATEGIC, body, on_written, look);
}

static json_t *condition(const char *type, const char *reason, const char *message)
{
    return json_pack("{s:[{s:s,s:s,s:s,s:s}]}", "conditions", "type", type, "status", "True",
                     "reason", reason, "message", message);
}

static void approve(struct look *look, const struct csr *csr, const char *reason,
                    const char *message)
{
    log_info("certificate request approved", "request", csr->meta.name, "user", csr->username,
             "signer", csr->signer, NULL);
    patch(look, csr, "approval", condition("Approved", reason, message));
}

/* ---- approval ---- */

static void on_access(const struct kube_result *result, void *arg)
{
    struct look *look = arg;
    const struct csr *csr = cache_get(look->self->c->csrs, look->key);
    bool allowed = json_path_bool(result->body, "status.allowed", false);
    if (result->error || !csr || !str_eq(csr->meta.uid, look->uid) || !allowed)
        look_done(look, result->error, false);
    else
        approve(look, csr, look->reason, look->message);
}

/* Whether the asker may have such a certificate, the server says. */
static void ask_access(struct controller *self, const struct csr *csr, const char *sub,
                       const char *message)
{
    json_t *groups = json_array();
    for (size_t i = 0; i < csr->groups.count; i++)
        (void)json_array_append_new(groups, json_text(csr->groups.items[i]));
    _cleanup_json_ json_t *body = json_pack(
        "{s:s,s:s,s:{s:s,s:o,s:{s:s,s:s,s:s,s:s}}}", "apiVersion", "authorization.k8s.io/v1",
        "kind", "SubjectAccessReview", "spec", "user", csr->username ? csr->username : "", "groups",
        groups, "resourceAttributes", "group", "certificates.k8s.io", "resource",
        "certificatesigningrequests", "subresource", sub, "verb", "create");
    if (csr->uid && *csr->uid)
        (void)json_path_set(body, "spec.uid", json_text(csr->uid));
    if (json_object_size(csr->extra))
        (void)json_path_set(body, "spec.extra", json_deep_copy(csr->extra));
    struct look *look = look_new(self, csr);
    look->reason = "AutoApproved";
    look->message = message;
    _cleanup_free_ char *path =
        kube_path("authorization.k8s.io/v1", NULL, "subjectaccessreviews", NULL, NULL);
    (void)kube_create(self->c->client, path, body, on_access, look);
}

static void consider(struct controller *self, const struct csr *csr, const struct x509_csr *request)
{
    const struct node *node;
    switch (csr_recognize(csr, request)) {
    case CSR_NODE_CLIENT:
        ask_access(self, csr, "nodeclient", "a client certificate for a new node");
        return;
    case CSR_SELF_NODE_CLIENT:
        ask_access(self, csr, "selfnodeclient", "a node renews its client certificate");
        return;
    case CSR_NODE_PART:
        ask_access(self, csr, "nodepart", "a client certificate for a part of a node");
        return;
    case CSR_SERVING:
        node = cache_get(self->c->nodes, csr_node(request));
        if (node && csr_names_node(request, node)) {
            approve(look_new(self, csr), csr, "AutoApproved",
                    "a serving certificate for the addresses of the asking node");
            return;
        }
        break; /* the Node may say more later: on_node() */
    case CSR_OTHER:
        break;
    }
    queue_done(self->queue, csr->meta.name, NULL, false);
}

/* ---- signing ---- */

static void sign(struct controller *self, const struct csr *csr, const struct x509_csr *request)
{
    _cleanup_strbuf_ struct strbuf pem = STRBUF_INIT;
    struct error err = ERROR_INIT;
    struct look *look = look_new(self, csr);
    if (csr_sign(csr, request, &self->ca, self->longest_s, &pem, &err) < 0) {
        patch(look, csr, "status",
              condition("Failed", "SignerValidationFailure", error_text(&err)));
        return;
    }
    _cleanup_free_ char *text = base64_encode(pem.data, pem.len);
    log_info("certificate issued", "request", csr->meta.name, "signer", csr->signer, NULL);
    patch(look, csr, "status", json_pack("{s:s}", "certificate", text));
}

/* ---- looks ---- */

static void on_deleted(const struct kube_result *result, void *arg)
{
    struct look *look = arg;
    bool gone = str_eq(result->reason, "NotFound") || str_eq(result->reason, "Conflict");
    if (!result->error)
        cache_deleted(look->self->c->csrs, look->key, look->uid);
    look_done(look, gone ? NULL : result->error, false);
}

static void delete (struct controller *self, const struct csr *csr)
{
    _cleanup_free_ char *path = controller_path(cache_kind_of(self->c->csrs), &csr->meta, NULL);
    _cleanup_json_ json_t *options =
        json_pack("{s:s,s:s,s:{s:s}}", "apiVersion", "v1", "kind", "DeleteOptions", "preconditions",
                  "uid", csr->meta.uid);
    (void)kube_delete(self->c->client, path, options, on_deleted, look_new(self, csr));
}

static void work(void *arg, const char *key)
{
    struct controller *self = arg;
    const struct csr *csr = cache_get(self->c->csrs, key);
    struct x509_csr request = {.request = NULL};
    if (!csr || csr->meta.deleted) {
        queue_done(self->queue, key, NULL, false);
        return;
    }
    int64_t left = csr_useless_at(csr) - time_now();
    if (left <= 0) {
        delete (self, csr);
        return;
    }
    queue_add_after(self->queue, key, (uint64_t)left * 1000 + 1000);
    bool settled = csr->certificate || condition_true(&csr->conditions, "Denied") ||
                   condition_true(&csr->conditions, "Failed");
    bool approved = condition_true(&csr->conditions, "Approved");
    bool wanted = !settled && csr_is_ours(csr) && (!approved || self->ca.key);
    if (!wanted ||
        x509_csr_parse((const char *)csr->request.data, csr->request.len, &request, NULL) < 0)
        queue_done(self->queue, key, NULL, false);
    else if (approved)
        sign(self, csr, &request);
    else
        consider(self, csr, &request);
    x509_csr_done(&request);
}

static void on_csr(void *arg, _unused_ const void *before, const void *now)
{
    struct controller *self = arg;
    const struct csr *csr = now;
    if (csr)
        queue_add(self->queue, csr->meta.name);
}

static bool same_addresses(const struct node *a, const struct node *b)
{
    bool same = a->addresses.count == b->addresses.count;
    for (size_t i = 0; same && i < a->addresses.count; i++)
        same = str_eq(a->addresses.items[i].address, b->addresses.items[i].address);
    return same;
}

/* A node that has got other addresses may make a request for a serving certificate a good one. */
static void on_node(void *arg, const void *before, const void *now)
{
    struct controller *self = arg;
    const struct node *a = before, *b = now;
    if (!b || (a && same_addresses(a, b)))
        return;
    MAP_FOR_EACH(e, cache_objects(self->c->csrs)) {
        const struct csr *csr = map_value(e);
        if (str_eq(csr->signer, SIGNER_SERVING) && !csr->certificate)
            queue_add(self->queue, csr->meta.name);
    }
}

static struct controller *start(struct controllers *c)
{
    struct controller *self = mem_zalloc(sizeof(*self));
    struct error err = ERROR_INIT;
    *self = (struct controller){.c = c, .longest_s = c->signing_duration_s};
    if (c->signing_cert_file && c->signing_key_file &&
        x509_pair_read(c->signing_cert_file, c->signing_key_file, &self->ca, &err) < 0)
        log_error("no certificates are signed", "error", error_text(&err), NULL);
    self->queue = queue_new(c->loop, "certificate", work, self);
    cache_subscribe(c->csrs, on_csr, self);
    cache_subscribe(c->nodes, on_node, self);
    return self;
}

static void synced(struct controller *self)
{
    queue_resume(self->queue);
}

static void stop(struct controller *self)
{
    queue_free(self->queue);
    x509_pair_done(&self->ca);
    free(self);
}

const struct controller_def certificate_controller = {"certificate", start, synced, stop};

/* The node's Lease: 40 s, renewed every 10 s. */
#include "base/log.h"
#include "base/strbuf.h"
#include "base/times.h"
#include "kubelet/node/node.h"

#define LEASE_NS   "kube-node-lease"
#define DURATION_S 40
#define RENEW_MS   10000
#define RETRY_MS   500
#define RETRY_MAX  7000

struct node_lease {
    struct kubelet *k;
    struct loop_timer timer;
    struct kube_call *call;
    char *node_uid;
    uint32_t retry_ms;
    bool create, complained;
};

static void renew(struct node_lease *l);

static void on_answer(const struct kube_result *r, void *arg)
{
    struct node_lease *l = arg;
    l->call = NULL;
    if (!r->error) {
        l->create = false;
        l->complained = false;
        l->retry_ms = RETRY_MS;
        loop_timer_set(&l->timer, RENEW_MS);
        return;
    }
    if (r->status == 404 && !l->create) {
        l->create = true;
        renew(l);
        return;
    }
    if (r->status == 409)
        l->create = false;
    if (!l->complained)
        log_warn("lease cannot be renewed", "node", l->k->node_name, "error", r->error, NULL);
    l->complained = true;
    loop_timer_set(&l->timer, l->retry_ms);
    l->retry_ms = l->retry_ms * 2 > RETRY_MAX ? RETRY_MAX : l->retry_ms * 2;
}

static void renew(struct node_lease *l)
{
    char now[TIME_TEXT_MAX];
    (void)time_format_micro(time_now_nano(), now);
    _cleanup_free_ char *path = kube_path("coordination.k8s.io/v1", LEASE_NS, "leases",
                                          l->create ? NULL : l->k->node_name, NULL);
    _cleanup_json_ json_t *spec = json_pack("{s:s,s:i,s:s}", "holderIdentity", l->k->node_name,
                                            "leaseDurationSeconds", DURATION_S, "renewTime", now);
    if (!l->create) {
        _cleanup_json_ json_t *patch = json_pack("{s:O}", "spec", spec);
        l->call = kube_patch(l->k->api, path, KUBE_PATCH_MERGE, patch, on_answer, l);
        return;
    }
    _cleanup_json_ json_t *lease =
        json_pack("{s:s,s:s,s:{s:s,s:s,s:[{s:s,s:s,s:s,s:s}]},s:O}", "apiVersion",
                  "coordination.k8s.io/v1", "kind", "Lease", "metadata", "name", l->k->node_name,
                  "namespace", LEASE_NS, "ownerReferences", "apiVersion", "v1", "kind", "Node",
                  "name", l->k->node_name, "uid", l->node_uid, "spec", spec);
    l->call = kube_create(l->k->api, path, lease, on_answer, l);
}

static void on_timer(void *arg)
{
    struct node_lease *l = arg;
    if (!l->call)
        renew(l);
}

struct node_lease *node_lease_new(struct kubelet *k)
{
    struct node_lease *l = mem_zalloc(sizeof(*l));
    l->k = k;
    l->retry_ms = RETRY_MS;
    loop_timer_init(&l->timer, k->loop, "lease", on_timer, l);
    return l;
}

struct node_lease *node_lease_free(struct node_lease *l)
{
    if (!l)
        return NULL;
    kube_call_cancel(l->call);
    loop_timer_done(&l->timer);
    free(l->node_uid);
    free(l);
    return NULL;
}

void node_lease_start(struct node_lease *l, const char *node_uid)
{
    bool first = !l->node_uid;
    free(l->node_uid);
    l->node_uid = str_dup(node_uid);
    if (first)
        loop_timer_set(&l->timer, 0);
}

/*
 * persistentVolumeClaim (and ephemeral, whose claim a controller makes): the claim is read, then
 * the volume it is bound to, then that volume is used as its own source says. Both are read with
 * single GETs, which is what the node authorizer allows; while something is missing, each try of
 * the pod asks again.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/json.h"
#include "base/process.h"
#include "base/strbuf.h"
#include "kube/selector.h"
#include "kubelet/volume/volume.h"

#define OWN_DEADLINE_MS 1800000 /* for millions of files */

/* ---- the objects, as far as they are used ---- */
struct owner {
    char *uid;
    bool controller;
};
struct pvc_meta {
    char *uid;
    int64_t deleted;
    ARRAY_OF(struct owner) owners;
};
struct pvc_spec {
    char *volume, *mode;
};
struct pvc_status {
    char *phase;
};
struct pvc {
    struct pvc_meta meta;
    struct pvc_spec spec;
    struct pvc_status status;
};
struct pv_local {
    char *path;
};
struct pv_claim {
    char *uid;
};
struct pv_affinity {
    json_t *required;
};
struct pv_spec {
    struct host_path_source *host_path;
    struct pv_local *local;
    struct nfs_source *nfs;
    struct pv_claim claim;
    struct pv_affinity affinity;
    struct string_list options;
    json_t *csi;
};
struct pv {
    struct pv_spec spec;
};

#define FIELD(T, m, n, k)  DECODE_FIELD(struct T, m, n, DECODE_##k)
#define SUB(T, m, n, k, t) DECODE_SUB(struct T, m, n, DECODE_##k, &t)
#define FIELDS(id)         static const struct decode_field id##_fields[]
#define TYPE(id, name, T)  static const struct decode_type id = {name, sizeof(struct T), id##_fields}

FIELDS(owner_type) = {FIELD(owner, uid, "uid", STRING),
                      FIELD(owner, controller, "controller", BOOL), DECODE_END};
TYPE(owner_type, "OwnerReference", owner);
FIELDS(pvc_meta_type) = {FIELD(pvc_meta, uid, "uid", STRING),
                         FIELD(pvc_meta, deleted, "deletionTimestamp", TIME),
                         SUB(pvc_meta, owners, "ownerReferences", ARRAY, owner_type), DECODE_END};
TYPE(pvc_meta_type, "ObjectMeta", pvc_meta);
FIELDS(pvc_spec_type) = {FIELD(pvc_spec, volume, "volumeName", STRING),
                         FIELD(pvc_spec, mode, "volumeMode", STRING), DECODE_END};
TYPE(pvc_spec_type, "PersistentVolumeClaimSpec", pvc_spec);
FIELDS(pvc_status_type) = {FIELD(pvc_status, phase, "phase", STRING), DECODE_END};
TYPE(pvc_status_type, "PersistentVolumeClaimStatus", pvc_status);
FIELDS(pvc_type) = {SUB(pvc, meta, "metadata", OBJECT, pvc_meta_type),
                    SUB(pvc, spec, "spec", OBJECT, pvc_spec_type),
                    SUB(pvc, status, "status", OBJECT, pvc_status_type), DECODE_END};
TYPE(pvc_type, "PersistentVolumeClaim", pvc);

FIELDS(pv_local_type) = {FIELD(pv_local, path, "path", STRING), DECODE_END};
TYPE(pv_local_type, "LocalVolumeSource", pv_local);
FIELDS(pv_claim_type) = {FIELD(pv_claim, uid, "uid", STRING), DECODE_END};
TYPE(pv_claim_type, "ObjectReference", pv_claim);
FIELDS(pv_affinity_type) = {FIELD(pv_affinity, required, "required", RAW), DECODE_END};
TYPE(pv_affinity_type, "VolumeNodeAffinity", pv_affinity);
FIELDS(pv_spec_type) = {SUB(pv_spec, host_path, "hostPath", OPT_OBJECT, host_path_source_type),
                        SUB(pv_spec, local, "local", OPT_OBJECT, pv_local_type),
                        SUB(pv_spec, nfs, "nfs", OPT_OBJECT, nfs_source_type),
                        SUB(pv_spec, claim, "claimRef", OBJECT, pv_claim_type),
                        SUB(pv_spec, affinity, "nodeAffinity", OBJECT, pv_affinity_type),
                        FIELD(pv_spec, options, "mountOptions", STRINGS),
                        FIELD(pv_spec, csi, "csi", RAW),
                        DECODE_END};
TYPE(pv_spec_type, "PersistentVolumeSpec", pv_spec);
FIELDS(pv_type) = {SUB(pv, spec, "spec", OBJECT, pv_spec_type), DECODE_END};
TYPE(pv_type, "PersistentVolume", pv);

/* ---- reading them ---- */
enum step { STEP_CLAIM, STEP_VOLUME, STEP_USE };

struct claim {
    struct volume *v;
    enum step step;
    struct kube_call *call;
    struct process_run *own; /* giving the files to fsGroup */
    struct nfs_mount *nfs;
    char *name, *uid, *pv_name;
    char *error; /* of the last try, until it has been told */
    struct pv pv;
    bool owned;
};

static void _printf_(2, 3) failed(struct claim *c, const char *fmt, ...)
{
    struct strbuf text = STRBUF_INIT;
    va_list args;
    va_start(args, fmt);
    strbuf_addv(&text, fmt, args);
    va_end(args);
    free(c->error);
    c->error = strbuf_take(&text);
    c->step = STEP_CLAIM;
    volume_changed(c->v);
}

static void on_volume(const struct kube_result *r, void *arg)
{
    struct claim *c = arg;
    struct error err = ERROR_INIT;
    const struct kubelet *k = c->v->set->k;
    c->call = NULL;
    if (r->error) {
        failed(c, "failed to fetch PV %s from API server: %s", c->pv_name, r->error);
        return;
    }
    decode_done(&pv_type, &c->pv);
    if (decode(&pv_type, r->body, &c->pv, &err) < 0)
        failed(c, "PV %s: %s", c->pv_name, error_text(&err));
    else if (!str_eq(c->pv.spec.claim.uid, c->uid))
        failed(c, "PV %s is not bound to PVC %s/%s", c->pv_name, c->v->set->pod->meta.ns, c->name);
    else if (c->pv.spec.affinity.required &&
             !node_selector_matches(c->pv.spec.affinity.required, k->node_labels, k->node_name))
        failed(c, "PV %s: its nodeAffinity does not allow this node", c->pv_name);
    else {
        c->step = STEP_USE;
        volume_changed(c->v);
    }
}

static bool owned_by(const struct pvc *p, const char *uid)
{
    for (size_t i = 0; i < p->meta.owners.count; i++)
        if (p->meta.owners.items[i].controller && str_eq(p->meta.owners.items[i].uid, uid))
            return true;
    return false;
}

/* Why the claim cannot be used; NULL when it can. */
static const char *objection(const struct claim *c, const struct pvc *p)
{
    if (c->v->spec->ephemeral && !owned_by(p, c->v->set->pod->meta.uid))
        return "PVC was not created for the pod (the pod is not its owner)";
    if (p->meta.deleted)
        return "PVC is being deleted";
    if (!str_eq(p->status.phase, "Bound") || !p->spec.volume || !*p->spec.volume)
        return "PVC is not bound";
    if (str_eq(p->spec.mode, "Block"))
        return "volumeMode Block is not supported by this kubelet";
    return NULL;
}

static void on_claim(const struct kube_result *r, void *arg)
{
    struct claim *c = arg;
    struct error err = ERROR_INIT;
    struct pvc p = {.meta = {.uid = NULL}};
    const char *ns = c->v->set->pod->meta.ns;
    c->call = NULL;
    if (r->error) {
        failed(c, "error processing PVC %s/%s: failed to fetch PVC from API server: %s", ns,
               c->name, r->error);
        return;
    }
    if (decode(&pvc_type, r->body, &p, &err) < 0) {
        failed(c, "error processing PVC %s/%s: %s", ns, c->name, error_text(&err));
        return;
    }
    const char *why = objection(c, &p);
    if (why) {
        failed(c, "error processing PVC %s/%s: %s", ns, c->name, why);
    } else {
        free(c->uid);
        free(c->pv_name);
        c->uid = TAKE_PTR(p.meta.uid);
        c->pv_name = TAKE_PTR(p.spec.volume);
        c->step = STEP_VOLUME;
        volume_changed(c->v);
    }
    decode_done(&pvc_type, &p);
}

static int ask(struct claim *c)
{
    const struct volume_set *s = c->v->set;
    _cleanup_free_ char *path =
        c->step == STEP_CLAIM
            ? kube_path("v1", s->pod->meta.ns, "persistentvolumeclaims", c->name, NULL)
            : kube_path("v1", NULL, "persistentvolumes", c->pv_name, NULL);
    c->call = kube_get(s->k->api, path, c->step == STEP_CLAIM ? on_claim : on_volume, c);
    return VOLUME_E_PENDING;
}

/* ---- using what was found ---- */
static void on_owned(const struct process_result *result, void *arg)
{
    struct claim *c = arg;
    struct error err = ERROR_INIT;
    c->own = NULL;
    if (process_result_error(result, "coracle-tree", &err) < 0) {
        failed(c, "fsGroup: %s", error_text(&err));
        return;
    }
    c->owned = true;
    volume_changed(c->v);
}

/* Local volumes are the pod's while it has them: their files go to its fsGroup. */
static int give_to_group(struct claim *c, struct error *err)
{
    const struct pod_security *sec = &c->v->set->pod->spec.security;
    char gid[24];
    if (!sec->fs_group.set || c->owned || c->v->read_only)
        return 0;
    (void)snprintf(gid, sizeof(gid), "%" PRId64, sec->fs_group.value);
    const char *const argv[] = {c->v->set->k->tree_program,
                                "own",
                                c->v->path,
                                gid,
                                "rw",
                                str_eq(sec->fs_group_policy, "OnRootMismatch") ? "OnRootMismatch"
                                                                               : "Always",
                                NULL};
    struct process_spec spec = PROCESS_SPEC_INIT;
    spec.argv = argv;
    int code = process_run(c->v->set->k->loop, &spec, NULL, 0, 4096, OWN_DEADLINE_MS, on_owned, c,
                           &c->own, err);
    return code < 0 ? code : VOLUME_E_PENDING;
}

static int use_local(struct claim *c, struct error *err)
{
    struct volume *v = c->v;
    int code = volume_use_path(v, c->pv.spec.local->path, NULL, err);
    if (!code && v->is_file)
        code = error_set(err, -ENOTSUP,
                         "local volume %s is a block device or file: only "
                         "directories are supported by this kubelet",
                         v->path);
    return code ? code : give_to_group(c, err);
}

static int use_nfs(struct claim *c, struct error *err)
{
    struct volume *v = c->v;
    struct strbuf options = STRBUF_INIT;
    for (size_t i = 0; i < c->pv.spec.options.count; i++)
        strbuf_addf(&options, "%s%s", i ? "," : "", c->pv.spec.options.items[i]);
    if (!v->path)
        v->path = str_printf("%s/volumes/%s/%s", v->set->dir, volume_nfs.plugin, c->pv_name);
    v->read_only |= c->pv.spec.nfs->read_only;
    int code = nfs_mount(v, &c->nfs, c->pv.spec.nfs, strbuf_text(&options), err);
    strbuf_done(&options);
    return code;
}

static int use(struct claim *c, struct error *err)
{
    const struct pv_spec *s = &c->pv.spec;
    if (s->host_path)
        return volume_use_path(c->v, s->host_path->path, s->host_path->type, err);
    if (s->local)
        return use_local(c, err);
    if (s->nfs)
        return use_nfs(c, err);
    return error_set(err, -ENOTSUP, "PV %s: volumes %s are not supported by this kubelet",
                     c->pv_name, s->csi ? "of kind \"csi\"" : "of its kind");
}

static int setup_claim(struct volume *v, struct error *err)
{
    struct claim *c = v->state;
    if (!v->set->k->api)
        return error_set(err, -ENOTCONN, "PVC \"%s\": there is no API server to read it from",
                         c->name);
    if (c->call || c->own)
        return VOLUME_E_PENDING;
    if (c->error) {
        int code = error_set(err, -EIO, "%s", c->error);
        free(c->error);
        c->error = NULL;
        return code;
    }
    if (c->step != STEP_USE)
        return ask(c);
    return use(c, err);
}

static void open_claim(struct volume *v)
{
    struct claim *c = mem_zalloc(sizeof(*c));
    c->v = v;
    c->name = str_dup(v->spec->claim->name ? v->spec->claim->name : "");
    v->read_only = v->spec->claim->read_only;
    v->state = c;
}

static void close_claim(struct volume *v)
{
    struct claim *c = v->state;
    kube_call_cancel(c->call);
    process_run_cancel(c->own);
    nfs_mount_free(c->nfs);
    decode_done(&pv_type, &c->pv);
    free(c->name);
    free(c->uid);
    free(c->pv_name);
    free(c->error);
    free(c);
    v->state = NULL;
}
const struct volume_ops volume_claim = {
    .open = open_claim, .setup = setup_claim, .close = close_claim};

/*
 * The cni network: plugins of the Container Network Interface make and unmake a pod's eth0. The
 * configuration is the first valid one in the directory, found and followed by inotify; without one
 * the network is not ready. What a pod's ADD was given and answered is kept on disk
 * (cni_attachment.h) until its DEL succeeded, and DEL goes by that alone.
 *
 * At most CHAINS_MAX pods are at it at once, in order of asking; GC runs by itself, as the
 * specification wants it (section GC).
 */
#include <errno.h>
#include <string.h>

#include "base/daemon.h"
#include "base/dirwatch.h"
#include "base/log.h"
#include "cri/cni_chain.h"
#include "cri/cni_config.h"
#include "cri/cni_result.h"
#include "cri/cni_runtime.h"
#include "cri/network_ops.h"
#include "cri/pod_link.h"

#define CHAINS_MAX   8
#define CONF_DIR     "/etc/cni/net.d"
#define STATE_DIR    "/var/lib/coracle/cni"
#define BIN_PATH     "/opt/cni/bin:/usr/lib/cni"
#define DEADLINE_S   60
#define DEADLINE_MAX 3600

struct cni {
    struct network base;
    char *conf_dir, *bin_path, *state_dir;
    uint64_t deadline_ms;
    struct dirwatch *watch;
    json_t *config; /* NULL: none */
    char *config_file;
    char problem[ERROR_TEXT_MAX]; /* why there is none */
    char not_ready[ERROR_TEXT_MAX];
    struct list waiting, running; /* struct op */
    unsigned n_running;
    bool exclusive; /* what runs is a GC */
};

/* One chain of plugins, for one pod or (GC) for all. */
struct op {
    struct list entry;
    struct cni *c;
    enum cni_command command;
    struct cni_attachment *attachment;
    json_t *valid;                  /* GC */
    struct network_attachment *ret; /* ADD: for the addresses */
    struct cni_chain *chain;
    done_fn done;
    void *arg;
};

static struct cni *cni_of(struct network *n)
{
    return CONTAINER_OF(n, struct cni, base);
}

/* ---- the queue ---- */
static void start_some(struct cni *c);

static void free_op(struct op *op)
{
    list_remove(&op->entry);
    cni_attachment_free(op->attachment);
    json_decref(op->valid);
    free(op);
}

static void finish(struct op *op, int code, const struct error *err)
{
    struct cni *c = op->c;
    c->n_running--;
    c->exclusive = false;
    if (op->done)
        op->done(code, err, op->arg);
    else if (code < 0)
        log_warn("a CNI call failed", "error", error_text(err), NULL);
    free_op(op);
    start_some(c);
}

static int take_result(struct op *op, json_t *result, struct error *err)
{
    struct ip_addr addrs[NETWORK_ADDRS_MAX];
    int n = cni_result_addresses(result, CNI_IFNAME, addrs, NETWORK_ADDRS_MAX, err);
    if (n < 0)
        return error_prefix(err, n, "CNI network \"%s\"",
                            json_path_string(op->attachment->config, "name"));
    op->attachment->result = json_incref(result);
    int r = cni_attachment_save(op->c->state_dir, op->attachment, err);
    if (r == 0) {
        *op->ret = (struct network_attachment){.n_addrs = (size_t)n};
        memcpy(op->ret->addrs, addrs, (size_t)n * sizeof(*addrs));
    }
    return r;
}

static void on_chain(int code, json_t *result, const struct error *told, void *arg)
{
    struct op *op = arg;
    struct error err = *told;
    op->chain = NULL;
    if (code == 0 && op->command == CNI_ADD)
        code = take_result(op, result, &err);
    if (code == 0 && op->command == CNI_DEL)
        code = cni_attachment_forget(op->c->state_dir, op->attachment->sandbox, &err);
    finish(op, code, &err);
}

static void start_chain(struct op *op)
{
    const struct cni_chain_options o = {.loop = op->c->base.loop,
                                        .command = op->command,
                                        .path = op->c->bin_path,
                                        .deadline_ms = op->c->deadline_ms,
                                        .attachment = op->attachment,
                                        .valid = op->valid};
    op->chain = cni_chain_start(&o, on_chain, op);
}

static int loopback_up(void *data, struct error *err)
{
    const struct op *op = data;
    return pod_link_loopback(op->attachment->netns, err);
}

static void on_loopback(int code, const struct error *err, void *data)
{
    struct op *op = data;
    if (code < 0)
        finish(op, code, err);
    else
        start_chain(op);
}

static void start_some(struct cni *c)
{
    while (!list_empty(&c->waiting) && !c->exclusive && c->n_running < CHAINS_MAX) {
        struct op *op = LIST_ENTRY(c->waiting.next, struct op, entry);
        if (op->command == CNI_GC && c->n_running)
            return;
        list_remove(&op->entry);
        list_append(&c->running, &op->entry);
        c->n_running++;
        c->exclusive = op->command == CNI_GC;
        if (op->command == CNI_ADD)
            job_run(c->base.jobs, loopback_up, on_loopback, op);
        else
            start_chain(op);
    }
}

static void enqueue(struct cni *c, enum cni_command command, struct cni_attachment *attachment,
                    json_t *valid, struct network_attachment *ret, done_fn done, void *arg)
{
    struct op *op = mem_zalloc(sizeof(*op));
    *op = (struct op){.c = c,
                      .command = command,
                      .attachment = attachment,
                      .valid = valid,
                      .ret = ret,
                      .done = done,
                      .arg = arg};
    list_append(&c->waiting, &op->entry);
    start_some(c);
}

/* ---- the configuration ---- */
static void on_directory(void *arg)
{
    struct cni *c = arg;
    struct error err = ERROR_INIT;
    json_t *config = NULL;
    _cleanup_free_ char *file = NULL;
    if (cni_config_load(c->conf_dir, &config, &file, &err) < 0) {
        if (!str_eq(c->problem, error_text(&err)))
            log_warn("there is no pod network", "error", error_text(&err), NULL);
        (void)snprintf(c->problem, sizeof(c->problem), "%s", error_text(&err));
    } else if (!json_equal(config, c->config)) {
        log_info("pod network", "name", json_path_string(config, "name"), "file", file, NULL);
    }
    json_decref(c->config);
    free(c->config_file);
    c->config = config;
    c->config_file = TAKE_PTR(file);
}

/* Why no pod can be attached now; 0. */
static int check_ready(struct cni *c, struct error *err)
{
    if (!c->config)
        return error_set(err, -EAGAIN, "%s", c->problem);
    int r = cni_config_check_plugins(c->config, c->bin_path, err);
    return r < 0 ? error_prefix(err, r, "%s", c->config_file) : 0;
}

static const char *not_ready(struct network *n)
{
    struct cni *c = cni_of(n);
    struct error err = ERROR_INIT;
    if (check_ready(c, &err) == 0)
        return NULL;
    (void)snprintf(c->not_ready, sizeof(c->not_ready), "%s", err.text);
    return c->not_ready;
}

/* Plugins have their own addresses; those that want the node's take them from the API. */
static int set_pod_cidr(_unused_ struct network *n, _unused_ const char *cidr, done_fn done,
                        void *arg, _unused_ struct error *err)
{
    if (done)
        done(0, NULL, arg);
    return 0;
}

/* ---- pods ---- */
static int cni_attach(struct network *n, const char *sandbox, const char *netns_path,
                      const Runtime__V1__PodSandboxConfig *config, struct network_attachment *ret,
                      done_fn done, void *arg, struct error *err)
{
    struct cni *c = cni_of(n);
    _cleanup_json_ json_t *runtime = NULL;
    char *args = NULL;
    struct error why = ERROR_INIT;
    int r = check_ready(c, &why);
    if (r < 0)
        return error_set(err, -EAGAIN, "the pod network is not ready: %s", why.text);
    if ((r = cni_runtime_config(config, &runtime, err)) < 0 ||
        (r = cni_runtime_args(sandbox, config->metadata, &args, err)) < 0)
        return r;
    struct cni_attachment *a = mem_zalloc(sizeof(*a));
    *a = (struct cni_attachment){.sandbox = str_dup(sandbox),
                                 .netns = str_dup(netns_path),
                                 .args = args,
                                 .config = json_incref(c->config),
                                 .runtime = TAKE_PTR(runtime)};
    if (json_object_get(a->runtime, "portMappings") && !cni_config_wants(a->config, "portMappings"))
        log_warn("no CNI plugin takes the pod's host ports", "sandbox", sandbox, "network",
                 json_path_string(a->config, "name"), NULL);
    r = cni_attachment_save(c->state_dir, a, err);
    if (r < 0) {
        cni_attachment_free(a);
        return r;
    }
    enqueue(c, CNI_ADD, a, NULL, ret, done, arg);
    return 0;
}

/* What a plugin keeps of a pod is its own affair. */
static void cni_adopt(_unused_ struct network *n, _unused_ const char *sandbox,
                      _unused_ const Runtime__V1__PodSandboxConfig *config,
                      _unused_ const struct network_attachment *a)
{
}

static void cni_detach(struct network *n, const char *sandbox,
                       _unused_ const struct network_attachment *unused, done_fn done, void *arg)
{
    struct cni *c = cni_of(n);
    struct cni_attachment *a = NULL;
    struct error err = ERROR_INIT;
    int r = cni_attachment_load(c->state_dir, sandbox, &a, &err);
    if (r == -EBADMSG) {
        log_error("what CNI plugins made for a pod cannot be taken back", "error", err.text, NULL);
        r = cni_attachment_forget(c->state_dir, sandbox, &err);
    }
    if (a)
        enqueue(c, CNI_DEL, a, NULL, NULL, done, arg);
    else if (done)
        done(r == -ENOENT ? 0 : r, &err, arg);
}

struct sweep {
    struct cni *c;
    bool (*keep)(const char *sandbox, void *arg);
    void *arg;
    json_t *valid;
};

static void sweep_one(const char *sandbox, void *arg)
{
    struct sweep *s = arg;
    if (s->keep(sandbox, s->arg)) {
        (void)json_array_append_new(
            s->valid, json_pack("{ssss}", "containerID", sandbox, "ifname", CNI_IFNAME));
        return;
    }
    log_warn("detaching a pod that is gone", "sandbox", sandbox, NULL);
    cni_detach(&s->c->base, sandbox, NULL, NULL, NULL);
}

static void cni_sweep(struct network *n, bool (*keep)(const char *sandbox, void *arg), void *arg)
{
    struct cni *c = cni_of(n);
    struct sweep s = {c, keep, arg, json_array()};
    (void)cni_attachments_each(c->state_dir, sweep_one, &s);
    if (!c->config || !cni_config_at_least(c->config, "1.1.0") ||
        json_path_bool(c->config, "disableGC", false)) {
        json_decref(s.valid);
        return;
    }
    struct cni_attachment *all = mem_zalloc(sizeof(*all));
    all->config = json_incref(c->config);
    enqueue(c, CNI_GC, all, s.valid, NULL, NULL, NULL);
}

/* ---- life ---- */
static void cni_close(struct network *n)
{
    struct cni *c = cni_of(n);
    struct list *const lists[] = {&c->waiting, &c->running};
    (void)dirwatch_free(c->watch);
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
        LIST_FOR_EACH(e, lists[i]) {
            struct op *op = LIST_ENTRY(e, struct op, entry);
            cni_chain_cancel(op->chain);
            free_op(op);
        }
    json_decref(c->config);
    free(c->config_file);
    free(c->conf_dir);
    free(c->bin_path);
    free(c->state_dir);
    free(c);
}

static struct cni *make(const struct network_options *o)
{
    struct cni *c = mem_zalloc(sizeof(*c));
    *c = (struct cni){.base = {&network_cni, o->loop, o->jobs}};
    c->conf_dir = o->cni_conf_dir ? str_dup(o->cni_conf_dir) : daemon_path(o->root, CONF_DIR);
    c->bin_path = str_dup(o->cni_bin_path ? o->cni_bin_path : BIN_PATH);
    c->state_dir = daemon_path(o->root, STATE_DIR);
    c->deadline_ms = (uint64_t)(o->cni_timeout_s ? o->cni_timeout_s : DEADLINE_S) * 1000;
    list_init(&c->waiting);
    list_init(&c->running);
    return c;
}

static struct network *cni_open(const struct network_options *o, struct error *err)
{
    if (o->cni_timeout_s < 0 || o->cni_timeout_s > DEADLINE_MAX) {
        (void)error_set_field(err, -EINVAL, "--cni-timeout", "--cni-timeout: 1 to %d seconds",
                              DEADLINE_MAX);
        return NULL;
    }
    struct cni *c = make(o);
    c->watch = dirwatch_new(o->loop, c->conf_dir, on_directory, c, err);
    if (!c->watch) {
        cni_close(&c->base);
        return NULL;
    }
    on_directory(c);
    return &c->base;
}

/* ---- --cleanup ---- */
struct cleanup {
    struct cni *c;
    size_t left;
    struct error first;
};

static void on_cleaned(int code, const struct error *err, void *arg)
{
    struct cleanup *k = arg;
    if (code < 0 && !k->first.code)
        k->first = *err;
    if (--k->left == 0)
        loop_stop(k->c->base.loop, 0);
}

static void clean_one(const char *sandbox, void *arg)
{
    struct cleanup *k = arg;
    k->left++;
    cni_detach(&k->c->base, sandbox, NULL, on_cleaned, k);
}

static size_t cni_left(const struct network_options *o)
{
    _cleanup_free_ char *dir = daemon_path(o->root, STATE_DIR);
    return cni_attachments_each(dir, NULL, NULL);
}

/* In a loop of its own, with nothing else in it. */
static int cni_cleanup(const struct network_options *o, struct error *err)
{
    struct network_options own = *o;
    own.loop = loop_new();
    struct cleanup k = {.c = make(&own), .left = 1};
    (void)cni_attachments_each(k.c->state_dir, clean_one, &k);
    if (--k.left)
        (void)loop_run(own.loop);
    cni_close(&k.c->base);
    (void)loop_free(own.loop);
    if (k.first.code && err)
        *err = k.first;
    return k.first.code;
}

const struct network_ops network_cni = {
    .name = "cni",
    .detach_needs_netns = true,
    .open = cni_open,
    .close = cni_close,
    .set_pod_cidr = set_pod_cidr,
    .not_ready = not_ready,
    .attach = cni_attach,
    .adopt = cni_adopt,
    .detach = cni_detach,
    .sweep = cni_sweep,
    .left = cni_left,
    .cleanup = cni_cleanup,
};

/*
 * Bootstrap tokens: the ConfigMap cluster-info of kube-public, from which nodes that join learn the
 * API server's address and CA, is signed with each token that is there to sign with; tokens that
 * have expired are deleted. As upstream's bootstrapsigner and tokencleaner.
 */
#include <errno.h>
#include <string.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "base/times.h"
#include "controllers/controllers.h"
#include "kube/jws.h"

#define KUBECONFIG_KEY "kubeconfig"
#define SIGNATURE_KEY  "jws-kubeconfig-"
#define SECRET_PREFIX  "bootstrap-token-"
#define CA_SIZE        (1 << 20)
#define INFO_KEY       CLUSTER_INFO_NS "/" CLUSTER_INFO_NAME
#define LOOK_MAX_MS    3600000 /* until the next look at a token's age */

struct controller {
    struct controllers *c;
    struct queue *signing, *cleaning;
    char *kubeconfig; /* for a new cluster-info; NULL: others make it */
};
struct look {
    struct queue *queue;
    char *key;
};

/* ---- tokens ---- */

/* A value of the Secret as text; "" when there is none. The caller frees. */
static char *value_of(const struct bootstrap_secret *s, const char *key)
{
    for (size_t i = 0; i < s->data.count; i++)
        if (str_eq(s->data.items[i].key, key))
            return str_ndup((const char *)s->data.items[i].value.data, s->data.items[i].value.len);
    return str_dup("");
}

/* Milliseconds until it expires; INT64_MAX: never. What cannot be read has expired. */
static int64_t time_left(const struct bootstrap_secret *s)
{
    _cleanup_free_ char *text = value_of(s, "expiration");
    int64_t ns = 0;
    if (!*text)
        return INT64_MAX;
    if (time_parse(text, &ns) < 0)
        return 0;
    return (ns - time_now_nano()) / 1000000;
}

/* Adds the token's signature, where it is there to sign. */
static void sign(const struct bootstrap_secret *s, const char *payload, json_t *data)
{
    _cleanup_free_ char *id = value_of(s, "token-id"), *secret = value_of(s, "token-secret"),
                        *signs = value_of(s, "usage-bootstrap-signing");
    _cleanup_free_ char *name = str_printf(SECRET_PREFIX "%s", id);
    if (!str_eq(s->meta.name, name) || !*secret || !str_eq(signs, "true") || time_left(s) <= 0)
        return;
    _cleanup_free_ char *key = str_printf(SIGNATURE_KEY "%s", id);
    _cleanup_free_ char *jws = jws_sign(id, secret, payload, strlen(payload));
    (void)json_object_set_new(data, key, json_string(jws));
}

/* ---- the ConfigMap ---- */

static void on_written(const struct kube_result *result, void *arg)
{
    struct look *look = arg;
    bool fine = !result->error || str_eq(result->reason, "AlreadyExists") ||
                str_eq(result->reason, "NotFound");
    queue_done(look->queue, look->key, fine ? NULL : result->error, false);
    free(look->key);
    free(look);
}

static struct look *look_new(struct queue *queue, const char *key)
{
    struct look *look = mem_zalloc(sizeof(*look));
    *look = (struct look){.queue = queue, .key = str_dup(key)};
    return look;
}

/* What data has to change: signatures that are missing, wrong, or of tokens that are gone. */
static json_t *difference(const struct controller *self, const struct config_map *info,
                          const char *payload)
{
    json_t *data = json_object();
    MAP_FOR_EACH(e, cache_objects(self->c->tokens))
        sign(map_value(e), payload, data);
    for (size_t i = 0; info && i < info->data.count; i++) {
        const char *key = info->data.items[i].key;
        const char *wanted = json_string_value(json_object_get(data, key));
        if (!str_starts(key, SIGNATURE_KEY))
            continue;
        if (str_eq(wanted, info->data.items[i].value))
            (void)json_object_del(data, key);
        else if (!wanted)
            (void)json_object_set_new(data, key, json_null());
    }
    return data;
}

static void work_signing(void *arg, const char *key)
{
    struct controller *self = arg;
    const struct config_map *info = cache_get(self->c->cluster_infos, INFO_KEY);
    const char *payload = info ? string_map_get(&info->data, KUBECONFIG_KEY) : self->kubeconfig;
    _cleanup_json_ json_t *data = payload ? difference(self, info, payload) : NULL;
    if (!payload || (info && !json_object_size(data))) {
        queue_done(self->signing, key, NULL, false);
        return;
    }
    const struct cache_kind *kind = cache_kind_of(self->c->cluster_infos);
    _cleanup_free_ char *path =
        kube_path(kind->api, CLUSTER_INFO_NS, kind->plural, info ? CLUSTER_INFO_NAME : NULL, NULL);
    if (!info)
        (void)json_object_set_new(data, KUBECONFIG_KEY, json_string(payload));
    _cleanup_json_ json_t *body =
        info ? json_pack("{s:O}", "data", data)
             : json_pack("{s:s,s:s,s:{s:s,s:s},s:O}", "apiVersion", kind->api, "kind", kind->kind,
                         "metadata", "name", CLUSTER_INFO_NAME, "namespace", CLUSTER_INFO_NS,
                         "data", data);
    struct look *look = look_new(self->signing, key);
    if (info)
        (void)kube_patch(self->c->client, path, KUBE_PATCH_MERGE, body, on_written, look);
    else
        (void)kube_create(self->c->client, path, body, on_written, look);
}

static void on_info(void *arg, _unused_ const void *before, _unused_ const void *now)
{
    queue_add(((struct controller *)arg)->signing, INFO_KEY);
}

/* ---- tokens that have expired ---- */

static void work_cleaning(void *arg, const char *key)
{
    struct controller *self = arg;
    const struct bootstrap_secret *s = cache_get(self->c->tokens, key);
    int64_t left = s ? time_left(s) : INT64_MAX;
    if (left > 0) {
        if (left != INT64_MAX)
            queue_add_after(self->cleaning, key, left < LOOK_MAX_MS ? (uint64_t)left : LOOK_MAX_MS);
        queue_done(self->cleaning, key, NULL, false);
        return;
    }
    _cleanup_free_ char *path = controller_path(cache_kind_of(self->c->tokens), &s->meta, NULL);
    _cleanup_json_ json_t *options =
        json_pack("{s:{s:s}}", "preconditions", "uid", s->meta.uid ? s->meta.uid : "");
    log_info("bootstrap token has expired and is deleted", "secret", key, NULL);
    (void)kube_delete(self->c->client, path, options, on_written, look_new(self->cleaning, key));
}

static void on_token(void *arg, const void *before, const void *now)
{
    struct controller *self = arg;
    const struct object_meta *meta = now ? now : before;
    _cleanup_free_ char *key = str_printf("%s/%s", meta->ns, meta->name);
    queue_add(self->signing, INFO_KEY);
    queue_add(self->cleaning, key);
}

/* ---- life ---- */

/* A kubeconfig that names the server and its CA and nobody. */
static char *info_kubeconfig(const char *server, const char *ca_file, struct error *err)
{
    _cleanup_strbuf_ struct strbuf ca = STRBUF_INIT;
    if (!ca_file) {
        (void)error_set(err, -EINVAL, "--cluster-info-server needs --root-ca-file");
        return NULL;
    }
    if (fs_read(ca_file, CA_SIZE, &ca, err) < 0)
        return NULL;
    _cleanup_free_ char *encoded = base64_encode(ca.data, ca.len);
    return str_printf("apiVersion: v1\nclusters:\n- cluster:\n    certificate-authority-data: %s\n"
                      "    server: %s\n  name: \"\"\ncontexts: null\ncurrent-context: \"\"\n"
                      "kind: Config\nusers: null\n",
                      encoded, server);
}

static struct controller *start(struct controllers *c)
{
    struct controller *self = mem_zalloc(sizeof(*self));
    struct error err = ERROR_INIT;
    self->c = c;
    self->signing = queue_new(c->loop, "bootstrapsigner", work_signing, self);
    self->cleaning = queue_new(c->loop, "tokencleaner", work_cleaning, self);
    if (c->cluster_info_server)
        self->kubeconfig = info_kubeconfig(c->cluster_info_server, c->root_ca_file, &err);
    if (err.code)
        log_warn("nodes that join cannot be told where the server is", "error", error_text(&err),
                 NULL);
    cache_subscribe(c->cluster_infos, on_info, self);
    cache_subscribe(c->tokens, on_token, self);
    return self;
}

static void synced(struct controller *self)
{
    queue_add(self->signing, INFO_KEY);
    queue_resume(self->signing);
    queue_resume(self->cleaning);
}

static void stop(struct controller *self)
{
    (void)queue_free(self->signing);
    (void)queue_free(self->cleaning);
    free(self->kubeconfig);
    free(self);
}

const struct controller_def bootstrap_signer = {"bootstrapsigner", start, synced, stop};

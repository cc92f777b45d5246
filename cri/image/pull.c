/*
 * Pulls; see pull.h.
 *
 * Manifest (through an index, by platform) → config → ingestion, whose layers are fetched by
 * pull_fetch.c: each into a file, digested on the way, resumed where it broke off. A worker reads
 * the file while it grows; what it makes of it counts only when the digest was right.
 */
#include "cri/image/pull_private.h"

#include <errno.h>
#include <string.h>

#include "cri/image/docker_config.h"
#include "cri/image/registries.h"
#include "cri/image/store_private.h"

#define ACCEPT \
    MEDIA_OCI_INDEX ", " MEDIA_OCI_MANIFEST ", " MEDIA_DOCKER_LIST ", " MEDIA_DOCKER_MANIFEST

struct pull_wait {
    struct list entry;
    struct pull *pull;
    void (*cb)(struct image *image, const struct error *err, void *arg);
    void *arg;
};

/* ---- ending ---- */

/* Forgets what an endpoint gave. */
static void reset(struct pull *p)
{
    p->get = registry_cancel(p->get);
    for (size_t i = 0; p->fetches && i < p->manifest.n_layers; i++)
        pull_fetch_done(&p->fetches[i]);
    p->ingest = ingest_cancel(p->ingest);
    free(p->fetches);
    p->fetches = NULL;
    manifest_done(&p->manifest);
    strbuf_done(&p->text);
    strbuf_done(&p->manifest_text);
    free(p->content_type);
    p->content_type = NULL;
}

static void pull_free(struct pull *p)
{
    list_remove(&p->entry);
    reset(p);
    for (size_t i = 0; i < p->n_endpoints; i++)
        (void)registry_free(p->endpoints[i]);
    free(p->endpoints);
    strbuf_done(&p->failures);
    image_reference_done(&p->ref);
    free(p->key);
    free(p);
}

static void pull_end(struct pull *p, struct image *image, const struct error *err)
{
    struct error copy = ERROR_INIT;
    if (image) {
        (void)image_ref(image);
    } else {
        _cleanup_free_ char *name = image_reference_text(&p->ref);
        copy = *err;
        (void)error_prefix(&copy, copy.code, "failed to pull %.300s", name);
        if (copy.code == -EAGAIN) /* gRPC's UNAVAILABLE rather than ABORTED */
            copy.code = -ECONNREFUSED;
    }
    struct list waits;
    list_init(&waits);
    LIST_FOR_EACH(e, &p->waits) {
        list_remove(e);
        list_append(&waits, e);
        LIST_ENTRY(e, struct pull_wait, entry)->pull = NULL;
    }
    pull_free(p);
    while (!list_empty(&waits)) {
        struct pull_wait *w = LIST_ENTRY(waits.next, struct pull_wait, entry);
        list_remove(&w->entry);
        w->cb(image, image ? NULL : &copy, w->arg);
        free(w);
    }
    (void)image_unref(image);
}

static int try_endpoints(struct pull *p, struct error *err);

static void note_failure(struct pull *p, const struct error *err)
{
    strbuf_addf(&p->failures, "%s%.500s", p->failures.len ? "; " : "", error_text(err));
}

/* The endpoint failed: the next one is tried. With the last the pull ends. */
static void pull_fail(struct pull *p, const struct error *err)
{
    struct error copy = *err; /* it may live in what is reset */
    reset(p);
    note_failure(p, &copy);
    if (p->next_endpoint < p->n_endpoints && try_endpoints(p, &copy) == 0)
        return;
    (void)error_set(&copy, copy.code, "%s", strbuf_text(&p->failures));
    pull_end(p, NULL, &copy);
}

void pull_wait_cancel(struct pull_wait *w)
{
    struct pull *p = w->pull;
    list_remove(&w->entry);
    free(w);
    if (p && list_empty(&p->waits))
        pull_free(p);
}

/* ---- layers ---- */

static void on_ingested(struct image *image, const struct error *err, void *arg)
{
    struct pull *p = arg;
    p->ingest = NULL;
    if (image)
        pull_end(p, image, NULL);
    else
        pull_fail(p, err);
}

static int ingest(struct pull *p, struct error *err)
{
    static const struct ingest_ops ops = {.fetch = pull_fetch_start, .done = on_ingested};
    _cleanup_free_ char *by_digest = image_reference_with_digest(&p->ref, p->top);
    /* With both a tag and a digest the digest decides; the tag may point elsewhere today. */
    _cleanup_free_ char *tagged = p->ref.digest ? NULL : image_reference_tagged(&p->ref);
    const char *names[] = {by_digest, tagged, NULL};
    struct ingest_image image = {
        .manifest_digest = p->manifest_digest,
        .manifest = strbuf_text(&p->manifest_text),
        .manifest_len = p->manifest_text.len,
        .config_digest = p->manifest.config.digest,
        .config = strbuf_text(&p->text),
        .config_len = p->text.len,
        .names = names,
    };
    p->stage = PULL_LAYERS;
    p->fetches = mem_zalloc((p->manifest.n_layers + 1) * sizeof(*p->fetches));
    int r = ingest_start(p->puller->table, &image, p->manifest.n_layers, &ops, p, &p->ingest, err);
    strbuf_done(&p->text);
    return r;
}

/* ---- manifest and config ---- */

static int request(struct pull *p, enum pull_stage stage, const char *kind, const char *digest,
                   struct error *err);

static int take_config(struct pull *p, struct error *err)
{
    if (p->text.len != p->manifest.config.size)
        return error_set(err, -EBADMSG, "config %s has %zu bytes, its manifest says %llu",
                         p->manifest.config.digest, p->text.len,
                         (unsigned long long)p->manifest.config.size);
    return ingest(p, err);
}

static int take_manifest(struct pull *p, const char *digest, struct error *err)
{
    _cleanup_json_ json_t *j = json_parse(strbuf_text(&p->text), p->text.len, err);
    enum manifest_kind kind;
    int r = j ? manifest_kind(j, p->content_type, &kind, err) : -EINVAL;
    if (r)
        return error_prefix(err, r, "manifest %s", digest);
    if (kind == MANIFEST_INDEX) {
        if (p->stage != PULL_TOP)
            return error_set(err, -EINVAL, "manifest %s: an index within an index", digest);
        struct platform host = platform_host();
        struct descriptor d = {.digest = NULL};
        r = index_select(j, &host, &d, err);
        if (!r)
            r = request(p, PULL_MANIFEST, "manifests", d.digest, err);
        descriptor_done(&d);
        return r;
    }
    if ((r = manifest_parse(j, &p->manifest, err)))
        return error_prefix(err, r, "manifest %s", digest);
    (void)snprintf(p->manifest_digest, IMAGE_ID_MAX, "%s", digest);
    strbuf_done(&p->manifest_text);
    p->manifest_text = p->text;
    p->text = (struct strbuf)STRBUF_INIT;
    if (store_blob_get(p->puller->table->store, p->manifest.config.digest, &p->text, NULL) == 0)
        return take_config(p, err);
    return request(p, PULL_CONFIG, "blobs", p->manifest.config.digest, err);
}

/* A document has arrived: it must be what its digest says before anything looks into it. */
static int take(struct pull *p, struct error *err)
{
    char digest[IMAGE_ID_MAX], hex[SHA256_HEX_LEN + 1];
    sha256_hex(strbuf_text(&p->text), p->text.len, hex);
    (void)snprintf(digest, sizeof(digest), "sha256:%s", hex);
    if (*p->wanted && !str_eq(p->wanted, digest))
        return error_set(err, -EBADMSG,
                         "asked for %s, the registry sent something with the digest %s", p->wanted,
                         digest);
    if (p->stage == PULL_CONFIG)
        return take_config(p, err);
    if (p->stage == PULL_TOP)
        memcpy(p->top, digest, sizeof(p->top));
    return take_manifest(p, digest, err);
}

static void on_head(_unused_ struct registry_get *get, const struct http_response *response,
                    void *arg)
{
    struct pull *p = arg;
    const char *type = http_headers_get(response->headers, "Content-Type");
    free(p->content_type);
    p->content_type = type ? str_ndup(type, strcspn(type, "; \t")) : NULL;
}

static void on_data(struct registry_get *get, const void *data, size_t len, void *arg)
{
    struct pull *p = arg;
    if (p->text.len + len > MANIFEST_BYTES_MAX) {
        struct error err = ERROR_INIT;
        (void)error_set(&err, -EFBIG, "a manifest or config of more than %u bytes",
                        MANIFEST_BYTES_MAX);
        p->get = registry_cancel(get);
        pull_fail(p, &err);
        return;
    }
    strbuf_add(&p->text, data, len);
}

static void on_end(_unused_ struct registry_get *get, const struct error *failure, void *arg)
{
    struct pull *p = arg;
    struct error err = ERROR_INIT;
    p->get = NULL;
    if (failure)
        pull_fail(p, failure);
    else if (take(p, &err))
        pull_fail(p, &err);
}

/* @digest may be a tag when the stage is PULL_TOP. */
static int request(struct pull *p, enum pull_stage stage, const char *kind, const char *digest,
                   struct error *err)
{
    static const struct registry_ops ops = {.head = on_head, .data = on_data, .end = on_end};
    _cleanup_free_ char *what = str_printf("%s/%s", kind, digest);
    (void)snprintf(p->wanted, sizeof(p->wanted), "%s", digest_valid(digest) ? digest : "");
    p->stage = stage;
    strbuf_done(&p->text);
    p->get =
        registry_start(p->registry, what, stage == PULL_CONFIG ? NULL : ACCEPT, 0, &ops, p, err);
    return p->get ? 0 : err->code;
}

/* Begins with the next endpoint that can be asked at all; those that cannot are noted. */
static int try_endpoints(struct pull *p, struct error *err)
{
    const char *what = p->ref.digest ? p->ref.digest : p->ref.tag;
    int r = -ENOENT;
    while (p->next_endpoint < p->n_endpoints) {
        struct error why = ERROR_INIT;
        p->registry = p->endpoints[p->next_endpoint++];
        r = request(p, PULL_TOP, "manifests", what, &why);
        if (!r)
            return 0;
        reset(p);
        note_failure(p, &why);
    }
    return error_set(err, r, "%s", strbuf_text(&p->failures));
}

/* ---- the puller ---- */

struct puller *puller_new(struct ingest_table *table, struct loop *loop,
                          const struct option_list *insecure, const char *registries,
                          const char *docker_config)
{
    struct puller *puller = mem_zalloc(sizeof(*puller));
    puller->table = table;
    puller->loop = loop;
    puller->http = http_client_new(loop);
    puller->insecure = insecure;
    puller->registries = str_dup(registries);
    puller->docker_config = str_dup(docker_config);
    list_init(&puller->pulls);
    return puller;
}

struct puller *puller_free(struct puller *puller)
{
    if (!puller)
        return NULL;
    LIST_FOR_EACH(e, &puller->pulls) {
        struct pull *p = LIST_ENTRY(e, struct pull, entry);
        LIST_FOR_EACH(w, &p->waits) {
            list_remove(w);
            free(LIST_ENTRY(w, struct pull_wait, entry));
        }
        pull_free(p);
    }
    (void)http_client_free(puller->http);
    free(puller->registries);
    free(puller->docker_config);
    free(puller);
    return NULL;
}

/* Whoever may see an image must not get it because somebody else, who may, is pulling it now. */
static char *pull_key(const struct image_reference *ref, const struct registry_auth *a)
{
    _cleanup_free_ char *name = image_reference_text(ref);
    const char *parts[] = {a->username,       a->password,       a->encoded,
                           a->identity_token, a->registry_token, a->server};
    _cleanup_strbuf_ struct strbuf key = STRBUF_INIT;
    strbuf_adds(&key, name);
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
        strbuf_addf(&key, " %zu:%s", parts[i] ? strlen(parts[i]) : 0, parts[i] ? parts[i] : "");
    char hex[SHA256_HEX_LEN + 1];
    sha256_hex(key.data, key.len, hex);
    return str_dup(hex);
}

static struct pull *find_pull(struct puller *puller, const char *key)
{
    LIST_FOR_EACH(e, &puller->pulls) {
        struct pull *p = LIST_ENTRY(e, struct pull, entry);
        if (str_eq(p->key, key))
            return p;
    }
    return NULL;
}

/* Every endpoint gets its registry object now: they keep what they need of credentials. */
static int make_registries(struct pull *p, const struct registry_auth *auth, struct error *err)
{
    const struct puller *puller = p->puller;
    _cleanup_(registries_freep) struct registries *config =
        registries_load(puller->registries, err);
    _cleanup_(docker_config_freep) struct docker_config *docker =
        config ? docker_config_load(puller->docker_config, err) : NULL;
    if (!docker)
        return err->code;
    struct registry_endpoint *endpoints = registries_endpoints(
        config, p->ref.host, p->ref.path, auth, puller->insecure, &p->n_endpoints);
    p->endpoints = mem_zalloc((p->n_endpoints + 1) * sizeof(struct registry *));
    for (size_t i = 0; i < p->n_endpoints; i++) {
        struct registry_endpoint *e = &endpoints[i];
        if (!registry_auth_given(&e->auth))
            (void)docker_config_find(docker, e->host, e->repository, &e->auth);
        p->endpoints[i] = registry_new(puller->loop, puller->http, e);
    }
    (void)registry_endpoints_free(endpoints, p->n_endpoints);
    return 0;
}

static struct pull *start(struct puller *puller, struct image_reference *ref, const char *key,
                          const struct registry_auth *auth, struct error *err)
{
    struct pull *p = mem_zalloc(sizeof(*p));
    p->puller = puller;
    p->key = str_dup(key);
    p->ref = *ref;
    memset(ref, 0, sizeof(*ref));
    list_init(&p->waits);
    list_append(&puller->pulls, &p->entry);
    if (!make_registries(p, auth, err) && !try_endpoints(p, err))
        return p;
    pull_free(p);
    return NULL;
}

struct pull_wait *puller_pull(struct puller *puller, const char *name,
                              const struct registry_auth *auth,
                              void (*cb)(struct image *image, const struct error *err, void *arg),
                              void *arg, struct error *err)
{
    struct image_reference ref;
    if (image_reference_parse(name, &ref, err))
        return NULL;
    _cleanup_free_ char *key = pull_key(&ref, auth);
    struct pull *p = find_pull(puller, key);
    if (!p)
        p = start(puller, &ref, key, auth, err);
    image_reference_done(&ref);
    if (!p)
        return NULL;
    struct pull_wait *w = mem_zalloc(sizeof(*w));
    w->pull = p;
    w->cb = cb;
    w->arg = arg;
    list_append(&p->waits, &w->entry);
    return w;
}

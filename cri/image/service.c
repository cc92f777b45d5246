/* ImageService of CRI v1; see service.h. Archives are in service_import.c and service_export.c. */
#include "cri/image/service_private.h"

#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "cri/image/reference.h"

typedef Runtime__V1__Image Image;

/* ---- an image as the CRI shows it: strings are borrowed from the image and the config ---- */

struct image_message {
    Image m;
    Runtime__V1__Int64Value uid;
    Runtime__V1__ImageSpec spec;
    char *username;
};

static size_t count_strings(char *const *list)
{
    size_t n = 0;
    while (list[n])
        n++;
    return n;
}

/* The user of the config is "name", "uid", either with ":group". */
static void set_user(struct image_message *out, const char *user)
{
    size_t len = strcspn(user, ":");
    if (!len)
        return;
    if (strspn(user, "0123456789") >= len && len < 18) {
        runtime__v1__int64_value__init(&out->uid);
        out->uid.value = strtoll(user, NULL, 10);
        out->m.uid = &out->uid;
    } else {
        out->username = str_ndup(user, len);
        out->m.username = out->username;
    }
}

static void image_message_init(struct image_message *out, struct image_store *store,
                               const struct image *image)
{
    memset(out, 0, sizeof(*out));
    runtime__v1__image__init(&out->m);
    runtime__v1__image_spec__init(&out->spec);
    out->m.id = (char *)image->id;
    out->m.repo_tags = image->tags;
    out->m.n_repo_tags = count_strings(image->tags);
    out->m.repo_digests = image->digests;
    out->m.n_repo_digests = count_strings(image->digests);
    out->m.size = image->size;
    out->m.pinned = image->pinned;
    out->spec.image = (char *)image->id;
    out->m.spec = &out->spec;
    struct image_config config;
    if (image_config_load(store, image, &config, NULL))
        return;
    set_user(out, config.user ? config.user : "");
    image_config_done(&config);
}

/* ---- lists ---- */

struct image_list {
    struct image_store *store;
    struct image *only; /* NULL: all */
    bool filtered;
    struct image_message *items;
    size_t count;
};

static void add_to_list(struct image *image, void *arg)
{
    struct image_list *list = arg;
    if (list->filtered && image != list->only)
        return;
    list->items = mem_grow(list->items, list->count + 1, sizeof(*list->items));
    /* Pointers into the element are set once the array stays where it is. */
    image_message_init(&list->items[list->count++], list->store, image);
}

static Image **list_images(struct image_service *service, const Runtime__V1__ImageFilter *filter,
                           struct image_list *list)
{
    const char *name = filter && filter->image ? filter->image->image : NULL;
    *list = (struct image_list){.store = service->store};
    if (name && *name) {
        list->filtered = true;
        list->only = image_store_find(service->store, name);
    }
    image_store_each(service->store, add_to_list, list);
    Image **out = mem_zalloc((list->count + 1) * sizeof(Image *));
    for (size_t i = 0; i < list->count; i++) {
        struct image_message *im = &list->items[i];
        im->m.spec = &im->spec;
        if (im->m.uid)
            im->m.uid = &im->uid;
        out[i] = &im->m;
    }
    return out;
}

static void image_list_done(struct image_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i].username);
    free(list->items);
    (void)image_unref(list->only);
}

static void on_list(struct rpc_server_call *call, const ProtobufCMessage *request, void *arg)
{
    const Runtime__V1__ListImagesRequest *q = (const void *)request;
    Runtime__V1__ListImagesResponse response = RUNTIME__V1__LIST_IMAGES_RESPONSE__INIT;
    struct image_list list;
    response.images = list_images(arg, q->filter, &list);
    response.n_images = list.count;
    rpc_server_reply(call, &response.base);
    free(response.images);
    image_list_done(&list);
}

static void on_stream(struct rpc_server_call *call, const ProtobufCMessage *request, void *arg)
{
    const Runtime__V1__StreamImagesRequest *q = (const void *)request;
    struct image_list list;
    Image **images = list_images(arg, q->filter, &list);
    int r = 0;
    for (size_t i = 0; i < list.count && !r; i++) {
        Runtime__V1__StreamImagesResponse response = RUNTIME__V1__STREAM_IMAGES_RESPONSE__INIT;
        response.images = &images[i];
        response.n_images = 1;
        r = rpc_server_send(call, &response.base);
    }
    if (r == RPC_E_FULL)
        rpc_server_fail(call, RPC_RESOURCE_EXHAUSTED,
                        "too many images for one stream; use ListImages");
    else if (r)
        rpc_server_fail_errno(call, r, NULL);
    else
        rpc_server_end(call);
    free(images);
    image_list_done(&list);
}

/* ---- one image ---- */

static const char *spec_name(const Runtime__V1__ImageSpec *spec)
{
    return spec && spec->image && *spec->image ? spec->image : NULL;
}

static char *verbose_info(struct image_service *service, const struct image *image)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    _cleanup_json_ json_t *info = json_object();
    json_t *config = store_blob_get(service->store, image->id, &text, NULL) == 0
                         ? json_parse(strbuf_text(&text), text.len, NULL)
                         : NULL;
    (void)json_object_set_new(info, "imageSpec", config ? config : json_null());
    (void)json_object_set_new(info, "manifest", json_text(image->manifest));
    if (image->n_layers)
        (void)json_object_set_new(info, "chainID", json_text(image->chain[image->n_layers - 1]));
    _cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
    json_encode(info, &out);
    return strbuf_take(&out);
}

static void on_status(struct rpc_server_call *call, const ProtobufCMessage *request, void *arg)
{
    struct image_service *service = arg;
    const Runtime__V1__ImageStatusRequest *q = (const void *)request;
    const char *name = spec_name(q->image);
    if (!name) {
        rpc_server_fail(call, RPC_INVALID_ARGUMENT, "image.image is missing");
        return;
    }
    Runtime__V1__ImageStatusResponse response = RUNTIME__V1__IMAGE_STATUS_RESPONSE__INIT;
    Runtime__V1__ImageStatusResponse__InfoEntry entry =
        RUNTIME__V1__IMAGE_STATUS_RESPONSE__INFO_ENTRY__INIT;
    Runtime__V1__ImageStatusResponse__InfoEntry *entries[] = {&entry};
    struct image_message message = {.username = NULL};
    _cleanup_free_ char *info = NULL;
    _cleanup_(image_unrefp) struct image *image = image_store_find(service->store, name);
    if (image) {
        image_message_init(&message, service->store, image);
        response.image = &message.m;
        if (q->verbose) {
            info = verbose_info(service, image);
            entry.key = (char *)"info";
            entry.value = info;
            response.info = entries;
            response.n_info = 1;
        }
    }
    rpc_server_reply(call, &response.base);
    free(message.username);
}

static void on_remove(struct rpc_server_call *call, const ProtobufCMessage *request, void *arg)
{
    struct image_service *service = arg;
    const Runtime__V1__RemoveImageRequest *q = (const void *)request;
    struct error err = ERROR_INIT;
    const char *name = spec_name(q->image);
    Runtime__V1__RemoveImageResponse response = RUNTIME__V1__REMOVE_IMAGE_RESPONSE__INIT;
    if (!name)
        rpc_server_fail(call, RPC_INVALID_ARGUMENT, "image.image is missing");
    else if (image_store_remove(service->store, name, &err))
        rpc_server_fail_errno(call, err.code, &err);
    else
        rpc_server_reply(call, &response.base);
}

/* ---- pulls ---- */

struct pull_call {
    struct list entry;
    struct rpc_server_call *call;
    struct pull_wait *wait;
};

static void pull_call_free(struct pull_call *pc)
{
    list_remove(&pc->entry);
    free(pc);
}

static void on_pulled(struct image *image, const struct error *err, void *arg)
{
    struct pull_call *pc = arg;
    Runtime__V1__PullImageResponse response = RUNTIME__V1__PULL_IMAGE_RESPONSE__INIT;
    if (image) {
        response.image_ref = image->id;
        rpc_server_reply(pc->call, &response.base);
    } else {
        rpc_server_fail_errno(pc->call, err->code, err);
    }
    pull_call_free(pc);
}

static void on_pull_cancelled(struct rpc_server_call *call, void *arg)
{
    struct pull_call *pc = arg;
    pull_wait_cancel(pc->wait);
    rpc_server_fail(call, RPC_CANCELLED, "the pull was given up by its caller");
    pull_call_free(pc);
}

static void on_pull(struct rpc_server_call *call, const ProtobufCMessage *request, void *arg)
{
    struct image_service *service = arg;
    const Runtime__V1__PullImageRequest *q = (const void *)request;
    const char *name = spec_name(q->image);
    if (!name) {
        rpc_server_fail(call, RPC_INVALID_ARGUMENT, "image.image is missing");
        return;
    }
    struct registry_auth auth = {.username = NULL};
    if (q->auth)
        auth = (struct registry_auth){.username = q->auth->username,
                                      .password = q->auth->password,
                                      .encoded = q->auth->auth,
                                      .identity_token = q->auth->identity_token,
                                      .registry_token = q->auth->registry_token,
                                      .server = q->auth->server_address};
    struct error err = ERROR_INIT;
    struct pull_call *pc = mem_zalloc(sizeof(*pc));
    pc->call = call;
    pc->wait = puller_pull(service->puller, name, &auth, on_pulled, pc, &err);
    if (!pc->wait) {
        free(pc);
        rpc_server_fail_errno(call, err.code, &err);
        return;
    }
    list_append(&service->pulls, &pc->entry);
    rpc_server_on_cancel(call, on_pull_cancelled, pc);
}

/* ---- the service ---- */

#define METHOD(name, lower, kind, handler)                                                    \
    {                                                                                         \
        "/runtime.v1.ImageService/" #name, &runtime__v1__##lower##_request__descriptor, kind, \
            handler                                                                           \
    }
static const struct rpc_server_method methods[] = {
    METHOD(ListImages, list_images, RPC_UNARY, on_list),
    METHOD(StreamImages, stream_images, RPC_SERVER_STREAM, on_stream),
    METHOD(ImageStatus, image_status, RPC_UNARY, on_status),
    METHOD(PullImage, pull_image, RPC_UNARY, on_pull),
    METHOD(RemoveImage, remove_image, RPC_UNARY, on_remove),
};

struct image_service *image_service_new(const struct image_service_options *options)
{
    struct image_service *service = mem_zalloc(sizeof(*service));
    service->store = options->store;
    ingest_table_init(&service->table, options->store);
    service->puller = puller_new(&service->table, options->loop, options->insecure,
                                 options->registries, options->docker_config);
    if (options->archives)
        service->preload = preload_new(&service->table, options->archives);
    list_init(&service->pulls);
    list_init(&service->imports);
    list_init(&service->exports);
    return service;
}

struct image_service *image_service_free(struct image_service *service)
{
    if (!service)
        return NULL;
    LIST_FOR_EACH(e, &service->pulls)
        pull_call_free(LIST_ENTRY(e, struct pull_call, entry));
    image_service_stop_imports(service);
    image_service_stop_exports(service);
    (void)preload_free(service->preload);
    (void)puller_free(service->puller);
    free(service);
    return NULL;
}

void image_service_load_archives(struct image_service *service)
{
    if (service->preload)
        preload_start(service->preload);
}

void image_service_register(struct image_service *service, struct rpc_server *server)
{
    rpc_server_add(server, methods, ARRAY_SIZE(methods), service);
    image_service_register_import(service, server);
    image_service_register_export(service, server);
}

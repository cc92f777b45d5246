/*
 * ImageStatus, then PullImage where the policy wants one (with each credential that fits, one after
 * the other), then ImageStatus of what came.
 */
#include "kubelet/runtime/images.h"

#include <inttypes.h>

#include "base/strbuf.h"
#include "kubelet/runtime/image_gc.h"
#include "kubelet/runtime/image_name.h"

struct image_request {
    struct kubelet *k;
    struct pod *pod;
    struct image_want want;
    struct runtime_call *call;
    struct credential_list credentials;
    size_t tried;         /* of the credentials */
    struct strbuf errors; /* of the pulls so far */
    struct loop_deferred refuse;
    char *refusal; /* why the name cannot be one */
    uint64_t pull_started;
    bool pulled;
    void (*cb)(const struct image_result *result, void *arg);
    void *arg;
};

struct image_request *image_cancel(struct image_request *r)
{
    if (!r)
        return NULL;
    runtime_cancel(r->k->runtime, &r->call);
    credential_list_done(&r->credentials);
    strbuf_done(&r->errors);
    loop_deferred_done(&r->refuse);
    free(r->refusal);
    pod_unref(r->pod);
    free(r);
    return NULL;
}

static void finish(struct image_request *r, const char *reason, const char *message,
                   struct image_info *info)
{
    struct image_info none = {.id = NULL};
    struct image_result result = {.reason = reason,
                                  .message = message,
                                  .info = info ? info : &none,
                                  .pull_failed = r->pulled && reason};
    void (*cb)(const struct image_result *result, void *arg) = r->cb;
    void *arg = r->arg;
    cb(&result, arg);
    image_cancel(r);
    if (info)
        image_info_done(info);
}

static void read_info(const Runtime__V1__Image *image, struct image_info *info)
{
    info->id = str_dup(image->id);
    info->digest_ref = str_dup(image->n_repo_digests ? image->repo_digests[0] : image->id);
    if (image->uid) {
        info->has_uid = true;
        info->uid = image->uid->value;
    } else if (*image->username) {
        info->username = str_dup(image->username);
    }
}

static void ask_status(struct image_request *r, const char *image);
static void pull(struct image_request *r);
static void send_pull(struct image_request *r);

static _printf_(4, 5) void event(struct image_request *r, const char *type, const char *reason,
                                 const char *fmt, ...)
{
    struct strbuf text = STRBUF_INIT;
    va_list args;
    va_start(args, fmt);
    strbuf_addv(&text, fmt, args);
    va_end(args);
    kubelet_event(r->k, r->pod, r->want.container, type, reason, "%s", strbuf_text(&text));
    strbuf_done(&text);
}

static void on_status(void *arg, enum rpc_status status, const char *message,
                      const ProtobufCMessage *response)
{
    struct image_request *r = arg;
    const Runtime__V1__ImageStatusResponse *reply = (const void *)response;
    const char *policy = r->want.policy, *name = r->want.image;
    r->call = NULL;
    if (status != RPC_OK) {
        _cleanup_free_ char *text = str_printf("Failed to inspect image \"%s\": %s", name, message);
        event(r, "Warning", "InspectFailed", "%s", text);
        finish(r, "ImageInspectError", text, NULL);
        return;
    }
    bool present = reply->image && *reply->image->id;
    if (present && (r->pulled || !str_eq(policy, "Always"))) {
        struct image_info info = {.id = NULL};
        if (!r->pulled)
            event(r, "Normal", "Pulled", "Container image \"%s\" already present on machine", name);
        else
            image_gc_refresh(r->k->image_gc);
        read_info(reply->image, &info);
        finish(r, NULL, NULL, &info);
    } else if (r->pulled) {
        finish(r, "ErrImagePull", "the image is not there after it was pulled", NULL);
    } else if (str_eq(policy, "Never")) {
        _cleanup_free_ char *text =
            str_printf("Container image \"%s\" is not present with pull policy of Never", name);
        event(r, "Warning", "ErrImageNeverPull", "%s", text);
        finish(r, "ErrImageNeverPull", text, NULL);
    } else {
        pull(r);
    }
}

static void ask_status(struct image_request *r, const char *image)
{
    Runtime__V1__ImageSpec spec = RUNTIME__V1__IMAGE_SPEC__INIT;
    Runtime__V1__ImageStatusRequest request = RUNTIME__V1__IMAGE_STATUS_REQUEST__INIT;
    spec.image = (char *)(uintptr_t)image;
    request.image = &spec;
    r->call =
        runtime_call(r->k->runtime, CRI_IMAGE_STATUS, &request.base, CRI_DEADLINE_MS, on_status, r);
}

static void pull_failed(struct image_request *r, enum rpc_status status, const char *message)
{
    const char *name = r->want.image;
    const char *reason = status == RPC_UNAVAILABLE && str_starts(message, "RegistryUnavailable")
                             ? "RegistryUnavailable"
                             : "ErrImagePull";
    _cleanup_free_ char *text =
        r->credentials.count > 1 ? str_printf("[%s]", strbuf_text(&r->errors)) : str_dup(message);
    event(r, "Warning", "Failed", "Failed to pull image \"%s\": %s", name, text);
    event(r, "Warning", "Failed", "Error: %s", reason);
    r->pulled = true;
    finish(r, reason, text, NULL);
}

static void on_pulled(void *arg, enum rpc_status status, const char *message,
                      const ProtobufCMessage *response)
{
    struct image_request *r = arg;
    const Runtime__V1__PullImageResponse *reply = (const void *)response;
    const char *name = r->want.image;
    r->call = NULL;
    if (status != RPC_OK) {
        strbuf_addf(&r->errors, "%s%s", r->errors.len ? ", " : "", message);
        if (++r->tried < r->credentials.count)
            send_pull(r);
        else
            pull_failed(r, status, message);
        return;
    }
    r->pulled = true;
    uint64_t took = now_ms() - r->pull_started;
    event(r, "Normal", "Pulled", "Successfully pulled image \"%s\" in %" PRIu64 "ms", name, took);
    ask_status(r, *reply->image_ref ? reply->image_ref : name);
}

static void send_pull(struct image_request *r)
{
    Runtime__V1__ImageSpec spec = RUNTIME__V1__IMAGE_SPEC__INIT;
    Runtime__V1__AuthConfig auth = RUNTIME__V1__AUTH_CONFIG__INIT;
    Runtime__V1__PullImageRequest request = RUNTIME__V1__PULL_IMAGE_REQUEST__INIT;
    spec.image = (char *)(uintptr_t)r->want.image;
    request.image = &spec;
    if (r->tried < r->credentials.count) {
        auth.username = r->credentials.items[r->tried].user;
        auth.password = r->credentials.items[r->tried].password;
        request.auth = &auth;
    }
    r->call = runtime_call(r->k->runtime, CRI_PULL_IMAGE, &request.base, 0, on_pulled, r);
}

static void pull(struct image_request *r)
{
    event(r, "Normal", "Pulling", "Pulling image \"%s\"", r->want.image);
    r->pull_started = now_ms();
    send_pull(r);
}

static void on_refuse(void *arg)
{
    struct image_request *r = arg;
    event(r, "Warning", "InspectFailed", "%s", r->refusal);
    finish(r, "InvalidImageName", r->refusal, NULL);
}

struct image_request *image_ensure(struct kubelet *k, struct pod *pod,
                                   const struct image_want *want,
                                   void (*cb)(const struct image_result *result, void *arg),
                                   void *arg)
{
    struct image_request *r = mem_zalloc(sizeof(*r));
    *r = (struct image_request){.k = k, .pod = pod_ref(pod), .want = *want, .cb = cb, .arg = arg};
    struct error err = ERROR_INIT;
    struct image_name name = {.domain = NULL};
    loop_deferred_init(&r->refuse, k->loop, on_refuse, r);
    if (image_name_parse(want->image, &name, &err) < 0) {
        r->refusal = str_printf("Failed to apply default image tag \"%s\": %s", want->image,
                                error_text(&err));
        loop_defer(&r->refuse);
        return r;
    }
    if (want->keys)
        keyring_lookup(want->keys, name.repository, &r->credentials);
    image_name_done(&name);
    r->want.keys = NULL;
    ask_status(r, want->image);
    return r;
}

/*
 * A client of the image services that knows only the protocols (CRI v1 and coracle.images.v1).
 *
 *   images SOCKET import FILE [NAME]      prints "ID NAME…" for each image
 *   images SOCKET export FILE NAME…       "-": standard output
 *   images SOCKET pull NAME [CREDENTIALS]   prints the image's reference; USER:PASS[@SERVER],
 *                                           auth=BASE64, identity=TOKEN or registry=TOKEN
 *   images SOCKET list [NAME] | status NAME | info NAME | remove NAME | fsinfo
 *
 * A failed call prints "STATUS: message" to standard error; exit status 1.
 */
#include "base/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/strbuf.h"
#include "net/cri.pb-c.h"
#include "net/grpc_client.h"
#include "net/images.pb-c.h"

#define CHUNK       (256 * 1024)
#define DEADLINE_MS 120000

struct client {
    struct loop *loop;
    struct rpc_client *rpc;
    void (*print)(const ProtobufCMessage *response);
    struct rpc_stream *stream;
    int fd;
    const char *name;
    bool sent_all;
};

static void finish(struct client *c, enum rpc_status status, const char *message)
{
    if (status != RPC_OK)
        (void)fprintf(stderr, "%s: %s\n", rpc_status_name(status), message);
    loop_stop(c->loop, status == RPC_OK ? 0 : 1);
}

static void on_reply(void *arg, enum rpc_status status, const char *message,
                     const ProtobufCMessage *response)
{
    struct client *c = arg;
    if (response)
        c->print(response);
    finish(c, status, message);
}

static int call(struct client *c, const struct rpc_method *method, const ProtobufCMessage *request,
                void (*print)(const ProtobufCMessage *response))
{
    c->print = print;
    (void)rpc_client_call(c->rpc, method, request, DEADLINE_MS, on_reply, c);
    return loop_run(c->loop);
}

/* ---- import ---- */

static void send_chunks(void *arg)
{
    static char buf[CHUNK];
    static ssize_t kept;
    struct client *c = arg;
    while (!c->sent_all) {
        ssize_t n = kept ? kept : read(c->fd, buf, sizeof(buf));
        if (n <= 0) {
            c->sent_all = true;
            rpc_stream_close_send(c->stream);
            return;
        }
        Coracle__Images__V1__ImportRequest m = CORACLE__IMAGES__V1__IMPORT_REQUEST__INIT;
        m.name = (char *)c->name;
        m.chunk.data = (uint8_t *)buf;
        m.chunk.len = (size_t)n;
        kept = rpc_stream_send(c->stream, &m.base) == RPC_E_FULL ? n : 0;
        if (kept)
            return;
    }
}

static void on_imported(void *arg, const ProtobufCMessage *message)
{
    (void)arg;
    const Coracle__Images__V1__ImportResponse *r = (const void *)message;
    for (size_t i = 0; i < r->n_images; i++) {
        (void)printf("%s", r->images[i]->id);
        for (size_t k = 0; k < r->images[i]->n_names; k++)
            (void)printf(" %s", r->images[i]->names[k]);
        (void)printf("\n");
    }
}

static void on_stream_end(void *arg, enum rpc_status status, const char *message)
{
    finish(arg, status, message);
}

static int import_archive(struct client *c, const char *file, const char *name)
{
    static const struct rpc_method method = {"/coracle.images.v1.Images/Import",
                                             &coracle__images__v1__import_response__descriptor};
    static const struct rpc_stream_events events = {
        .on_message = on_imported, .on_end = on_stream_end, .on_writable = send_chunks};
    c->fd = str_eq(file, "-") ? 0 : open(file, O_RDONLY | O_CLOEXEC);
    c->name = name;
    if (c->fd < 0) {
        (void)fprintf(stderr, "%s: %s\n", file, strerror(errno));
        return 1;
    }
    c->stream = rpc_client_stream(c->rpc, &method, NULL, false, DEADLINE_MS, &events, c);
    send_chunks(c);
    return loop_run(c->loop);
}

/* ---- export ---- */

static void on_chunk(void *arg, const ProtobufCMessage *message)
{
    struct client *c = arg;
    const Coracle__Images__V1__ExportResponse *r = (const void *)message;
    for (size_t at = 0; at < r->chunk.len;) {
        ssize_t n = write(c->fd, r->chunk.data + at, r->chunk.len - at);
        if (n <= 0) {
            perror("write");
            exit(1);
        }
        at += (size_t)n;
    }
}

static int export_images(struct client *c, const char *file, char **names, size_t count)
{
    static const struct rpc_method method = {"/coracle.images.v1.Images/Export",
                                             &coracle__images__v1__export_response__descriptor};
    static const struct rpc_stream_events events = {.on_message = on_chunk,
                                                    .on_end = on_stream_end};
    Coracle__Images__V1__ExportRequest q = CORACLE__IMAGES__V1__EXPORT_REQUEST__INIT;
    q.names = names;
    q.n_names = count;
    c->fd = str_eq(file, "-") ? 1 : open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (c->fd < 0) {
        (void)fprintf(stderr, "%s: %s\n", file, strerror(errno));
        return 1;
    }
    c->stream = rpc_client_stream(c->rpc, &method, &q.base, true, DEADLINE_MS, &events, c);
    return loop_run(c->loop);
}

/* ---- CRI ---- */

static void print_image(const Runtime__V1__Image *m)
{
    (void)printf("id %s\nsize %llu\n", m->id, (unsigned long long)m->size);
    for (size_t i = 0; i < m->n_repo_tags; i++)
        (void)printf("tag %s\n", m->repo_tags[i]);
    for (size_t i = 0; i < m->n_repo_digests; i++)
        (void)printf("digest %s\n", m->repo_digests[i]);
    if (m->pinned)
        (void)printf("pinned\n");
    if (m->uid)
        (void)printf("uid %lld\n", (long long)m->uid->value);
    if (m->username && *m->username)
        (void)printf("username %s\n", m->username);
}

static void print_list(const ProtobufCMessage *response)
{
    const Runtime__V1__ListImagesResponse *r = (const void *)response;
    for (size_t i = 0; i < r->n_images; i++)
        print_image(r->images[i]);
}

static void print_status(const ProtobufCMessage *response)
{
    const Runtime__V1__ImageStatusResponse *r = (const void *)response;
    if (r->image)
        print_image(r->image);
    for (size_t i = 0; i < r->n_info; i++)
        (void)printf("%s %s\n", r->info[i]->key, r->info[i]->value);
}

static void print_pulled(const ProtobufCMessage *response)
{
    (void)printf("%s\n",
                 ((const Runtime__V1__PullImageResponse *)(const void *)response)->image_ref);
}

static void print_fsinfo(const ProtobufCMessage *response)
{
    const Runtime__V1__ImageFsInfoResponse *r = (const void *)response;
    for (size_t i = 0; i < r->n_image_filesystems; i++)
        (void)printf("%s bytes %llu inodes %llu\n", r->image_filesystems[i]->fs_id->mountpoint,
                     (unsigned long long)r->image_filesystems[i]->used_bytes->value,
                     (unsigned long long)r->image_filesystems[i]->inodes_used->value);
}

static void print_nothing(const ProtobufCMessage *response)
{
    (void)response;
}

#define METHOD(name, lower)                                                   \
    static const struct rpc_method name = {"/runtime.v1.ImageService/" #name, \
                                           &runtime__v1__##lower##_response__descriptor}
METHOD(ListImages, list_images);
METHOD(ImageStatus, image_status);
METHOD(PullImage, pull_image);
METHOD(RemoveImage, remove_image);
METHOD(ImageFsInfo, image_fs_info);

static int pull(struct client *c, Runtime__V1__ImageSpec *spec, const char *credentials)
{
    Runtime__V1__PullImageRequest q = RUNTIME__V1__PULL_IMAGE_REQUEST__INIT;
    Runtime__V1__AuthConfig auth = RUNTIME__V1__AUTH_CONFIG__INIT;
    _cleanup_free_ char *user = str_dup(credentials);
    q.image = spec;
    q.auth = user ? &auth : NULL;
    if (user && str_starts(user, "auth=")) {
        auth.auth = strchr(user, '=') + 1;
    } else if (user && str_starts(user, "identity=")) {
        auth.identity_token = strchr(user, '=') + 1;
    } else if (user && str_starts(user, "registry=")) {
        auth.registry_token = strchr(user, '=') + 1;
    } else if (user) {
        char *colon = strchr(user, ':');
        if (colon)
            *colon = '\0';
        char *at = colon ? strchr(colon + 1, '@') : NULL;
        if (at) {
            *at = '\0';
            auth.server_address = at + 1;
        }
        auth.username = user;
        auth.password = colon ? colon + 1 : (char *)"";
    }
    return call(c, &PullImage, &q.base, print_pulled);
}

static int run(struct client *c, int argc, char **argv)
{
    const char *verb = argv[2], *name = argc > 3 ? argv[3] : NULL;
    Runtime__V1__ImageSpec spec = RUNTIME__V1__IMAGE_SPEC__INIT;
    spec.image = (char *)(name ? name : "");
    Runtime__V1__ImageStatusRequest status = RUNTIME__V1__IMAGE_STATUS_REQUEST__INIT;
    status.image = &spec;
    status.verbose = str_eq(verb, "info");
    Runtime__V1__ListImagesRequest list = RUNTIME__V1__LIST_IMAGES_REQUEST__INIT;
    Runtime__V1__ImageFilter filter = RUNTIME__V1__IMAGE_FILTER__INIT;
    filter.image = &spec;
    list.filter = name ? &filter : NULL;
    Runtime__V1__RemoveImageRequest gone = RUNTIME__V1__REMOVE_IMAGE_REQUEST__INIT;
    gone.image = &spec;
    Runtime__V1__ImageFsInfoRequest info = RUNTIME__V1__IMAGE_FS_INFO_REQUEST__INIT;
    if (str_eq(verb, "list"))
        return call(c, &ListImages, &list.base, print_list);
    if (str_eq(verb, "fsinfo"))
        return call(c, &ImageFsInfo, &info.base, print_fsinfo);
    if (name && str_eq(verb, "import"))
        return import_archive(c, name, argc > 4 ? argv[4] : "");
    if (name && str_eq(verb, "export"))
        return export_images(c, name, argv + 4, (size_t)(argc - 4));
    if (name && str_eq(verb, "pull"))
        return pull(c, &spec, argc > 4 ? argv[4] : NULL);
    if (name && (status.verbose || str_eq(verb, "status")))
        return call(c, &ImageStatus, &status.base, print_status);
    if (name && str_eq(verb, "remove"))
        return call(c, &RemoveImage, &gone.base, print_nothing);
    (void)fprintf(stderr,
                  "usage: images SOCKET import|export|pull|list|status|info|remove|fsinfo …\n");
    return 2;
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    struct error err = ERROR_INIT;
    struct client c = {.loop = loop_new(), .fd = -1};
    struct rpc *rpc = rpc_new(c.loop, &err);
    _cleanup_free_ char *target = str_printf("unix://%s", argv[1]);
    struct rpc_client_options options = {.target = target};
    c.rpc = rpc ? rpc_client_new(rpc, &options, &err) : NULL;
    int r = 1;
    if (c.rpc)
        r = run(&c, argc, argv);
    else
        (void)fprintf(stderr, "%s\n", error_text(&err));
    (void)rpc_client_free(c.rpc);
    (void)rpc_free(rpc);
    (void)loop_free(c.loop);
    if (c.fd > 0)
        (void)close(c.fd);
    return r;
}

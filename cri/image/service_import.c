/* coracle.images.v1.Images: archives that arrive as a stream; see lib/net/images.proto. */
#include "cri/image/service_private.h"

#include <errno.h>

#include "cri/image/import.h"
#include "net/images.pb-c.h"

struct import_call {
    struct list entry;
    struct image_service *service;
    struct rpc_server_call *call;
    struct import *import; /* NULL before the first message */
};

static void import_call_free(struct import_call *ic)
{
    (void)import_cancel(ic->import);
    list_remove(&ic->entry);
    free(ic);
}

static size_t count_strings(char *const *list)
{
    size_t n = 0;
    while (list[n])
        n++;
    return n;
}

static void reply(struct rpc_server_call *call, struct image *const *images, size_t count)
{
    Coracle__Images__V1__ImportResponse response = CORACLE__IMAGES__V1__IMPORT_RESPONSE__INIT;
    Coracle__Images__V1__ImportedImage *items = mem_zalloc((count + 1) * sizeof(*items));
    Coracle__Images__V1__ImportedImage **list =
        mem_zalloc((count + 1) * sizeof(Coracle__Images__V1__ImportedImage *));
    for (size_t i = 0; i < count; i++) {
        coracle__images__v1__imported_image__init(&items[i]);
        items[i].id = images[i]->id;
        items[i].names = images[i]->tags;
        items[i].n_names = count_strings(images[i]->tags);
        items[i].size = images[i]->size;
        list[i] = &items[i];
    }
    response.images = list;
    response.n_images = count;
    rpc_server_reply(call, &response.base);
    free(list);
    free(items);
}

static void on_done(struct image *const *images, size_t count, const struct error *err, void *arg)
{
    struct import_call *ic = arg;
    ic->import = NULL;
    if (images)
        reply(ic->call, images, count);
    else
        rpc_server_fail_errno(ic->call, err->code, err);
    import_call_free(ic);
}

static void on_writable(void *arg)
{
    struct import_call *ic = arg;
    rpc_server_pause(ic->call, false);
}

static bool begin(struct import_call *ic, const char *name)
{
    static const struct import_ops ops = {.writable = on_writable, .done = on_done};
    struct error err = ERROR_INIT;
    ic->import = import_start(&ic->service->table, name, &ops, ic, &err);
    if (ic->import)
        return true;
    rpc_server_fail_errno(ic->call, err.code, &err);
    import_call_free(ic);
    return false;
}

static void on_chunk(struct rpc_server_call *call, const ProtobufCMessage *message, void *arg)
{
    struct import_call *ic = arg;
    const Coracle__Images__V1__ImportRequest *m = (const void *)message;
    if (!ic->import && !begin(ic, m->name))
        return;
    if (m->chunk.len && !import_write(ic->import, m->chunk.data, m->chunk.len))
        rpc_server_pause(call, true);
}

static void on_half_close(struct rpc_server_call *call, void *arg)
{
    struct import_call *ic = arg;
    if (ic->import) {
        import_end(ic->import);
        return;
    }
    rpc_server_fail(call, RPC_INVALID_ARGUMENT, "the archive is empty");
    import_call_free(ic);
}

static void on_cancel(struct rpc_server_call *call, void *arg)
{
    struct import_call *ic = arg;
    rpc_server_fail(call, RPC_CANCELLED, "the import was given up by its caller");
    import_call_free(ic);
}

static void on_import(struct rpc_server_call *call, _unused_ const ProtobufCMessage *request,
                      void *arg)
{
    struct image_service *service = arg;
    struct import_call *ic = mem_zalloc(sizeof(*ic));
    ic->service = service;
    ic->call = call;
    list_append(&service->imports, &ic->entry);
    rpc_server_on_message(call, on_chunk, on_half_close, ic);
    rpc_server_on_cancel(call, on_cancel, ic);
}

static const struct rpc_server_method methods[] = {
    {"/coracle.images.v1.Images/Import", &coracle__images__v1__import_request__descriptor,
     RPC_CLIENT_STREAM, on_import},
};

void image_service_register_import(struct image_service *service, struct rpc_server *server)
{
    rpc_server_add(server, methods, ARRAY_SIZE(methods), service);
}

void image_service_stop_imports(struct image_service *service)
{
    LIST_FOR_EACH(e, &service->imports)
        import_call_free(LIST_ENTRY(e, struct import_call, entry));
}

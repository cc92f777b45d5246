/* coracle.images.v1.Images/Export; see lib/net/images.proto. */
#include "cri/image/service_private.h"

#include "cri/image/export.h"
#include "net/images.pb-c.h"

struct export_call {
    struct list entry;
    struct rpc_server_call *call;
    struct export *export;
};

static void export_call_free(struct export_call *ec)
{
    (void)export_cancel(ec->export);
    list_remove(&ec->entry);
    free(ec);
}

static bool on_data(const void *data, size_t len, void *arg)
{
    struct export_call *ec = arg;
    Coracle__Images__V1__ExportResponse m = CORACLE__IMAGES__V1__EXPORT_RESPONSE__INIT;
    m.chunk.data = (uint8_t *)(uintptr_t)data;
    m.chunk.len = len;
    /* A client that is gone is told of by on_cancel; until then its bytes go nowhere. */
    return rpc_server_send(ec->call, &m.base) != RPC_E_FULL;
}

static void on_done(const struct error *err, void *arg)
{
    struct export_call *ec = arg;
    ec->export = NULL;
    if (err)
        rpc_server_fail_errno(ec->call, err->code, err);
    else
        rpc_server_end(ec->call);
    export_call_free(ec);
}

static void on_writable(_unused_ struct rpc_server_call *call, void *arg)
{
    struct export_call *ec = arg;
    export_continue(ec->export);
}

static void on_cancel(struct rpc_server_call *call, void *arg)
{
    rpc_server_fail(call, RPC_CANCELLED, "the export was given up by its caller");
    export_call_free(arg);
}

static void on_export(struct rpc_server_call *call, const ProtobufCMessage *request, void *arg)
{
    static const struct export_ops ops = {.data = on_data, .done = on_done};
    struct image_service *service = arg;
    const Coracle__Images__V1__ExportRequest *q = (const void *)request;
    struct error err = ERROR_INIT;
    struct export_call *ec = mem_zalloc(sizeof(*ec));
    ec->call = call;
    ec->export = export_start(service->store, q->names, q->n_names, &ops, ec, &err);
    if (!ec->export) {
        free(ec);
        rpc_server_fail_errno(call, err.code, &err);
        return;
    }
    list_append(&service->exports, &ec->entry);
    rpc_server_on_writable(call, on_writable, ec);
    rpc_server_on_cancel(call, on_cancel, ec);
}

static const struct rpc_server_method methods[] = {
    {"/coracle.images.v1.Images/Export", &coracle__images__v1__export_request__descriptor,
     RPC_SERVER_STREAM, on_export},
};

void image_service_register_export(struct image_service *service, struct rpc_server *server)
{
    rpc_server_add(server, methods, ARRAY_SIZE(methods), service);
}

void image_service_stop_exports(struct image_service *service)
{
    LIST_FOR_EACH(e, &service->exports)
        export_call_free(LIST_ENTRY(e, struct export_call, entry));
}

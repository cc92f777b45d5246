/* What service.c, service_import.c and service_export.c share. */
#pragma once

#include "cri/image/store_private.h"

#include "cri/image/ingest.h"
#include "cri/image/preload.h"
#include "cri/image/pull.h"
#include "cri/image/service.h"
#include "net/cri.pb-c.h"
#include "net/grpc_client.h"
#include "net/grpc_server.h"

struct image_service {
    struct image_store *store;
    struct ingest_table table;
    struct puller *puller;
    struct preload *preload;             /* NULL: no directory of archives */
    struct list pulls, imports, exports; /* calls under way */
};

void image_service_register_import(struct image_service *service, struct rpc_server *server);
void image_service_stop_imports(struct image_service *service);
void image_service_register_export(struct image_service *service, struct rpc_server *server);
void image_service_stop_exports(struct image_service *service);

/*
 * ImageService of CRI v1 and coracle.images.v1.Images: pulls, imports and queries of the image
 * store. coracle-cri makes one image_service and gives its methods to its gRPC server.
 */
#pragma once

#include "base/options.h"
#include "cri/image/store.h"

struct rpc_server;
struct image_service;

struct image_service_options {
    struct loop *loop;
    struct image_store *store;          /* borrowed */
    const struct option_list *insecure; /* registries spoken to over plain HTTP; borrowed */
    const char *registries;             /* path of registries.yaml (registries.h); may be NULL */
    const char *docker_config;          /* path of docker's config.json; may be NULL */
    const char *archives;               /* the directory of archives (preload.h); may be NULL */
};

struct image_service *image_service_new(const struct image_service_options *options);
/* Ends what runs; call after the gRPC server is gone. Returns NULL. */
struct image_service *image_service_free(struct image_service *service);
DEFINE_CLEANUP(struct image_service *, image_service_free);

/* Begins to load the directory of archives, once the socket is served. */
void image_service_load_archives(struct image_service *service);

/* Adds every method of both services to @server, which must not outlive @service. */
void image_service_register(struct image_service *service, struct rpc_server *server);

/*
 * Device plugins (v1beta1): programs that offer devices of this machine as extended resources.
 *
 *   allocation.c  which container has which devices; choosing more
 *   checkpoint.c  the same as a file, upstream's kubelet_internal_checkpoint
 *   plugin.c      one plugin: its devices, the calls to it
 *   devices.c     registration, what the node has
 *   request.c     devices for a pod, and before a container starts
 *   lister.c      the pod resources service
 *
 * A pod is given its devices before anything of it is made, and keeps them until it has ended, also
 * across restarts of the kubelet, whether the plugin is there or not.
 */
#pragma once

#include "base/map.h"
#include "kubelet/kubelet.h"
#include "net/deviceplugin.pb-c.h"
#include "net/grpc_client.h"

#define DEVICE_RESOURCES_MAX 64      /* registered at a time */
#define DEVICES_MAX          4096    /* of a plugin */
#define DEVICE_ID_MAX        256     /* bytes */
#define DEVICE_ANSWER_MAX    1048576 /* bytes, of Allocate for a container */

/* ---- allocation.c ---- */

/* The devices of one resource that a container has. */
struct allocation {
    char *pod_uid, *container, *resource;
    struct string_list ids;
    uint8_t *answer; /* encoded ContainerAllocateResponse; NULL while the plugin is being asked */
    size_t answer_len;
};
struct allocation_list {
    struct allocation *items;
    size_t count;
};
/* Adds one; the entry is the list's, valid until the next change. */
struct allocation *allocation_add(struct allocation_list *l, const char *pod_uid,
                                  const char *container, const char *resource);
struct allocation *allocation_find(const struct allocation_list *l, const char *pod_uid,
                                   const char *container, const char *resource);
/* Removes what a pod has. Returns whether there was anything. */
bool allocation_remove_pod(struct allocation_list *l, const char *pod_uid);
void allocation_list_done(struct allocation_list *l);
/* Whether somebody has this device; @but_pod's (may be NULL) don't count. */
bool allocation_has_device(const struct allocation_list *l, const char *resource, const char *id,
                           const char *but_pod);
/* What init containers of the pod, which have ended by the time that container @index starts, leave
 * to it: their devices, less those that a container before it took over. */
void allocation_reusable(const struct allocation_list *l, const struct pod *pod, size_t index,
                         const char *resource, struct string_list *ret);
/* Whether a name in limits may be a plugin's: a qualified name outside of Kubernetes' own domain.
 */
bool resource_is_extended(const char *name);

/* ---- checkpoint.c ---- */

#define CHECKPOINT_MAX (16u << 20)
/* The caller frees. @registered: names of resources. */
char *checkpoint_encode(const struct allocation_list *l, const struct string_list *registered);
/* Upstream's form (its Checksum is not looked at). -EINVAL with @err, and empty lists, for what is
 * none, or goes beyond a limit. */
int checkpoint_decode(const char *text, size_t len, struct allocation_list *ret,
                      struct string_list *ret_registered, struct error *err);

/* ---- plugin.c ---- */
struct plugin_device {
    char *id;
    bool healthy;
    int64_t *nodes; /* NUMA nodes it is near to */
    size_t n_nodes;
};
struct plugin {
    char *resource;
    struct rpc_client *client; /* NULL: it was here before, in another life of the kubelet's */
    struct rpc_stream *stream; /* of its list; NULL: it is gone */
    struct rpc_call *options_call;
    struct loop_timer forget;
    struct plugin_device *devices;
    size_t n_devices;
    bool pre_start, preferred;
    void (*changed)(struct plugin *p, void *arg);
    void *arg;
};
/* One that is not there. @changed: its devices are others, or it has come or gone. */
struct plugin *plugin_new(struct loop *loop, const char *resource,
                          void (*changed)(struct plugin *p, void *arg), void *arg);
struct plugin *plugin_free(struct plugin *p); /* returns NULL */
/* Connects to @socket in place of what was; @options NULL: it is asked. */
int plugin_connect(struct plugin *p, struct rpc *rpc, const char *socket,
                   const V1beta1__DevicePluginOptions *options, struct error *err);
bool plugin_is_here(const struct plugin *p);
size_t plugin_healthy(const struct plugin *p);
const struct plugin_device *plugin_device(const struct plugin *p, const char *id);
enum plugin_method { PLUGIN_PREFERRED, PLUGIN_ALLOCATE, PLUGIN_PRE_START };
/* NULL when the plugin is gone; else as rpc_client_call(). */
struct rpc_call *plugin_call(struct plugin *p, enum plugin_method method,
                             const ProtobufCMessage *request, rpc_reply_fn *cb, void *arg);

/* ---- devices.c, request.c ---- */
struct devices;
struct device_request; /* under way */
/* Serves both sockets. @changed: what the node has is another, later. -errno with @err. */
int devices_new(struct kubelet *k, void (*changed)(void *arg), void *arg, struct devices **ret,
                struct error *err);
struct devices *devices_free(struct devices *d); /* NULL is harmless; returns NULL */
/* Adds what plugins offer to a node's capacity and allocatable. Harmless for a NULL one. */
void devices_put(const struct devices *d, json_t *capacity, json_t *allocatable);
/* True when the pod has all devices that it asks for, or asks for none; always for a NULL one. */
bool devices_has(const struct devices *d, const struct pod *pod);
/* Gets what is missing. @done later, once: @error NULL, or why the pod can't have them, and then it
 * has none. */
struct device_request *devices_allocate(struct devices *d, struct pod *pod,
                                        void (*done)(void *arg, const char *error), void *arg);
/* Before each start of a container, where its plugin wants to know. NULL: it needn't; then @done is
 * not called. */
struct device_request *devices_pre_start(struct devices *d, struct pod *pod, const char *container,
                                         void (*done)(void *arg, const char *error), void *arg);
struct device_request *device_request_cancel(struct device_request *r); /* returns NULL */
/* What the plugins answered for a container. The caller frees with message_free(). NULL: nothing.
 */
V1beta1__ContainerAllocateResponse *devices_answer(const struct devices *d, const struct pod *pod,
                                                   const char *container);

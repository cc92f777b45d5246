/*
 * The proxy as a whole, without the API: objects in, kernel programmed. main.c feeds it from
 * informers, tests from files.
 */
#pragma once

#include "kube/events.h"
#include "proxy/config.h"

struct proxy;

struct proxy_env {
    const char *node;                /* this node's name */
    const char *journal;             /* of host changes; NULL: none is kept */
    const char *variant;             /* of iptables: "auto", "nft", "legacy" */
    struct event_recorder *recorder; /* may be NULL */
    const char *slice_api;           /* "discovery.k8s.io/v1": in events */
    /* After each run, for each address family. @error NULL: everything is programmed. */
    void (*synced)(void *arg, int family, const char *error);
    void *arg;
};

/* Decides the mode (config->mode is not "auto" any more), sets up what it needs. @config and @env
 * must stay valid. 0, or -errno and what is missing. */
int proxy_new(struct proxy **ret, struct loop *loop, struct config *config,
              const struct proxy_env *env, struct error *err);
struct proxy *proxy_free(struct proxy *p); /* what is programmed stays; returns NULL */

/* An object is new, has changed (@object), or is gone (NULL). What is wrong with it is logged and
 * recorded as an event. */
void proxy_service(struct proxy *p, const char *key, const json_t *object);
void proxy_slice(struct proxy *p, const char *key, const json_t *object);
/* This node's Node object; NULL: there is none. */
void proxy_node(struct proxy *p, const json_t *object);
/* The objects are complete: programs them. Before, nothing is done to the kernel. */
void proxy_start(struct proxy *p);

/* Whether everything that it was told is programmed. */
bool proxy_is_settled(const struct proxy *p);
/* What is known of a service, for people; NULL: nothing. New reference. */
json_t *proxy_describe(struct proxy *p, const char *key);

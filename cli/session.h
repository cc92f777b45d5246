/*
 * A command's connection to the cluster: loop, kubeconfig, client, and calls that wait. For
 * commands only; daemons never wait.
 */
#pragma once

#include "base/json.h"
#include "base/options.h"
#include "kube/client.h"

struct session {
    struct loop *loop;
    struct kubeconfig config;
    struct kube_client *client;
    const char *ns; /* --namespace or the context's; NULL with --all-namespaces */
};

/* @kubeconfig NULL: where kubectl looks, then /etc/coracle/kubeconfig. */
int session_open(struct session *s, const char *kubeconfig, const char *context, const char *ns,
                 struct error *err);
/* The flags of every command that talks to a cluster. */
struct cluster_flags {
    const char *kubeconfig, *context, *ns;
    bool all_namespaces;
};
#define CLUSTER_FLAGS_INIT \
    {                      \
        .kubeconfig = NULL \
    }
#define CLUSTER_OPTIONS(f)                                                                    \
    {"kubeconfig",     0,      OPTION_STRING,                                                 \
     &(f)->kubeconfig, "FILE", "default: where kubectl looks, then /etc/coracle/kubeconfig"}, \
        {"context", 0, OPTION_STRING, &(f)->context, "NAME", "context of the kubeconfig"},    \
    {                                                                                         \
        "namespace", 'n', OPTION_STRING, &(f)->ns, "NAME", "namespace (the context's)"        \
    }
/* As session_open(); s->ns is NULL with all_namespaces. */
int session_open_flags(struct session *s, const struct cluster_flags *flags, struct error *err);
void session_close(struct session *s); /* harmless on a zeroed session */

/* Makes one call and waits. 0 with the object in *ret (may be NULL); -ENOENT, -EEXIST, -EAGAIN
 * (conflict), -EACCES, -ECONNREFUSED …, -EIO, with the server's message in @err. @accept and
 * @content_type NULL: JSON. */
int session_call(struct session *s, const char *method, const char *path, const char *accept,
                 const char *content_type, const json_t *body, json_t **ret, struct error *err);

/* A GET whose body is not JSON, as text; the caller frees. */
int session_get_text(struct session *s, const char *path, char **ret, struct error *err);

/*
 * kubeconfig files (client.config v1): reading what kubectl reads, writing our own.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"

struct kubeconfig {
    char *server;   /* "https://host:port" */
    char *ca_pem;   /* NULL: the system's CAs */
    char *cert_pem; /* client certificate, NULL when none */
    char *key_pem;
    char *cert_file;                /* that cert_pem was read from; NULL: it is in the kubeconfig */
    char *token;                    /* bearer token, NULL when none */
    char *tls_server_name;          /* NULL: from server */
    char *namespace;                /* of the context; "default" when it names none */
    char *context, *cluster, *user; /* names chosen */
    bool insecure;                  /* insecure-skip-tls-verify */
};

/* Loads @path with @context (NULL: current-context). Files that it refers to (relative to @path)
 * are read. What is not supported (exec plugins, auth providers) is an error naming it. 0,
 * -ENOENT, -EINVAL, …. */
int kubeconfig_load(const char *path, const char *context, struct kubeconfig *ret,
                    struct error *err);
/* The path kubectl would use: @flag when given, the first existing file of $KUBECONFIG,
 * ~/.kube/config, /etc/coracle/kubeconfig. NULL when there is none. The caller frees. */
char *kubeconfig_find(const char *flag);
/* Writes a one-context kubeconfig with embedded certificates, mode 0600, atomic and synced. */
int kubeconfig_write(const char *path, const struct kubeconfig *config, struct error *err);
void kubeconfig_done(struct kubeconfig *config);

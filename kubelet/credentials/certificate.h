/*
 * A certificate of the kubelet's that the cluster signs: asked for by a CertificateSigningRequest,
 * kept with its key in <dir>/<prefix>-current.pem (a link to <prefix>-<time>.pem, as upstream), and
 * asked for anew at 70 to 80 % of its life.
 */
#pragma once

#include "base/loop.h"
#include "kube/client.h"

struct certificate;

struct certificate_options {
    const char *dir, *prefix; /* "kubelet-client" */
    const char *signer;       /* "kubernetes.io/kube-apiserver-client-kubelet" */
    const char *usage;        /* "client auth" */
    const char *node_name;    /* the subject is CN=system:node:<this>, O=system:nodes */
    const char *ips;          /* alternative names, separated by commas; NULL: none at all … */
    bool dns;                 /* … or the node's name too */
    bool once;                /* not again */
    /* Who is to be asked now; NULL: nobody yet. */
    struct kube_client *(*api)(void *arg);
    /* The file is another one: @pem holds the certificate and its key. 0, or -errno with @err: it
     * is tried again later. */
    int (*changed)(void *arg, const char *pem, struct error *err);
    void *arg;
};

/* Strings belong to the caller, for as long. Nothing happens before certificate_start(). */
struct certificate *certificate_new(struct loop *loop, const struct certificate_options *options);
struct certificate *certificate_free(struct certificate *c); /* NULL is harmless; returns NULL */
/* "<dir>/<prefix>-current.pem". */
const char *certificate_path(const struct certificate *c);
/* Reads the file. -ENOENT, -ESTALE (no longer valid), -EINVAL (not a certificate with its key). */
int certificate_read(const struct certificate *c, struct strbuf *pem, struct error *err);
/* Keeps it fresh from now on. @pem: what is in use; NULL: a certificate is needed at once. */
void certificate_start(struct certificate *c, const char *pem);

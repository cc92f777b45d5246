/*
 * A certificate of the kubelet's that the cluster signs: asked for by a CertificateSigningRequest,
 * kept with its key where store.h says, and asked for anew at 70 to 80 % of its life, or when it is
 * not for all the names that it has to be for. What fails is tried again, with back-off up to 5
 * minutes; why is logged whenever it is something else than before.
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
    bool once;                /* only while there is none at all */
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
/* Reads the file, as cert_store_read(). */
int certificate_read(const struct certificate *c, struct strbuf *pem, struct error *err);
/* Keeps it fresh from now on. @pem: what is in use; NULL: a certificate is needed at once. Again,
 * whenever something else is in use than what changed() was told of: what is under way is dropped
 * if that makes it needless. */
void certificate_start(struct certificate *c, const char *pem);
/* It has to be for these addresses (as options->ips) from now on: asked for at once where it is
 * not.
 */
void certificate_readdress(struct certificate *c, const char *ips);
/* When the one in use expires, in seconds since the epoch; 0: there is none. */
int64_t certificate_expires(const struct certificate *c);
/* How often asking has failed. */
uint64_t certificate_failures(const struct certificate *c);

/*
 * The keys and certificates of a server: one CA, and what each part needs to know the others.
 * Everything lies in <root>/etc/coracle/pki and is made once; certificates that are about to
 * expire, or whose names no longer fit the host's addresses, are made again at start.
 */
#pragma once

#include "base/error.h"

struct pki_config {
    const char *root;       /* --root */
    const char *server_url; /* "https://10.0.0.1:6443": what kubeconfigs point to */
    const char *node_name;
    const char *node_ip;    /* this host's address */
    const char *service_ip; /* first address of the service range: the `kubernetes` Service */
    const char *extra_san;  /* further name or address of the API, NULL for none */
};

/* Makes what is missing: ca, apiserver, apiserver-kubelet-client, kubelet (serving), the keys of
 * ServiceAccount tokens (sa.key, sa.pub), a CA with server and client certificates for etcd, and
 * the kubeconfigs admin, kubelet, controllers, proxy. */
int pki_ensure(const struct pki_config *config, struct error *err);

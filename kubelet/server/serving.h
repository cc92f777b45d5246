/*
 * The certificate of the kubelet's server: the files of the configuration; else one that the
 * cluster signs (serverTLSBootstrap), and until that is here, or without it, a self-signed one kept
 * in the kubelet's directory of certificates.
 */
#pragma once

#include "kubelet/config/file.h"
#include "kubelet/kubelet.h"
#include "net/tls.h"

struct serving;

/* -EINVAL names the field, or the file, that is at fault. */
int serving_new(struct kubelet *k, const struct kubelet_config *config, struct serving **ret,
                struct error *err);
/* Never without a certificate; follows what becomes of it. */
struct tls_server *serving_tls(const struct serving *s);
/* k->node_ips are others: a certificate of the cluster's is asked for anew. A self-signed one
 * stays. NULL is harmless. */
void serving_readdress(struct serving *s);
struct serving *serving_free(struct serving *s); /* NULL is harmless; returns NULL */

/*
 * Finding a cluster that one does not know yet: its address is given, and something by which its CA
 * is recognised (kubeadm's token-based and file-based discovery).
 */
#pragma once

#include "base/json.h"
#include "base/options.h"
#include "kube/kubeconfig.h"

struct discovery {
    const char *server;             /* "HOST[:PORT]"; NULL with a file */
    const char *token;              /* "abcdef.0123456789abcdef"; NULL with a file */
    const struct option_list *pins; /* of the CA's public key: "sha256:…"; any will do */
    bool unpinned;                  /* the token's signature alone is believed */
    const char *file;               /* a kubeconfig that names server and CA */
};

/* Asks the server (waits; 10 s each) for the ConfigMap cluster-info, checks its signature by the
 * token and its CA by the pins, and asks again over a connection that this CA vouches for. 0 with
 * server and ca_pem in *ret, else -errno, and the error says in one sentence what to do:
 * -ECONNREFUSED, -ETIMEDOUT (blocked?), -EHOSTUNREACH, -ENOENT (no cluster-info: no such cluster),
 * -EKEYEXPIRED (the token is not known, or is not any more), -EKEYREJECTED (wrong secret, wrong
 * pin), -ETIME (clocks differ), -EPROTO (the server's certificate), -EINVAL (flags; an answer that
 * cannot be understood). */
int discover(const struct discovery *d, struct kubeconfig *ret, struct error *err);

/* The part without a network: what a cluster-info object, which anybody may have sent, says.
 * -EKEYEXPIRED, -EKEYREJECTED, -EINVAL. */
int discovery_check(const struct discovery *d, const json_t *cluster_info, struct kubeconfig *ret,
                    struct error *err);

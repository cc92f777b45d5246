/*
 * Host ports: which ports of the node's addresses belong to which pod. What makes packets follow
 * are the rules in firewall_rules.h.
 */
#pragma once

#include "base/map.h"
#include "net/cri.pb-c.h"
#include "nl/address.h"

#define HOSTPORTS_MAX       1024 /* of one pod */
#define HOSTPORT_POD_ADDRS  2    /* one of each family */
#define HOSTPORT_FIELD_TEXT "config.port_mappings"

struct hostport {
    int protocol; /* IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP */
    uint16_t host_port, pod_port;
    struct ip_addr host_ip; /* family 0: every address; the unspecified one: all of its family */
};

/* "tcp", "udp", "sctp". */
const char *hostport_protocol(const struct hostport *p);
/* Whether the mapping is one for addresses of @family. */
bool hostport_serves(const struct hostport *p, int family);

/* The mappings with a host port that a sandbox's configuration asks for, in *ret (NULL when there
 * are none; the caller frees). -EINVAL naming the field. */
int hostports_parse(const Runtime__V1__PodSandboxConfig *config, struct hostport **ret, size_t *n,
                    struct error *err);

struct hostport_claim {
    char *pod; /* "namespace/name", for people */
    struct hostport *ports;
    size_t n;
    struct ip_addr addrs[HOSTPORT_POD_ADDRS]; /* of the pod */
    size_t n_addrs;
};
/* NULL gives NULL. */
struct hostport_claim *hostport_claim_copy(const struct hostport_claim *c);
void hostport_claim_free(struct hostport_claim *c);
/* The pod's address of @family; NULL. */
const struct ip_addr *hostport_pod_address(const struct hostport_claim *c, int family);

struct hostports {
    struct map claims; /* sandbox id → struct hostport_claim, in the order of claiming */
};
void hostports_init(struct hostports *h);
void hostports_done(struct hostports *h);

/* Gives the ports to a sandbox (@ports is taken, also on failure; of @addrs the first
 * HOSTPORT_POD_ADDRS count). -EBUSY naming the pod that has one of them, -EINVAL when the pod has
 * no address of a mapping's family. No ports: success, nothing is kept. */
int hostports_claim(struct hostports *h, const char *sandbox, const char *pod,
                    struct hostport *ports, size_t n, const struct ip_addr *addrs, size_t n_addrs,
                    struct error *err);
const struct hostport_claim *hostports_of(const struct hostports *h, const char *sandbox);
/* Whether there was something to give back. */
bool hostports_release(struct hostports *h, const char *sandbox);

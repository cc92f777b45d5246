/* IP virtual servers over generic netlink: services, their real servers, time-outs. */
#pragma once

#include "nl/address.h"

#define IPVS_SCHEDULER_MAX 16

struct ipvs;

struct ipvs_service {
    struct ip_addr address;
    int protocol; /* IPPROTO_TCP, … */
    uint16_t port;
    char scheduler[IPVS_SCHEDULER_MAX];
    uint32_t flags;   /* IP_VS_SVC_F_*, of those a user sets */
    uint32_t timeout; /* of persistence, in seconds; 0: none */
};
struct ipvs_dest {
    struct ip_addr address;
    uint16_t port;
    int weight;
    uint32_t active, inactive; /* connections, when listed */
};

/* -ENOTSUP when the kernel has no IPVS (module ip_vs). */
int ipvs_open(struct ipvs **ret, struct error *err);
struct ipvs *ipvs_free(struct ipvs *v); /* NULL is harmless; returns NULL */

/* Each: 0 or the kernel's -errno (-EEXIST, -ENOENT, …). A service is known by address, protocol,
 * port. */
int ipvs_add_service(struct ipvs *v, const struct ipvs_service *s, struct error *err);
int ipvs_set_service(struct ipvs *v, const struct ipvs_service *s, struct error *err);
int ipvs_delete_service(struct ipvs *v, const struct ipvs_service *s, struct error *err);
/* 1: it is there; 0: it is not; -errno. */
int ipvs_has_service(struct ipvs *v, const struct ipvs_service *s, struct error *err);
int ipvs_list_services(struct ipvs *v, int (*cb)(const struct ipvs_service *s, void *arg),
                       void *arg, struct error *err);
int ipvs_add_dest(struct ipvs *v, const struct ipvs_service *s, const struct ipvs_dest *d,
                  struct error *err);
int ipvs_set_dest(struct ipvs *v, const struct ipvs_service *s, const struct ipvs_dest *d,
                  struct error *err);
int ipvs_delete_dest(struct ipvs *v, const struct ipvs_service *s, const struct ipvs_dest *d,
                     struct error *err);
int ipvs_list_dests(struct ipvs *v, const struct ipvs_service *s,
                    int (*cb)(const struct ipvs_dest *d, void *arg), void *arg, struct error *err);
/* In seconds; 0 leaves one as it is. */
int ipvs_set_timeouts(struct ipvs *v, uint32_t tcp, uint32_t tcp_fin, uint32_t udp,
                      struct error *err);

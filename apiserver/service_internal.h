/* What service.c and service_repair.c share. */
#pragma once

#include "apiserver/service.h"

#define SERVICE_IP_PREFIX "/registry/ipaddresses/"
#define SERVICE_PORTS_KEY "/registry/ranges/servicenodeports"

/* The Service's one cluster IP as a number; false for a headless one, an ExternalName or none. */
bool service_cluster_ip(const json_t *svc, uint32_t *ret);
bool service_has_node_ports(const json_t *svc);
/* Plans the IPAddress object under @key for @svc; the key must be free. */
void service_plan_ip(struct plan *plan, const char *key, const json_t *svc);
/* Plans the bitmap @ports in place of the one that is known. */
void service_plan_ports(const struct allocations *a, const struct number_range *ports,
                        struct plan *plan);
/* Takes a stored RangeAllocation over (@len 0: there is none). */
void service_learn_ports(struct allocations *a, const void *value, size_t len, int64_t revision);

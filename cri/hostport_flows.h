/*
 * UDP flows that conntrack remembers wrongly. A flow keeps the translation that its first packet
 * met, for as long as packets come: one that began before a host port was mapped never reaches the
 * pod, one of a pod that is gone never reaches the next. TCP mends itself by a new connection.
 *
 * All of these take as long as the kernel needs to list its flows: on a helper thread.
 */
#pragma once

#include "cri/hostport.h"

/* Whether the claim has UDP ports at all. */
bool hostport_flows_concern(const struct hostport_claim *c);
/* After the rules of @c were made: flows to its host ports that go elsewhere are forgotten. */
int hostport_flows_opened(const struct hostport_claim *c, struct error *err);
/* After they were removed: flows through its host ports to the pod are forgotten. */
int hostport_flows_closed(const struct hostport_claim *c, struct error *err);
/* Flows that are translated to an address of @pods that is none of @used are forgotten. */
int hostport_flows_sweep(const struct ip_prefix *pods, size_t n_pods, const struct ip_addr *used,
                         size_t n_used, struct error *err);

/*
 * Stale flows. A UDP (or SCTP) client that keeps its socket keeps its conntrack entry, and with it
 * the endpoint it was given first, or none. When an endpoint goes, an address stops being a
 * service's, or a service gets its first endpoint, exactly the entries that lead nowhere are
 * deleted.
 */
#pragma once

#include "base/metrics.h"
#include "proxy/addresses.h"
#include "proxy/plan.h"

struct flows;

/* @latency: observed for each look at the table. 0 or -errno. */
int flows_new(struct flows **ret, const struct addresses *addresses, struct metric *latency,
              struct error *err);
struct flows *flows_free(struct flows *f); /* NULL is harmless; returns NULL */
/* @now (NULL: gone) has replaced @old (NULL: new, or unknown) in the kernel, in @family. */
void flows_replaced(struct flows *f, int family, const struct plan_service *old,
                    const struct plan_service *now);
/* Deletes what became stale by the above; cheap when nothing did. Failures are logged. */
void flows_flush(struct flows *f);

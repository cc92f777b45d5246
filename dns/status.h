/*
 * What the name server says of itself over HTTP: /metrics, /health (the process answers), /ready
 * (the names of the cluster are known; 503 until then) and /names/NAME (names.h).
 */
#pragma once

#include "base/error.h"
#include "base/loop.h"
#include "dns/metrics.h"
#include "dns/zone.h"

struct dns_status;

/* All are borrowed. @address: "127.0.0.1:9153". -EINVAL naming it, -EADDRINUSE, …
 */
int dns_status_new(struct dns_status **ret, struct loop *loop, const char *address,
                   struct dns_metrics *metrics, struct zone *zone, struct elsewhere *elsewhere,
                   struct error *err);
struct dns_status *dns_status_free(struct dns_status *s); /* NULL is harmless; returns NULL */

/* The virtual servers of one address family in the kernel, and the real servers of each. */
#pragma once

#include "base/list.h"
#include "base/loop.h"
#include "proxy/ipvs/model.h"

struct ipvs_servers {
    struct ipvs *ipvs;
    size_t count; /* virtual servers that are expected to be there, others' too */
    struct list draining;
    struct loop_timer drain;
};

/* -ENOTSUP when the kernel has no IPVS. Either way done() is to be called. */
int ipvs_servers_init(struct ipvs_servers *v, struct loop *loop, struct error *err);
void ipvs_servers_done(struct ipvs_servers *v); /* servers stay */

/* Each: 0 or -errno. @old NULL: it is new; what else is there under its
 * address is taken over. */
int ipvs_servers_change(struct ipvs_servers *v, const struct ipvs_server *old,
                        const struct ipvs_server *now, struct error *err);
int ipvs_servers_remove(struct ipvs_servers *v, const struct ipvs_service *s, struct error *err);
/* The server that is there becomes @wanted; its real servers are read. @there: its settings, if
 * known. */
int ipvs_servers_reconcile(struct ipvs_servers *v, const struct ipvs_service *there,
                           const struct ipvs_server *wanted, struct error *err);

/* The chain of authorizers; see authz.h. */
#include "apiserver/auth/authz.h"

#include <errno.h>

#include "apiserver/auth/node_authz.h"
#include "apiserver/auth/rbac.h"

enum mode { MODE_ALLOW, MODE_DENY, MODE_NODE, MODE_RBAC, MODES };
static const char *const mode_names[MODES] = {"AlwaysAllow", "AlwaysDeny", "Node", "RBAC"};

struct authz {
    bool modes[MODES];
    struct rbac *rbac;
    struct node_authz *nodes;
};

static int mode_of(const char *name)
{
    for (int i = 0; i < MODES; i++)
        if (str_eq(mode_names[i], name))
            return i;
    return -EINVAL;
}

int authz_check_modes(const struct option_list *modes, struct error *err)
{
    for (size_t i = 0; i < modes->count; i++)
        if (mode_of(modes->items[i]) < 0)
            return error_set(err, -EINVAL,
                             "--authorization-mode: \"%s\" is not supported: Node, RBAC, "
                             "AlwaysAllow and AlwaysDeny are",
                             modes->items[i]);
    return 0;
}

struct authz *authz_new(struct apiserver *srv, const struct option_list *modes)
{
    struct authz *authz = mem_zalloc(sizeof(*authz));
    for (size_t i = 0; i < modes->count; i++)
        if (mode_of(modes->items[i]) >= 0)
            authz->modes[mode_of(modes->items[i])] = true;
    if (!modes->count)
        authz->modes[MODE_ALLOW] = true;
    authz->rbac = rbac_new(srv);
    if (authz->modes[MODE_NODE])
        authz->nodes = node_authz_new(srv);
    return authz;
}

struct authz *authz_free(struct authz *authz)
{
    if (authz) {
        (void)rbac_free(authz->rbac);
        (void)node_authz_free(authz->nodes);
        free(authz);
    }
    return NULL;
}

void authz_load(struct authz *authz)
{
    rbac_load(authz->rbac);
    if (authz->nodes)
        node_authz_load(authz->nodes);
}

bool authz_allows_all(const struct authz *authz)
{
    return authz->modes[MODE_ALLOW];
}

bool authz_uses_rbac(const struct authz *authz)
{
    return authz->modes[MODE_RBAC];
}

const struct rbac *authz_rbac(const struct authz *authz)
{
    return authz->rbac;
}

const struct node_authz *authz_nodes(const struct authz *authz)
{
    return authz->nodes;
}

bool authz_allows(const struct authz *authz, const struct access *a, struct strbuf *reason)
{
    if (authz->modes[MODE_ALLOW] || user_in_group(a->user, GROUP_MASTERS))
        return true;
    if (authz->nodes && node_authz_allows(authz->nodes, a, reason))
        return true;
    _cleanup_strbuf_ struct strbuf why = STRBUF_INIT;
    bool allowed = authz->modes[MODE_RBAC] && rbac_allows(authz->rbac, a, reason ? &why : NULL);
    if (reason && allowed)
        strbuf_truncate(reason, 0); /* why nodes may not does not matter */
    if (reason && why.len)
        strbuf_addf(reason, "%s%s", reason->len ? ", " : "", strbuf_text(&why));
    if (authz->modes[MODE_DENY] && !allowed && reason)
        strbuf_addf(reason, "%sEverything is forbidden.", reason->len ? ", " : "");
    return allowed;
}

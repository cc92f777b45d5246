/* Choosing a mode; see modes.h. */
#include "proxy/modes.h"

#include <errno.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/strbuf.h"

const struct backend_ops *const modes[] = {&backend_nftables, &backend_iptables, &backend_ipvs,
                                           NULL};

const struct backend_ops *mode_find(const char *name)
{
    for (size_t i = 0; modes[i]; i++)
        if (str_eq(modes[i]->mode, name))
            return modes[i];
    return NULL;
}

static int probe_family(const struct backend_ops *ops, const struct backend_config *c, int family,
                        struct error *err)
{
    struct backend_config copy = *c;
    copy.family = family;
    return ops->probe(&copy, err);
}

static int choose(const char *name, const struct backend_config *probe,
                  const struct backend_ops **ret, struct error *err)
{
    const struct backend_ops *ops = mode_find(name);
    if (ops) {
        int r = probe_family(ops, probe, AF_INET, err);
        if (r == 0)
            *ret = ops;
        return r < 0 ? error_prefix(err, r, "mode %s is not possible here", name) : r;
    }
    if (!str_eq(name, "auto"))
        return error_set_field(err, -EINVAL, "mode", "mode: \"%s\" is not there", name);
    for (size_t i = 0; modes[i]; i++) {
        struct error why = ERROR_INIT;
        if (probe_family(modes[i], probe, AF_INET, &why) == 0) {
            *ret = modes[i];
            return 0;
        }
        log_info("mode is not possible here", "mode", modes[i]->mode, "error", why.text, NULL);
    }
    return error_set(err, -ENOTSUP, "none of the modes is possible here");
}

int mode_choose(struct config *config, const struct backend_config *probe, bool *ret_ipv6,
                const struct backend_ops **ret, struct error *err)
{
    struct error why = ERROR_INIT;
    int r = choose(config->mode, probe, ret, err);
    if (r == 0)
        r = config_set_mode(config, (*ret)->mode, err);
    if (r < 0)
        return r;
    *ret_ipv6 = fs_exists("/proc/net/if_inet6");
    if (*ret_ipv6 && probe_family(*ret, probe, AF_INET6, &why) < 0) {
        log_info("services are served in IPv4 only", "mode", config->mode, "error", why.text, NULL);
        *ret_ipv6 = false;
    }
    return 0;
}

int mode_cleanup(const struct backend_config *c, const struct backend_ops *keep, struct error *err)
{
    int first = 0;
    for (size_t i = 0; modes[i]; i++) {
        if (keep && (modes[i] == keep || str_eq(modes[i]->mode, keep->shares)))
            continue;
        int r = modes[i]->cleanup(c, first ? NULL : err);
        first = first ? first : r;
    }
    return first;
}

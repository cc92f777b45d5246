/* Kernel settings; see sysctls.h. */
#include "proxy/sysctls.h"

#include <errno.h>

#include "base/fs.h"
#include "base/journal.h"
#include "base/log.h"
#include "base/strbuf.h"

#define VALUE_MAX  64
#define LIBERAL    "net/netfilter/nf_conntrack_tcp_be_liberal"
#define CONNTRACKS "net/netfilter/nf_conntrack_max"

struct setting {
    const char *key;
    int64_t value;
    bool raise_only;
};

static int read_number(const char *key, int64_t *ret)
{
    _cleanup_free_ char *path = fs_join("/proc/sys", key);
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    int r = fs_read(path, VALUE_MAX, &text, NULL);
    if (r == 0)
        *ret = strtoll(strbuf_text(&text), NULL, 10);
    return r;
}

bool sysctls_tcp_be_liberal(void)
{
    int64_t value;
    return read_number(LIBERAL, &value) == 0 && value != 0;
}

/* A wish: some of these belong to the host and cannot be set from a container. */
static void wish(const char *journal, const struct setting *s)
{
    struct error err = ERROR_INIT;
    int64_t now;
    if (s->raise_only && read_number(s->key, &now) == 0 && now >= s->value)
        return;
    _cleanup_free_ char *value = str_printf("%lld", (long long)s->value);
    if (journal_sysctl(journal, "proxy", s->key, value, &err) < 0)
        log_info("kernel setting stays as it is", "sysctl", s->key, "wanted", value, "error",
                 err.text, NULL);
}

static int require(const char *journal, const struct setting *all, size_t n, struct error *err)
{
    int r = 0;
    for (size_t i = 0; i < n && r == 0; i++) {
        _cleanup_free_ char *value = str_printf("%lld", (long long)all[i].value);
        r = journal_sysctl(journal, "proxy", all[i].key, value, err);
    }
    return r;
}

static int apply_ipvs(const struct config *c, const char *journal, struct error *err)
{
    const struct setting needed[] = {{"net/ipv4/vs/conntrack", 1, false}};
    const struct setting wanted[] = {{"net/ipv4/vs/conn_reuse_mode", 0, false},
                                     {"net/ipv4/vs/expire_nodest_conn", 1, false},
                                     {"net/ipv4/vs/expire_quiescent_template", 1, false}};
    const struct setting arp[] = {{"net/ipv4/conf/all/arp_ignore", 1, false},
                                  {"net/ipv4/conf/all/arp_announce", 2, false}};
    int r = require(journal, needed, ARRAY_SIZE(needed), err);
    if (r == 0 && c->file.ipvs.strict_arp)
        r = require(journal, arp, ARRAY_SIZE(arp), err);
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(wanted); i++)
        wish(journal, &wanted[i]);
    return r;
}

int sysctls_apply(const struct config *c, const char *mode, const char *journal, struct error *err)
{
    const struct setting forward = {"net/ipv4/ip_forward", 1, false};
    const struct setting localnet = {"net/ipv4/conf/all/route_localnet", 1, false};
    const struct setting wanted[] = {
        {CONNTRACKS, c->conntrack_max, true},
        {"net/netfilter/nf_conntrack_tcp_timeout_established", c->tcp_established_s, false},
        {"net/netfilter/nf_conntrack_tcp_timeout_close_wait", c->tcp_close_wait_s, false},
        {"net/netfilter/nf_conntrack_udp_timeout", c->udp_s, false},
        {"net/netfilter/nf_conntrack_udp_timeout_stream", c->udp_stream_s, false},
        {LIBERAL, c->file.conntrack.tcp_be_liberal, false}};
    int r = require(journal, &forward, 1, err);
    if (r == 0 && str_eq(mode, "iptables") && c->localhost_node_ports)
        r = require(journal, &localnet, 1, err);
    if (r == 0 && str_eq(mode, "ipvs"))
        r = apply_ipvs(c, journal, err);
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(wanted); i++)
        if (wanted[i].value > 0)
            wish(journal, &wanted[i]);
    return r;
}

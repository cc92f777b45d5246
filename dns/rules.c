/* The rules for the service's address; see local.h. Made once: who flushes them gets tracked, not
 * lost, questions, until this process starts again. */
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "base/strbuf.h"
#include "dns/local.h"
#include "nl/iptables_ensure.h"

static const int families[] = {AF_INET, AF_INET6};

struct dns_rules {
    struct loop *loop;
    const struct dns_local_options *o;
    size_t at; /* of families */
    struct strbuf raw, filter;
    struct iptables_chain chains[2];
    struct iptables_ensure *making;
    struct loop_deferred through;
    void (*done)(void *arg);
    void *arg;
};

static void next(struct dns_rules *r);

static void add_rules(struct dns_rules *r, const struct ip_addr *a)
{
    static const char *const protocols[] = {"udp", "tcp"};
    char ip[IP_TEXT_MAX];
    unsigned bits = (unsigned)ip_addr_size(a) * 8;
    (void)ip_addr_format(a, ip);
    for (size_t i = 0; i < ARRAY_SIZE(protocols); i++) {
        _cleanup_free_ char *to = str_printf("-A " DNS_CHAIN " -d %s/%u -p %s --dport %u", ip, bits,
                                             protocols[i], r->o->port);
        _cleanup_free_ char *from = str_printf("-A " DNS_CHAIN " -s %s/%u -p %s --sport %u", ip,
                                               bits, protocols[i], r->o->port);
        strbuf_addf(&r->raw, "%s -j CT --notrack\n%s -j CT --notrack\n", to, from);
        strbuf_addf(&r->filter, "%s -j ACCEPT\n%s -j ACCEPT\n", to, from);
    }
}

static void on_made(void *arg, int code, const struct error *err)
{
    struct dns_rules *r = arg;
    r->making = NULL;
    if (code < 0)
        log_warn("rules cannot be made: questions are tracked, and a firewall may drop them",
                 "family", families[r->at] == AF_INET ? "IPv4" : "IPv6", "error", error_text(err),
                 NULL);
    r->at++;
    next(r);
}

static int make(struct dns_rules *r, int family, struct error *err)
{
    static const char *const raw_jumps[] = {"PREROUTING", "OUTPUT", NULL};
    static const char *const filter_jumps[] = {"INPUT", "OUTPUT", NULL};
    r->chains[0] = (struct iptables_chain){
        .table = "raw", .name = DNS_CHAIN, .jumps = raw_jumps, .rules = strbuf_text(&r->raw)};
    r->chains[1] = (struct iptables_chain){.table = "filter",
                                           .name = DNS_CHAIN,
                                           .jumps = filter_jumps,
                                           .rules = strbuf_text(&r->filter)};
    const struct iptables_ensure_options options = {.family = family,
                                                    .variant = r->o->variant,
                                                    .journal = r->o->journal,
                                                    .chains = r->chains,
                                                    .n_chains = ARRAY_SIZE(r->chains)};
    return iptables_ensure_start(&r->making, r->loop, &options, on_made, r, err);
}

/* The next family that has addresses. */
static void next(struct dns_rules *r)
{
    struct error err = ERROR_INIT;
    for (; r->at < ARRAY_SIZE(families); r->at++) {
        strbuf_truncate(&r->raw, 0);
        strbuf_truncate(&r->filter, 0);
        for (size_t i = 0; i < r->o->n_addresses; i++)
            if (r->o->addresses[i].family == families[r->at])
                add_rules(r, &r->o->addresses[i]);
        if (r->raw.len)
            break;
    }
    if (r->at == ARRAY_SIZE(families)) {
        loop_defer(&r->through);
        return;
    }
    int code = make(r, families[r->at], &err);
    if (code < 0)
        on_made(r, code, &err);
}

static void on_through(void *arg)
{
    const struct dns_rules *r = arg;
    r->done(r->arg);
}

struct dns_rules *dns_rules_new(struct loop *loop, const struct dns_local_options *o,
                                void (*done)(void *arg), void *arg)
{
    struct dns_rules *r = mem_zalloc(sizeof(*r));
    *r = (struct dns_rules){.loop = loop, .o = o, .done = done, .arg = arg};
    loop_deferred_init(&r->through, loop, on_through, r);
    next(r);
    return r;
}

struct dns_rules *dns_rules_free(struct dns_rules *r)
{
    if (!r)
        return NULL;
    (void)iptables_ensure_cancel(r->making);
    loop_deferred_done(&r->through);
    strbuf_done(&r->raw);
    strbuf_done(&r->filter);
    free(r);
    return NULL;
}

/* flannel's iptables rules; see rules.h. */
#include "flannel/rules.h"

#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <string.h>

#include "base/log.h"
#include "base/process.h"
#include "nl/iptables.h"
#include "nl/monitor.h"
#include "nl/nft.h"

#define OUTPUT_MAX  ((size_t)32 << 20)
#define DEADLINE_MS 60000
#define GATHER_MS   300 /* others' changes come in bursts */

#define MASQ    "-m comment --comment \"flanneld masq\""
#define FORWARD "-m comment --comment \"flanneld forward\""

/* ---- what is wanted, in the words of iptables-save ---- */

static void masquerade(const struct rules_wanted *w, int i, struct strbuf *to)
{
    char all[IP_TEXT_MAX], own[IP_TEXT_MAX];
    const char *chain = "-A FLANNEL-POSTRTG";
    (void)ip_prefix_format(&w->network[i], all);
    (void)ip_prefix_format(&w->subnet[i], own);
    /* What the service proxy has marked it masquerades by itself. */
    strbuf_addf(to, "%s -m mark --mark 0x4000/0x4000 " MASQ " -j RETURN\n", chain);
    strbuf_addf(to, "%s -s %s -d %s " MASQ " -j RETURN\n", chain, own, all);
    strbuf_addf(to, "%s -s %s -d %s " MASQ " -j RETURN\n", chain, all, own);
    strbuf_addf(to, "%s ! -s %s -d %s " MASQ " -j RETURN\n", chain, all, own);
    strbuf_addf(to, "%s -s %s ! -d %s " MASQ " -j MASQUERADE --random-fully\n", chain, all,
                i == V4 ? "224.0.0.0/4" : "ff00::/8");
    strbuf_addf(to, "%s ! -s %s -d %s " MASQ " -j MASQUERADE --random-fully\n", chain, all, all);
}

static void forward(const struct rules_wanted *w, int i, struct strbuf *to)
{
    char all[IP_TEXT_MAX];
    (void)ip_prefix_format(&w->network[i], all);
    strbuf_addf(to, "-A FLANNEL-FWD -s %s " FORWARD " -j ACCEPT\n", all);
    strbuf_addf(to, "-A FLANNEL-FWD -d %s " FORWARD " -j ACCEPT\n", all);
}

/* ---- the difference ---- */

/* The rules of a chain as they stand in @saved. */
static void chain_of(const char *saved, const char *table, const char *chain, struct strbuf *to)
{
    _cleanup_free_ char *head = str_printf("-A %s ", chain);
    bool in_table = false;
    for (const char *line = saved; line && *line;) {
        size_t len = strcspn(line, "\n");
        if (*line == '*')
            in_table = len == strlen(table) + 1 && strncmp(line + 1, table, len - 1) == 0;
        else if (in_table && len > strlen(head) && strncmp(line, head, strlen(head)) == 0)
            strbuf_add(to, line, len + (line[len] == '\n'));
        line += len + (line[len] == '\n');
    }
}

static void table_difference(const char *saved, const char *table, const char *chain,
                             const char *jump, const struct strbuf *wanted, struct strbuf *out)
{
    _cleanup_strbuf_ struct strbuf is = STRBUF_INIT;
    chain_of(saved, table, chain, &is);
    bool same = str_eq(strbuf_text(&is), strbuf_text(wanted)) &&
                iptables_saved_has_chain(saved, table, chain);
    bool jumps = iptables_saved_has_rule(saved, table, jump);
    if (same && jumps)
        return;
    strbuf_addf(out, "*%s\n", table);
    if (!same) /* with --noflush this empties the chain, and no other */
        strbuf_addf(out, ":%s - [0:0]\n%s", chain, strbuf_text(wanted));
    if (!jumps)
        strbuf_addf(out, "-A %s\n", jump);
    strbuf_adds(out, "COMMIT\n");
}

void flannel_rules_difference(const struct rules_wanted *w, int i, const char *saved,
                              struct strbuf *out)
{
    _cleanup_strbuf_ struct strbuf nat = STRBUF_INIT, filter = STRBUF_INIT;
    if (w->masquerade) {
        masquerade(w, i, &nat);
        table_difference(saved, "nat", "FLANNEL-POSTRTG", "POSTROUTING " MASQ " -j FLANNEL-POSTRTG",
                         &nat, out);
    }
    if (w->forward) {
        forward(w, i, &filter);
        table_difference(saved, "filter", "FLANNEL-FWD", "FORWARD " FORWARD " -j FLANNEL-FWD",
                         &filter, out);
    }
}

/* ---- bringing it about ---- */

static const struct {
    const char *save, *restore;
} programs[N_FAMILIES] = {{"iptables-save", "iptables-restore"},
                          {"ip6tables-save", "ip6tables-restore"}};

struct rules {
    struct loop *loop;
    char *journal;
    struct monitor *monitor;
    struct loop_timer look;
    struct process_run *process;
    struct rules_wanted wanted;
    uint64_t resync_ms;
    int at; /* the family that is looked at */
    bool again;
    char trouble[ERROR_TEXT_MAX];
};

static void next(struct rules *r);

static void finish(struct rules *r, const struct error *err)
{
    if (err && !str_eq(r->trouble, error_text(err)))
        log_warn("flannel's rules are not in place, trying again", "error", error_text(err), NULL);
    else if (!err && r->trouble[0])
        log_info("flannel's rules are in place again", NULL);
    (void)snprintf(r->trouble, sizeof(r->trouble), "%s", err ? error_text(err) : "");
    r->at = N_FAMILIES;
    loop_timer_set(&r->look, r->again ? GATHER_MS : r->resync_ms);
    r->again = false;
}

static void run(struct rules *r, const char *const *argv, const struct strbuf *input,
                void (*cb)(const struct process_result *result, void *arg))
{
    struct process_spec spec = PROCESS_SPEC_INIT;
    struct error err = ERROR_INIT;
    spec.argv = argv;
    if (process_run(r->loop, &spec, input ? strbuf_text(input) : "", input ? input->len : 0,
                    OUTPUT_MAX, DEADLINE_MS, cb, r, &r->process, &err) < 0)
        finish(r, &err);
}

static void on_restored(const struct process_result *result, void *arg)
{
    struct rules *r = arg;
    struct error err = ERROR_INIT;
    r->process = NULL;
    if (process_result_error(result, programs[r->at].restore, &err) < 0) {
        finish(r, &err);
        return;
    }
    log_debug("flannel's rules written", "program", programs[r->at].restore, NULL);
    r->at++;
    next(r);
}

static void on_saved(const struct process_result *result, void *arg)
{
    static const char *const tables[] = {"nat", "filter", NULL};
    struct rules *r = arg;
    struct error err = ERROR_INIT;
    _cleanup_strbuf_ struct strbuf input = STRBUF_INIT;
    r->process = NULL;
    int code = process_result_error(result, programs[r->at].save, &err);
    const char *saved = strbuf_text(result->out);
    if (code == 0)
        flannel_rules_difference(&r->wanted, r->at, saved, &input);
    if (code == 0 && input.len)
        code = iptables_journal_tables(r->journal, family_of(r->at), saved, tables, &err);
    if (code < 0) {
        finish(r, &err);
    } else if (input.len) {
        const char *const argv[] = {programs[r->at].restore, "-w", "10", "--noflush", NULL};
        run(r, argv, &input, on_restored);
    } else {
        r->at++;
        next(r);
    }
}

static void next(struct rules *r)
{
    while (r->at < N_FAMILIES && !r->wanted.on[r->at])
        r->at++;
    if (r->at == N_FAMILIES) {
        finish(r, NULL);
        return;
    }
    const char *const argv[] = {programs[r->at].save, NULL};
    run(r, argv, NULL, on_saved);
}

static void on_look(void *arg)
{
    struct rules *r = arg;
    if (r->process || (!r->wanted.masquerade && !r->wanted.forward))
        return;
    r->at = 0;
    next(r);
}

static void look_soon(struct rules *r)
{
    if (r->process)
        r->again = true;
    else
        loop_timer_set(&r->look, GATHER_MS);
}

/* Somebody deleted something in a table that we have rules in. */
static void on_event(const struct nlmsghdr *h, void *arg)
{
    struct rules *r = arg;
    const char *table;
    int family;
    int type = h ? nft_event(h, &family, &table) : NFT_MSG_DELTABLE;
    if (type == NFT_MSG_DELTABLE || type == NFT_MSG_DELCHAIN || type == NFT_MSG_DELRULE)
        if (!h || str_eq(table, "nat") || str_eq(table, "filter"))
            look_soon(r);
}

int flannel_rules_new(struct rules **ret, struct loop *loop, const char *journal, int resync_s,
                      struct error *err)
{
    static const unsigned groups[] = {NFNLGRP_NFTABLES};
    struct error e = ERROR_INIT;
    if (resync_s < 1 || resync_s > 86400)
        return error_set(err, -EINVAL, "--iptables-resync: %d is not 1 to 86400 seconds", resync_s);
    struct rules *r = mem_zalloc(sizeof(*r));
    *r = (struct rules){.loop = loop,
                        .journal = str_dup(journal),
                        .resync_ms = (uint64_t)resync_s * 1000,
                        .at = N_FAMILIES};
    loop_timer_init(&r->look, loop, "flannel's rules", on_look, r);
    if (monitor_new(&r->monitor, loop, NETLINK_NETFILTER, groups, 1, on_event, r, &e) < 0)
        log_debug("changes of rules are not heard of", "error", error_text(&e), NULL);
    *ret = r;
    return 0;
}

struct rules *flannel_rules_free(struct rules *r)
{
    if (r) {
        process_run_cancel(r->process);
        loop_timer_done(&r->look);
        (void)monitor_free(r->monitor);
        free(r->journal);
        free(r);
    }
    return NULL;
}

void flannel_rules_want(struct rules *r, const struct rules_wanted *w)
{
    r->wanted = *w;
    if (r->process)
        r->again = true;
    else
        loop_timer_set(&r->look, 0);
}

static bool is_ours(const char *chain)
{
    return str_eq(chain, "FLANNEL-POSTRTG") || str_eq(chain, "FLANNEL-FWD");
}

int flannel_rules_cleanup(const char *journal, struct error *err)
{
    return iptables_remove_chains(journal, is_ours, err);
}

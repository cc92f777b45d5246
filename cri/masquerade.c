/* The pod network's iptables rules; see masquerade.h. */
#include "cri/masquerade.h"

#include <errno.h>
#include <sys/socket.h>

#include "base/process.h"
#include "nl/iptables.h"

#define DEADLINE_MS  30000
#define OUTPUT_MAX   ((size_t)64 << 20)
#define JUMP_FORWARD "FORWARD -m comment --comment \"coracle: pod traffic\" -j CORACLE-FORWARD"
#define JUMP_MASQ    "POSTROUTING -m comment --comment \"coracle: pod egress\" -j CORACLE-MASQ"

struct apply {
    struct loop *loop;
    char *bridge, *pod_cidr, *cluster_cidr, *journal;
    done_fn done;
    void *arg;
};

void masquerade_rules(const struct masquerade *m, bool jump_forward, bool jump_masq,
                      struct strbuf *out)
{
    strbuf_adds(out, "*filter\n:CORACLE-FORWARD - [0:0]\n");
    strbuf_addf(out, "-A CORACLE-FORWARD -i %s -j ACCEPT\n", m->bridge);
    strbuf_addf(out, "-A CORACLE-FORWARD -o %s -j ACCEPT\n", m->bridge);
    if (jump_forward)
        strbuf_adds(out, "-A " JUMP_FORWARD "\n");
    strbuf_adds(out, "COMMIT\n*nat\n:CORACLE-MASQ - [0:0]\n");
    strbuf_addf(out, "-A CORACLE-MASQ ! -s %s -j RETURN\n", m->pod_cidr);
    strbuf_addf(out, "-A CORACLE-MASQ -d %s -j RETURN\n", m->cluster_cidr);
    strbuf_adds(out, "-A CORACLE-MASQ -d 224.0.0.0/4 -j RETURN\n"
                     "-A CORACLE-MASQ -j MASQUERADE --random-fully\n");
    if (jump_masq)
        strbuf_adds(out, "-A " JUMP_MASQ "\n");
    strbuf_adds(out, "COMMIT\n");
}

static void finish(struct apply *x, int code, const struct error *err)
{
    x->done(code, err, x->arg);
    free(x->bridge);
    free(x->pod_cidr);
    free(x->cluster_cidr);
    free(x->journal);
    free(x);
}

static void run(struct apply *x, const char *const *argv, const struct strbuf *input,
                void (*cb)(const struct process_result *result, void *arg))
{
    struct process_spec spec = PROCESS_SPEC_INIT;
    struct error err = ERROR_INIT;
    spec.argv = argv;
    int r = process_run(x->loop, &spec, input ? strbuf_text(input) : "", input ? input->len : 0,
                        OUTPUT_MAX, DEADLINE_MS, cb, x, NULL, &err);
    if (r < 0)
        finish(x, r, &err);
}

static void on_restored(const struct process_result *result, void *arg)
{
    struct error err = ERROR_INIT;
    int r = process_result_error(result, "iptables-restore", &err);
    finish(arg, r, &err);
}

static void on_saved(const struct process_result *result, void *arg)
{
    static const char *const tables[] = {"filter", "nat", NULL};
    struct apply *x = arg;
    struct error err = ERROR_INIT;
    const char *saved = strbuf_text(result->out);
    int r = process_result_error(result, "iptables-save", &err);
    if (r == 0)
        r = iptables_journal_tables(x->journal, AF_INET, saved, tables, &err);
    if (r < 0) {
        finish(x, r, &err);
        return;
    }
    const struct masquerade m = {.bridge = x->bridge,
                                 .pod_cidr = x->pod_cidr,
                                 .cluster_cidr = x->cluster_cidr,
                                 .journal = x->journal};
    _cleanup_strbuf_ struct strbuf rules = STRBUF_INIT;
    masquerade_rules(&m, !iptables_saved_has_rule(saved, "filter", JUMP_FORWARD),
                     !iptables_saved_has_rule(saved, "nat", JUMP_MASQ), &rules);
    static const char *const argv[] = {"iptables-restore", "-w", "10", "--noflush", NULL};
    run(x, argv, &rules, on_restored);
}

void masquerade_apply(struct loop *loop, const struct masquerade *m, done_fn done, void *arg)
{
    struct apply *x = mem_zalloc(sizeof(*x));
    *x = (struct apply){.loop = loop,
                        .bridge = str_dup(m->bridge),
                        .pod_cidr = str_dup(m->pod_cidr),
                        .cluster_cidr = str_dup(m->cluster_cidr),
                        .journal = str_dup(m->journal),
                        .done = done,
                        .arg = arg};
    static const char *const argv[] = {"iptables-save", NULL};
    run(x, argv, NULL, on_saved);
}

bool masquerade_is_ours(const char *chain)
{
    return str_eq(chain, "CORACLE-FORWARD") || str_eq(chain, "CORACLE-MASQ");
}

/* The pod network's iptables rules; see masquerade.h. */
#include "cri/masquerade.h"

#include <errno.h>

#include "base/process.h"

#define DEADLINE_MS  30000
#define OUTPUT_MAX   65536
#define JUMP_FORWARD "-m", "comment", "--comment", "coracle: pod traffic", "-j", "CORACLE-FORWARD"
#define JUMP_MASQ    "-m", "comment", "--comment", "coracle: pod egress", "-j", "CORACLE-MASQ"

struct apply {
    struct loop *loop;
    char *bridge, *pod_cidr, *cluster_cidr;
    bool has_forward, has_masq;
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
        strbuf_adds(out, "-A FORWARD -m comment --comment \"coracle: pod traffic\""
                         " -j CORACLE-FORWARD\n");
    strbuf_adds(out, "COMMIT\n*nat\n:CORACLE-MASQ - [0:0]\n");
    strbuf_addf(out, "-A CORACLE-MASQ ! -s %s -j RETURN\n", m->pod_cidr);
    strbuf_addf(out, "-A CORACLE-MASQ -d %s -j RETURN\n", m->cluster_cidr);
    strbuf_adds(out, "-A CORACLE-MASQ -d 224.0.0.0/4 -j RETURN\n"
                     "-A CORACLE-MASQ -j MASQUERADE --random-fully\n");
    if (jump_masq)
        strbuf_adds(out, "-A POSTROUTING -m comment --comment \"coracle: pod egress\""
                         " -j CORACLE-MASQ\n");
    strbuf_adds(out, "COMMIT\n");
}

static void finish(struct apply *x, int code, const struct error *err)
{
    x->done(code, err, x->arg);
    free(x->bridge);
    free(x->pod_cidr);
    free(x->cluster_cidr);
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

static void on_masq_checked(const struct process_result *result, void *arg)
{
    struct apply *x = arg;
    x->has_masq = result->status == 0;
    const struct masquerade m = {x->bridge, x->pod_cidr, x->cluster_cidr};
    _cleanup_strbuf_ struct strbuf rules = STRBUF_INIT;
    masquerade_rules(&m, !x->has_forward, !x->has_masq, &rules);
    static const char *const argv[] = {"iptables-restore", "-w", "10", "--noflush", NULL};
    run(x, argv, &rules, on_restored);
}

static void on_forward_checked(const struct process_result *result, void *arg)
{
    struct apply *x = arg;
    x->has_forward = result->status == 0;
    static const char *const argv[] = {"iptables", "-w",          "10",      "-t", "nat",
                                       "-C",       "POSTROUTING", JUMP_MASQ, NULL};
    run(x, argv, NULL, on_masq_checked);
}

void masquerade_apply(struct loop *loop, const struct masquerade *m, done_fn done, void *arg)
{
    struct apply *x = mem_zalloc(sizeof(*x));
    *x = (struct apply){.loop = loop,
                        .bridge = str_dup(m->bridge),
                        .pod_cidr = str_dup(m->pod_cidr),
                        .cluster_cidr = str_dup(m->cluster_cidr),
                        .done = done,
                        .arg = arg};
    static const char *const argv[] = {"iptables", "-w",      "10",         "-t", "filter",
                                       "-C",       "FORWARD", JUMP_FORWARD, NULL};
    run(x, argv, NULL, on_forward_checked);
}

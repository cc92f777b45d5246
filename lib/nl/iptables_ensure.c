/* Chains that have to be there; see iptables_ensure.h. */
#include "nl/iptables_ensure.h"

#include <string.h>
#include <sys/socket.h>

#include "base/process.h"
#include "base/strbuf.h"
#include "nl/iptables.h"

#define OUTPUT_MAX  (16u << 20)
#define DEADLINE_MS 30000
#define TABLES_MAX  4

struct iptables_ensure {
    struct loop *loop;
    struct iptables_ensure_options options;
    struct process_run *run;
    void (*done)(void *arg, int code, const struct error *err);
    void *arg;
};

/* "ip6tables-nft-save", or "iptables-save" for the host's default. */
static char *program(const struct iptables_ensure *e, const char *verb)
{
    const char *variant = e->options.variant;
    bool named = variant && !str_eq(variant, "auto");
    return str_printf("%s-%s%s%s", e->options.family == AF_INET6 ? "ip6tables" : "iptables",
                      named ? variant : "", named ? "-" : "", verb);
}

static void finish(struct iptables_ensure *e, int code, const struct error *err)
{
    void (*done)(void *arg, int code, const struct error *err) = e->done;
    void *arg = e->arg;
    free(e);
    done(arg, code, err);
}

static int start(struct iptables_ensure *e, const char *const *argv, const char *input,
                 void (*cb)(const struct process_result *result, void *arg), struct error *err)
{
    struct process_spec spec = PROCESS_SPEC_INIT;
    spec.argv = argv;
    return process_run(e->loop, &spec, input, strlen(input), OUTPUT_MAX, DEADLINE_MS, cb, e,
                       &e->run, err);
}

/* What is missing of one chain, as iptables-restore wants it; nothing when all is there. */
static void write_chain(const struct iptables_chain *c, const char *saved, struct strbuf *out)
{
    _cleanup_strbuf_ struct strbuf jumps = STRBUF_INIT;
    for (const char *const *from = c->jumps; from && *from; from++) {
        _cleanup_free_ char *rule = str_printf("%s -j %s", *from, c->name);
        if (!iptables_saved_has_rule(saved, c->table, rule))
            strbuf_addf(&jumps, "-I %s\n", rule);
    }
    if (iptables_saved_has_chain(saved, c->table, c->name) && !jumps.len && !c->rules)
        return;
    strbuf_addf(out, "*%s\n:%s - [0:0]\n%s%sCOMMIT\n", c->table, c->name, strbuf_text(&jumps),
                c->rules ? c->rules : "");
}

static void on_made(const struct process_result *result, void *arg)
{
    struct iptables_ensure *e = arg;
    struct error err = ERROR_INIT;
    finish(e, process_result_error(result, "iptables-restore", &err), &err);
}

static void on_saved(const struct process_result *result, void *arg)
{
    struct iptables_ensure *e = arg;
    const struct iptables_ensure_options *o = &e->options;
    const char *tables[TABLES_MAX + 1] = {NULL}, *saved = strbuf_text(result->out);
    struct error err = ERROR_INIT;
    _cleanup_strbuf_ struct strbuf input = STRBUF_INIT;
    int r = process_result_error(result, "iptables-save", &err);
    for (size_t i = 0; i < o->n_chains; i++) {
        write_chain(&o->chains[i], saved, &input);
        if (i < TABLES_MAX)
            tables[i] = o->chains[i].table;
    }
    if (r == 0 && input.len)
        r = iptables_journal_tables(o->journal, o->family, saved, tables, &err);
    _cleanup_free_ char *restore = program(e, "restore");
    const char *const argv[] = {restore, "--noflush", "--wait", "5", NULL};
    if (r == 0 && input.len)
        r = start(e, argv, strbuf_text(&input), on_made, &err);
    if (r < 0 || !input.len)
        finish(e, r, &err);
}

int iptables_ensure_start(struct iptables_ensure **ret, struct loop *loop,
                          const struct iptables_ensure_options *options,
                          void (*done)(void *arg, int code, const struct error *err), void *arg,
                          struct error *err)
{
    struct iptables_ensure *e = mem_zalloc(sizeof(*e));
    *e = (struct iptables_ensure){.loop = loop, .options = *options, .done = done, .arg = arg};
    _cleanup_free_ char *save = program(e, "save");
    /* Not "-t mangle": asked for it, the nft flavour makes the table. */
    const char *const argv[] = {save, NULL};
    int r = start(e, argv, "", on_saved, err);
    if (r < 0)
        free(e);
    else
        *ret = e;
    return r;
}

struct iptables_ensure *iptables_ensure_cancel(struct iptables_ensure *e)
{
    if (e) {
        process_run_cancel(e->run);
        free(e);
    }
    return NULL;
}

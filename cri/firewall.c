/* Applying the iptables rules; see firewall.h. */
#include "cri/firewall.h"

#include <errno.h>
#include <string.h>

#include "base/journal.h"
#include "base/process.h"
#include "nl/iptables.h"

#define DEADLINE_MS 30000
#define OUTPUT_MAX  ((size_t)64 << 20)

static const struct {
    int family;
    const char *save, *restore;
} programs[] = {{AF_INET, "iptables-save", "iptables-restore"},
                {AF_INET6, "ip6tables-save", "ip6tables-restore"}};
#define N_FAMILIES ARRAY_SIZE(programs)

struct firewall {
    struct loop *loop;
    char *journal;
    const struct hostports *ports;
    struct firewall_config config;
    struct {
        bool known;   /* @seen tells what is there */
        bool cleared; /* a family that is not used: nothing of it is left */
        struct firewall_seen seen;
    } families[N_FAMILIES];
    struct list waiting, served; /* struct waiter: for the next run, by this one */
    struct loop_deferred start;
    struct process_run *process;
    bool running, behind;
    bool changed; /* the configuration did, since the run began */
    size_t at;    /* the family that the run is at */
};

static void next_family(struct firewall *f);

static bool in_use(const struct firewall *f)
{
    return firewall_has_family(&f->config, programs[f->at].family);
}

static void on_start(void *arg)
{
    struct firewall *f = arg;
    if (f->running || list_empty(&f->waiting))
        return;
    while (!list_empty(&f->waiting))
        list_append(&f->served, list_pop(&f->waiting));
    f->running = true;
    f->changed = false;
    f->at = 0;
    next_family(f);
}

static void finish(struct firewall *f, int code, const struct error *err)
{
    f->running = false;
    f->behind = code < 0;
    waiters_finish(&f->served, code, err);
    if (!list_empty(&f->waiting))
        loop_defer(&f->start);
}

static void fail(struct firewall *f, int code, const struct error *err)
{
    f->families[f->at].known = false; /* whatever it was, the next run looks again */
    finish(f, code, err);
}

/* A family that is not used, and of which nothing of ours is there, or can be. */
static void skip(struct firewall *f)
{
    f->families[f->at].cleared = true;
    next_family(f);
}

static void run(struct firewall *f, const char *const *argv, const struct strbuf *input,
                void (*cb)(const struct process_result *result, void *arg))
{
    struct process_spec spec = PROCESS_SPEC_INIT;
    struct error err = ERROR_INIT;
    spec.argv = argv;
    int r = process_run(f->loop, &spec, input ? strbuf_text(input) : "", input ? input->len : 0,
                        OUTPUT_MAX, DEADLINE_MS, cb, f, &f->process, &err);
    if (r < 0 && !in_use(f))
        skip(f);
    else if (r < 0)
        fail(f, r, &err);
}

/* Host ports on 127.0.0.1: without this the kernel does not route such an address off the loopback.
 * CORACLE-INPUT, which keeps pods out, is there by now. */
static int route_localnet(const struct firewall *f, struct error *err)
{
    _cleanup_free_ char *key = str_printf("net/ipv4/conf/%s/route_localnet", f->config.bridge);
    return journal_sysctl(f->journal, "cri", key, "1", err);
}

static void on_restored(const struct process_result *result, void *arg)
{
    struct firewall *f = arg;
    struct error err = ERROR_INIT;
    f->process = NULL;
    int r = process_result_error(result, programs[f->at].restore, &err);
    bool ports = map_count(&f->ports->claims);
    if (r == 0 && ports && programs[f->at].family == AF_INET)
        r = route_localnet(f, &err);
    if (r < 0) {
        fail(f, r, &err);
        return;
    }
    f->families[f->at].cleared = !in_use(f) && !f->changed;
    f->at++;
    next_family(f);
}

static void restore(struct firewall *f)
{
    _cleanup_strbuf_ struct strbuf rules = STRBUF_INIT;
    const char *const argv[] = {programs[f->at].restore, "-w", "10", "--noflush", NULL};
    firewall_rules(&f->config, programs[f->at].family, f->ports, &f->families[f->at].seen, &rules);
    run(f, argv, &rules, on_restored);
}

static void on_saved(const struct process_result *result, void *arg)
{
    static const char *const tables[] = {"filter", "nat", NULL};
    struct firewall *f = arg;
    struct error err = ERROR_INIT;
    const char *saved = strbuf_text(result->out);
    f->process = NULL;
    firewall_look(saved, &f->families[f->at].seen);
    int r = process_result_error(result, programs[f->at].save, &err);
    if (!in_use(f) && (r < 0 || !f->families[f->at].seen.any)) {
        skip(f);
        return;
    }
    if (r == 0)
        r = iptables_journal_tables(f->journal, programs[f->at].family, saved, tables, &err);
    if (r < 0) {
        fail(f, r, &err);
        return;
    }
    f->families[f->at].known = true;
    restore(f);
}

static void next_family(struct firewall *f)
{
    while (f->at < N_FAMILIES && !in_use(f) && f->families[f->at].cleared)
        f->at++;
    if (f->at == N_FAMILIES) {
        finish(f, 0, NULL);
    } else if (f->families[f->at].known) {
        restore(f);
    } else {
        const char *const argv[] = {programs[f->at].save, NULL};
        run(f, argv, NULL, on_saved);
    }
}

void firewall_apply(struct firewall *f, done_fn done, void *arg)
{
    waiters_add(&f->waiting, done, arg);
    loop_defer(&f->start);
}

void firewall_configure(struct firewall *f, const struct firewall_config *config)
{
    f->config = *config;
    f->changed = true;
    for (size_t i = 0; i < N_FAMILIES; i++)
        f->families[i].known = f->families[i].cleared = false;
}

bool firewall_is_behind(const struct firewall *f)
{
    return f->behind;
}

struct firewall *firewall_new(struct loop *loop, const char *journal, const struct hostports *ports)
{
    struct firewall *f = mem_zalloc(sizeof(*f));
    *f = (struct firewall){.loop = loop, .journal = str_dup(journal), .ports = ports};
    list_init(&f->waiting);
    list_init(&f->served);
    loop_deferred_init(&f->start, loop, on_start, f);
    return f;
}

static void drop(struct list *waiters)
{
    while (!list_empty(waiters))
        free(LIST_ENTRY(list_pop(waiters), struct waiter, entry));
}

struct firewall *firewall_free(struct firewall *f)
{
    if (f) {
        process_run_cancel(f->process);
        loop_deferred_done(&f->start);
        drop(&f->waiting);
        drop(&f->served);
        free(f->journal);
        free(f);
    }
    return NULL;
}

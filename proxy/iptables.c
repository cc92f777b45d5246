/*
 * The iptables back end; see iptables.h.
 *
 * Theory of operation. `installed` maps each chain of ours to the text of its rules as last put
 * into the kernel. A run compares the wanted texts of the services that changed with it and hands
 * iptables-restore the different chains only: naming a chain empties it, its rules follow. The
 * first run does not know what is there: it reads iptables-save, replaces what the plan wants,
 * deletes what it does not, and adds the jumps that are missing. At most 1,000 services go
 * into a run (the nft flavour's cost grows with the square of its input).
 */
#include "proxy/iptables.h"

#include <errno.h>
#include <string.h>
#include <sys/wait.h>

#include "base/log.h"
#include "base/process.h"
#include "base/strbuf.h"
#include "nl/iptables.h"

#define RUN_SERVICES_MAX 1000
#define DEADLINE_MS      120000
#define OUTPUT_MAX       ((size_t)64 << 20)
#define RETRY_MIN_MS     100
#define RETRY_MAX_MS     10000

enum table { NAT, FILTER, N_TABLES };
static const char *const table_names[N_TABLES] = {"nat", "filter"};

struct service_state {
    struct map chains; /* of nat: name → rules */
    char *list_entry;
};

struct iptables {
    struct loop *loop;
    struct plan *plan;
    struct rules_config rules;
    const char *restore, *save;
    char *journal;
    struct map installed[N_TABLES]; /* chain → rules */
    struct map services;            /* key → struct service_state, as installed */
    struct map pending;             /* services that still have to be compared */
    struct map stale[N_TABLES];     /* chains to delete once nothing refers to them any more */
    struct map next[N_TABLES]; /* chains of the run under way: name → rules, NULL to delete */
    struct map next_services;
    struct strbuf jumps[N_TABLES]; /* of the first run */
    bool known;                    /* what is in the kernel is known */
    bool wanted;                   /* another run when this one is over */
    bool lists_dirty;              /* the lists of services differ from what is installed */
    struct process_run *run;
    struct loop_timer retry;
    uint64_t retry_ms;
    void (*synced)(void *arg, const char *error);
    void *arg;
};

static void service_state_free(void *p)
{
    struct service_state *s = p;
    if (s) {
        map_clear(&s->chains);
        free(s->list_entry);
        free(s);
    }
}

/* ---- programs ---- */

static bool in_path(const char *program)
{
    const char *path = getenv("PATH");
    while (path && *path) {
        size_t len = strcspn(path, ":");
        _cleanup_free_ char *full = str_printf("%.*s/%s", (int)len, path, program);
        if (access(full, X_OK) == 0)
            return true;
        path += len + (path[len] == ':');
    }
    return false;
}

static int find_programs(struct iptables *b, const char *variant, struct error *err)
{
    static const struct {
        const char *variant, *restore, *save;
    } known[] = {{"auto", "iptables-restore", "iptables-save"},
                 {"nft", "iptables-nft-restore", "iptables-nft-save"},
                 {"legacy", "iptables-legacy-restore", "iptables-legacy-save"}};
    for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
        if (!str_eq(known[i].variant, variant))
            continue;
        b->restore = known[i].restore;
        b->save = known[i].save;
        if (in_path(b->restore) && in_path(b->save))
            return 0;
        return error_set(err, -ENOENT, "%s is not installed (package iptables)", b->restore);
    }
    return error_set(err, -EINVAL, "--iptables-variant: \"%s\" is none of auto, nft, legacy",
                     variant);
}

/* ---- what a run puts into the kernel ---- */

/* Puts the chain into the run when it differs from what is installed. */
static void want_chain(struct iptables *b, enum table t, const char *chain, const char *rules)
{
    const char *there = map_get(&b->installed[t], chain);
    map_remove(&b->stale[t], chain);
    if (there && str_eq(there, rules))
        map_remove(&b->next[t], chain);
    else
        map_set(&b->next[t], chain, str_dup(rules));
}

static void want_chains(struct iptables *b, enum table t, const struct map *chains)
{
    MAP_FOR_EACH(e, chains) {
        want_chain(b, t, map_key(e), map_value(e));
    }
}

/* The new state of one service goes into the run; chains that it no longer has become stale. */
static void compare_service(struct iptables *b, const char *key)
{
    const struct plan_service *s = plan_get(b->plan, key);
    const struct service_state *old = map_get(&b->services, key);
    struct service_state *now = mem_zalloc(sizeof(*now));
    struct strbuf entry = STRBUF_INIT;
    now->chains = (struct map)MAP_INIT(free);
    if (s) {
        rules_of_service(&b->rules, s, &now->chains);
        rules_list_entry(s, &entry);
    }
    now->list_entry = strbuf_take(&entry);
    if (old)
        MAP_FOR_EACH(e, &old->chains) {
            if (!map_has(&now->chains, map_key(e)))
                map_set(&b->stale[NAT], map_key(e), NULL);
        }
    want_chains(b, NAT, &now->chains);
    if (!str_eq(old ? old->list_entry : "", now->list_entry))
        b->lists_dirty = true;
    map_set(&b->next_services, key, now);
}

/* The end of a series of runs: the lists, which may name only chains that exist by now; then what
 * nothing refers to any more goes. */
static void finish_series(struct iptables *b)
{
    struct map nat = MAP_INIT(free), filter = MAP_INIT(free);
    if (b->lists_dirty)
        rules_lists(plan_services(b->plan), &nat, &filter);
    b->lists_dirty = false;
    want_chains(b, NAT, &nat);
    want_chains(b, FILTER, &filter);
    map_clear(&nat);
    map_clear(&filter);
    for (int t = 0; t < N_TABLES; t++) {
        MAP_FOR_EACH(e, &b->stale[t]) {
            map_set(&b->next[t], map_key(e), NULL);
        }
        map_clear(&b->stale[t]);
    }
}

static void add_table(struct iptables *b, enum table t, bool last, struct strbuf *in)
{
    bool jumps = last && b->jumps[t].len;
    if (!map_count(&b->next[t]) && !jumps)
        return;
    strbuf_addf(in, "*%s\n", table_names[t]);
    MAP_FOR_EACH(e, &b->next[t]) {
        strbuf_addf(in, ":%s - [0:0]\n", map_key(e));
    }
    MAP_FOR_EACH(e, &b->next[t]) {
        if (map_value(e))
            strbuf_adds(in, map_value(e));
    }
    if (jumps) {
        strbuf_add(in, b->jumps[t].data, b->jumps[t].len);
        strbuf_truncate(&b->jumps[t], 0);
    }
    MAP_FOR_EACH(e, &b->next[t]) {
        if (!map_value(e))
            strbuf_addf(in, "-X %s\n", map_key(e));
    }
    strbuf_adds(in, "COMMIT\n");
}

static void start_run(struct iptables *b);

static void report(struct iptables *b, const char *error)
{
    if (b->synced)
        b->synced(b->arg, error);
}

static void retry_later(struct iptables *b, const char *error)
{
    b->known = false; /* look again at what is there */
    b->retry_ms = b->retry_ms ? b->retry_ms * 2 : RETRY_MIN_MS;
    if (b->retry_ms > RETRY_MAX_MS)
        b->retry_ms = RETRY_MAX_MS;
    loop_timer_set(&b->retry, b->retry_ms);
    report(b, error);
}

static void forget_run(struct iptables *b)
{
    for (int t = 0; t < N_TABLES; t++)
        map_clear(&b->next[t]);
    map_clear(&b->next_services);
}

/* What the run carried is in the kernel now. */
static void note_installed(struct iptables *b)
{
    for (int t = 0; t < N_TABLES; t++) {
        MAP_FOR_EACH(e, &b->next[t]) {
            if (map_value(e))
                map_set(&b->installed[t], map_key(e), str_dup(map_value(e)));
            else
                map_remove(&b->installed[t], map_key(e));
        }
    }
    MAP_FOR_EACH(e, &b->next_services) {
        _cleanup_free_ char *key = str_dup(map_key(e));
        struct service_state *s = map_take(&b->next_services, key);
        map_remove(&b->pending, key);
        if (map_count(&s->chains) || *s->list_entry) {
            map_set(&b->services, key, s);
        } else {
            map_remove(&b->services, key);
            service_state_free(s);
        }
    }
}

static void on_restored(const struct process_result *result, void *arg)
{
    struct iptables *b = arg;
    struct error err = ERROR_INIT;
    b->run = NULL;
    if (process_result_error(result, b->restore, &err) < 0) {
        forget_run(b);
        retry_later(b, err.text);
        return;
    }
    note_installed(b);
    forget_run(b);
    b->retry_ms = 0;
    b->known = true;
    if (map_count(&b->pending) || b->wanted) {
        start_run(b);
        return;
    }
    report(b, NULL);
}

/* ---- what is there: iptables-save ---- */

/* Chains of ours are stale until the plan wants them; jumps that are missing are noted. */
static void read_saved(struct iptables *b, const char *text)
{
    enum table t = N_TABLES;
    bool have[16] = {false};
    for (const char *line = text; *line;) {
        size_t len = strcspn(line, "\n");
        _cleanup_free_ char *l = str_ndup(line, len);
        if (l[0] == '*') {
            t = str_eq(l + 1, "nat") ? NAT : str_eq(l + 1, "filter") ? FILTER : N_TABLES;
        } else if (l[0] == ':' && t != N_TABLES) {
            l[strcspn(l, " ")] = '\0';
            if (rules_is_ours(l + 1))
                map_set(&b->stale[t], l + 1, NULL);
        } else if (str_starts(l, "-A ") && t != N_TABLES) {
            for (size_t i = 0; i < rules_n_jumps && i < ARRAY_SIZE(have); i++) {
                _cleanup_free_ char *jump =
                    str_printf("-A %s %s", rules_jumps[i].chain, rules_jumps[i].rule);
                have[i] =
                    have[i] || (str_eq(rules_jumps[i].table, table_names[t]) && str_eq(l, jump));
            }
        }
        line += len + (line[len] == '\n');
    }
    /* Inserted in reverse, so that they stand first and in order. */
    for (size_t i = rules_n_jumps; i-- > 0;)
        if (!have[i])
            strbuf_addf(&b->jumps[str_eq(rules_jumps[i].table, "nat") ? NAT : FILTER], "-I %s %s\n",
                        rules_jumps[i].chain, rules_jumps[i].rule);
}

static void on_saved(const struct process_result *result, void *arg)
{
    struct iptables *b = arg;
    struct error err = ERROR_INIT;
    b->run = NULL;
    if (process_result_error(result, b->save, &err) < 0) {
        retry_later(b, err.text);
        return;
    }
    static const char *const tables[] = {"filter", "nat", NULL};
    if (iptables_journal_tables(b->journal, strbuf_text(result->out), tables, &err) < 0) {
        retry_later(b, err.text);
        return;
    }
    forget_run(b);
    for (int t = 0; t < N_TABLES; t++) {
        map_clear(&b->installed[t]);
        map_clear(&b->stale[t]);
        strbuf_truncate(&b->jumps[t], 0);
    }
    map_clear(&b->services);
    read_saved(b, strbuf_text(result->out));
    MAP_FOR_EACH(e, plan_services(b->plan)) {
        map_set(&b->pending, map_key(e), NULL);
    }
    b->known = true;
    start_run(b);
}

/* ---- runs ---- */

static int spawn(struct iptables *b, const char *const *argv, const struct strbuf *in,
                 void (*cb)(const struct process_result *result, void *arg), struct error *err)
{
    struct process_spec spec = PROCESS_SPEC_INIT;
    spec.argv = argv;
    return process_run(b->loop, &spec, in ? in->data : "", in ? in->len : 0, OUTPUT_MAX,
                       DEADLINE_MS, cb, b, &b->run, err);
}

static void look(struct iptables *b)
{
    struct error err = ERROR_INIT;
    const char *const argv[] = {b->save, NULL};
    if (spawn(b, argv, NULL, on_saved, &err) < 0)
        retry_later(b, err.text);
}

static void start_run(struct iptables *b)
{
    struct error err = ERROR_INIT;
    struct map dirty;
    b->wanted = false;
    plan_take_dirty(b->plan, &dirty);
    MAP_FOR_EACH(e, &dirty) {
        map_set(&b->pending, map_key(e), NULL);
    }
    map_clear(&dirty);
    if (!map_count(&b->installed[NAT])) {
        struct map nat = MAP_INIT(free), filter = MAP_INIT(free);
        rules_static(&nat, &filter);
        want_chains(b, NAT, &nat);
        want_chains(b, FILTER, &filter);
        map_clear(&nat);
        map_clear(&filter);
        b->lists_dirty = true;
    }
    size_t n = 0;
    MAP_FOR_EACH(e, &b->pending) {
        if (n++ >= RUN_SERVICES_MAX)
            break;
        compare_service(b, map_key(e));
    }
    bool last = map_count(&b->pending) <= RUN_SERVICES_MAX;
    if (last)
        finish_series(b);
    struct strbuf in = STRBUF_INIT;
    add_table(b, FILTER, last, &in);
    add_table(b, NAT, last, &in);
    const char *const argv[] = {b->restore, "--noflush", "--wait", "5", NULL};
    if (!in.len) {
        note_installed(b);
        forget_run(b);
        report(b, NULL);
    } else if (spawn(b, argv, &in, on_restored, &err) < 0) {
        forget_run(b);
        retry_later(b, err.text);
    }
    strbuf_done(&in);
}

static void on_retry(void *arg)
{
    struct iptables *b = arg;
    if (!b->run)
        look(b);
}

void iptables_sync(struct iptables *b)
{
    if (b->run || loop_timer_armed(&b->retry)) {
        b->wanted = true;
        return;
    }
    if (b->known)
        start_run(b);
    else
        look(b);
}

/* ---- life ---- */

int iptables_new(struct iptables **ret, struct loop *loop, const struct iptables_config *config,
                 struct plan *plan, struct error *err)
{
    struct iptables *b = mem_zalloc(sizeof(*b));
    *b = (struct iptables){.loop = loop,
                           .plan = plan,
                           .rules = config->rules,
                           .journal = str_dup(config->journal),
                           .services = MAP_INIT(service_state_free),
                           .pending = MAP_INIT(NULL),
                           .next_services = MAP_INIT(service_state_free)};
    for (int t = 0; t < N_TABLES; t++) {
        b->installed[t] = (struct map)MAP_INIT(free);
        b->next[t] = (struct map)MAP_INIT(free);
        b->stale[t] = (struct map)MAP_INIT(NULL);
    }
    loop_timer_init(&b->retry, loop, "iptables retry", on_retry, b);
    int r = find_programs(b, config->variant, err);
    if (r < 0) {
        iptables_free(b);
        return r;
    }
    *ret = b;
    return 0;
}

struct iptables *iptables_free(struct iptables *b)
{
    if (!b)
        return NULL;
    process_run_cancel(b->run);
    loop_timer_done(&b->retry);
    for (int t = 0; t < N_TABLES; t++) {
        map_clear(&b->installed[t]);
        map_clear(&b->next[t]);
        map_clear(&b->stale[t]);
        strbuf_done(&b->jumps[t]);
    }
    map_clear(&b->services);
    map_clear(&b->pending);
    map_clear(&b->next_services);
    free(b->journal);
    free(b);
    return NULL;
}

void iptables_on_synced(struct iptables *b, void (*synced)(void *arg, const char *error), void *arg)
{
    b->synced = synced;
    b->arg = arg;
}

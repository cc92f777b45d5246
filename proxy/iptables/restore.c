/*
 * iptables rules of one family, through iptables-restore --noflush; see restore.h.
 *
 * Theory of operation. A change carries what was there before, so its rules, old and new, are
 * written and their difference (delta.h) is all that iptables-restore gets. To reconcile,
 * iptables-save is read and compared with everything that is wanted (survey.h). The nft flavour's
 * cost grows with the square of its input, so there at most 1,000 services go into a run; the
 * legacy one reads and writes whole tables each time, so there everything goes into one.
 */
#include "proxy/iptables/restore.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/process.h"
#include "base/strbuf.h"
#include "nl/iptables.h"
#include "proxy/iptables/canary.h"
#include "proxy/iptables/survey.h"

#define RUN_SERVICES_MAX 1000
#define DEADLINE_MS      120000
#define OUTPUT_MAX       ((size_t)256 << 20)
#define LOCK_SECONDS     "5"

struct iptables {
    struct loop *loop;
    const struct backend_config *c;
    const struct rules_source *source;
    struct iptables_handler handler;
    char *restore, *save;
    bool nft;
    struct rules fixed; /* chains whatever the services, as installed */
    size_t rules[RULES_TABLES], written[RULES_TABLES];
    struct canary *canary;

    /* The job under way: changes, or a comparison with what is there. */
    const struct backend_change *changes;
    const struct plan_service **wanted; /* of a comparison, owned array */
    size_t n, next;                     /* of either */
    struct survey survey;
    bool surveying, ended;
    struct delta delta;
    struct process_run *run;
};

static void step(struct iptables *b);

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

/* "iptables-restore", "ip6tables-nft-restore": what is installed. */
static int program(const struct backend_config *c, const char *verb, char **ret, struct error *err)
{
    const char *variant = c->variant ? c->variant : "auto";
    const char *middle = str_eq(variant, "nft")      ? "-nft"
                         : str_eq(variant, "legacy") ? "-legacy"
                         : str_eq(variant, "auto")   ? ""
                                                     : NULL;
    if (!middle)
        return error_set(err, -EINVAL, "--iptables-variant: \"%s\" is none of auto, nft, legacy",
                         variant);
    _cleanup_free_ char *name =
        str_printf("ip%stables%s-%s", c->family == AF_INET6 ? "6" : "", middle, verb);
    if (!in_path(name))
        return error_set(err, -ENOENT, "%s is not installed (package iptables)", name);
    *ret = TAKE_PTR(name);
    return 0;
}

int iptables_probe(const struct backend_config *c, struct error *err)
{
    _cleanup_free_ char *save = NULL;
    _cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
    int r = program(c, "save", &save, err);
    if (r < 0)
        return r;
    /* Reading the table makes the kernel load it: without its modules this fails. */
    const char *const argv[] = {save, "-t", "nat", NULL};
    r = process_call(argv, &out, err);
    if (r > 0)
        return error_set(err, -ENOTSUP,
                         "%s: the kernel has no %s nat table (modules iptable_nat or nft_compat)",
                         save, c->family == AF_INET ? "IPv4" : "IPv6");
    return r;
}

/* ---- runs ---- */

static void end_job(struct iptables *b, const char *error)
{
    survey_done(&b->survey);
    delta_done(&b->delta);
    b->delta = (struct delta)DELTA_INIT;
    free(b->wanted);
    b->wanted = NULL;
    b->changes = NULL;
    b->n = b->next = 0;
    b->surveying = b->ended = false;
    canary_resume(b->canary);
    b->handler.done(b->handler.arg, error);
}

static int spawn(struct iptables *b, const char *const *argv, const struct strbuf *in,
                 void (*cb)(const struct process_result *result, void *arg), struct error *err)
{
    struct process_spec spec = PROCESS_SPEC_INIT;
    spec.argv = argv;
    int r = process_run(b->loop, &spec, in ? in->data : "", in ? in->len : 0, OUTPUT_MAX,
                        DEADLINE_MS, cb, b, &b->run, err);
    if (r == 0)
        canary_expect(b->canary, process_run_pid(b->run));
    return r;
}

static void note_written(struct iptables *b)
{
    for (int t = 0; t < RULES_TABLES; t++) {
        long n = (long)b->rules[t] + b->delta.rules[t];
        b->rules[t] = n > 0 ? (size_t)n : 0;
    }
    delta_done(&b->delta);
    b->delta = (struct delta)DELTA_INIT;
}

static void on_restored(const struct process_result *result, void *arg)
{
    struct iptables *b = arg;
    struct error err = ERROR_INIT;
    b->run = NULL;
    if (process_result_error(result, b->restore, &err) < 0) {
        end_job(b, err.text);
        return;
    }
    note_written(b);
    step(b);
}

static void restore(struct iptables *b)
{
    const char *const argv[] = {b->restore, "--noflush", "--wait", LOCK_SECONDS, NULL};
    struct error err = ERROR_INIT;
    _cleanup_strbuf_ struct strbuf in = STRBUF_INIT;
    size_t written[RULES_TABLES];
    delta_text(&b->delta, &in, written);
    for (int t = 0; t < RULES_TABLES; t++)
        b->written[t] += written[t];
    if (spawn(b, argv, &in, on_restored, &err) < 0)
        end_job(b, err.text);
}

/* ---- changes ---- */

static void take_change(struct iptables *b, const struct backend_change *change)
{
    struct rules old = RULES_INIT, now = RULES_INIT;
    b->source->service(b->c, change->old, &old);
    b->source->service(b->c, change->now, &now);
    delta_change(&b->delta, &old, &now);
    rules_done(&old);
    rules_done(&now);
}

static void take_fixed(struct iptables *b)
{
    struct rules now = RULES_INIT;
    b->source->fixed(b->c, &now);
    for (int t = 0; t < RULES_TABLES; t++)
        delta_chains(&b->delta, t, &b->fixed.chains[t], &now.chains[t]);
    const char *was = strbuf_text(&b->fixed.lists[LIST_SERVICES]);
    const char *is = strbuf_text(&now.lists[LIST_SERVICES]);
    for (const char *line = was; !str_eq(was, is) && *line;) {
        size_t len = strcspn(line, "\n");
        delta_line(&b->delta, LIST_SERVICES, line, len, false);
        line += len + 1;
    }
    for (const char *line = is; !str_eq(was, is) && *line;) {
        size_t len = strcspn(line, "\n");
        delta_last_line(&b->delta, LIST_SERVICES, line, len);
        line += len + 1;
    }
    rules_done(&b->fixed);
    b->fixed = now;
}

void iptables_apply(struct iptables *b, const struct backend_change *changes, size_t n, bool node)
{
    b->changes = changes;
    b->n = n;
    b->written[RULES_NAT] = b->written[RULES_FILTER] = 0;
    if (node)
        take_fixed(b);
    step(b);
}

/* ---- comparing with what is there ---- */

static void take_service(struct iptables *b, const struct plan_service *s)
{
    struct rules wanted = RULES_INIT;
    b->source->service(b->c, s, &wanted);
    survey_service(&b->survey, &wanted, &b->delta);
    rules_done(&wanted);
}

/* A list with much that is stale is written anew, in a run of its own behind all others. */
static void rewrite_lists(struct iptables *b)
{
    for (int l = 0; l < RULES_LISTS; l++) {
        if (!survey_wants_rewrite(&b->survey, l))
            continue;
        struct rules all = RULES_INIT;
        for (size_t i = 0; i < b->n; i++) {
            b->source->service(b->c, b->wanted[i], &all);
            map_clear(&all.chains[RULES_NAT]);
        }
        if (l == LIST_SERVICES)
            strbuf_adds(&all.lists[l], strbuf_text(&b->fixed.lists[l]));
        survey_rewrite(&b->survey, l, strbuf_text(&all.lists[l]), &b->delta);
        rules_done(&all);
    }
}

static void on_saved(const struct process_result *result, void *arg)
{
    static const char *const tables[] = {"filter", "nat", NULL};
    struct iptables *b = arg;
    struct error err = ERROR_INIT;
    const char *saved = strbuf_text(result->out);
    b->run = NULL;
    int r = process_result_error(result, b->save, &err);
    if (r == 0 && result->truncated)
        r = error_set(&err, -EFBIG, "%s: more than %zu bytes", b->save, OUTPUT_MAX);
    if (r == 0)
        r = iptables_journal_tables(b->c->journal, b->c->family, saved, tables, &err);
    if (r < 0) {
        end_job(b, err.text);
        return;
    }
    survey_read(&b->survey, saved);
    rules_done(&b->fixed);
    b->fixed = (struct rules)RULES_INIT;
    b->source->fixed(b->c, &b->fixed);
    survey_static(&b->survey, &b->fixed, &b->delta);
    step(b);
}

void iptables_reconcile(struct iptables *b, const struct map *services)
{
    struct error err = ERROR_INIT;
    b->wanted = mem_zalloc((map_count(services) + 1) * sizeof(*b->wanted));
    MAP_FOR_EACH(e, services) {
        if (b->source->service)
            b->wanted[b->n++] = map_value(e);
    }
    b->surveying = true;
    survey_init(&b->survey, b->source);
    for (int t = 0; t < RULES_TABLES; t++)
        b->rules[t] = b->written[t] = 0;
    const char *const argv[] = {b->save, NULL};
    if (spawn(b, argv, NULL, on_saved, &err) < 0)
        end_job(b, err.text);
}

/* ---- the job, run after run ---- */

static bool wants_rewrite(const struct iptables *b)
{
    for (int l = 0; l < RULES_LISTS; l++)
        if (survey_wants_rewrite(&b->survey, l))
            return true;
    return false;
}

/* Gathers what fits into one run and starts it, or ends the job. */
static void step(struct iptables *b)
{
    for (;;) {
        size_t room = b->nft ? RUN_SERVICES_MAX : SIZE_MAX;
        for (; b->next < b->n && room > 0; b->next++, room--) {
            if (b->surveying)
                take_service(b, b->wanted[b->next]);
            else
                take_change(b, &b->changes[b->next]);
        }
        bool last = b->next == b->n;
        /* Lists that are written anew hold every service: that run has no lines to add. */
        if (last && b->surveying && !b->ended && (delta_is_empty(&b->delta) || !wants_rewrite(b))) {
            rewrite_lists(b);
            survey_end(&b->survey, &b->delta);
            b->ended = true;
        }
        if (!delta_is_empty(&b->delta)) {
            restore(b);
            return;
        }
        note_written(b);
        if (last && (!b->surveying || b->ended)) {
            end_job(b, NULL);
            return;
        }
    }
}

/* ---- life ---- */

static void on_disturbed(void *arg, const char *what)
{
    struct iptables *b = arg;
    b->handler.disturbed(b->handler.arg, what);
}

static int find_flavour(struct iptables *b, struct error *err)
{
    _cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
    const char *const argv[] = {b->restore, "--version", NULL};
    int r = process_call(argv, &out, err);
    if (r != 0)
        return r < 0 ? r : error_set(err, -EIO, "%s --version: exit status %d", b->restore, r);
    b->nft = strstr(strbuf_text(&out), "nf_tables") != NULL;
    return 0;
}

int iptables_new(struct iptables **ret, struct loop *loop, const struct backend_config *c,
                 const struct rules_source *source, const struct iptables_handler *handler,
                 struct error *err)
{
    struct iptables *b = mem_zalloc(sizeof(*b));
    *b = (struct iptables){.loop = loop,
                           .c = c,
                           .source = source,
                           .handler = *handler,
                           .fixed = RULES_INIT,
                           .delta = DELTA_INIT};
    survey_init(&b->survey, source);
    int r = program(c, "restore", &b->restore, err);
    if (r == 0)
        r = program(c, "save", &b->save, err);
    if (r == 0)
        r = find_flavour(b, err);
    if (r == 0)
        r = canary_new(&b->canary, loop, c->family, b->nft, on_disturbed, b, err);
    if (r < 0) {
        (void)iptables_free(b);
        return r;
    }
    *ret = b;
    return 0;
}

struct iptables *iptables_free(struct iptables *b)
{
    if (b) {
        process_run_cancel(b->run);
        (void)canary_free(b->canary);
        survey_done(&b->survey);
        delta_done(&b->delta);
        rules_done(&b->fixed);
        free(b->wanted);
        free(b->restore);
        free(b->save);
        free(b);
    }
    return NULL;
}

bool iptables_check(struct iptables *b)
{
    if (!b->run)
        canary_check(b->canary);
    return !b->nft;
}

void iptables_stats(const struct iptables *b, struct backend_stats *ret)
{
    *ret = (struct backend_stats){.rules_nat = b->rules[RULES_NAT],
                                  .rules_filter = b->rules[RULES_FILTER],
                                  .rules_nat_last = b->written[RULES_NAT],
                                  .rules_filter_last = b->written[RULES_FILTER]};
}

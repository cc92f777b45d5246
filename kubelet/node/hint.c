/* KUBE-IPTABLES-HINT; see hint.h. For each family: what is there is read, then what is missing
 * made. */
#include "kubelet/node/hint.h"

#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "base/process.h"
#include "base/strbuf.h"
#include "nl/iptables.h"

#define CHAIN       "KUBE-IPTABLES-HINT"
#define TABLE       "mangle"
#define OUTPUT_MAX  (16u << 20)
#define DEADLINE_MS 30000

static const struct {
    const char *program;
    int family;
} families[] = {{"iptables", AF_INET}, {"ip6tables", AF_INET6}};

struct iptables_hint {
    struct loop *loop;
    struct iptables_hint_options options;
    size_t at; /* of families */
    struct process_run *run;
};

static void look(struct iptables_hint *h);

static bool is_hint(const char *chain)
{
    return str_eq(chain, CHAIN);
}

/* "iptables-nft-save", or "iptables-save" for the host's default. */
static char *program(const struct iptables_hint *h, const char *verb)
{
    const char *variant = h->options.variant;
    bool named = variant && !str_eq(variant, "auto");
    return str_printf("%s-%s%s%s", families[h->at].program, named ? variant : "", named ? "-" : "",
                      verb);
}

static void next(struct iptables_hint *h, const struct error *err)
{
    if (err->code)
        log_warn("chain " CHAIN " cannot be made", "program", families[h->at].program, "error",
                 error_text(err), NULL);
    h->at++;
    look(h);
}

static void start(struct iptables_hint *h, const char *const *argv, const char *input,
                  void (*cb)(const struct process_result *result, void *arg))
{
    struct error err = ERROR_INIT;
    struct process_spec spec = PROCESS_SPEC_INIT;
    spec.argv = argv;
    if (process_run(h->loop, &spec, input, strlen(input), OUTPUT_MAX, DEADLINE_MS, cb, h, &h->run,
                    &err) < 0)
        next(h, &err);
}

static void on_made(const struct process_result *result, void *arg)
{
    struct iptables_hint *h = arg;
    struct error err = ERROR_INIT;
    h->run = NULL;
    (void)process_result_error(result, "iptables-restore", &err);
    next(h, &err);
}

static void on_saved(const struct process_result *result, void *arg)
{
    static const char *const tables[] = {TABLE, NULL};
    struct iptables_hint *h = arg;
    struct error err = ERROR_INIT;
    const char *saved = strbuf_text(result->out);
    h->run = NULL;
    int r = process_result_error(result, "iptables-save", &err);
    if (r == 0 && !iptables_saved_has_chain(saved, TABLE, CHAIN))
        r = iptables_journal_tables(h->options.journal, families[h->at].family, saved, tables,
                                    &err);
    if (r < 0 || iptables_saved_has_chain(saved, TABLE, CHAIN)) {
        next(h, &err);
        return;
    }
    _cleanup_free_ char *restore = program(h, "restore");
    const char *const argv[] = {restore, "--noflush", "--wait", "5", NULL};
    start(h, argv, "*" TABLE "\n:" CHAIN " - [0:0]\nCOMMIT\n", on_made);
}

static void look(struct iptables_hint *h)
{
    if (h->at == ARRAY_SIZE(families))
        return;
    _cleanup_free_ char *save = program(h, "save");
    /* Not "-t mangle": asked for it, the nft flavour makes the table. */
    const char *const argv[] = {save, NULL};
    start(h, argv, "", on_saved);
}

struct iptables_hint *iptables_hint_new(struct loop *loop,
                                        const struct iptables_hint_options *options)
{
    struct iptables_hint *h = mem_zalloc(sizeof(*h));
    *h = (struct iptables_hint){.loop = loop, .options = *options};
    look(h);
    return h;
}

struct iptables_hint *iptables_hint_free(struct iptables_hint *h)
{
    if (!h)
        return NULL;
    process_run_cancel(h->run);
    free(h);
    return NULL;
}

int iptables_hint_remove(const char *journal, struct error *err)
{
    return iptables_remove_chains(journal, is_hint, err);
}

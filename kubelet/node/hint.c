/* KUBE-IPTABLES-HINT; see hint.h. */
#include "kubelet/node/hint.h"

#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "base/strbuf.h"
#include "nl/iptables.h"
#include "nl/iptables_ensure.h"

#define CHAIN "KUBE-IPTABLES-HINT"

static const int families[] = {AF_INET, AF_INET6};
static const struct iptables_chain chain = {.table = "mangle", .name = CHAIN};

struct iptables_hint {
    struct loop *loop;
    struct iptables_hint_options options;
    size_t at; /* of families */
    struct iptables_ensure *making;
};

static void make(struct iptables_hint *h);

static bool is_hint(const char *name)
{
    return str_eq(name, CHAIN);
}

static void on_made(void *arg, int code, const struct error *err)
{
    struct iptables_hint *h = arg;
    h->making = NULL;
    if (code < 0)
        log_warn("chain " CHAIN " cannot be made", "family",
                 families[h->at] == AF_INET ? "IPv4" : "IPv6", "error", error_text(err), NULL);
    h->at++;
    make(h);
}

static void make(struct iptables_hint *h)
{
    struct error err = ERROR_INIT;
    if (h->at == ARRAY_SIZE(families))
        return;
    const struct iptables_ensure_options options = {.family = families[h->at],
                                                    .variant = h->options.variant,
                                                    .journal = h->options.journal,
                                                    .chains = &chain,
                                                    .n_chains = 1};
    int r = iptables_ensure_start(&h->making, h->loop, &options, on_made, h, &err);
    if (r < 0)
        on_made(h, r, &err);
}

struct iptables_hint *iptables_hint_new(struct loop *loop,
                                        const struct iptables_hint_options *options)
{
    struct iptables_hint *h = mem_zalloc(sizeof(*h));
    *h = (struct iptables_hint){.loop = loop, .options = *options};
    make(h);
    return h;
}

struct iptables_hint *iptables_hint_free(struct iptables_hint *h)
{
    if (!h)
        return NULL;
    (void)iptables_ensure_cancel(h->making);
    free(h);
    return NULL;
}

int iptables_hint_remove(const char *journal, struct error *err)
{
    return iptables_remove_chains(journal, is_hint, err);
}

/* Whether this kernel can do the nftables mode, and removing what the mode has made. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/strbuf.h"
#include "proxy/nftables/ruleset.h"

/* A piece of the kernel that is used, alone in a rule. */
struct piece {
    const char *what;
    const char *chain; /* type of the chain it is tried in */
    int hook, priority;
    void (*write)(struct nft_batch *b);
};

static void write_nothing(_unused_ struct nft_batch *b)
{
}

static void write_random(struct nft_batch *b)
{
    nft_load_random(b, 2, 0);
}

static void write_masquerade(struct nft_batch *b)
{
    nft_masquerade(b);
}

static void write_reject(struct nft_batch *b)
{
    nft_reject(b);
}

static void write_ct(struct nft_batch *b)
{
    nft_load_ct(b, NFT_CT_STATE, 0);
}

static const struct piece pieces[] = {
    {"nf_tables (CONFIG_NF_TABLES)", "filter", NF_INET_LOCAL_IN, 0, write_nothing},
    {"chains of type nat (CONFIG_NFT_NAT, module nft_chain_nat)", "nat", NF_INET_PRE_ROUTING, -100,
     write_nothing},
    {"masquerade (CONFIG_NFT_MASQ)", "nat", NF_INET_POST_ROUTING, 100, write_masquerade},
    {"numgen (CONFIG_NFT_NUMGEN)", "filter", NF_INET_LOCAL_IN, 0, write_random},
    {"ct (CONFIG_NFT_CT)", "filter", NF_INET_LOCAL_IN, 0, write_ct},
    {"reject (CONFIG_NFT_REJECT)", "filter", NF_INET_LOCAL_IN, 0, write_reject},
};

/* Made and deleted in one transaction: nobody ever sees it. */
static int try_piece(struct nft *n, int family, const struct piece *p, struct error *err)
{
    const struct nft_hook hook = {p->chain, p->hook, p->priority};
    _cleanup_free_ char *table = str_printf("coracle-probe-%d", (int)getpid());
    struct nft_batch *b = nft_batch_new(family, table);
    nft_add_table(b, NULL);
    nft_add_chain(b, "c", &hook);
    nft_begin_rule(b, "c", NULL);
    p->write(b);
    nft_end_rule(b);
    nft_delete_table(b);
    struct error why = ERROR_INIT;
    int r = nft_commit(n, b, &why);
    (void)nft_batch_free(b);
    return r < 0 ? error_set(err, r, "the kernel lacks %s: %s", p->what, why.text) : 0;
}

int nftables_probe(const struct backend_config *c, struct error *err)
{
    struct nft *n = NULL;
    int r = nft_open(&n, err);
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(pieces); i++)
        r = try_piece(n, c->family, &pieces[i], err);
    (void)nft_free(n);
    return r;
}

static int remove_table(struct nft *n, int family, const char *table, struct error *err)
{
    char comment[NFT_COMMENT_MAX];
    int r = nft_find_table(n, family, table, comment, err);
    if (r != 1 || !str_starts(comment, "coracle-proxy "))
        return r < 0 ? r : 0;
    struct nft_batch *b = nft_batch_new(family, table);
    nft_delete_table(b);
    r = nft_commit(n, b, err);
    (void)nft_batch_free(b);
    return r == -ENOENT ? 0 : r;
}

int nftables_cleanup(const struct backend_config *c, struct error *err)
{
    static const int families[] = {AF_INET, AF_INET6};
    struct nft *n = NULL;
    int first = nft_open(&n, err);
    for (size_t i = 0; n && i < ARRAY_SIZE(families); i++) {
        int r = remove_table(n, families[i], c->nft_table, first ? NULL : err);
        /* A kernel without nf_tables has none of ours. */
        if (r < 0 && r != -EOPNOTSUPP && r != -EAFNOSUPPORT && r != -EINVAL && !first)
            first = r;
    }
    (void)nft_free(n);
    return first;
}

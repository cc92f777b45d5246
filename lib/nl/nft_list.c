/* Reading nf_tables; see nft.h. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <string.h>
#include <sys/socket.h>

#include "nl/nft_internal.h"

struct netlink *nft_reader(const struct nft *n);

#define ATTEMPTS 8 /* of a dump that others keep interrupting */

static struct nl_msg *request(int type, int flags, int family)
{
    const struct nfgenmsg g = {.nfgen_family = (uint8_t)family, .version = NFNETLINK_V0};
    return netlink_message((NFNL_SUBSYS_NFTABLES << 8) | type, flags, &g, sizeof(g));
}

static const struct nlattr *attribute(const struct nlmsghdr *h, int type)
{
    return nlmsg_find_attr((struct nlmsghdr *)(uintptr_t)h, sizeof(struct nfgenmsg), type);
}

static const char *text_attribute(const struct nlmsghdr *h, int type)
{
    const struct nlattr *a = attribute(h, type);
    return a && nla_len(a) > 0 && !((const char *)nla_data(a))[nla_len(a) - 1] ? nla_data(a) : NULL;
}

/* The comment within user data: type, length, value. */
static void read_comment(const struct nlattr *a, char out[NFT_COMMENT_MAX])
{
    out[0] = '\0';
    const unsigned char *p = a ? nla_data(a) : NULL;
    int left = a ? nla_len(a) : 0;
    while (left >= 2 && left >= 2 + p[1]) {
        if (p[0] == 0) {
            (void)snprintf(out, NFT_COMMENT_MAX, "%.*s", p[1], (const char *)p + 2);
            return;
        }
        left -= 2 + p[1];
        p += 2 + p[1];
    }
}

static uint32_t be32(const struct nlattr *a)
{
    uint32_t v = 0;
    if (a && nla_len(a) >= (int)sizeof(v))
        memcpy(&v, nla_data(a), sizeof(v));
    return ntohl(v);
}

/* ---- tables ---- */

static int on_table(const struct nlmsghdr *h, void *arg)
{
    if ((h->nlmsg_type & 0xff) == NFT_MSG_NEWTABLE)
        read_comment(attribute(h, NFTA_TABLE_USERDATA), arg);
    return 0;
}

int nft_find_table(struct nft *n, int family, const char *table, char comment[NFT_COMMENT_MAX],
                   struct error *err)
{
    struct nl_msg *msg = request(NFT_MSG_GETTABLE, 0, family);
    netlink_put_string(msg, NFTA_TABLE_NAME, table);
    comment[0] = '\0';
    struct error local = ERROR_INIT;
    int r = netlink_dump(nft_reader(n), msg, on_table, comment, &local, "table %s", table);
    if (r == -ENOENT)
        return 0;
    return r < 0 ? error_set(err, r, "%s", local.text) : 1;
}

/* ---- dumps ---- */

struct listing {
    const char *table, *chain;
    int (*chain_cb)(const char *chain, void *arg);
    int (*rule_cb)(const char *chain, const char *comment, const struct nlattr *rule, void *arg);
    int (*element_cb)(const struct nft_element *e, void *arg);
    void *arg;
};

static int on_chain(const struct nlmsghdr *h, void *arg)
{
    const struct listing *l = arg;
    const char *table = text_attribute(h, NFTA_CHAIN_TABLE);
    const char *name = text_attribute(h, NFTA_CHAIN_NAME);
    if ((h->nlmsg_type & 0xff) != NFT_MSG_NEWCHAIN || !name || !str_eq(table, l->table))
        return 0;
    return l->chain_cb(name, l->arg);
}

int nft_list_chains(struct nft *n, int family, const char *table,
                    int (*cb)(const char *chain, void *arg), void *arg, struct error *err)
{
    struct listing l = {.table = table, .chain_cb = cb, .arg = arg};
    return netlink_dump(nft_reader(n), request(NFT_MSG_GETCHAIN, NLM_F_DUMP, family), on_chain, &l,
                        err, "chains of table %s", table);
}

static int on_rule(const struct nlmsghdr *h, void *arg)
{
    const struct listing *l = arg;
    char comment[NFT_COMMENT_MAX];
    const char *table = text_attribute(h, NFTA_RULE_TABLE);
    const char *chain = text_attribute(h, NFTA_RULE_CHAIN);
    if ((h->nlmsg_type & 0xff) != NFT_MSG_NEWRULE || !chain || !str_eq(table, l->table) ||
        (l->chain && !str_eq(chain, l->chain)))
        return 0;
    read_comment(attribute(h, NFTA_RULE_USERDATA), comment);
    return l->rule_cb(chain, comment, attribute(h, NFTA_RULE_EXPRESSIONS), l->arg);
}

int nft_list_rules(struct nft *n, int family, const char *table, const char *chain,
                   int (*cb)(const char *chain, const char *comment, const struct nlattr *rule,
                             void *arg),
                   void *arg, struct error *err)
{
    struct listing l = {.table = table, .chain = chain, .rule_cb = cb, .arg = arg};
    struct nl_msg *msg = request(NFT_MSG_GETRULE, NLM_F_DUMP, family);
    netlink_put_string(msg, NFTA_RULE_TABLE, table);
    if (chain)
        netlink_put_string(msg, NFTA_RULE_CHAIN, chain);
    return netlink_dump(nft_reader(n), msg, on_rule, &l, err, "rules of table %s", table);
}

/* A value, or a verdict with the chain it leads to. */
static void read_data(const struct nlattr *data, struct nft_element *e)
{
    const struct nlattr *value = nla_find(nla_data(data), nla_len(data), NFTA_DATA_VALUE);
    const struct nlattr *verdict = nla_find(nla_data(data), nla_len(data), NFTA_DATA_VERDICT);
    if (value) {
        e->data = nla_data(value);
        e->data_len = (size_t)nla_len(value);
    }
    if (verdict) {
        const struct nlattr *chain =
            nla_find(nla_data(verdict), nla_len(verdict), NFTA_VERDICT_CHAIN);
        e->verdict = (int)be32(nla_find(nla_data(verdict), nla_len(verdict), NFTA_VERDICT_CODE));
        e->chain = chain && nla_len(chain) > 0 ? nla_data(chain) : NULL;
    }
}

static int on_element(const struct nlattr *elem, const struct listing *l)
{
    char comment[NFT_COMMENT_MAX];
    struct nft_element e = {.verdict = NFT_CONTINUE, .comment = comment};
    const struct nlattr *key = nla_find(nla_data(elem), nla_len(elem), NFTA_SET_ELEM_KEY);
    const struct nlattr *value =
        key ? nla_find(nla_data(key), nla_len(key), NFTA_DATA_VALUE) : NULL;
    const struct nlattr *data = nla_find(nla_data(elem), nla_len(elem), NFTA_SET_ELEM_DATA);
    if (!value)
        return 0;
    e.key = nla_data(value);
    e.key_len = (size_t)nla_len(value);
    if (data)
        read_data(data, &e);
    read_comment(nla_find(nla_data(elem), nla_len(elem), NFTA_SET_ELEM_USERDATA), comment);
    return l->element_cb(&e, l->arg);
}

static int on_elements(const struct nlmsghdr *h, void *arg)
{
    const struct listing *l = arg;
    const struct nlattr *list = attribute(h, NFTA_SET_ELEM_LIST_ELEMENTS);
    if ((h->nlmsg_type & 0xff) != NFT_MSG_NEWSETELEM || !list)
        return 0;
    int r = 0, left = nla_len(list);
    struct nlattr *a = nla_data(list);
    for (; r == 0 && nla_ok(a, left); a = nla_next(a, &left))
        if (nla_type(a) == NFTA_LIST_ELEM)
            r = on_element(a, l);
    return r;
}

int nft_list_elements(struct nft *n, int family, const char *table, const char *set,
                      int (*cb)(const struct nft_element *e, void *arg), void *arg,
                      struct error *err)
{
    struct listing l = {.table = table, .element_cb = cb, .arg = arg};
    struct nl_msg *msg = request(NFT_MSG_GETSETELEM, NLM_F_DUMP, family);
    netlink_put_string(msg, NFTA_SET_ELEM_LIST_TABLE, table);
    netlink_put_string(msg, NFTA_SET_ELEM_LIST_SET, set);
    return netlink_dump(nft_reader(n), msg, on_elements, &l, err, "elements of set %s", set);
}

/* ---- events ---- */

int nft_event(const struct nlmsghdr *h, int *ret_family, const char **ret_table)
{
    const struct nfgenmsg *g = NLMSG_DATA(h);
    if (h->nlmsg_type >> 8 != NFNL_SUBSYS_NFTABLES ||
        h->nlmsg_len < NLMSG_LENGTH(sizeof(*g)) + NLA_HDRLEN)
        return -1;
    /* The table's name is the first attribute, with number 1, of all but the generation's message.
     */
    int type = h->nlmsg_type & 0xff;
    const char *table = text_attribute(h, NFTA_TABLE_NAME);
    if (!table || type == NFT_MSG_NEWGEN)
        return -1;
    *ret_family = g->nfgen_family;
    *ret_table = table;
    return type;
}

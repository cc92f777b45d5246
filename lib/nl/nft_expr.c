/* Rules of nf_tables, expression by expression; see nft.h. */
#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netlink.h>
#include <netinet/ip_icmp.h>
#include <string.h>
#include <sys/socket.h>

#include "nl/nft_internal.h"

#define MS_PER_S 1000

static uint32_t reg(unsigned number)
{
    return NFT_REG32_00 + number;
}

void nft_begin_rule(struct nft_batch *b, const char *chain, const char *comment)
{
    nft_message_begin(b, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, "add rule to chain", chain);
    nft_put_text(b, NFTA_RULE_TABLE, b->table);
    nft_put_text(b, NFTA_RULE_CHAIN, chain);
    b->rule_comment = str_dup(comment);
    b->exprs = nft_nest(b, NFTA_RULE_EXPRESSIONS);
}

void nft_end_rule(struct nft_batch *b)
{
    nft_nest_end(b, b->exprs);
    nft_put_comment(b, NFTA_RULE_USERDATA, b->rule_comment);
    free(b->rule_comment);
    b->rule_comment = NULL;
    nft_message_end(b);
}

/* An expression is an element of the rule's list with a name and attributes of its own. */
struct expr {
    size_t elem, data;
};

static struct expr begin(struct nft_batch *b, const char *name)
{
    struct expr e = {.elem = nft_nest(b, NFTA_LIST_ELEM)};
    nft_put_text(b, NFTA_EXPR_NAME, name);
    e.data = nft_nest(b, NFTA_EXPR_DATA);
    return e;
}

static void end(struct nft_batch *b, struct expr e)
{
    nft_nest_end(b, e.data);
    nft_nest_end(b, e.elem);
}

void nft_load_payload(struct nft_batch *b, enum nft_base base, unsigned offset, unsigned len,
                      unsigned dreg)
{
    struct expr e = begin(b, "payload");
    nft_put_be32(b, NFTA_PAYLOAD_DREG, reg(dreg));
    nft_put_be32(b, NFTA_PAYLOAD_BASE, base);
    nft_put_be32(b, NFTA_PAYLOAD_OFFSET, offset);
    nft_put_be32(b, NFTA_PAYLOAD_LEN, len);
    end(b, e);
}

void nft_load_value(struct nft_batch *b, const void *value, size_t len, unsigned dreg)
{
    struct expr e = begin(b, "immediate");
    nft_put_be32(b, NFTA_IMMEDIATE_DREG, reg(dreg));
    nft_put_value(b, NFTA_IMMEDIATE_DATA, value, len);
    end(b, e);
}

void nft_load_meta(struct nft_batch *b, enum nft_meta_keys key, unsigned dreg)
{
    struct expr e = begin(b, "meta");
    nft_put_be32(b, NFTA_META_DREG, reg(dreg));
    nft_put_be32(b, NFTA_META_KEY, key);
    end(b, e);
}

void nft_set_meta(struct nft_batch *b, enum nft_meta_keys key, unsigned sreg)
{
    struct expr e = begin(b, "meta");
    nft_put_be32(b, NFTA_META_SREG, reg(sreg));
    nft_put_be32(b, NFTA_META_KEY, key);
    end(b, e);
}

void nft_load_ct(struct nft_batch *b, enum nft_ct_keys key, unsigned dreg)
{
    struct expr e = begin(b, "ct");
    nft_put_be32(b, NFTA_CT_DREG, reg(dreg));
    nft_put_be32(b, NFTA_CT_KEY, key);
    end(b, e);
}

void nft_load_random(struct nft_batch *b, unsigned modulus, unsigned dreg)
{
    struct expr e = begin(b, "numgen");
    nft_put_be32(b, NFTA_NG_DREG, reg(dreg));
    nft_put_be32(b, NFTA_NG_MODULUS, modulus);
    nft_put_be32(b, NFTA_NG_TYPE, NFT_NG_RANDOM);
    nft_put_be32(b, NFTA_NG_OFFSET, 0);
    end(b, e);
}

void nft_bitwise(struct nft_batch *b, unsigned sreg, unsigned dreg, const void *mask,
                 const void * xor, size_t len)
{
    struct expr e = begin(b, "bitwise");
    nft_put_be32(b, NFTA_BITWISE_SREG, reg(sreg));
    nft_put_be32(b, NFTA_BITWISE_DREG, reg(dreg));
    nft_put_be32(b, NFTA_BITWISE_LEN, (uint32_t)len);
    nft_put_value(b, NFTA_BITWISE_MASK, mask, len);
    nft_put_value(b, NFTA_BITWISE_XOR, xor, len);
    end(b, e);
}

void nft_compare(struct nft_batch *b, unsigned sreg, bool equal, const void *value, size_t len)
{
    struct expr e = begin(b, "cmp");
    nft_put_be32(b, NFTA_CMP_SREG, reg(sreg));
    nft_put_be32(b, NFTA_CMP_OP, equal ? NFT_CMP_EQ : NFT_CMP_NEQ);
    nft_put_value(b, NFTA_CMP_DATA, value, len);
    end(b, e);
}

static void lookup(struct nft_batch *b, const char *set, unsigned sreg, const uint32_t *dreg,
                   uint32_t flags)
{
    struct expr e = begin(b, "lookup");
    nft_put_text(b, NFTA_LOOKUP_SET, set);
    nft_put_be32(b, NFTA_LOOKUP_SREG, reg(sreg));
    if (dreg)
        nft_put_be32(b, NFTA_LOOKUP_DREG, *dreg);
    if (flags)
        nft_put_be32(b, NFTA_LOOKUP_FLAGS, flags);
    end(b, e);
}

void nft_lookup(struct nft_batch *b, const char *set, unsigned sreg, bool inverted)
{
    lookup(b, set, sreg, NULL, inverted ? NFT_LOOKUP_F_INV : 0);
}

void nft_lookup_map(struct nft_batch *b, const char *map, unsigned sreg, unsigned dreg)
{
    uint32_t to = reg(dreg);
    lookup(b, map, sreg, &to, 0);
}

void nft_lookup_verdict(struct nft_batch *b, const char *map, unsigned sreg)
{
    uint32_t to = NFT_REG_VERDICT;
    lookup(b, map, sreg, &to, 0);
}

void nft_update(struct nft_batch *b, const char *set, unsigned sreg, unsigned timeout_s)
{
    struct expr e = begin(b, "dynset");
    nft_put_text(b, NFTA_DYNSET_SET_NAME, set);
    nft_put_be32(b, NFTA_DYNSET_OP, NFT_DYNSET_OP_UPDATE);
    nft_put_be32(b, NFTA_DYNSET_SREG_KEY, reg(sreg));
    nft_put_be64(b, NFTA_DYNSET_TIMEOUT, (uint64_t)timeout_s * MS_PER_S);
    end(b, e);
}

void nft_verdict(struct nft_batch *b, int verdict, const char *chain)
{
    struct expr e = begin(b, "immediate");
    nft_put_be32(b, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
    nft_put_verdict(b, NFTA_IMMEDIATE_DATA, verdict, chain);
    end(b, e);
}

void nft_counter(struct nft_batch *b)
{
    end(b, begin(b, "counter"));
}

void nft_reject(struct nft_batch *b)
{
    const uint8_t code = b->family == AF_INET ? ICMP_PORT_UNREACH : 4 /* ICMPv6 port unreachable */;
    struct expr e = begin(b, "reject");
    nft_put_be32(b, NFTA_REJECT_TYPE, NFT_REJECT_ICMP_UNREACH);
    nft_put(b, NFTA_REJECT_ICMP_CODE, &code, sizeof(code));
    end(b, e);
}

void nft_dnat(struct nft_batch *b, unsigned reg_address, unsigned reg_port)
{
    struct expr e = begin(b, "nat");
    nft_put_be32(b, NFTA_NAT_TYPE, NFT_NAT_DNAT);
    nft_put_be32(b, NFTA_NAT_FAMILY, (uint32_t)b->family);
    nft_put_be32(b, NFTA_NAT_REG_ADDR_MIN, reg(reg_address));
    nft_put_be32(b, NFTA_NAT_REG_PROTO_MIN, reg(reg_port));
    end(b, e);
}

void nft_masquerade(struct nft_batch *b)
{
    struct expr e = begin(b, "masq");
    nft_put_be32(b, NFTA_MASQ_FLAGS, NF_NAT_RANGE_PROTO_RANDOM_FULLY);
    end(b, e);
}

/*
 * nf_tables over netlink: atomic transactions on one table, and reading back what is there.
 *
 * A batch gathers messages; nft_commit() hands them to the kernel as one transaction: packets see
 * all of it or nothing. Registers are the sixteen 4-byte ones, numbered from 0; what is wider takes
 * the following ones too. Values in them are in network order unless said otherwise.
 */
#pragma once

#include <stdbool.h>

#include <linux/netfilter/nf_tables.h>

#include "nl/netlink.h"

struct nft;       /* a socket */
struct nft_batch; /* a transaction in the making */

int nft_open(struct nft **ret, struct error *err);
struct nft *nft_free(struct nft *n);    /* NULL is harmless; returns NULL */
uint32_t nft_port(const struct nft *n); /* for monitor_ignore() */

/* @family: NFPROTO_IPV4 (AF_INET) or NFPROTO_IPV6 (AF_INET6). @table is copied. */
struct nft_batch *nft_batch_new(int family, const char *table);
struct nft_batch *nft_batch_free(struct nft_batch *b); /* NULL is harmless; returns NULL */
bool nft_batch_is_empty(const struct nft_batch *b);
/* One transaction. 0, or the kernel's -errno: nothing has changed then, and @err names the first
 * object (chain, rule, set, element) at fault. The batch can only be freed after this. */
int nft_commit(struct nft *n, struct nft_batch *b, struct error *err);

/* ---- objects ---- */
#define NFT_COMMENT_MAX 128 /* longer ones are cut */

void nft_add_table(struct nft_batch *b, const char *comment);
void nft_delete_table(struct nft_batch *b);

struct nft_hook {
    const char *type; /* "filter", "nat" */
    int hook;         /* NF_INET_PRE_ROUTING, … */
    int priority;
};
void nft_add_chain(struct nft_batch *b, const char *name,
                   const struct nft_hook *hook);             /* or NULL */
void nft_flush_chain(struct nft_batch *b, const char *name); /* its rules go */
void nft_delete_chain(struct nft_batch *b, const char *name);

/* Types as `nft list` names them, for people; concatenated by nft_type(). */
enum nft_type {
    NFT_TYPE_IPV4 = 7,
    NFT_TYPE_IPV6 = 8,
    NFT_TYPE_PROTOCOL = 12,
    NFT_TYPE_PORT = 13,
    NFT_TYPE_NUMBER = 19, /* a mark: in the host's order */
};
#define NFT_TYPE_CONCAT(a, b) (((uint32_t)(a) << 6) | (uint32_t)(b))

struct nft_set_def {
    const char *name;
    uint32_t key_type, key_len;
    uint32_t data_type, data_len; /* of a map; data_type NFT_DATA_VERDICT: a verdict map */
    bool timeouts;                /* rules add elements, which expire */
    uint32_t size;                /* at most; 0: no limit */
};
void nft_add_set(struct nft_batch *b, const struct nft_set_def *def);

struct nft_element {
    const void *key;
    size_t key_len;
    const void *data; /* of a map */
    size_t data_len;
    int verdict;       /* of a verdict map: NF_DROP, NFT_GOTO, … */
    const char *chain; /* where NFT_GOTO goes */
    const char *comment;
};
/* Elements of a set that is there or is added in the same batch. Deleting looks at the key only. */
void nft_add_element(struct nft_batch *b, const char *set, const struct nft_element *e);
void nft_delete_element(struct nft_batch *b, const char *set, const struct nft_element *e);

/* ---- rules: begin, expressions in order, end ---- */
void nft_begin_rule(struct nft_batch *b, const char *chain, const char *comment);
void nft_end_rule(struct nft_batch *b);

enum nft_base {
    NFT_NETWORK = NFT_PAYLOAD_NETWORK_HEADER,
    NFT_TRANSPORT = NFT_PAYLOAD_TRANSPORT_HEADER
};
void nft_load_payload(struct nft_batch *b, enum nft_base base, unsigned offset, unsigned len,
                      unsigned dreg);
void nft_load_value(struct nft_batch *b, const void *value, size_t len, unsigned dreg);
void nft_load_meta(struct nft_batch *b, enum nft_meta_keys key, unsigned dreg);
void nft_set_meta(struct nft_batch *b, enum nft_meta_keys key, unsigned sreg);
void nft_load_ct(struct nft_batch *b, enum nft_ct_keys key, unsigned dreg);
/* A random number below @modulus, in the host's order. */
void nft_load_random(struct nft_batch *b, unsigned modulus, unsigned dreg);
/* dreg = (sreg & mask) ^ xor */
void nft_bitwise(struct nft_batch *b, unsigned sreg, unsigned dreg, const void *mask,
                 const void * xor, size_t len);
void nft_compare(struct nft_batch *b, unsigned sreg, bool equal, const void *value, size_t len);
/* Looks the key at @sreg up; the rule goes on when it is there (or is not, with @inverted). */
void nft_lookup(struct nft_batch *b, const char *set, unsigned sreg, bool inverted);
/* As above in a map: its value goes to @dreg. */
void nft_lookup_map(struct nft_batch *b, const char *map, unsigned sreg, unsigned dreg);
/* Looks up in a verdict map, and does what it says. */
void nft_lookup_verdict(struct nft_batch *b, const char *map, unsigned sreg);
/* Adds the key at @sreg to a set with timeouts, or makes it last longer. */
void nft_update(struct nft_batch *b, const char *set, unsigned sreg, unsigned timeout_s);
void nft_verdict(struct nft_batch *b, int verdict,
                 const char *chain); /* chain: NFT_GOTO, NFT_JUMP */
void nft_counter(struct nft_batch *b);
void nft_reject(struct nft_batch *b); /* port unreachable */
void nft_dnat(struct nft_batch *b, unsigned reg_address, unsigned reg_port);
void nft_masquerade(struct nft_batch *b);

/* ---- reading ---- */

/* 1: it is there, with its comment; 0: it is not; -errno. */
int nft_find_table(struct nft *n, int family, const char *table, char comment[NFT_COMMENT_MAX],
                   struct error *err);
int nft_list_chains(struct nft *n, int family, const char *table,
                    int (*cb)(const char *chain, void *arg), void *arg, struct error *err);
/* @comment: "" when it has none. @chain NULL: of all chains, each in order. */
int nft_list_rules(struct nft *n, int family, const char *table, const char *chain,
                   int (*cb)(const char *chain, const char *comment, const struct nlattr *rule,
                             void *arg),
                   void *arg, struct error *err);
int nft_list_elements(struct nft *n, int family, const char *table, const char *set,
                      int (*cb)(const struct nft_element *e, void *arg), void *arg,
                      struct error *err);

/* For a message of the group NFNLGRP_NFTABLES: its type (NFT_MSG_DELRULE, …), the family and the
 * table that it is about. -1 when it is about none. */
int nft_event(const struct nlmsghdr *h, int *ret_family, const char **ret_table);

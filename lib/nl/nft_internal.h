/* The batch under construction, for the files of nft.h. */
#pragma once

#include "base/strbuf.h"
#include "nl/nft.h"

/* What a message was about, for errors. Message n has the sequence number n + 1. */
struct nft_message {
    const char *what; /* "add element to set" */
    char *name;
    size_t offset, len; /* in the buffer; 0 while it is open */
};

struct nft_batch {
    int family;
    char *table;
    struct strbuf buf;
    struct nft_message *messages;
    size_t n, room;
    /* The open message of elements or of a rule. */
    int elements;       /* NFT_MSG_NEWSETELEM, NFT_MSG_DELSETELEM; 0: none */
    char *set;          /* whose */
    size_t list, exprs; /* offsets of the open nests */
    char *rule_comment;
};

void nft_message_begin(struct nft_batch *b, int type, int flags, const char *what,
                       const char *name);
void nft_message_end(struct nft_batch *b);
/* Ends what is open. */
void nft_close(struct nft_batch *b);

/* Attributes are appended to the buffer; nests are patched when they end. */
void nft_put(struct nft_batch *b, int type, const void *data, size_t len);
void nft_put_text(struct nft_batch *b, int type, const char *text);
void nft_put_be32(struct nft_batch *b, int type, uint32_t value);
void nft_put_be64(struct nft_batch *b, int type, uint64_t value);
size_t nft_nest(struct nft_batch *b, int type);
void nft_nest_end(struct nft_batch *b, size_t nest);
/* An nft_data attribute with a value, or with a verdict. */
void nft_put_value(struct nft_batch *b, int type, const void *data, size_t len);
void nft_put_verdict(struct nft_batch *b, int type, int verdict, const char *chain);
void nft_put_comment(struct nft_batch *b, int type, const char *comment);

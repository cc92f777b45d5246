/*
 * The two ranges that Services draw from, as plain sets of numbers: which cluster IPs and which
 * node ports are taken, as far as this server knows. The store has the last word (service.h).
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "base/strbuf.h"

/* Largest set: a /12 of addresses. */
#define RANGE_SIZE_MAX (1u << 20)

struct number_range {
    uint32_t base; /* the first number */
    uint32_t size;
    uint32_t reserved; /* numbers at the start that are not picked while others are free */
    uint8_t *used;     /* bit i: base + i is taken */
};
void number_range_init(struct number_range *r, uint32_t base, uint32_t size);
void number_range_done(struct number_range *r);
bool number_range_has(const struct number_range *r, uint32_t number); /* lies in it */
bool number_range_used(const struct number_range *r, uint32_t number);
void number_range_set(struct number_range *r, uint32_t number, bool used);
/* A free number chosen at random; 0, or -ENOSPC. Does not mark it. */
int number_range_pick(const struct number_range *r, uint32_t *ret);

/* "10.96.0.0/16": every address of it but the first (the network) and the last (broadcast). Not
 * longer than /30, not shorter than /12. -EINVAL with a text. */
int ip_range_parse(const char *cidr, struct number_range *ret, struct error *err);
/* "30000-32767". */
int port_range_parse(const char *text, struct number_range *ret, struct error *err);

/* Dotted IPv4 ↔ number in host order. */
int ip_parse(const char *text, uint32_t *ret); /* 0 or -EINVAL */
#define IP_TEXT_MAX 16
char *ip_format(uint32_t ip, char *buf); /* returns buf */

/* The set in the form of upstream's RangeAllocation: the bits as one big-endian number without
 * leading zero bytes. */
void number_range_bitmap(const struct number_range *r, struct strbuf *out);
/* Takes such a bitmap over; bits beyond the range are dropped. */
void number_range_load(struct number_range *r, const uint8_t *bitmap, size_t len);

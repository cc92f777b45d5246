/*
 * Tagged records, for messages between programs of ours that may be of different releases: a tag
 * (16 bits), a length (32 bits), both little-endian, and that many bytes. Readers skip tags that
 * they do not know. Numbers are 8 bytes little-endian, strings carry their NUL, and a record may
 * hold records.
 */
#pragma once

#include <stdbool.h>

#include "base/strbuf.h"

#define TLV_HEADER 6

void tlv_put(struct strbuf *out, uint16_t tag, const void *data, size_t len);
void tlv_put_u64(struct strbuf *out, uint16_t tag, uint64_t value);
/* NULL puts nothing. */
void tlv_put_string(struct strbuf *out, uint16_t tag, const char *text);
/* Begins a record that holds records: returns the place to give to tlv_end(). */
size_t tlv_begin(struct strbuf *out, uint16_t tag);
void tlv_end(struct strbuf *out, size_t place);

struct tlv_reader {
    const uint8_t *next, *end;
};
struct tlv_item {
    uint16_t tag;
    uint32_t len;
    const uint8_t *data;
};

struct tlv_reader tlv_read(const void *data, size_t len);
/* The next record: 1, 0 at the end, -EBADMSG when the bytes left are no whole record. */
int tlv_next(struct tlv_reader *r, struct tlv_item *ret);
/* False when the record is not of a number's size. */
bool tlv_u64(const struct tlv_item *item, uint64_t *ret);
/* The string, borrowed from the message; NULL when it does not end in its only NUL. */
const char *tlv_string(const struct tlv_item *item);

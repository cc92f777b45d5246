/* Tagged records; see tlv.h. */
#include "base/tlv.h"

#include <errno.h>
#include <string.h>

static void put_le(uint8_t *to, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        to[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t get_le(const uint8_t *from, size_t bytes)
{
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; i++)
        value |= (uint64_t)from[i] << (8 * i);
    return value;
}

void tlv_put(struct strbuf *out, uint16_t tag, const void *data, size_t len)
{
    uint8_t head[TLV_HEADER];
    put_le(head, tag, 2);
    put_le(head + 2, len, 4);
    strbuf_add(out, head, sizeof(head));
    strbuf_add(out, data, len);
}

void tlv_put_u64(struct strbuf *out, uint16_t tag, uint64_t value)
{
    uint8_t bytes[8];
    put_le(bytes, value, 8);
    tlv_put(out, tag, bytes, 8);
}

void tlv_put_string(struct strbuf *out, uint16_t tag, const char *text)
{
    if (text)
        tlv_put(out, tag, text, strlen(text) + 1);
}

size_t tlv_begin(struct strbuf *out, uint16_t tag)
{
    tlv_put(out, tag, "", 0);
    return out->len;
}

void tlv_end(struct strbuf *out, size_t place)
{
    put_le((uint8_t *)out->data + place - 4, out->len - place, 4);
}

struct tlv_reader tlv_read(const void *data, size_t len)
{
    return (struct tlv_reader){.next = data, .end = (const uint8_t *)data + len};
}

int tlv_next(struct tlv_reader *r, struct tlv_item *ret)
{
    size_t left = (size_t)(r->end - r->next);
    if (left == 0)
        return 0;
    if (left < TLV_HEADER)
        return -EBADMSG;
    uint32_t len = (uint32_t)get_le(r->next + 2, 4);
    if (len > left - TLV_HEADER)
        return -EBADMSG;
    *ret = (struct tlv_item){
        .tag = (uint16_t)get_le(r->next, 2), .len = len, .data = r->next + TLV_HEADER};
    r->next += TLV_HEADER + len;
    return 1;
}

bool tlv_u64(const struct tlv_item *item, uint64_t *ret)
{
    if (item->len != 8)
        return false;
    *ret = get_le(item->data, 8);
    return true;
}

const char *tlv_string(const struct tlv_item *item)
{
    if (item->len == 0 || memchr(item->data, '\0', item->len) != item->data + item->len - 1)
        return NULL;
    return (const char *)item->data;
}

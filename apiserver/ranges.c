/* Sets of cluster IPs and node ports; see ranges.h. */
#include "apiserver/ranges.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "base/digest.h"

void number_range_init(struct number_range *r, uint32_t base, uint32_t size)
{
    *r = (struct number_range){.base = base, .size = size, .used = mem_zalloc(size / 8 + 1)};
}

void number_range_done(struct number_range *r)
{
    free(r->used);
    *r = (struct number_range){.used = NULL};
}

bool number_range_has(const struct number_range *r, uint32_t number)
{
    return number >= r->base && number - r->base < r->size;
}

static bool bit(const struct number_range *r, uint32_t i)
{
    return r->used[i / 8] & (1u << (i % 8));
}

bool number_range_used(const struct number_range *r, uint32_t number)
{
    return number_range_has(r, number) && bit(r, number - r->base);
}

void number_range_set(struct number_range *r, uint32_t number, bool used)
{
    if (!number_range_has(r, number))
        return;
    uint32_t i = number - r->base;
    uint8_t mask = (uint8_t)(1u << (i % 8));
    if (used)
        r->used[i / 8] |= mask;
    else
        r->used[i / 8] &= (uint8_t)~mask;
}

/* The first free one at or after a random place in [from, to), around once. */
static int pick_between(const struct number_range *r, uint32_t from, uint32_t to, uint32_t *ret)
{
    if (from >= to)
        return -ENOSPC;
    uint32_t start;
    random_bytes(&start, sizeof(start));
    start %= to - from;
    for (uint32_t n = 0; n < to - from; n++) {
        uint32_t i = from + (start + n) % (to - from);
        if (!bit(r, i)) {
            *ret = r->base + i;
            return 0;
        }
    }
    return -ENOSPC;
}

int number_range_pick(const struct number_range *r, uint32_t *ret)
{
    if (pick_between(r, r->reserved, r->size, ret) == 0)
        return 0;
    return pick_between(r, 0, r->reserved, ret);
}

int ip_parse(const char *text, uint32_t *ret)
{
    struct in_addr in;
    if (!text || inet_pton(AF_INET, text, &in) != 1)
        return -EINVAL;
    *ret = ntohl(in.s_addr);
    return 0;
}

char *ip_format(uint32_t ip, char *buf)
{
    struct in_addr in = {.s_addr = htonl(ip)};
    (void)inet_ntop(AF_INET, &in, buf, IP_TEXT_MAX);
    return buf;
}

static int parse_number(const char **text, uint32_t max, uint32_t *ret)
{
    uint32_t value = 0;
    const char *s = *text;
    if (*s < '0' || *s > '9')
        return -EINVAL;
    for (; *s >= '0' && *s <= '9'; s++) {
        value = value * 10 + (uint32_t)(*s - '0');
        if (value > max)
            return -EINVAL;
    }
    *text = s;
    *ret = value;
    return 0;
}

int ip_range_parse(const char *cidr, struct number_range *ret, struct error *err)
{
    char address[IP_TEXT_MAX];
    uint32_t ip, bits;
    size_t len = strcspn(cidr, "/");
    const char *rest = cidr + len + 1;
    if (strchr(cidr, ':'))
        return error_set(err, -EINVAL, "%s: only IPv4 ranges are supported", cidr);
    if (strchr(cidr, ','))
        return error_set(err, -EINVAL, "%s: only one range is supported", cidr);
    if (!cidr[len] || len >= sizeof(address))
        return error_set(err, -EINVAL, "%s is not an address range", cidr);
    memcpy(address, cidr, len);
    address[len] = '\0';
    if (ip_parse(address, &ip) < 0 || parse_number(&rest, 32, &bits) < 0 || *rest)
        return error_set(err, -EINVAL, "%s is not an address range", cidr);
    if (bits < 12 || bits > 30)
        return error_set(err, -EINVAL, "%s: the prefix length must be from 12 to 30", cidr);
    uint32_t total = 1u << (32 - bits);
    ip &= ~(total - 1);
    number_range_init(ret, ip + 1, total - 2);
    /* As upstream: an early part of the range is left to addresses that people choose. */
    uint32_t reserved = total / 16;
    ret->reserved = reserved < 16 ? 16 : reserved > 256 ? 256 : reserved;
    if (ret->reserved >= ret->size)
        ret->reserved = 0;
    return 0;
}

int port_range_parse(const char *text, struct number_range *ret, struct error *err)
{
    uint32_t first, last;
    const char *s = text;
    if (parse_number(&s, 65535, &first) < 0 || *s++ != '-' || parse_number(&s, 65535, &last) < 0 ||
        *s || first < 1 || last < first)
        return error_set(err, -EINVAL, "%s is not a range of ports (30000-32767)", text);
    number_range_init(ret, first, last - first + 1);
    uint32_t reserved = ret->size / 32;
    ret->reserved = reserved < 16 ? 16 : reserved > 128 ? 128 : reserved;
    if (ret->reserved >= ret->size)
        ret->reserved = 0;
    return 0;
}

void number_range_bitmap(const struct number_range *r, struct strbuf *out)
{
    size_t n = r->size / 8 + 1;
    while (n && !r->used[n - 1])
        n--;
    while (n)
        strbuf_addc(out, (char)r->used[--n]);
}

void number_range_load(struct number_range *r, const uint8_t *bitmap, size_t len)
{
    size_t size = r->size / 8 + 1;
    memset(r->used, 0, size);
    for (size_t i = 0; i < len && i < size; i++)
        r->used[i] = bitmap[len - 1 - i];
    for (uint32_t i = r->size; i < size * 8; i++)
        r->used[i / 8] &= (uint8_t) ~(1u << (i % 8));
}

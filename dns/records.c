/* Resource records and names; see records.h. */
#include "dns/records.h"

#include <string.h>

#include "base/strbuf.h"

#define SOA_REFRESH 7200
#define SOA_RETRY   1800
#define SOA_EXPIRE  86400

/* ---- names ---- */

static bool is_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

bool name_text(const ldns_rdf *name, char text[NAME_TEXT_MAX])
{
    const uint8_t *wire = ldns_rdf_data(name);
    size_t size = ldns_rdf_size(name), out = 0;
    bool plain = true;
    for (size_t at = 0; at < size && wire[at]; at += (size_t)wire[at] + 1) {
        if (out && out + 1 < NAME_TEXT_MAX)
            text[out++] = '.';
        for (size_t i = at + 1; i <= at + wire[at] && i < size && out + 1 < NAME_TEXT_MAX; i++) {
            char c = (char)wire[i];
            if (c >= 'A' && c <= 'Z')
                c = (char)(c + ('a' - 'A'));
            plain = plain && is_plain(c);
            text[out++] = (char)(is_plain(c) ? c : '?');
        }
    }
    text[out] = '\0';
    return plain;
}

bool name_is_under(const char *name, const char *zone)
{
    size_t n = strlen(name), z = strlen(zone);
    return !z || (n >= z && !strcmp(name + n - z, zone) && (n == z || name[n - z - 1] == '.'));
}

static bool reverse_ipv4(const char *name, struct ip_addr *ret)
{
    char text[IP_TEXT_MAX];
    struct ip_addr a;
    if (!str_ends(name, ".in-addr.arpa"))
        return false;
    size_t len = strlen(name) - strlen(".in-addr.arpa");
    if (len >= sizeof(text))
        return false;
    (void)snprintf(text, sizeof(text), "%.*s", (int)len, name);
    if (ip_addr_parse(text, &a) < 0 || a.family != AF_INET)
        return false;
    *ret = (struct ip_addr){.family = AF_INET};
    for (size_t i = 0; i < 4; i++)
        ret->bytes[3 - i] = a.bytes[i];
    return true;
}

bool name_reverse(const char *name, struct ip_addr *ret)
{
    static const char digits[] = "0123456789abcdef";
    if (!str_ends(name, ".ip6.arpa"))
        return reverse_ipv4(name, ret);
    if (strlen(name) != 32 * 2 + strlen("ip6.arpa"))
        return false;
    *ret = (struct ip_addr){.family = AF_INET6};
    for (size_t i = 0; i < 32; i++) {
        const char *digit = strchr(digits, name[i * 2]);
        if (!digit || name[i * 2 + 1] != '.')
            return false;
        unsigned value = (unsigned)(digit - digits) << (i % 2 ? 4 : 0);
        ret->bytes[15 - i / 2] |= (uint8_t)value;
    }
    return true;
}

/* ---- records ---- */

static ldns_rr *new_record(const char *owner, uint32_t ttl, ldns_rr_type type)
{
    ldns_rdf *name = ldns_dname_new_frm_str(*owner ? owner : ".");
    if (!name)
        return NULL;
    ldns_rr *rr = ldns_rr_new();
    ldns_rr_set_owner(rr, name);
    ldns_rr_set_class(rr, LDNS_RR_CLASS_IN);
    ldns_rr_set_type(rr, type);
    ldns_rr_set_ttl(rr, ttl);
    return rr;
}

/* Adds a field to a record; without the field there is no record. */
static ldns_rr *with(ldns_rr *rr, ldns_rdf *field)
{
    if (rr && field && ldns_rr_push_rdf(rr, field))
        return rr;
    if (field)
        ldns_rdf_deep_free(field);
    if (rr)
        ldns_rr_free(rr);
    return NULL;
}

static ldns_rr *with_u16(ldns_rr *rr, uint16_t value)
{
    return with(rr, ldns_native2rdf_int16(LDNS_RDF_TYPE_INT16, value));
}

static ldns_rr *with_u32(ldns_rr *rr, uint32_t value)
{
    return with(rr, ldns_native2rdf_int32(LDNS_RDF_TYPE_INT32, value));
}

static ldns_rr *with_name(ldns_rr *rr, const char *name)
{
    return with(rr, ldns_dname_new_frm_str(*name ? name : "."));
}

ldns_rr *record_address(const char *owner, uint32_t ttl, const struct ip_addr *a)
{
    bool v6 = a->family == AF_INET6;
    ldns_rr *rr = new_record(owner, ttl, v6 ? LDNS_RR_TYPE_AAAA : LDNS_RR_TYPE_A);
    return with(rr, ldns_rdf_new_frm_data(v6 ? LDNS_RDF_TYPE_AAAA : LDNS_RDF_TYPE_A,
                                          ip_addr_size(a), a->bytes));
}

ldns_rr *record_name(const char *owner, uint32_t ttl, ldns_rr_type type, const char *target)
{
    return with_name(new_record(owner, ttl, type), target);
}

ldns_rr *record_srv(const char *owner, uint32_t ttl, const struct record_srv *srv)
{
    ldns_rr *rr = new_record(owner, ttl, LDNS_RR_TYPE_SRV);
    rr = with_u16(rr, srv->priority);
    rr = with_u16(rr, srv->weight);
    rr = with_u16(rr, srv->port);
    return with_name(rr, srv->target);
}

static ldns_rr *with_text(ldns_rr *rr, const char *text)
{
    ldns_rdf *field = NULL;
    (void)ldns_str2rdf_str(&field, text);
    return with(rr, field);
}

ldns_rr *record_txt(const char *owner, uint32_t ttl, const char *text)
{
    return with_text(new_record(owner, ttl, LDNS_RR_TYPE_TXT), text);
}

ldns_rr *record_hinfo(const char *owner, uint32_t ttl, const char *cpu, const char *os)
{
    return with_text(with_text(new_record(owner, ttl, LDNS_RR_TYPE_HINFO), cpu), os);
}

ldns_rr *record_soa(const char *owner, uint32_t ttl, const char *server, const char *mailbox,
                    uint32_t serial)
{
    const uint32_t numbers[] = {serial, SOA_REFRESH, SOA_RETRY, SOA_EXPIRE, ttl};
    ldns_rr *rr = with_name(new_record(owner, ttl, LDNS_RR_TYPE_SOA), server);
    rr = with_name(rr, mailbox);
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
        rr = with_u32(rr, numbers[i]);
    return rr;
}

void record_push(ldns_rr_list *list, ldns_rr *rr)
{
    if (rr && !ldns_rr_list_push_rr(list, rr))
        ldns_rr_free(rr);
}

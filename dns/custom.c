/* What people add to the names by hand; see custom.h. */
#include "dns/custom.h"

#include <stdarg.h>
#include <string.h>

#include "base/strbuf.h"

#define WORDS " \t\r"

/* One key of the ConfigMap under way. */
struct reading {
    struct custom *c;
    const char *key;
    unsigned line;
    custom_complain_fn complain;
    void *arg;
};

static void wrong(const struct reading *r, const char *fmt, ...) _printf_(2, 3);
static void wrong(const struct reading *r, const char *fmt, ...)
{
    _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
    va_list args;
    if (r->c->n_wrong++ >= CUSTOM_COMPLAINTS_MAX)
        return;
    strbuf_addf(&b, "%s: line %u: ", r->key, r->line);
    va_start(args, fmt);
    strbuf_addv(&b, fmt, args);
    va_end(args);
    r->complain(r->arg, strbuf_text(&b));
}

static bool read_name(const char *text, char out[NAME_TEXT_MAX])
{
    ldns_rdf *name = strlen(text) < NAME_TEXT_MAX ? ldns_dname_new_frm_str(text) : NULL;
    bool good = name && name_text(name, out) && *out;
    if (name)
        ldns_rdf_deep_free(name);
    return good;
}

/* ---- hosts ---- */

static void add_host(const struct reading *r, const struct ip_addr *ip, const char *word)
{
    char name[NAME_TEXT_MAX], text[IP_TEXT_MAX];
    if (!read_name(word, name)) {
        wrong(r, "\"%.255s\" is no name", word);
        return;
    }
    struct custom_host *h = map_get(&r->c->hosts, name);
    if (!h && map_count(&r->c->hosts) == CUSTOM_HOSTS_MAX) {
        wrong(r, "more than %d names", CUSTOM_HOSTS_MAX);
        return;
    }
    if (!h) {
        h = mem_zalloc(sizeof(*h));
        map_set(&r->c->hosts, name, h);
    }
    if (h->count == CUSTOM_PER_NAME) {
        wrong(r, "%s has more than %d addresses", name, CUSTOM_PER_NAME);
        return;
    }
    h->ips[h->count++] = *ip;
    (void)ip_addr_format(ip, text);
    if (!map_has(&r->c->addresses, text))
        map_set(&r->c->addresses, text, str_dup(name));
}

static void read_host(const struct reading *r, char *line)
{
    char *rest = NULL, *word = strtok_r(line, WORDS, &rest);
    struct ip_addr ip;
    if (ip_addr_parse(word, &ip) < 0) {
        wrong(r, "\"%.255s\" is no address", word);
        return;
    }
    word = strtok_r(NULL, WORDS, &rest);
    if (!word)
        wrong(r, "no name behind the address");
    for (; word; word = strtok_r(NULL, WORDS, &rest))
        add_host(r, &ip, word);
}

/* ---- zones ---- */

static void read_zone(const struct reading *r, char *line)
{
    char *rest = NULL, *word = strtok_r(line, WORDS, &rest);
    struct custom_zone z = {.n_servers = 0};
    if (!read_name(word, z.name)) {
        wrong(r, "\"%.255s\" is no domain", word);
        return;
    }
    for (size_t i = 0; i < r->c->n_zones; i++)
        if (str_eq(r->c->zones[i].name, z.name)) {
            wrong(r, "%s is there twice", z.name);
            return;
        }
    while ((word = strtok_r(NULL, WORDS, &rest))) {
        if (z.n_servers == UPSTREAM_SERVERS_MAX) {
            wrong(r, "%s has more than %d servers", z.name, UPSTREAM_SERVERS_MAX);
            return;
        }
        if (ip_addr_parse(word, &z.servers[z.n_servers++]) < 0) {
            wrong(r, "\"%.255s\" is no address of a server", word);
            return;
        }
    }
    if (!z.n_servers) {
        wrong(r, "no server behind %s", z.name);
        return;
    }
    if (r->c->n_zones == CUSTOM_ZONES_MAX) {
        wrong(r, "more than %d domains", CUSTOM_ZONES_MAX);
        return;
    }
    r->c->zones = mem_grow(r->c->zones, r->c->n_zones + 1, sizeof(z));
    r->c->zones[r->c->n_zones++] = z;
}

/* ---- */

static void each_line(struct reading *r, const json_t *data,
                      void (*one)(const struct reading *r, char *line))
{
    const char *at = json_string_value(json_object_get(data, r->key));
    for (r->line = 1; at && *at; r->line++) {
        size_t len = strcspn(at, "\n");
        _cleanup_free_ char *line = str_ndup(at, len);
        line[strcspn(line, "#")] = '\0';
        if (line[strspn(line, WORDS)])
            one(r, line);
        at += len + (at[len] == '\n');
    }
}

void custom_read(const json_t *config_map, struct custom *ret, custom_complain_fn complain,
                 void *arg)
{
    const json_t *data = json_object_get(config_map, "data");
    struct reading r = {.c = ret, .key = "hosts", .complain = complain, .arg = arg};
    *ret = (struct custom){.hosts = MAP_INIT(free), .addresses = MAP_INIT(free)};
    each_line(&r, data, read_host);
    r.key = "zones";
    each_line(&r, data, read_zone);
}

void custom_done(struct custom *c)
{
    map_clear(&c->hosts);
    map_clear(&c->addresses);
    free(c->zones);
    *c = (struct custom){.zones = NULL};
}

const struct custom_zone *custom_zone_of(const struct custom *c, const char *name)
{
    const struct custom_zone *best = NULL;
    for (size_t i = 0; i < c->n_zones; i++)
        if (name_is_under(name, c->zones[i].name) &&
            (!best || strlen(c->zones[i].name) > strlen(best->name)))
            best = &c->zones[i];
    return best;
}

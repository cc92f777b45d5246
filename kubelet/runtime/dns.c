/* dnsPolicy and dnsConfig → DNSConfig (resolv.conf of the pod). */
#include <string.h>

#include "base/strbuf.h"
#include "kubelet/runtime/message.h"
#include "kubelet/runtime/requests.h"

/* What libc takes (resolv.conf(5)), as upstream counts it. */
#define SERVERS_MAX     3
#define SEARCHES_MAX    32
#define SEARCH_LINE_MAX 2048
#define SEARCH_NAME_MAX 253

static bool has_text(size_t n, char **items, const char *text)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(items[i], text))
            return true;
    return false;
}

static void add_search(Runtime__V1__DNSConfig *d, const char *domain)
{
    if (*domain && !has_text(d->n_searches, d->searches, domain))
        message_append_text(&d->n_searches, &d->searches, domain);
}

static void add_server(Runtime__V1__DNSConfig *d, const char *server)
{
    if (!has_text(d->n_servers, d->servers, server))
        message_append_text(&d->n_servers, &d->servers, server);
}

/* An option replaces one of the same name: "ndots:5" and "ndots:2" have the same. */
static void add_option(Runtime__V1__DNSConfig *d, const char *text)
{
    size_t name = strcspn(text, ":");
    for (size_t i = 0; i < d->n_options; i++) {
        if (strcspn(d->options[i], ":") == name && !strncmp(d->options[i], text, name)) {
            free(d->options[i]);
            d->options[i] = str_dup(text);
            return;
        }
    }
    message_append_text(&d->n_options, &d->options, text);
}

static void drop_from(size_t *n, char **items, size_t keep)
{
    while (*n > keep)
        free(items[--*n]);
}

/* One line of the host's resolv.conf. Of several search lines the last one counts. */
static void add_line(Runtime__V1__DNSConfig *d, char *line)
{
    char *save = NULL;
    const char *keyword = strtok_r(line, " \t\r", &save);
    bool search = str_eq(keyword, "search"), first = true;
    if (search)
        drop_from(&d->n_searches, d->searches, 0);
    for (char *w; keyword && (w = strtok_r(NULL, " \t\r", &save)); first = false) {
        size_t len = strlen(w);
        if (search && len > 0 && w[len - 1] == '.')
            w[len - 1] = 0;
        if (search)
            add_search(d, w);
        else if (str_eq(keyword, "nameserver") && first)
            add_server(d, w);
        else if (str_eq(keyword, "options"))
            add_option(d, w);
    }
}

/* The host's resolv.conf: all of it, or the search line alone. */
static void add_host(Runtime__V1__DNSConfig *d, const char *text, bool all)
{
    _cleanup_free_ char *copy = str_dup(text ? text : "");
    char *save = NULL;
    for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        line += strspn(line, " \t");
        if (*line != '#' && *line != ';' && (all || str_starts(line, "search")))
            add_line(d, line);
    }
}

static void add_cluster(Runtime__V1__DNSConfig *d, const struct pod *pod,
                        const struct dns_settings *dns)
{
    Runtime__V1__DNSConfig *host = message_new(&runtime__v1__dnsconfig__descriptor);
    message_append_texts(&d->n_servers, &d->servers, &dns->servers);
    if (dns->domain && *dns->domain) {
        _cleanup_free_ char *ns = str_printf("%s.svc.%s", pod->meta.ns, dns->domain);
        _cleanup_free_ char *svc = str_printf("svc.%s", dns->domain);
        add_search(d, ns);
        add_search(d, svc);
        add_search(d, dns->domain);
    }
    add_host(host, dns->host_config, false);
    for (size_t i = 0; i < host->n_searches; i++)
        add_search(d, host->searches[i]);
    message_free(host);
    add_option(d, "ndots:5");
}

static void add_spec(Runtime__V1__DNSConfig *d, const struct dns_spec *spec)
{
    for (size_t i = 0; i < spec->nameservers.count; i++)
        add_server(d, spec->nameservers.items[i]);
    for (size_t i = 0; i < spec->searches.count; i++)
        add_search(d, spec->searches.items[i]);
    for (size_t i = 0; i < spec->options.count; i++) {
        const struct dns_option *o = &spec->options.items[i];
        _cleanup_free_ char *text =
            o->value && *o->value ? str_printf("%s:%s", o->name, o->value) : str_dup(o->name);
        if (text)
            add_option(d, text);
    }
}

static void note(struct strbuf *notes, const char *text, size_t n, char **items)
{
    if (!notes)
        return;
    strbuf_adds(notes, text);
    for (size_t i = 0; i < n; i++)
        strbuf_addf(notes, " %s", items[i]);
    strbuf_addc(notes, '\n');
}

/* Cuts to what libc takes. */
static void fit(Runtime__V1__DNSConfig *d, struct strbuf *notes)
{
    size_t servers = d->n_servers, searches = d->n_searches, line = 0, kept = 0;
    drop_from(&d->n_servers, d->servers, SERVERS_MAX);
    if (d->n_servers < servers)
        note(notes,
             "Nameserver limits were exceeded, some nameservers have been omitted, the "
             "applied nameserver line is:",
             d->n_servers, d->servers);
    for (size_t i = 0; i < searches; i++) {
        size_t len = strlen(d->searches[i]);
        if (kept >= SEARCHES_MAX || len > SEARCH_NAME_MAX || line + len > SEARCH_LINE_MAX) {
            free(d->searches[i]);
            continue;
        }
        line += len + 1;
        d->searches[kept++] = d->searches[i];
    }
    d->n_searches = kept;
    if (kept < searches)
        note(notes,
             "Search Line limits were exceeded, some search paths have been omitted, the "
             "applied search line is:",
             d->n_searches, d->searches);
}

bool dns_lacks_cluster(const struct pod *pod, const struct dns_settings *dns)
{
    const char *policy = pod->spec.dns_policy;
    return !dns->servers.count && (str_eq(policy, "ClusterFirstWithHostNet") ||
                                   (str_eq(policy, "ClusterFirst") && !pod->spec.host_network));
}

Runtime__V1__DNSConfig *request_dns(const struct pod *pod, const struct dns_settings *dns,
                                    struct strbuf *notes)
{
    Runtime__V1__DNSConfig *d = message_new(&runtime__v1__dnsconfig__descriptor);
    const char *policy = pod->spec.dns_policy;
    bool cluster = str_eq(policy, "ClusterFirstWithHostNet") ||
                   (str_eq(policy, "ClusterFirst") && !pod->spec.host_network);
    if (cluster && dns->servers.count)
        add_cluster(d, pod, dns);
    else if (!str_eq(policy, "None"))
        add_host(d, dns->host_config, true);
    if (pod->spec.dns)
        add_spec(d, pod->spec.dns);
    fit(d, notes);
    return d;
}

/* dnsPolicy and dnsConfig → DNSConfig (resolv.conf of the pod). */
#include <string.h>

#include "base/strbuf.h"
#include "kubelet/runtime/message.h"
#include "kubelet/runtime/requests.h"

#define SERVERS_MAX  3
#define SEARCHES_MAX 32

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

static void add_words(Runtime__V1__DNSConfig *d, char *line)
{
    char *save = NULL;
    const char *keyword = strtok_r(line, " \t\r", &save);
    bool first = true;
    for (char *w; keyword && (w = strtok_r(NULL, " \t\r", &save)); first = false) {
        if (str_eq(keyword, "nameserver") && first)
            message_append_text(&d->n_servers, &d->servers, w);
        else if (str_eq(keyword, "search"))
            add_search(d, strcmp(w, ".") ? w : "");
        else if (str_eq(keyword, "options"))
            add_option(d, w);
    }
}

/* The host's resolv.conf (resolv.conf(5)): the last search line wins in libc; here they add up. */
static void add_host(Runtime__V1__DNSConfig *d, const char *text, bool servers)
{
    _cleanup_free_ char *copy = str_dup(text ? text : "");
    char *save = NULL;
    for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        line += strspn(line, " \t");
        if (*line == '#' || *line == ';')
            continue;
        if (servers || str_starts(line, "search"))
            add_words(d, line);
    }
}

Runtime__V1__DNSConfig *request_dns(const struct pod *pod, const struct dns_settings *dns)
{
    Runtime__V1__DNSConfig *d = message_new(&runtime__v1__dnsconfig__descriptor);
    const char *policy = pod->spec.dns_policy;
    const struct dns_spec *extra = pod->spec.dns;
    bool cluster = str_eq(policy, "ClusterFirstWithHostNet") ||
                   (str_eq(policy, "ClusterFirst") && !pod->spec.host_network);
    if (cluster && dns->servers.count) {
        message_append_texts(&d->n_servers, &d->servers, &dns->servers);
        if (dns->domain && *dns->domain) {
            _cleanup_free_ char *ns = str_printf("%s.svc.%s", pod->meta.ns, dns->domain);
            _cleanup_free_ char *svc = str_printf("svc.%s", dns->domain);
            add_search(d, ns);
            add_search(d, svc);
            add_search(d, dns->domain);
        }
        add_host(d, dns->host_config, false);
        add_option(d, "ndots:5");
    } else if (!str_eq(policy, "None")) {
        add_host(d, dns->host_config, true);
    }
    for (size_t i = 0; extra && i < extra->nameservers.count; i++)
        if (!has_text(d->n_servers, d->servers, extra->nameservers.items[i]))
            message_append_text(&d->n_servers, &d->servers, extra->nameservers.items[i]);
    for (size_t i = 0; extra && i < extra->searches.count; i++)
        add_search(d, extra->searches.items[i]);
    for (size_t i = 0; extra && i < extra->options.count; i++) {
        const struct dns_option *o = &extra->options.items[i];
        _cleanup_free_ char *text =
            o->value && *o->value ? str_printf("%s:%s", o->name, o->value) : str_dup(o->name);
        if (text)
            add_option(d, text);
    }
    while (d->n_servers > SERVERS_MAX)
        free(d->servers[--d->n_servers]);
    while (d->n_searches > SEARCHES_MAX)
        free(d->searches[--d->n_searches]);
    return d;
}

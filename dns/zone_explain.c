/* Why a name is answered as it is, for people; see zone.h. Goes the way of zone_lookup.c. */
#include <stdarg.h>
#include <string.h>
#include <strings.h>

#include "base/strbuf.h"
#include "dns/zone_internal.h"

#define NAMED_MAX 10 /* endpoints that are named one by one */

static void say(json_t *why, const char *fmt, ...) _printf_(2, 3);
static void say(json_t *why, const char *fmt, ...)
{
    _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
    va_list args;
    va_start(args, fmt);
    strbuf_addv(&b, fmt, args);
    va_end(args);
    (void)json_array_append_new(why, json_string(strbuf_text(&b)));
}

static void explain_endpoints(const struct zone *z, const struct dns_service *s, json_t *why)
{
    const struct slice_refs *refs = zone_slices_of(z, s);
    size_t ready = 0, not_ready = 0;
    for (size_t i = 0; i < refs->count; i++)
        for (size_t k = 0; k < refs->items[i]->endpoints.count; k++) {
            const struct dns_endpoint *e = &refs->items[i]->endpoints.items[k];
            if (endpoint_is_ready(s, e))
                ready++;
            else if (++not_ready <= NAMED_MAX)
                say(why, "endpoint %s%s%s is not ready",
                    e->addresses.count ? e->addresses.items[0] : "without address",
                    e->hostname && *e->hostname ? ", host name " : "",
                    e->hostname ? e->hostname : "");
        }
    if (not_ready > NAMED_MAX)
        say(why, "and %zu more", not_ready - NAMED_MAX);
    if (!refs->count)
        say(why, "no EndpointSlice belongs to it");
    else
        say(why, "it has %zu ready endpoint%s", ready, ready == 1 ? "" : "s");
}

static void explain_port(const struct dns_service *s, const struct labels *l, json_t *why)
{
    const char *protocol = l->items[3] + 1, *port = l->count == 5 ? l->items[4] + 1 : NULL;
    size_t named = 0, found = 0;
    for (size_t i = 0; i < s->ports.count; i++) {
        const struct dns_port *p = &s->ports.items[i];
        bool same = !strcasecmp(protocol, p->protocol ? p->protocol : "TCP");
        bool has_name = p->name && *p->name;
        named += has_name;
        found += same && has_name && (!port || !strcasecmp(port, p->name));
    }
    if (found)
        say(why, "port%s%s of that service, protocol %s", port ? " " : "s", port ? port : "",
            protocol);
    else if (!named)
        say(why, "no port of that service has a name, and only named ones have one here");
    else
        say(why, "that service has no port%s%s of protocol %s", port ? " " : "", port ? port : "",
            protocol);
}

static void explain_service(const struct zone *z, const struct labels *l, json_t *why)
{
    _cleanup_free_ char *key = str_printf("%s/%s", l->items[1], l->items[2]);
    const struct dns_service *s = map_get(&z->services, key);
    if (!s) {
        say(why, "there is no Service %s", key);
        return;
    }
    if (str_eq(s->type, "ExternalName"))
        say(why, "Service %s is another name for %s", key,
            s->external_name && *s->external_name ? s->external_name : "nothing");
    else if (!service_is_headless(s))
        say(why, "Service %s has cluster IP %s", key, s->cluster_ip ? s->cluster_ip : "none");
    else
        say(why, "headless Service %s: the addresses are those of its%s endpoints", key,
            s->publish_not_ready ? "" : " ready");
    if (l->count >= 4 && *l->items[3] == '_') {
        explain_port(s, l, why);
    } else if (l->count >= 4) {
        say(why, "%s would be the host name of an endpoint, or its address with dashes",
            l->items[3]);
    }
    if (service_is_headless(s) || (l->count >= 4 && *l->items[3] != '_'))
        explain_endpoints(z, s, why);
}

static void explain_inside(const struct zone *z, const char *name, json_t *why)
{
    struct labels l;
    labels_split(name, z->domain, &l);
    bool svc = l.count && str_eq(l.items[0], "svc"), pod = l.count && str_eq(l.items[0], "pod");
    if (!l.count)
        say(why, "the domain of the cluster itself");
    else if (str_eq(l.items[0], "dns") || str_eq(l.items[0], "dns-version"))
        say(why, "about this server");
    else if (!svc && !pod)
        say(why, "below %s there are svc, pod and dns-version only", z->domain);
    else if (pod && z->pods == ZONE_PODS_DISABLED)
        say(why, "names of pods are switched off (--pods)");
    else if (l.count == 1)
        say(why, "above all namespaces");
    else if (!map_has(&z->namespaces, l.items[1]))
        say(why, "there is no namespace %s", l.items[1]);
    else if (l.count == 2)
        say(why, "namespace %s", l.items[1]);
    else if (svc)
        explain_service(z, &l, why);
    else
        say(why, "%s: the name holds the address%s", l.items[2],
            z->pods == ZONE_PODS_VERIFIED ? ", which a pod of the namespace has to have" : "");
}

static bool is_endpoint(const struct zone *z, const struct ip_addr *ip)
{
    for (struct map_entry *e = map_first(&z->slices); e; e = map_next(e)) {
        const struct dns_slice *slice = map_value(e);
        for (size_t i = 0; i < slice->endpoints.count; i++) {
            const struct string_list *l = &slice->endpoints.items[i].addresses;
            for (size_t k = 0; k < l->count; k++)
                if (address_is(l->items[k], ip))
                    return true;
        }
    }
    return false;
}

void zone_explain(const struct zone *z, const char *name, json_t *why)
{
    struct ip_addr ip;
    char text[IP_TEXT_MAX];
    bool inside = name_is_under(name, z->domain);
    if (!inside && !name_reverse(name, &ip)) {
        say(why, "not below %s: other servers are asked", z->domain);
        return;
    }
    if (!z->synced) {
        say(why, "the names of the cluster are not known yet: the API server has not answered");
        return;
    }
    if (inside) {
        explain_inside(z, name, why);
        return;
    }
    (void)ip_addr_format(&ip, text);
    const struct dns_service *s = map_get(&z->cluster_ips, text);
    if (s)
        say(why, "%s is the cluster IP of Service %s/%s", text, s->ns, s->name);
    else if (is_endpoint(z, &ip))
        say(why, "%s is an endpoint's address; it has a name when it is ready", text);
    else
        say(why, "nobody in the cluster has %s: other servers are asked", text);
}

/* What the plan has of a service, and why an endpoint is not used: for people; see plan.h. */
#include <string.h>

#include "base/strbuf.h"
#include "proxy/plan_internal.h"

static const struct plan_endpoint *find_endpoint(const struct plan_port *port,
                                                 const struct ip_addr *ip, int number)
{
    for (size_t i = 0; i < port->n_endpoints; i++)
        if (port->endpoints[i].port == number && ip_addr_equal(&port->endpoints[i].ip, ip))
            return &port->endpoints[i];
    return NULL;
}

static bool is_draining(const struct endpoint *ep)
{
    bool ready = !ep->ready.set || ep->ready.value;
    return !ready && ep->terminating.set && ep->terminating.value;
}

/* Why traffic of one policy does not go to an endpoint that could take it. */
static const char *passed_over(const struct endpoint *ep, const struct plan_endpoint *e, bool local)
{
    if (local && !e->local)
        return "is on another node (traffic policy Local)";
    if (is_draining(ep))
        return "is terminating, others are ready";
    if (ep->ready.set && !ep->ready.value)
        return "is not ready";
    return "is for other nodes or zones (topology hints)";
}

/* "used", "used from outside only: …", or why not. */
static char *verdict(const struct endpoint *ep, const struct plan_port *port, int number)
{
    struct ip_addr ip;
    const char *text = ep->addresses.count ? ep->addresses.items[0] : NULL;
    if (!text || ip_addr_parse(text, &ip) < 0)
        return str_dup("not used: its address is invalid");
    if (!plan_endpoint_address_ok(&ip))
        return str_dup("not used: its address cannot be an endpoint's");
    const struct plan_endpoint *e = find_endpoint(port, &ip, number);
    if (!e)
        return str_dup("not used: is not ready");
    bool inside = port->internal_local ? e->in_local : e->in_cluster;
    bool outside = port->external_local ? e->in_local : e->in_cluster;
    if (!plan_port_is_external(port))
        outside = inside;
    if (inside && outside)
        return str_dup(is_draining(ep) ? "used: is terminating, but nothing else is left" : "used");
    const char *why = passed_over(ep, e, inside ? port->external_local : port->internal_local);
    return inside    ? str_printf("used from inside; from outside not: %s", why)
           : outside ? str_printf("used from outside; from inside not: %s", why)
                     : str_printf("not used: %s", why);
}

static json_t *endpoints_of(const struct plan_entry *entry, const struct plan_port *port)
{
    json_t *all = json_array();
    const char *colon = strrchr(port->title, ':');
    const char *name = colon ? colon + 1 : "";
    MAP_FOR_EACH(i, &entry->slices) {
        const struct slice *s = map_value(i);
        int number = plan_slice_port(s, name, port->protocol);
        if (!str_eq(s->address_type, port->family == AF_INET ? "IPv4" : "IPv6"))
            continue;
        for (size_t k = 0; k < s->endpoints.count; k++) {
            const struct endpoint *ep = &s->endpoints.items[k];
            _cleanup_free_ char *text =
                number ? verdict(ep, port, number)
                       : str_printf("not used: its EndpointSlice %s has no port of this name and "
                                    "protocol",
                                    s->name);
            json_t *j =
                json_pack("{sssiss}", "address", ep->addresses.count ? ep->addresses.items[0] : "",
                          "port", number, "verdict", text);
            if (ep->node_name)
                (void)json_object_set_new(j, "node", json_text(ep->node_name));
            (void)json_array_append_new(all, j);
        }
    }
    return all;
}

static json_t *addresses_of(const struct ip_addr *list, size_t n)
{
    json_t *all = json_array();
    char text[IP_TEXT_MAX];
    for (size_t i = 0; i < n; i++)
        (void)json_array_append_new(all, json_text(ip_addr_format(&list[i], text)));
    return all;
}

static json_t *port_of(const struct plan_entry *entry, const struct plan_port *port)
{
    char text[IP_TEXT_MAX];
    json_t *j = json_pack("{sssssssisiso}", "title", port->title, "family",
                          port->family == AF_INET ? "IPv4" : "IPv6", "clusterIP",
                          ip_addr_format(&port->cluster_ip, text), "port", (int)port->port,
                          "nodePort", (int)port->node_port, "endpoints", endpoints_of(entry, port));
    (void)json_object_set_new(j, "protocol", json_text(plan_protocol_name(port->protocol)));
    (void)json_object_set_new(j, "externalIPs",
                              addresses_of(port->external_ips, port->n_external_ips));
    (void)json_object_set_new(j, "loadBalancerIPs",
                              addresses_of(port->ingress_ips, port->n_ingress_ips));
    (void)json_object_set_new(j, "affinitySeconds", json_integer(port->affinity_seconds));
    (void)json_object_set_new(j, "internalTrafficPolicy",
                              json_string(port->internal_local ? "Local" : "Cluster"));
    (void)json_object_set_new(j, "externalTrafficPolicy",
                              json_string(port->external_local ? "Local" : "Cluster"));
    (void)json_object_set_new(j, "hasEndpoints", json_boolean(port->has_endpoints));
    return j;
}

json_t *plan_explain(const struct plan *p, const char *key)
{
    const struct plan_entry *entry = map_get(&p->entries, key);
    if (!entry)
        return NULL;
    const struct plan_service *s = entry->result;
    json_t *ports = json_array(), *problems = json_array();
    for (size_t i = 0; s && i < s->n_ports; i++)
        (void)json_array_append_new(ports, port_of(entry, &s->ports[i]));
    for (size_t i = 0; s && i < s->n_problems; i++)
        (void)json_array_append_new(problems, json_text(s->problems[i]));
    if (!entry->service)
        (void)json_array_append_new(
            problems, json_string("there is no Service of this name that this proxy serves (it may "
                                  "be headless, an ExternalName, or another proxy's)"));
    return json_pack("{sssosiso}", "service", key, "ports", ports, "healthCheckNodePort",
                     s ? (int)s->health_port : 0, "problems", problems);
}

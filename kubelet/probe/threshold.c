/* Counting probe results, and finding the port: pure. */
#include <stdlib.h>

#include "base/strbuf.h"
#include "kubelet/probe/probe.h"

bool probe_count(struct probe_counter *c, const struct probe_spec *spec, bool success)
{
    if (success) {
        c->failures = 0;
        c->successes += c->successes < INT32_MAX;
        if (c->ok || c->successes < spec->success)
            return false;
    } else {
        c->successes = 0;
        c->failures += c->failures < INT32_MAX;
        if (!c->ok || c->failures < spec->failure)
            return false;
    }
    c->ok = success;
    return true;
}

uint16_t probe_port(const struct container_spec *c, const struct int_or_string *port)
{
    if (!port->text)
        return port->value > 0 && port->value < 65536 ? (uint16_t)port->value : 0;
    for (size_t i = 0; i < c->ports.count; i++)
        if (str_eq(c->ports.items[i].name, port->text))
            return (uint16_t)c->ports.items[i].container_port;
    char *end;
    long number = strtol(port->text, &end, 10);
    return *port->text && !*end && number > 0 && number < 65536 ? (uint16_t)number : 0;
}

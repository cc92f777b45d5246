/* The two texts of the DNS's ConfigMap, separated by a NUL: whatever they hold, what is read of
 * them can be looked up again. */
#include <stdlib.h>
#include <string.h>

#include "base/strbuf.h"
#include "dns/custom.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void complain(void *arg, const char *text)
{
    if (!strstr(text, ": line "))
        abort();
    (*(size_t *)arg)++;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *nul = size ? memchr(data, '\0', size) : NULL;
    size_t first = nul ? (size_t)(nul - data) : size, complaints = 0;
    json_t *map =
        json_pack("{s:{s:o?,s:o?}}", "data", "hosts", json_stringn((const char *)data, first),
                  "zones", nul ? json_stringn((const char *)nul + 1, size - first - 1) : NULL);
    struct custom c;
    custom_read(map, &c, complain, &complaints);
    MAP_FOR_EACH(e, &c.addresses) {
        if (!map_has(&c.hosts, map_value(e)))
            abort();
    }
    for (size_t i = 0; i < c.n_zones; i++)
        if (custom_zone_of(&c, c.zones[i].name) != &c.zones[i] || !c.zones[i].n_servers)
            abort();
    custom_done(&c);
    json_decref(map);
    return 0;
}

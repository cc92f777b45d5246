/* A message from a client of the cluster DNS, answered from a zone that holds a bit of everything:
 * what is answered can be parsed, and is no longer than it may be. */
#include <stdlib.h>
#include <string.h>

#include "base/strbuf.h"
#include "dns/message.h"
#include "dns/responder.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void set(int (*set_fn)(struct zone *z, const char *key, const json_t *j, struct error *err),
                struct zone *z, const char *key, const char *text)
{
    _cleanup_json_ json_t *j = json_parse(text, strlen(text), NULL);
    if (set_fn(z, key, j, NULL) < 0)
        abort();
}

static struct zone *new_zone(void)
{
    const struct zone_config c = {.domain = "c.l", .pods = ZONE_PODS_INSECURE, .ttl = 5};
    struct zone *z = NULL;
    if (zone_new(&z, &c, NULL) < 0)
        abort();
    zone_namespace_set(z, "d");
    set(zone_service_set, z, "d/w",
        "{\"metadata\":{\"name\":\"w\",\"namespace\":\"d\"},\"spec\":{\"clusterIP\":\"10.0.0.1\","
        "\"ports\":[{\"name\":\"h\",\"port\":80}]}}");
    set(zone_service_set, z, "d/p",
        "{\"metadata\":{\"name\":\"p\",\"namespace\":\"d\"},\"spec\":{\"clusterIP\":\"None\"}}");
    set(zone_service_set, z, "d/x",
        "{\"metadata\":{\"name\":\"x\",\"namespace\":\"d\"},\"spec\":{\"type\":\"ExternalName\","
        "\"externalName\":\"x.d.svc.c.l\"}}");
    set(zone_slice_set, z, "d/p-1",
        "{\"metadata\":{\"name\":\"p-1\",\"namespace\":\"d\",\"labels\":"
        "{\"kubernetes.io/service-name\":\"p\"}},\"ports\":[{\"name\":\"h\",\"port\":1}],"
        "\"endpoints\":[{\"addresses\":[\"10.0.1.1\"]},{\"addresses\":[\"10.0.1.2\"],"
        "\"hostname\":\"a\"}]}");
    zone_synced(z);
    return z;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct zone *z = new_zone();
    struct responder *r = responder_new(z, NULL, NULL);
    for (int tcp = 0; tcp < 2; tcp++) {
        _cleanup_free_ uint8_t *reply = NULL;
        _cleanup_pkt_ ldns_pkt *pkt = NULL;
        size_t len;
        responder_answer(r, data, size, tcp, &reply, &len);
        if (reply && (len > (tcp ? MESSAGE_MAX : MESSAGE_UDP_MAX) ||
                      ldns_wire2pkt(&pkt, reply, len) != LDNS_STATUS_OK))
            abort();
    }
    (void)responder_free(r);
    (void)zone_free(z);
    return 0;
}

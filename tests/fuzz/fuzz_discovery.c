/*
 * What a server says of its cluster before anybody trusts it. Input: a ConfigMap cluster-info as it
 * comes; or, behind a '+', a kubeconfig that is signed here, so that what lies behind the signature
 * is reached too.
 */
#include <stdint.h>
#include <string.h>

#include "base/strbuf.h"
#include "cli/discovery.h"
#include "kube/jws.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const json_t *info)
{
    static char zero[] = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
    static char *none[] = {zero, NULL};
    const struct option_list pins = {none, 1};
    struct discovery d = {.token = "abcdef.0123456789abcdef", .pins = &pins, .unpinned = true};
    struct kubeconfig k = {.server = NULL};
    if (discovery_check(&d, info, &k, NULL) == 0 && (!k.server || !k.ca_pem))
        abort();
    kubeconfig_done(&k);
    d.unpinned = false;
    if (discovery_check(&d, info, &k, NULL) == 0)
        abort(); /* nothing has that pin */
    kubeconfig_done(&k);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 0 && data[0] == '+') {
        const char *text = (const char *)data + 1;
        _cleanup_free_ char *jws = jws_sign("abcdef", "0123456789abcdef", text, size - 1);
        _cleanup_json_ json_t *info = json_pack("{s{s s% s s}}", "data", "kubeconfig", text,
                                                size - 1, "jws-kubeconfig-abcdef", jws);
        if (info)
            check(info);
        return 0;
    }
    _cleanup_json_ json_t *info = json_parse((const char *)data, size, NULL);
    check(info);
    return 0;
}

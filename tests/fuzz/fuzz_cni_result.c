/* What a CNI plugin printed: the first byte chooses the configuration's version. */
#include <stdint.h>

#include "cri/cni_result.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ip_addr addrs[8];
    struct error err = ERROR_INIT;
    struct strbuf out = STRBUF_INIT, none = STRBUF_INIT;
    if (!size)
        return 0;
    strbuf_add(&out, data + 1, size - 1);
    _cleanup_json_ json_t *result =
        cni_result_parse(strbuf_text(&out), out.len, data[0] & 1 ? "0.4.0" : "1.0.0", &err);
    if (result) {
        int n = cni_result_addresses(result, "eth0", addrs, ARRAY_SIZE(addrs), &err);
        if (n == 0 || n > (int)ARRAY_SIZE(addrs))
            abort();
    }
    const struct process_result failed = {.status = 1 << 8, .out = &out, .err = &none};
    if (cni_result_error(&failed, "ADD", "fuzz", &err) >= 0)
        abort();
    strbuf_done(&out);
    return 0;
}

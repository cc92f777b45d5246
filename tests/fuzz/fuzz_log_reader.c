/* A log file that a container wrote (through the shim) → what kubectl logs shows. */
#include <string.h>

#include "kubelet/server/log_reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    struct log_reader r = {.options = {.limit = data[0] & 1 ? data[1] : -1,
                                       .timestamps = data[0] & 2,
                                       .since = data[0] & 4 ? 1767323045000000000 : 0,
                                       .no_stderr = data[0] & 8}};
    struct strbuf out = STRBUF_INIT, in = STRBUF_INIT;
    size_t step = 1 + (data[0] >> 4);
    for (size_t at = 2; at < size; at += step) {
        strbuf_add(&in, data + at, size - at < step ? size - at : step);
        strbuf_consume(&in, log_reader_feed(&r, in.data, in.len, at + step >= size, &out));
    }
    strbuf_done(&in);
    strbuf_done(&out);
    return 0;
}

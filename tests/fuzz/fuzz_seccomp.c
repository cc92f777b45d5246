/* Seccomp profiles in JSON: whatever is accepted is a filter of whole instructions that the kernel
 * would take. */
#include <linux/filter.h>
#include <stdint.h>
#include <stdlib.h>

#include "cri/seccomp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error err = ERROR_INIT;
    _cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
    unsigned flags = 0;
    int r = seccomp_from_json((const char *)data, size, &out, &flags, &err);
    size_t n = out.len / sizeof(struct sock_filter);
    if (r == 0 && (out.len % sizeof(struct sock_filter) || !n || n > BPF_MAXINSNS || flags > 7))
        abort();
    if (r < 0 && !err.text[0])
        abort();
    return 0;
}

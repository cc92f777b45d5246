/* The WWW-Authenticate field. */
#include <stdint.h>

#include "base/strbuf.h"
#include "cri/image/challenge.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_free_ char *text = str_ndup((const char *)data, size);
    struct challenge c;
    if (challenge_parse(text, &c) == 0)
        challenge_done(&c);
    return 0;
}

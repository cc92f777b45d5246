/* What a Secret may hold as docker configuration, and an image's repository to match it with. */
#include <string.h>

#include "base/strbuf.h"
#include "kubelet/runtime/keyring.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char *const names[] = {(char *)".dockerconfigjson", (char *)".dockercfg"};
    /* The first line is the repository, the rest the configuration. */
    const uint8_t *line = memchr(data, '\n', size);
    size_t len = line ? (size_t)(line - data) : 0, skip = line ? len + 1 : 0;
    _cleanup_free_ char *repository = str_ndup((const char *)data, len);
    _cleanup_free_ unsigned char *copy = mem_dup(data + skip, size - skip);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        struct bytes_pair pair = {.key = names[i], .value = {.data = copy, .len = size - skip}};
        struct bytes_map map = {.items = &pair, .count = 1};
        struct keyring k = {.entries = NULL};
        struct credential_list found = {.items = NULL};
        (void)keyring_add(&k, &map, NULL);
        (void)keyring_add(&k, &map, NULL);
        keyring_lookup(&k, repository, &found);
        credential_list_done(&found);
        keyring_done(&k);
    }
    return 0;
}

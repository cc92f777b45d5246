/* Manifests, indexes and configs of registries. */
#include <stdint.h>

#include "base/strbuf.h"
#include "cri/image/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_json_ json_t *j = json_parse((const char *)data, size, NULL);
    struct error err = ERROR_INIT;
    enum manifest_kind kind;
    struct manifest m;
    struct image_config config;
    char **ids;
    size_t count;
    if (!j)
        return 0;
    (void)manifest_kind(j, NULL, &kind, &err);
    if (manifest_parse(j, &m, &err) == 0)
        manifest_done(&m);
    struct platform host = platform_host();
    struct descriptor d = {.digest = NULL};
    (void)index_select(j, &host, &d, &err);
    descriptor_done(&d);
    if (image_config_parse(j, &config, &err) == 0)
        image_config_done(&config);
    if (image_config_diff_ids(j, &ids, &count, &err) == 0) {
        char chain[IMAGE_MAX_LAYERS + 1][IMAGE_ID_MAX];
        chain_ids(ids, count, chain);
        (void)image_strings_free(ids);
    }
    return 0;
}

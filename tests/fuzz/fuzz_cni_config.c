/* CNI configurations, as a list and as one plugin's; and what their plugins would be given. */
#include <stdint.h>

#include "cri/cni_config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (int list = 0; list < 2; list++) {
        struct error err = ERROR_INIT;
        _cleanup_json_ json_t *config = cni_config_parse((const char *)data, size, list, &err);
        _cleanup_json_ json_t *runtime = json_pack("{s[]s{}}", "portMappings", "dns");
        if (!config && !err.code)
            abort();
        for (size_t i = 0; config && i < cni_config_count(config); i++) {
            _cleanup_json_ json_t *input = cni_config_input(config, i, runtime, config);
            if (!json_path_string(input, "name") || !cni_config_type(config, i))
                abort();
        }
    }
    return 0;
}

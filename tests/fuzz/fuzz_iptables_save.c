/* What iptables-save prints, taken over: arbitrary text must neither crash nor leak. */
#include <stdint.h>

#include "base/strbuf.h"
#include "nl/iptables.h"
#include "proxy/iptables/survey.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct addresses addresses = {.everywhere = true};
    const struct backend_config config = {
        .family = AF_INET, .mark = 0x4000, .addresses = &addresses};
    _cleanup_free_ char *text = str_ndup((const char *)data, size);
    struct rules fixed = RULES_INIT;
    struct delta delta = DELTA_INIT;
    struct survey survey;
    struct strbuf out = STRBUF_INIT;
    size_t written[RULES_TABLES];
    survey_init(&survey, &rules_source);
    rules_source.fixed(&config, &fixed);
    survey_read(&survey, text);
    survey_static(&survey, &fixed, &delta);
    for (int l = 0; l < RULES_LISTS; l++)
        if (survey_wants_rewrite(&survey, l))
            survey_rewrite(&survey, l, strbuf_text(&fixed.lists[l]), &delta);
    survey_end(&survey, &delta);
    delta_text(&delta, &out, written);
    (void)iptables_saved_has_table(text, "nat");
    strbuf_done(&out);
    rules_done(&fixed);
    delta_done(&delta);
    survey_done(&survey);
    return 0;
}

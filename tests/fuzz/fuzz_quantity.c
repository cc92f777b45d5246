/* Quantities: what parses has a canonical text that parses to the same value. */
#include <string.h>

#include "base/strbuf.h"
#include "kube/quantity.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_free_ char *text = str_ndup((const char *)data, size);
    struct quantity q, again, sum;
    char buf[QUANTITY_TEXT_MAX], second[QUANTITY_TEXT_MAX];
    if (quantity_parse(text, &q, NULL) < 0)
        return 0;
    if (quantity_parse(quantity_format(&q, buf), &again, NULL) < 0 ||
        quantity_compare(&q, &again) != 0)
        abort();
    /* A binary quantity that no suffix divides ("1312.5Ki") is written without one. */
    if (again.form == q.form && strcmp(quantity_format(&again, second), buf) != 0)
        abort();
    sum = q;
    quantity_add(&sum, &q);
    quantity_sub(&sum, &q);
    if (quantity_sign(&sum) * quantity_sign(&q) < 0)
        abort();
    (void)quantity_value(&q);
    (void)quantity_milli_value(&q);
    return 0;
}

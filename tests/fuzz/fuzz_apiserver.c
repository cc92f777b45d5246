/*
 * Requests to the API server over an in-memory store. Input: lines "METHOD PATH CONTENT-TYPE", each
 * followed by a line with its body; all of them go to one server, so that a later request meets
 * what an earlier one has left.
 */
#include <string.h>

#include "lib/harness.h"

#define REQUESTS_MAX 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The text up to @stop or the end; *@at goes behind it. */
static char *take(const char **at, const char *end, char stop)
{
    const char *start = *at;
    const char *found = memchr(start, stop, (size_t)(end - start));
    const char *last = found ? found : end;
    *at = found ? found + 1 : end;
    return str_ndup(start, (size_t)(last - start));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *at = (const char *)data, *end = at + size;
    struct harness *h = harness_new("10.0.0.0/28");
    for (int i = 0; i < REQUESTS_MAX && at < end; i++) {
        _cleanup_free_ char *method = take(&at, end, ' ');
        _cleanup_free_ char *path = take(&at, end, ' ');
        _cleanup_free_ char *type = take(&at, end, '\n');
        _cleanup_free_ char *body = take(&at, end, '\n');
        (void)harness_request(h, method, path, *type ? type : NULL, *body ? body : NULL,
                              strlen(body), 60, NULL);
    }
    (void)harness_free(h);
    return 0;
}

/* Continue tokens and revisions; see continue_token.h. */
#include "apiserver/continue_token.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/json.h"
#include "kube/decode.h"

#define TOKEN_MAX 4096

char *continue_token_make(const char *prefix, const char *from, int64_t revision)
{
    _cleanup_json_ json_t *token =
        json_pack("{s:s,s:I,s:o}", "v", "meta.k8s.io/v1", "rv", (json_int_t)revision, "start",
                  json_text(from + strlen(prefix)));
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    json_encode(token, &text);
    return base64url_encode(text.data, text.len);
}

int continue_token_parse(const char *token, const char *prefix, char **ret_from,
                         int64_t *ret_revision, struct error *err)
{
    if (strlen(token) > TOKEN_MAX)
        return error_set(err, -EINVAL, "the continue token is too long");
    struct bytes raw = {.data = NULL};
    if (base64url_decode(token, strlen(token), &raw) < 0)
        return error_set(err, -EINVAL, "the continue token is not base64");
    _cleanup_json_ json_t *tree = json_parse((const char *)raw.data, raw.len, NULL);
    free(raw.data);
    const char *version = json_path_string(tree, "v");
    const json_t *start = json_path(tree, "start");
    int64_t revision = json_path_int(tree, "rv", 0);
    if (!version || !str_eq(version, "meta.k8s.io/v1") || !json_is_string(start) ||
        strlen(json_string_value(start)) != json_string_length(start) ||
        !json_string_length(start) || revision == 0 || revision < -1)
        return error_set(err, -EINVAL, "the continue token is not one of this server's");
    *ret_from = str_printf("%s%s", prefix, json_string_value(start));
    *ret_revision = revision < 0 ? 0 : revision;
    return 0;
}

int version_parse(const char *text, int64_t *ret)
{
    int64_t value = 0;
    for (; *text; text++) {
        if (*text < '0' || *text > '9' || value > (INT64_MAX - 9) / 10)
            return -EINVAL;
        value = value * 10 + (*text - '0');
    }
    *ret = value;
    return 0;
}

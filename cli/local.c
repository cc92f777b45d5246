/* Asking a daemon of this node; see local.h. */
#include "cli/local.h"

#include <errno.h>
#include <string.h>

#include "base/strbuf.h"
#include "net/http_client.h"

#define ANSWER_MAX ((size_t)16 << 20)
#define WAIT_MS    10000

struct asking {
    struct loop *loop;
    const char *daemon, *address;
    struct error *err;
    json_t *answer;
    int code;
};

static void on_answer(const struct http_response *response, const struct error *err, void *arg)
{
    struct asking *a = arg;
    if (!response)
        a->code = error_set(a->err, err->code, "coracle-%s does not answer at %s: %s", a->daemon,
                            a->address, err->text);
    else if (response->status == 404 || response->status == 400)
        a->code = error_set(a->err, response->status == 404 ? -ENOENT : -EINVAL, "%.*s",
                            (int)strcspn(response->body, "\n"), response->body);
    else if (response->status != 200)
        a->code = error_set(a->err, -EIO, "%s answers %d: is it coracle-%s?", a->address,
                            response->status, a->daemon);
    else if (!(a->answer = json_parse(response->body, response->body_len, a->err)))
        a->code = -EIO;
    loop_stop(a->loop, 0);
}

int local_get(const char *daemon, const char *address, const char *path, json_t **ret,
              struct error *err)
{
    struct asking a = {.loop = loop_new(), .daemon = daemon, .address = address, .err = err};
    struct http_client *client = http_client_new(a.loop);
    _cleanup_free_ char *url = str_printf("http://%s/%s", address, path);
    const struct http_request request = {.url = url, .timeout_ms = WAIT_MS};
    int r = http_client_call(client, &request, ANSWER_MAX, on_answer, &a, NULL, err);
    if (r == 0) {
        (void)loop_run(a.loop);
        r = a.code;
    }
    (void)http_client_free(client);
    (void)loop_free(a.loop);
    if (r == 0)
        *ret = a.answer;
    return r;
}

/* A command's connection to the cluster; see session.h. */
#include "cli/session.h"

#include <errno.h>

#include "base/strbuf.h"

int session_open(struct session *s, const char *kubeconfig, const char *context, const char *ns,
                 struct error *err)
{
    *s = (struct session){.loop = NULL};
    _cleanup_free_ char *path = kubeconfig_find(kubeconfig);
    if (!path)
        return error_set(err, -ENOENT,
                         "no kubeconfig: none in $KUBECONFIG, ~/.kube/config or "
                         "/etc/coracle/kubeconfig (is a cluster up here?)");
    int r = kubeconfig_load(path, context, &s->config, err);
    if (r < 0)
        return r;
    s->loop = loop_new();
    s->ns = ns ? ns : s->config.namespace;
    r = kube_client_new(&s->client, s->loop, &s->config, "coracle", err);
    if (r < 0)
        session_close(s);
    return r;
}

int session_open_flags(struct session *s, const struct cluster_flags *flags, struct error *err)
{
    int r = session_open(s, flags->kubeconfig, flags->context, flags->ns, err);
    if (r == 0 && flags->all_namespaces)
        s->ns = NULL;
    return r;
}

void session_close(struct session *s)
{
    s->client = kube_client_free(s->client);
    s->loop = loop_free(s->loop);
    kubeconfig_done(&s->config);
}

struct waiting {
    struct session *session;
    struct error *err;
    json_t **ret;
    char **ret_text;
    int code;
};

static int code_of(const struct kube_result *result)
{
    switch (result->status) {
    case 0:
        return -ECONNREFUSED;
    case 404:
        return -ENOENT;
    case 409:
        return str_eq(result->reason, "AlreadyExists") ? -EEXIST : -EAGAIN;
    case 401:
    case 403:
        return -EACCES;
    case 400:
    case 422:
        return -EINVAL;
    default:
        return -EIO;
    }
}

static void on_result(const struct kube_result *result, void *arg)
{
    struct waiting *w = arg;
    w->code = 0;
    if (result->error)
        w->code = error_set(w->err, code_of(result), "%s", result->error);
    else if (w->ret)
        *w->ret = json_incref((json_t *)(uintptr_t)result->body);
    else if (w->ret_text)
        *w->ret_text = str_ndup(result->text, result->text_len);
    loop_stop(w->session->loop, 0);
}

static int wait_for(struct session *s, struct waiting *w)
{
    (void)loop_run(s->loop);
    if (w->code == 0 && w->ret && !*w->ret)
        return error_set(w->err, -EIO, "the server's answer is not JSON");
    return w->code;
}

int session_call(struct session *s, const char *method, const char *path, const char *accept,
                 const char *content_type, const json_t *body, json_t **ret, struct error *err)
{
    json_t *answer = NULL;
    struct waiting w = {.session = s, .err = err, .ret = &answer};
    (void)kube_request_as(s->client, method, path, accept, content_type, body, 0, on_result, &w);
    int r = wait_for(s, &w);
    if (r == 0 && ret)
        *ret = answer;
    else
        json_decref(answer);
    return r;
}

int session_get_text(struct session *s, const char *path, char **ret, struct error *err)
{
    struct waiting w = {.session = s, .err = err, .ret_text = ret};
    (void)kube_request_as(s->client, "GET", path, "*/*", NULL, NULL, 0, on_result, &w);
    return wait_for(s, &w);
}

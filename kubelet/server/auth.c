/*
 * Authentication and authorization of the kubelet's server; see auth.h. A check goes through the
 * sources of identity, then through the subresources any of which will do; each question to the API
 * server may be answered at once, from what is remembered.
 */
#include "kubelet/server/auth.h"

#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "kubelet/server/review.h"

#define GROUP_AUTHENTICATED "system:authenticated"

struct server_auth {
    struct kubelet *k;
    bool certificates, anonymous;
    struct reviews *tokens; /* NULL: bearer tokens count for nothing */
    struct reviews *access; /* NULL: who is somebody may do everything */
    http_handler_fn pass;
    void *arg;
    struct list checks;
};

struct auth_check {
    struct list link;
    struct server_auth *auth;
    struct http_exchange *x;
    struct review *review;
    const char *verb;
    const char *subresources[AUTH_SUBRESOURCES_MAX + 1];
    size_t asked; /* of the subresources */
    json_t *user; /* as in a TokenReview: username, uid, groups, extra */
};

/* ---- what a request means ---- */

void server_auth_subresources(const char *word, const char *ret[static AUTH_SUBRESOURCES_MAX + 1])
{
    static const struct {
        const char *word, *subresource;
        bool or_proxy; /* the subresource is newer: nodes/proxy, as before, will do too */
    } table[] = {
        {"stats", "stats", false},    {"metrics", "metrics", false},
        {"logs", "log", false},       {"checkpoint", "checkpoint", false},
        {"pods", "pods", true},       {"runningpods", "pods", true},
        {"healthz", "healthz", true}, {"configz", "configz", true},
    };
    size_t n = 0;
    bool proxy = true;
    for (size_t i = 0; word && i < ARRAY_SIZE(table); i++)
        if (str_eq(table[i].word, word)) {
            ret[n++] = table[i].subresource;
            proxy = table[i].or_proxy;
        }
    if (proxy)
        ret[n++] = "proxy";
    ret[n] = NULL;
}

/* A WebSocket begins as a GET: who may read may not run commands. */
static const char *verb_of(const char *method, const char *word)
{
    static const char *const upgraded[] = {"exec", "attach", "portForward"};
    static const struct {
        const char *method, *verb;
    } table[] = {{"GET", "get"},
                 {"POST", "create"},
                 {"PUT", "update"},
                 {"PATCH", "patch"},
                 {"DELETE", "delete"}};
    for (size_t i = 0; i < ARRAY_SIZE(upgraded); i++)
        if (str_eq(upgraded[i], word))
            return "create";
    for (size_t i = 0; i < ARRAY_SIZE(table); i++)
        if (str_eq(table[i].method, method))
            return table[i].verb;
    return NULL;
}

/* ---- the end of a check ---- */

static void check_free(struct auth_check *c)
{
    (void)review_cancel(c->review);
    list_remove(&c->link);
    json_decref(c->user);
    free(c);
}

static void refuse(struct auth_check *c)
{
    http_exchange_replyf(c->x, 401, "Unauthorized");
    check_free(c);
}

static void let_in(struct auth_check *c)
{
    struct server_auth *a = c->auth;
    struct http_exchange *x = c->x;
    check_free(c);
    if (http_exchange_is_closed(x))
        http_exchange_abort(x);
    else
        a->pass(x, a->arg);
}

static void refuse_access(struct auth_check *c, int status, const char *what)
{
    _cleanup_strbuf_ struct strbuf needs = STRBUF_INIT;
    for (size_t i = 0; c->subresources[i]; i++)
        strbuf_addf(&needs, "%s%s", i ? " " : "", c->subresources[i]);
    http_exchange_replyf(c->x, status, "%s (user=%s, verb=%s, resource=nodes, subresource(s)=[%s])",
                         what, json_path_string(c->user, "username"), c->verb, strbuf_text(&needs));
    check_free(c);
}

/* ---- authorization ---- */

static void ask_access(struct auth_check *c);

static void on_access(void *arg, const json_t *status, const char *error)
{
    struct auth_check *c = arg;
    c->review = NULL;
    if (!status) {
        log_warn("the API server cannot be asked who may call the server", "error", error, NULL);
        refuse_access(c, 500, "Authorization error");
    } else if (json_is_true(json_object_get(status, "allowed"))) {
        let_in(c);
    } else if (c->subresources[c->asked]) {
        ask_access(c);
    } else {
        refuse_access(c, 403, "Forbidden");
    }
}

static void ask_access(struct auth_check *c)
{
    _cleanup_json_ json_t *spec =
        json_pack("{s:O,s:{s:s,s:s,s:s,s:s,s:s}}", "user", json_object_get(c->user, "username"),
                  "resourceAttributes", "verb", c->verb, "version", "v1", "resource", "nodes",
                  "subresource", c->subresources[c->asked++], "name", c->auth->k->node_name);
    static const char *const rest[] = {"uid", "groups", "extra"};
    for (size_t i = 0; i < ARRAY_SIZE(rest); i++) {
        json_t *value = json_object_get(c->user, rest[i]);
        if (value)
            (void)json_object_set(spec, rest[i], value);
    }
    struct review *review = review_ask(c->auth->access, spec, on_access, c);
    if (review) /* else @c is gone, or further on */
        c->review = review;
}

static void authorize(struct auth_check *c)
{
    if (c->auth->access)
        ask_access(c);
    else
        let_in(c);
}

/* ---- authentication ---- */

/* @user is taken over: {username, groups …}. */
static void identified(struct auth_check *c, json_t *user)
{
    json_t *groups = json_object_get(user, "groups"), *group;
    size_t i;
    bool there = false;
    if (!json_is_array(groups)) {
        groups = json_array();
        (void)json_object_set_new(user, "groups", groups);
    }
    json_array_foreach(groups, i, group)
        there = there || str_eq(json_string_value(group), GROUP_AUTHENTICATED);
    if (!there)
        (void)json_array_append_new(groups, json_string(GROUP_AUTHENTICATED));
    c->user = user;
    authorize(c);
}

static void on_token(void *arg, const json_t *status, const char *error)
{
    struct auth_check *c = arg;
    const json_t *user = json_object_get(status, "user");
    c->review = NULL;
    if (!status)
        log_warn("the API server cannot be asked about a token", "error", error, NULL);
    if (json_is_true(json_object_get(status, "authenticated")) &&
        json_path_string(user, "username"))
        identified(c, json_deep_copy(user));
    else
        refuse(c);
}

static json_t *certificate_user(const struct http_peer *peer)
{
    json_t *groups = json_array();
    for (size_t i = 0; peer->organizations[i]; i++)
        (void)json_array_append_new(groups, json_text(peer->organizations[i]));
    return json_pack("{s:o,s:o}", "username", json_text(peer->common_name), "groups", groups);
}

static void authenticate(struct auth_check *c)
{
    struct server_auth *a = c->auth;
    const struct http_peer *peer = http_exchange_peer(c->x);
    const char *token = a->tokens ? http_exchange_bearer_token(c->x) : NULL;
    bool certificate = a->certificates && peer->has_certificate;
    if (certificate && peer->verified && *peer->common_name) {
        identified(c, certificate_user(peer));
    } else if (token) {
        _cleanup_json_ json_t *spec = json_pack("{s:o}", "token", json_text(token));
        struct review *review = review_ask(a->tokens, spec, on_token, c);
        if (review) /* else @c is gone, or further on */
            c->review = review;
    } else if (a->anonymous && !certificate) {
        c->user = json_pack("{s:s,s:[s]}", "username", "system:anonymous", "groups",
                            "system:unauthenticated");
        authorize(c);
    } else {
        refuse(c);
    }
}

void server_auth_check(struct server_auth *a, struct http_exchange *x)
{
    _cleanup_free_ char *path = str_dup(http_exchange_decoded_path(x));
    char *save = NULL;
    const char *word = strtok_r(path, "/", &save);
    const char *verb = verb_of(http_exchange_method(x), word);
    if (!verb) {
        http_exchange_replyf(x, 405, "method not allowed");
        return;
    }
    struct auth_check *c = mem_zalloc(sizeof(*c));
    *c = (struct auth_check){.auth = a, .x = x, .verb = verb};
    list_append(&a->checks, &c->link);
    server_auth_subresources(word, c->subresources);
    authenticate(c);
}

/* ---- setting up ---- */

int server_auth_new(struct kubelet *k, const struct kubelet_config *config, http_handler_fn pass,
                    void *arg, struct server_auth **ret, struct error *err)
{
    const struct kubelet_authentication *authn = &config->authentication;
    const struct kubelet_authorization *authz = &config->authorization;
    bool tokens = authn->webhook.enabled.set ? authn->webhook.enabled.value : k->api != NULL;
    bool access = authz->mode ? str_eq(authz->mode, "Webhook") : k->api != NULL;
    if (tokens && !k->api)
        return error_set(err, -EINVAL,
                         "authentication.webhook.enabled: there is no API server to ask");
    if (access && !k->api)
        return error_set(err, -EINVAL,
                         "authorization.mode: Webhook: there is no API server to ask");
    struct server_auth *a = mem_zalloc(sizeof(*a));
    *a = (struct server_auth){.k = k,
                              .certificates = authn->x509.client_ca && *authn->x509.client_ca,
                              .anonymous = authn->anonymous.enabled,
                              .pass = pass,
                              .arg = arg};
    list_init(&a->checks);
    uint64_t ttl = (uint64_t)authn->webhook.ttl_ms;
    if (tokens)
        a->tokens = reviews_new(k->api, &token_review, ttl, ttl);
    if (access)
        a->access = reviews_new(k->api, &access_review, (uint64_t)authz->webhook.allowed_ttl_ms,
                                (uint64_t)authz->webhook.denied_ttl_ms);
    *ret = a;
    return 0;
}

struct server_auth *server_auth_free(struct server_auth *a)
{
    if (!a)
        return NULL;
    LIST_FOR_EACH(l, &a->checks) {
        struct auth_check *c = LIST_ENTRY(l, struct auth_check, link);
        http_exchange_abort(c->x);
        check_free(c);
    }
    (void)reviews_free(a->tokens);
    (void)reviews_free(a->access);
    free(a);
    return NULL;
}

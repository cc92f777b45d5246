/* Rules of roles; see rules.h. */
#include "apiserver/auth/rules.h"

#include <errno.h>
#include <string.h>

#include "base/json.h"

#define ALL "*"
/* Lines of a message about missing rules. */
#define MISSING_LINES_MAX 20

/* ---- reading and writing ---- */

static char **list_of(const json_t *rule, const char *key)
{
    const json_t *array = json_object_get(rule, key);
    size_t i, n = 0;
    json_t *text;
    if (!json_array_size(array))
        return NULL;
    char **list = mem_zalloc((json_array_size(array) + 1) * sizeof(*list));
    json_array_foreach(array, i, text) {
        if (json_is_string(text))
            list[n++] = str_dup(json_string_value(text));
    }
    return list;
}

void role_rules_parse(const json_t *array, struct rules *ret)
{
    size_t i;
    json_t *rule;
    *ret = (struct rules){.items = mem_zalloc((json_array_size(array) + 1) * sizeof(struct rule))};
    json_array_foreach(array, i, rule) {
        ret->items[ret->count++] = (struct rule){.verbs = list_of(rule, "verbs"),
                                                 .groups = list_of(rule, "apiGroups"),
                                                 .resources = list_of(rule, "resources"),
                                                 .names = list_of(rule, "resourceNames"),
                                                 .urls = list_of(rule, "nonResourceURLs")};
    }
}

static void list_free(char **list)
{
    for (size_t i = 0; list && list[i]; i++)
        free(list[i]);
    free(list);
}

void role_rules_done(struct rules *rules)
{
    for (size_t i = 0; i < rules->count; i++) {
        list_free(rules->items[i].verbs);
        list_free(rules->items[i].groups);
        list_free(rules->items[i].resources);
        list_free(rules->items[i].names);
        list_free(rules->items[i].urls);
    }
    free(rules->items);
    *rules = (struct rules){.items = NULL};
}

static void set_list(json_t *out, const char *key, char *const *list)
{
    if (!list)
        return;
    json_t *array = json_array();
    for (size_t i = 0; list[i]; i++)
        (void)json_array_append_new(array, json_text(list[i]));
    (void)json_object_set_new(out, key, array);
}

json_t *rule_json(const struct rule *rule)
{
    json_t *out = json_object();
    set_list(out, "verbs", rule->verbs);
    set_list(out, "apiGroups", rule->groups);
    set_list(out, "resources", rule->resources);
    set_list(out, "resourceNames", rule->names);
    set_list(out, "nonResourceURLs", rule->urls);
    return out;
}

/* ---- does it allow this? ---- */

static bool has(char *const *list, const char *text)
{
    for (size_t i = 0; list && list[i]; i++)
        if (!strcmp(list[i], text))
            return true;
    return false;
}

static bool has_or_all(char *const *list, const char *text)
{
    return has(list, text) || has(list, ALL);
}

/* A star before "/scale" stands for any resource with that subresource. */
static bool has_resource(char *const *list, const char *resource)
{
    const char *slash = strchr(resource, '/');
    for (size_t i = 0; list && list[i]; i++) {
        if (!strcmp(list[i], resource) || !strcmp(list[i], ALL))
            return true;
        if (slash && list[i][0] == '*' && !strcmp(list[i] + 1, slash))
            return true;
    }
    return false;
}

/* A "*" at the end stands for any rest. */
static bool url_matches(const char *pattern, const char *url)
{
    size_t len = strlen(pattern);
    if (len && pattern[len - 1] == '*')
        return !strncmp(pattern, url, len - 1);
    return !strcmp(pattern, url);
}

static bool has_url(char *const *list, const char *url)
{
    for (size_t i = 0; list && list[i]; i++)
        if (url_matches(list[i], url))
            return true;
    return false;
}

bool rule_allows(const struct rule *rule, const struct access *a, const char *resource)
{
    if (!has_or_all(rule->verbs, a->verb))
        return false;
    if (!a->is_resource)
        return has_url(rule->urls, a->path);
    return has_or_all(rule->groups, a->group) && has_resource(rule->resources, resource) &&
           (!rule->names || has(rule->names, a->name));
}

/* ---- do these allow all that those do? ---- */

/* One thing that a rule allows; @url is set when it is none on a resource. */
struct part {
    const char *verb, *group, *resource, *url;
    const char *name; /* NULL: on every object */
};

static bool covers_part(const struct rule *owned, const struct part *p)
{
    if (!has_or_all(owned->verbs, p->verb))
        return false;
    if (p->url)
        return has_url(owned->urls, p->url);
    return has_or_all(owned->groups, p->group) && has_resource(owned->resources, p->resource) &&
           (!owned->names || (p->name && has(owned->names, p->name)));
}

static size_t length_of(char *const *list)
{
    size_t n = 0;
    while (list && list[n])
        n++;
    return n;
}

static void add_quoted(struct strbuf *out, const char *key, const char *text)
{
    strbuf_addf(out, "%s:[\"%s\"]", key, text);
}

/* "{APIGroups:["apps"], Resources:["deployments"], Verbs:["get"]}" */
static void add_line(struct strbuf *out, const struct part *p, const struct strbuf *verbs)
{
    strbuf_adds(out, "\n{");
    if (p->url) {
        add_quoted(out, "NonResourceURLs", p->url);
    } else {
        add_quoted(out, "APIGroups", p->group);
        strbuf_adds(out, ", ");
        add_quoted(out, "Resources", p->resource);
        if (p->name) {
            strbuf_adds(out, ", ");
            add_quoted(out, "ResourceNames", p->name);
        }
    }
    strbuf_addf(out, ", Verbs:[%s]}", strbuf_text(verbs));
}

struct coverage {
    const struct rule *const *owned;
    size_t n_owned;
    struct strbuf *missing;
    size_t lines;
    bool all;
};

/* All the verbs of @wanted on one resource or URL. */
static void check_verbs(struct coverage *c, const struct rule *wanted, struct part *p)
{
    _cleanup_strbuf_ struct strbuf verbs = STRBUF_INIT;
    for (size_t v = 0; wanted->verbs && wanted->verbs[v]; v++) {
        bool covered = false;
        p->verb = wanted->verbs[v];
        for (size_t i = 0; i < c->n_owned && !covered; i++)
            covered = covers_part(c->owned[i], p);
        if (!covered)
            strbuf_addf(&verbs, "%s\"%s\"", verbs.len ? " " : "", p->verb);
    }
    if (!verbs.len)
        return;
    c->all = false;
    if (c->missing && c->lines++ < MISSING_LINES_MAX)
        add_line(c->missing, p, &verbs);
}

static void check_resources(struct coverage *c, const struct rule *wanted)
{
    for (size_t g = 0; wanted->groups && wanted->groups[g]; g++)
        for (size_t r = 0; wanted->resources && wanted->resources[r]; r++) {
            struct part p = {.group = wanted->groups[g], .resource = wanted->resources[r]};
            if (!wanted->names)
                check_verbs(c, wanted, &p);
            for (size_t n = 0; wanted->names && wanted->names[n]; n++) {
                p.name = wanted->names[n];
                check_verbs(c, wanted, &p);
            }
        }
}

static size_t parts_of(const struct rule *r)
{
    size_t names = length_of(r->names), n = length_of(r->verbs), limit = RULE_PARTS_MAX + 1;
    const size_t factors[] = {length_of(r->groups), length_of(r->resources), names ? names : 1};
    size_t urls = n * length_of(r->urls);
    for (size_t i = 0; i < ARRAY_SIZE(factors); i++)
        n = factors[i] && n > limit / factors[i] ? limit : n * factors[i];
    return n + urls;
}

int role_rules_cover(const struct rule *const *owned, size_t n_owned, const struct rules *wanted,
                     struct strbuf *missing)
{
    struct coverage c = {.owned = owned, .n_owned = n_owned, .missing = missing, .all = true};
    size_t parts = 0;
    for (size_t i = 0; i < wanted->count; i++) {
        const struct rule *w = &wanted->items[i];
        parts += parts_of(w);
        if (parts > RULE_PARTS_MAX)
            return -E2BIG;
        check_resources(&c, w);
        for (size_t u = 0; w->urls && w->urls[u]; u++) {
            struct part p = {.url = w->urls[u]};
            check_verbs(&c, w, &p);
        }
    }
    if (missing && c.lines > MISSING_LINES_MAX)
        strbuf_addf(missing, "\nand %zu more", c.lines - MISSING_LINES_MAX);
    return c.all ? 1 : 0;
}

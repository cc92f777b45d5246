/* Namespaces and selectors of a request; see selection.h. */
#include "apiserver/selection.h"

#include <errno.h>
#include <string.h>

#include "base/json.h"

int selection_parse(struct selection *s, const struct request *r, json_t **ret_status)
{
    *s = (struct selection){.prefix = NULL};
    const struct schema_resource *res = r->route->res;
    struct error err = ERROR_INIT;
    const char *labels = http_exchange_query_get(r->x, "labelSelector");
    const char *fields = http_exchange_query_get(r->x, "fieldSelector");
    if (selector_parse(labels, &s->labels, &err) < 0 ||
        field_selector_parse(fields, field_selector_fields(res->group, res->kind), &s->fields,
                             &err) < 0) {
        *ret_status = status_bad_request("%s", error_text(&err));
        selection_done(s);
        return -EINVAL;
    }
    s->everything = selector_is_everything(s->labels) && field_selector_is_everything(s->fields);
    const char *ns = res->namespaced ? r->info.namespace_ : "";
    const char *name =
        *r->info.name ? r->info.name : field_selector_exact(s->fields, "metadata.name");
    const char *ns_field = field_selector_exact(s->fields, "metadata.namespace");
    if (res->namespaced && !*ns && ns_field && *ns_field)
        ns = ns_field;
    if (name && *name && !strchr(name, '/') && (!res->namespaced || *ns)) {
        s->prefix = route_key(r->route, ns, name);
        s->exact = true;
    } else {
        s->prefix = *ns && !strchr(ns, '/') ? str_printf("%s%s/", r->route->prefix, ns)
                                            : str_dup(r->route->prefix);
    }
    return 0;
}

void selection_done(struct selection *s)
{
    free(s->prefix);
    s->labels = selector_free(s->labels);
    s->fields = field_selector_free(s->fields);
    s->prefix = NULL;
}

bool selection_covers(const struct selection *s, const char *key)
{
    return s->exact ? str_eq(key, s->prefix) : str_starts(key, s->prefix);
}

bool selection_matches(const struct selection *s, struct encoded *e,
                       const struct schema_resource *res)
{
    if (s->everything)
        return true;
    const json_t *index = encoded_index(e, res);
    return selector_matches(s->labels, json_path(index, "metadata.labels")) &&
           field_selector_matches(s->fields, index);
}

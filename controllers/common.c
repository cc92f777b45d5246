/* What all controllers share; see controllers.h. */
#include "base/strbuf.h"
#include "controllers/controllers.h"

void controller_event(struct controllers *c, const struct cache_kind *kind,
                      const struct object_meta *about, const char *type, const char *reason,
                      const char *fmt, ...)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    va_list args;
    va_start(args, fmt);
    strbuf_addv(&text, fmt, args);
    va_end(args);
    const struct event_object object = {.api_version = kind->api,
                                        .kind = kind->kind,
                                        .ns = about->ns,
                                        .name = about->name,
                                        .uid = about->uid,
                                        .resource_version = about->version};
    event_record(c->recorder, &object, type, reason, "%s", strbuf_text(&text));
}

json_t *controller_ref(const struct cache_kind *kind, const struct object_meta *owner)
{
    return json_pack("{sssssssssbsb}", "apiVersion", kind->api, "kind", kind->kind, "name",
                     owner->name, "uid", owner->uid, "controller", 1, "blockOwnerDeletion", 1);
}

char *controller_path(const struct cache_kind *kind, const struct object_meta *m, const char *sub)
{
    return kube_path(kind->api, m->ns, kind->plural, m->name, sub);
}

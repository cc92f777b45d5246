/* What is answered and why; see names.h. */
#include "dns/names.h"

#include <string.h>

#include "base/strbuf.h"

#define ALIASES_MAX 8 /* followed inside the zone, as for a client */

struct asked {
    struct http_exchange *x;
    ldns_rr_type type;
    unsigned rcode;
    json_t *reply, *records, *why; /* the lists are borrowed from the reply */
};

static void say(struct asked *q, const char *text)
{
    (void)json_array_append_new(q->why, json_string(text));
}

static void add_records(struct asked *q, const ldns_rr_list *list)
{
    for (size_t i = 0; list && i < ldns_rr_list_rr_count(list); i++) {
        char *text = ldns_rr2str(ldns_rr_list_rr(list, i));
        for (char *c = text; c && *c; c++)
            if (*c == '\t' || *c == '\n')
                *c = c[1] ? ' ' : '\0';
        (void)json_array_append_new(q->records, json_string(text ? text : ""));
        free(text);
    }
}

static void finish(struct asked *q)
{
    char *status = ldns_pkt_rcode2str((ldns_pkt_rcode)q->rcode);
    _cleanup_strbuf_ struct strbuf out = STRBUF_INIT;
    (void)json_object_set_new(q->reply, "status", json_string(status ? status : ""));
    json_encode(q->reply, &out);
    http_exchange_reply(q->x, 200, "application/json", out.data, out.len);
    free(status);
    json_decref(q->reply);
    free(q);
}

static void on_forwarded(void *arg, const struct forward_answer *answer)
{
    struct asked *q = arg;
    q->rcode = answer->rcode;
    if (answer->rcode == LDNS_RCODE_SERVFAIL)
        say(q, "none of them had an answer");
    add_records(q, answer->answer);
    finish(q);
}

static void ask_others(struct asked *q, const struct elsewhere *e, const char *name)
{
    const char *domain = elsewhere_domain(e, name);
    struct forwarder *f = elsewhere_forwarder(e, name);
    ldns_rdf *dname = f ? ldns_dname_new_frm_str(name) : NULL;
    if (!dname) {
        say(q, "this server asks no other one (--resolv-conf)");
        q->rcode = LDNS_RCODE_REFUSED;
        finish(q);
        return;
    }
    if (domain) {
        _cleanup_free_ char *text = str_printf(
            "those that ConfigMap " CUSTOM_CONFIG_NS "/" CUSTOM_CONFIG_NAME " has for %s", domain);
        say(q, text);
    }
    forwarder_ask(f, dname, q->type, on_forwarded, q);
    ldns_rdf_deep_free(dname);
}

static void ask_elsewhere(struct asked *q, const struct elsewhere *e, const char *name)
{
    _cleanup_(rr_list_donep) ldns_rr_list *known = ldns_rr_list_new();
    if (!elsewhere_knows(e, name, q->type, known)) {
        ask_others(q, e, name);
        return;
    }
    (void)json_array_clear(q->why); /* nobody is asked */
    say(q, "ConfigMap " CUSTOM_CONFIG_NS "/" CUSTOM_CONFIG_NAME " has it among its hosts");
    q->rcode = LDNS_RCODE_NOERROR;
    add_records(q, known);
    finish(q);
}

/* Adds what the zone has of @name and of what it is an alias of. Returns the name that others are
 * to be asked for, or NULL. The caller frees. */
static char *look_up(struct zone *zone, struct asked *q, const char *name)
{
    _cleanup_free_ char *at = str_dup(name);
    for (int n = 0; n <= ALIASES_MAX; n++) {
        _cleanup_answer_ struct zone_answer a = {.answer = NULL};
        enum zone_verdict v = zone_lookup(zone, at, q->type, &a);
        zone_explain(zone, at, q->why);
        add_records(q, a.answer);
        if (v == ZONE_OUTSIDE)
            return TAKE_PTR(at);
        q->rcode = v == ZONE_UNKNOWN   ? LDNS_RCODE_SERVFAIL
                   : v == ZONE_NO_NAME ? LDNS_RCODE_NXDOMAIN
                                       : LDNS_RCODE_NOERROR;
        if (!a.cname)
            return NULL;
        free(at);
        at = TAKE_PTR(a.cname);
    }
    say(q, "an alias of an alias, too many times");
    q->rcode = LDNS_RCODE_SERVFAIL;
    return NULL;
}

static bool parse_name(const char *text, char out[NAME_TEXT_MAX])
{
    ldns_rdf *name = strlen(text) < NAME_TEXT_MAX ? ldns_dname_new_frm_str(text) : NULL;
    bool good = name && name_text(name, out) && *out;
    if (name)
        ldns_rdf_deep_free(name);
    return good;
}

void names_handle(struct zone *zone, struct elsewhere *elsewhere, struct http_exchange *x,
                  const char *name)
{
    char text[NAME_TEXT_MAX];
    const char *type_name = http_exchange_query_get(x, "type");
    ldns_rr_type type = ldns_get_rr_type_by_name(type_name ? type_name : "A");
    if (!parse_name(name, text)) {
        http_exchange_replyf(x, 400, "\"%.255s\" is no name\n", name);
        return;
    }
    if (!type || type == LDNS_RR_TYPE_ANY) {
        http_exchange_replyf(x, 400, "\"%.32s\" is no type of record that can be asked for\n",
                             type_name ? type_name : "");
        return;
    }
    struct asked *q = mem_zalloc(sizeof(*q));
    *q = (struct asked){.x = x, .type = type, .records = json_array(), .why = json_array()};
    q->reply = json_pack("{s:s,s:s,s:o,s:o}", "name", text, "type", type_name ? type_name : "A",
                         "records", q->records, "why", q->why);
    _cleanup_free_ char *outside = look_up(zone, q, text);
    if (outside)
        ask_elsewhere(q, elsewhere, outside);
    else
        finish(q);
}

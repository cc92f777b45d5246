/* Comparing with what is there; see survey.h. */
#include "proxy/iptables/survey.h"

#include <string.h>

static void buffer_free(void *p)
{
    strbuf_done(p);
    free(p);
}

void survey_init(struct survey *s, const struct rules_source *source)
{
    *s = (struct survey){.source = source};
    for (int t = 0; t < RULES_TABLES; t++) {
        s->chains[t] = (struct map)MAP_INIT(free);
        s->strays[t] = (struct map)MAP_INIT(buffer_free);
    }
    for (int l = 0; l < RULES_LISTS; l++)
        s->lines[l] = (struct map)MAP_INIT(NULL);
}

void survey_done(struct survey *s)
{
    for (int t = 0; t < RULES_TABLES; t++) {
        map_clear(&s->chains[t]);
        map_clear(&s->strays[t]);
    }
    for (int l = 0; l < RULES_LISTS; l++)
        map_clear(&s->lines[l]);
    free(s->services);
    s->services = NULL;
}

/* ---- reading ---- */

/* Key of strays that a proxy made, as their comment tells: of another mode, or of another version.
 * They go, whether the chain that they lead to stays or not. */
#define ANY_CHAIN ""

/* Chains are gathered as buffers and become texts at the end of the table. */
struct reader {
    struct survey *s;
    enum rules_table table; /* RULES_TABLES: one that does not concern us */
    struct map chains;      /* name → struct strbuf */
};

/* A rule of somebody else's chain, not one of this mode's jumps: noted when it leads to a chain of
 * ours. */
static void read_stray(struct reader *r, const char *rule)
{
    struct map *strays = &r->s->strays[r->table];
    const char *target = strstr(rule, " -j ");
    target = target ? target + strlen(" -j ") : "";
    _cleanup_free_ char *chain = str_ndup(target, strcspn(target, " "));
    if (!rules_is_ours(chain))
        return;
    const char *key = strstr(rule, "--comment \"kube") ? ANY_CHAIN : chain;
    struct strbuf *b = map_get(strays, key);
    if (!b) {
        b = mem_zalloc(sizeof(*b));
        map_set(strays, key, b);
    }
    strbuf_addf(b, "-D %s\n", rule);
}

static void read_rule(struct reader *r, const char *line, size_t len)
{
    size_t name_len = strcspn(line + 3, " \n");
    _cleanup_free_ char *chain = str_ndup(line + 3, name_len);
    struct strbuf *b = map_get(&r->chains, chain);
    if (b) {
        strbuf_add(b, line, len);
        strbuf_addc(b, '\n');
        return;
    }
    const char *rule = line + 3 + name_len + (line[3 + name_len] == ' ');
    size_t rule_len = len - (size_t)(rule - line);
    const struct rules_jump *jumps = r->s->source->jumps;
    for (size_t i = 0; i < r->s->source->n_jumps; i++)
        if (jumps[i].table == r->table && str_eq(jumps[i].chain, chain) &&
            strlen(jumps[i].rule) == rule_len && !strncmp(jumps[i].rule, rule, rule_len)) {
            r->s->have_jump[i] = true;
            return;
        }
    _cleanup_free_ char *text = str_ndup(line + 3, len - 3);
    read_stray(r, text);
}

static void end_table(struct reader *r)
{
    MAP_FOR_EACH(e, &r->chains) {
        map_set(&r->s->chains[r->table], map_key(e), strbuf_take(map_value(e)));
    }
    map_clear(&r->chains);
    r->table = RULES_TABLES;
}

static void read_line(const char *line, size_t len, void *arg)
{
    struct reader *r = arg;
    if (line[0] == '*') {
        r->table = RULES_TABLES;
        for (int t = 0; t < RULES_TABLES; t++)
            if (strlen(rules_table_names[t]) == len - 1 &&
                !strncmp(line + 1, rules_table_names[t], len - 1))
                r->table = t;
    } else if (r->table == RULES_TABLES) {
        return;
    } else if (line[0] == ':') {
        _cleanup_free_ char *chain = str_ndup(line + 1, strcspn(line + 1, " \n"));
        if (rules_is_ours(chain))
            map_set(&r->chains, chain, mem_zalloc(sizeof(struct strbuf)));
    } else if (len > 3 && str_starts(line, "-A ")) {
        read_rule(r, line, len);
    } else if (len == 6 && str_starts(line, "COMMIT")) {
        end_table(r);
    }
}

struct list_reader {
    struct survey *s;
    enum rules_list list;
};

static void note_line(const char *line, size_t len, void *arg)
{
    struct list_reader *r = arg;
    _cleanup_free_ char *text = str_ndup(line, len);
    struct map *lines = &r->s->lines[r->list];
    /* The value counts how often it is there beyond once: those are stale in any case. */
    map_set(lines, text, (void *)((uintptr_t)map_get(lines, text) + map_has(lines, text)));
}

void survey_read(struct survey *s, const char *saved)
{
    struct reader r = {.s = s, .table = RULES_TABLES, .chains = MAP_INIT(buffer_free)};
    lines_each(saved, read_line, &r);
    map_clear(&r.chains);
    for (int l = 0; s->source->service && l < RULES_LISTS; l++) {
        struct list_reader lr = {.s = s, .list = l};
        _cleanup_free_ char *text =
            map_take(&s->chains[rules_lists[l].table], rules_lists[l].chain);
        s->have_list[l] = text != NULL;
        if (text)
            lines_each(text, note_line, &lr);
        if (l == LIST_SERVICES)
            s->services = TAKE_PTR(text);
    }
}

/* ---- comparing ---- */

static void want_chains(struct survey *s, const struct rules *wanted, struct delta *d)
{
    for (int t = 0; t < RULES_TABLES; t++)
        MAP_FOR_EACH(e, &wanted->chains[t]) {
            _cleanup_free_ char *there = map_take(&s->chains[t], map_key(e));
            d->rules[t] += (long)lines_count(map_value(e));
            if (!there || !str_eq(there, map_value(e)))
                map_set(&d->chains[t], map_key(e), str_dup(map_value(e)));
        }
}

struct wish {
    struct survey *s;
    struct delta *d;
    enum rules_list list;
};

static void want_line(const char *line, size_t len, void *arg)
{
    struct wish *w = arg;
    struct map *lines = &w->s->lines[w->list];
    _cleanup_free_ char *text = str_ndup(line, len);
    if (!map_has(lines, text)) {
        delta_line(w->d, w->list, line, len, true);
        return;
    }
    w->d->rules[rules_lists[w->list].table]++;
    uintptr_t more = (uintptr_t)map_get(lines, text);
    map_remove(lines, text);
    for (uintptr_t i = 0; i < more; i++) {
        delta_line(w->d, w->list, line, len, false);
        w->d->rules[rules_lists[w->list].table]++; /* it was never counted */
    }
}

void survey_service(struct survey *s, const struct rules *wanted, struct delta *d)
{
    want_chains(s, wanted, d);
    for (int l = 0; l < RULES_LISTS; l++) {
        struct wish w = {.s = s, .d = d, .list = l};
        lines_each(strbuf_text(&wanted->lists[l]), want_line, &w);
    }
}

static void append_line(const char *line, size_t len, void *arg)
{
    delta_last_line(arg, LIST_SERVICES, line, len);
}

void survey_static(struct survey *s, const struct rules *wanted, struct delta *d)
{
    want_chains(s, wanted, d);
    if (!s->source->service)
        return;
    for (int l = 0; l < RULES_LISTS; l++)
        if (!s->have_list[l])
            map_set(&d->chains[rules_lists[l].table], rules_lists[l].chain, str_dup(""));
    const char *last = strbuf_text(&wanted->lists[LIST_SERVICES]);
    if (s->services && str_ends(s->services, last)) {
        struct wish w = {.s = s, .d = d, .list = LIST_SERVICES};
        lines_each(last, want_line, &w);
        return;
    }
    /* Behind all others; a copy in another place is stale and goes at the end. */
    lines_each(last, append_line, d);
}

bool survey_wants_rewrite(const struct survey *s, enum rules_list list)
{
    return map_count(&s->lines[list]) > SURVEY_STALE_MAX;
}

void survey_rewrite(struct survey *s, enum rules_list list, const char *lines, struct delta *d)
{
    map_set(&d->chains[rules_lists[list].table], rules_lists[list].chain, str_dup(lines));
    map_clear(&s->lines[list]);
}

void survey_end(struct survey *s, struct delta *d)
{
    for (int l = 0; l < RULES_LISTS; l++)
        MAP_FOR_EACH(e, &s->lines[l]) {
            for (uintptr_t i = 0; i <= (uintptr_t)map_value(e); i++) {
                delta_line(d, l, map_key(e), strlen(map_key(e)), false);
                d->rules[rules_lists[l].table]++; /* it was never counted */
            }
        }
    for (int t = 0; t < RULES_TABLES; t++)
        MAP_FOR_EACH(e, &s->chains[t]) {
            map_set(&d->chains[t], map_key(e), NULL);
        }
    /* A chain that goes must not be led to. */
    for (int t = 0; t < RULES_TABLES; t++)
        MAP_FOR_EACH(e, &s->strays[t]) {
            const struct strbuf *b = map_value(e);
            if (str_eq(map_key(e), ANY_CHAIN) || map_has(&s->chains[t], map_key(e)))
                strbuf_add(&d->remove[t], b->data, b->len);
        }
    /* In front of what is there, in order. */
    const struct rules_jump *jumps = s->source->jumps;
    for (size_t i = s->source->n_jumps; i-- > 0;)
        if (!s->have_jump[i])
            strbuf_addf(&d->add[jumps[i].table], "-I %s %s\n", jumps[i].chain, jumps[i].rule);
}

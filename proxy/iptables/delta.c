/* Differences as input for iptables-restore; see delta.h. */
#include "proxy/iptables/delta.h"

#include <string.h>

void delta_done(struct delta *d)
{
    for (int t = 0; t < RULES_TABLES; t++) {
        map_clear(&d->chains[t]);
        strbuf_done(&d->remove[t]);
        strbuf_done(&d->add[t]);
    }
}

void lines_each(const char *text, void (*each)(const char *line, size_t len, void *arg), void *arg)
{
    while (*text) {
        size_t len = strcspn(text, "\n");
        each(text, len, arg);
        text += len + (text[len] == '\n');
    }
}

size_t lines_count(const char *text)
{
    size_t n = 0;
    for (; (text = strchr(text, '\n')); text++)
        n++;
    return n;
}

bool delta_is_empty(const struct delta *d)
{
    for (int t = 0; t < RULES_TABLES; t++)
        if (map_count(&d->chains[t]) || d->remove[t].len || d->add[t].len)
            return false;
    return true;
}

/* ---- lines of lists ---- */

void delta_line(struct delta *d, enum rules_list list, const char *line, size_t len, bool add)
{
    enum rules_table t = rules_lists[list].table;
    /* In front, since the last lines of KUBE-SERVICES must stay the last. Elsewhere the order does
     * not matter, and appending is cheaper. */
    const char *how = !add ? "-D" : list == LIST_SERVICES ? "-I" : "-A";
    strbuf_addf(add ? &d->add[t] : &d->remove[t], "%s%.*s\n", how, (int)len - 2, line + 2);
    d->rules[t] += add ? 1 : -1;
}

void delta_last_line(struct delta *d, enum rules_list list, const char *line, size_t len)
{
    enum rules_table t = rules_lists[list].table;
    strbuf_addf(&d->add[t], "%.*s\n", (int)len, line);
    d->rules[t]++;
}

struct comparison {
    struct delta *d;
    enum rules_list list;
    struct map other; /* the lines of the other side */
    bool add;
};

static void note_line(const char *line, size_t len, void *arg)
{
    struct map *lines = arg;
    _cleanup_free_ char *text = str_ndup(line, len);
    map_set(lines, text, NULL);
}

static void compare_line(const char *line, size_t len, void *arg)
{
    struct comparison *c = arg;
    _cleanup_free_ char *text = str_ndup(line, len);
    if (!map_has(&c->other, text))
        delta_line(c->d, c->list, line, len, c->add);
}

/* The lines of @a that @b has not. */
static void compare_lists(struct delta *d, enum rules_list list, const char *a, const char *b,
                          bool add)
{
    struct comparison c = {.d = d, .list = list, .other = MAP_INIT(NULL), .add = add};
    lines_each(b, note_line, &c.other);
    lines_each(a, compare_line, &c);
    map_clear(&c.other);
}

/* ---- chains ---- */

void delta_chains(struct delta *d, enum rules_table table, const struct map *old,
                  const struct map *now)
{
    MAP_FOR_EACH(e, old) {
        d->rules[table] -= (long)lines_count(map_value(e));
        if (!map_has(now, map_key(e)))
            map_set(&d->chains[table], map_key(e), NULL);
    }
    MAP_FOR_EACH(e, now) {
        const char *there = map_get(old, map_key(e));
        d->rules[table] += (long)lines_count(map_value(e));
        if (!there || !str_eq(there, map_value(e)))
            map_set(&d->chains[table], map_key(e), str_dup(map_value(e)));
    }
}

void delta_change(struct delta *d, const struct rules *old, const struct rules *now)
{
    for (int t = 0; t < RULES_TABLES; t++)
        delta_chains(d, t, &old->chains[t], &now->chains[t]);
    for (int l = 0; l < RULES_LISTS; l++) {
        const char *a = strbuf_text(&old->lists[l]), *b = strbuf_text(&now->lists[l]);
        if (str_eq(a, b))
            continue;
        compare_lists(d, l, a, b, false);
        compare_lists(d, l, b, a, true);
    }
}

/* ---- text ---- */

/* Naming a chain makes it or empties it; then come rules, and at last chains go that nothing refers
 * to any more. */
static void add_table(const struct delta *d, enum rules_table t, struct strbuf *out)
{
    if (!map_count(&d->chains[t]) && !d->remove[t].len && !d->add[t].len)
        return;
    strbuf_addf(out, "*%s\n", rules_table_names[t]);
    MAP_FOR_EACH(e, &d->chains[t]) {
        strbuf_addf(out, ":%s - [0:0]\n", map_key(e));
    }
    MAP_FOR_EACH(e, &d->chains[t]) {
        if (map_value(e))
            strbuf_adds(out, map_value(e));
    }
    strbuf_add(out, d->remove[t].data, d->remove[t].len);
    strbuf_add(out, d->add[t].data, d->add[t].len);
    MAP_FOR_EACH(e, &d->chains[t]) {
        if (!map_value(e))
            strbuf_addf(out, "-X %s\n", map_key(e));
    }
    strbuf_adds(out, "COMMIT\n");
}

void delta_text(const struct delta *d, struct strbuf *out, size_t written[RULES_TABLES])
{
    for (int t = 0; t < RULES_TABLES; t++) {
        written[t] = lines_count(strbuf_text(&d->add[t]));
        MAP_FOR_EACH(e, &d->chains[t]) {
            written[t] += map_value(e) ? lines_count(map_value(e)) : 0;
        }
    }
    add_table(d, RULES_FILTER, out);
    add_table(d, RULES_NAT, out);
}

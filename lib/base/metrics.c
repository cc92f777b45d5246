/* Metrics as text; see metrics.h. */
#include "base/metrics.h"

#include <math.h>
#include <string.h>

#include "base/list.h"
#include "base/map.h"

enum kind { COUNTER, GAUGE, HISTOGRAM };

struct metric {
    struct list link;
    enum kind kind;
    const char *name, *help;
    double *bounds;
    size_t n_bounds;
    struct map series; /* labels → struct series */
};
struct series {
    double value; /* of a histogram: the sum */
    uint64_t count;
    uint64_t buckets[]; /* not cumulative */
};
struct metrics {
    struct list all;
};

struct metrics *metrics_new(void)
{
    struct metrics *m = mem_zalloc(sizeof(*m));
    list_init(&m->all);
    return m;
}

struct metrics *metrics_free(struct metrics *m)
{
    for (struct list *l = m ? list_pop(&m->all) : NULL; l; l = list_pop(&m->all)) {
        struct metric *metric = CONTAINER_OF(l, struct metric, link);
        map_clear(&metric->series);
        free(metric->bounds);
        free(metric);
    }
    free(m);
    return NULL;
}

static struct metric *add(struct metrics *m, enum kind kind, const char *name, const char *help)
{
    struct metric *metric = mem_zalloc(sizeof(*metric));
    *metric = (struct metric){.kind = kind, .name = name, .help = help, .series = MAP_INIT(free)};
    list_init(&metric->link);
    list_append(&m->all, &metric->link);
    return metric;
}

struct metric *metrics_counter(struct metrics *m, const char *name, const char *help)
{
    return add(m, COUNTER, name, help);
}

struct metric *metrics_gauge(struct metrics *m, const char *name, const char *help)
{
    return add(m, GAUGE, name, help);
}

struct metric *metrics_histogram(struct metrics *m, const char *name, const char *help,
                                 const double *bounds, size_t n)
{
    struct metric *metric = add(m, HISTOGRAM, name, help);
    metric->bounds = mem_dup(bounds, n * sizeof(*bounds));
    metric->n_bounds = n;
    return metric;
}

static struct series *series_of(struct metric *metric, const char *labels)
{
    const char *key = labels ? labels : "";
    struct series *s = map_get(&metric->series, key);
    if (!s) {
        s = mem_zalloc(sizeof(*s) + metric->n_bounds * sizeof(s->buckets[0]));
        map_set(&metric->series, key, s);
    }
    return s;
}

void metric_add(struct metric *metric, const char *labels, double value)
{
    if (metric)
        series_of(metric, labels)->value += value;
}

void metric_set(struct metric *metric, const char *labels, double value)
{
    if (metric)
        series_of(metric, labels)->value = value;
}

void metric_observe(struct metric *metric, const char *labels, double value)
{
    if (!metric)
        return;
    struct series *s = series_of(metric, labels);
    s->value += value;
    s->count++;
    for (size_t i = 0; i < metric->n_bounds; i++)
        if (value <= metric->bounds[i]) {
            s->buckets[i]++;
            return;
        }
}

static void write_number(double v, struct strbuf *out)
{
    if (v == floor(v) && fabs(v) < 1e15)
        strbuf_addf(out, "%.0f", v);
    else
        strbuf_addf(out, "%.17g", v);
}

static void write_sample(const struct metric *metric, const char *suffix, const char *labels,
                         double v, struct strbuf *out)
{
    strbuf_addf(out, "%s%s", metric->name, suffix);
    if (*labels)
        strbuf_addf(out, "{%s}", labels);
    strbuf_addc(out, ' ');
    write_number(v, out);
    strbuf_addc(out, '\n');
}

static void write_histogram(const struct metric *metric, const char *labels, const struct series *s,
                            struct strbuf *out)
{
    uint64_t below = 0;
    for (size_t i = 0; i <= metric->n_bounds; i++) {
        below = i < metric->n_bounds ? below + s->buckets[i] : s->count;
        strbuf_addf(out, "%s_bucket{%s%sle=\"", metric->name, labels, *labels ? "," : "");
        if (i < metric->n_bounds)
            strbuf_addf(out, "%.15g", metric->bounds[i]);
        else
            strbuf_adds(out, "+Inf");
        strbuf_addf(out, "\"} %llu\n", (unsigned long long)below);
    }
    write_sample(metric, "_sum", labels, s->value, out);
    write_sample(metric, "_count", labels, (double)s->count, out);
}

void metrics_write(const struct metrics *m, struct strbuf *out)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram"};
    for (const struct list *l = m->all.next; l != &m->all; l = l->next) {
        const struct metric *metric = CONTAINER_OF(l, struct metric, link);
        if (!map_count(&metric->series))
            continue;
        strbuf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", metric->name, metric->help, metric->name,
                    kinds[metric->kind]);
        MAP_FOR_EACH(e, &metric->series) {
            if (metric->kind == HISTOGRAM)
                write_histogram(metric, map_key(e), map_value(e), out);
            else
                write_sample(metric, "", map_key(e), ((struct series *)map_value(e))->value, out);
        }
    }
}

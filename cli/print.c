/* Printing what `get` got; see print.h. */
#include "cli/print.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "kube/yaml.h"

#define GAP 3

int printer_init(struct printer *p, const struct printer_options *options, struct error *err)
{
    static const char *const outputs[] = {"wide", "yaml", "json", "name"};
    *p = (struct printer){.options = *options};
    bool known = !options->output;
    for (size_t i = 0; i < ARRAY_SIZE(outputs); i++)
        known = known || str_eq(options->output, outputs[i]);
    return known ? 0
                 : error_set(err, -EINVAL, "-o %s is not known: wide, yaml, json or name",
                             options->output);
}

void printer_done(struct printer *p)
{
    free(p->widths);
    p->widths = NULL;
}

/* ---- tables ---- */

struct row {
    char **cells;
    size_t n;
};

static void row_add(struct row *row, char *cell)
{
    row->cells = mem_grow(row->cells, row->n + 1, sizeof(*row->cells));
    row->cells[row->n++] = cell;
}

static void row_done(struct row *row)
{
    for (size_t i = 0; i < row->n; i++)
        free(row->cells[i]);
    free(row->cells);
}

static char *cell_text(const json_t *cell)
{
    struct strbuf b = STRBUF_INIT;
    if (json_is_string(cell))
        strbuf_adds(&b, json_string_value(cell));
    else if (!json_is_null(cell))
        json_encode(cell, &b);
    return strbuf_take(&b);
}

static char *upper(const char *s)
{
    char *copy = str_dup(s);
    for (char *c = copy; *c; c++)
        *c = (char)toupper((unsigned char)*c);
    return copy;
}

static bool shown(const struct printer *p, const json_t *column)
{
    return json_path_int(column, "priority", 0) == 0 || str_eq(p->options.output, "wide");
}

static char *labels_text(const json_t *object)
{
    const json_t *labels = json_path(object, "metadata.labels");
    struct strbuf b = STRBUF_INIT;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)labels, key, value) {
        strbuf_addf(&b, "%s%s=%s", b.len ? "," : "", key,
                    json_string_value(value) ? json_string_value(value) : "");
    }
    if (!b.len)
        strbuf_adds(&b, "<none>");
    return strbuf_take(&b);
}

static struct row header_row(const struct printer *p, const json_t *columns)
{
    struct row row = {.cells = NULL};
    if (p->options.with_namespace)
        row_add(&row, str_dup("NAMESPACE"));
    for (size_t i = 0; i < json_array_size(columns); i++) {
        const json_t *column = json_array_get(columns, i);
        const char *name = json_path_string(column, "name");
        if (shown(p, column))
            row_add(&row, upper(name ? name : ""));
    }
    if (p->options.show_labels)
        row_add(&row, str_dup("LABELS"));
    return row;
}

static struct row body_row(const struct printer *p, const json_t *columns, const json_t *from)
{
    struct row row = {.cells = NULL};
    const json_t *cells = json_object_get(from, "cells");
    const json_t *object = json_object_get(from, "object");
    const char *ns = json_path_string(object, "metadata.namespace");
    if (p->options.with_namespace)
        row_add(&row, str_dup(ns ? ns : ""));
    for (size_t i = 0; i < json_array_size(columns); i++) {
        const json_t *column = json_array_get(columns, i);
        if (!shown(p, column))
            continue;
        char *text = cell_text(json_array_get(cells, i));
        if (p->options.with_kind && i == 0 && p->resource) {
            const char *group = p->resource->group;
            char *titled =
                str_printf("%s%s%s/%s", p->resource->singular, *group ? "." : "", group, text);
            free(text);
            text = titled;
        }
        row_add(&row, text);
    }
    if (p->options.show_labels)
        row_add(&row, labels_text(object));
    return row;
}

/* Columns of what is on a terminal: UTF-8 continuation bytes take no room. */
static size_t width_of(const char *text)
{
    size_t n = 0;
    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

static void grow_widths(struct printer *p, const struct row *row)
{
    if (row->n > p->n_widths) {
        p->widths = mem_grow(p->widths, row->n, sizeof(*p->widths));
        memset(p->widths + p->n_widths, 0, (row->n - p->n_widths) * sizeof(*p->widths));
        p->n_widths = row->n;
    }
    for (size_t i = 0; i < row->n; i++)
        if (width_of(row->cells[i]) > p->widths[i])
            p->widths[i] = width_of(row->cells[i]);
}

static void print_row(const struct printer *p, const struct row *row)
{
    for (size_t i = 0; i < row->n; i++) {
        (void)fputs(row->cells[i], stdout);
        if (i + 1 < row->n)
            (void)printf("%*s", (int)(p->widths[i] - width_of(row->cells[i]) + GAP), "");
    }
    (void)putchar('\n');
}

static void print_table(struct printer *p, const json_t *table)
{
    const json_t *columns = json_object_get(table, "columnDefinitions");
    const json_t *from = json_object_get(table, "rows");
    size_t n = json_array_size(from);
    static const char empty[] = "";
    if (n == 0)
        return;
    /* Later events of a watch carry no columns: the first ones hold. */
    _cleanup_json_ json_t *made = NULL;
    if (!json_array_size(columns)) {
        made = json_array();
        for (size_t i = 0; i < json_array_size(json_path(json_array_get(from, 0), "cells")); i++) {
            const struct schema_resource *r = p->resource;
            bool known = r && i < r->n_columns;
            (void)json_array_append_new(
                made, json_pack("{sssi}", "name", known ? r->columns[i].name : empty, "priority",
                                known ? r->columns[i].priority : 0));
        }
        columns = made;
    }
    struct row *rows = mem_zalloc((n + 1) * sizeof(*rows));
    rows[0] = header_row(p, columns);
    grow_widths(p, &rows[0]);
    for (size_t i = 0; i < n; i++) {
        rows[i + 1] = body_row(p, columns, json_array_get(from, i));
        grow_widths(p, &rows[i + 1]);
    }
    if (!p->headed && !p->options.no_headers)
        print_row(p, &rows[0]);
    p->headed = true;
    for (size_t i = 0; i <= n; i++) {
        if (i)
            print_row(p, &rows[i]);
        row_done(&rows[i]);
    }
    free(rows);
    p->printed += n;
}

/* ---- objects ---- */

static void print_name(const struct printer *p, const json_t *object)
{
    const char *name = json_path_string(object, "metadata.name");
    const char *group = p->resource ? p->resource->group : "";
    (void)printf("%s%s%s/%s\n", p->resource ? p->resource->singular : "", *group ? "." : "", group,
                 name ? name : "");
}

static void print_one(struct printer *p, const json_t *object)
{
    struct strbuf text = STRBUF_INIT;
    if (str_eq(p->options.output, "name")) {
        print_name(p, object);
    } else if (str_eq(p->options.output, "yaml")) {
        yaml_write(object, &text);
        (void)printf("%s%s", p->printed ? "---\n" : "", strbuf_text(&text));
    } else {
        json_encode_pretty(object, 4, &text);
        (void)puts(strbuf_text(&text));
    }
    strbuf_done(&text);
    p->printed++;
}

void printer_resource(struct printer *p, const struct schema_resource *resource)
{
    if (p->resource && p->resource != resource && p->headed) {
        (void)putchar('\n');
        p->headed = false;
        printer_done(p);
        p->n_widths = 0;
    }
    p->resource = resource;
}

void printer_object(struct printer *p, const json_t *answer)
{
    const char *kind = json_path_string(answer, "kind");
    const json_t *items = json_object_get(answer, "items");
    if (str_eq(kind, "Table")) {
        print_table(p, answer);
        if (!json_array_size(json_object_get(answer, "rows")))
            p->headed = false;
        return;
    }
    if (json_is_array(items) && str_eq(p->options.output, "name")) {
        for (size_t i = 0; i < json_array_size(items); i++)
            print_one(p, json_array_get(items, i));
        return;
    }
    if (p->options.output && !str_eq(p->options.output, "wide")) {
        print_one(p, answer);
        return;
    }
    print_name(p, answer); /* a server without Tables */
}

void printer_end(_unused_ struct printer *p)
{
    (void)fflush(stdout);
}

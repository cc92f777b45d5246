/* Printing what `get` got: aligned tables, YAML, JSON, names. */
#pragma once

#include "base/json.h"
#include "base/strbuf.h"
#include "kube/schema.h"

struct printer_options {
    const char *output; /* NULL, "wide", "yaml", "json", "name" */
    bool no_headers, with_namespace, show_labels, with_kind;
};
struct printer {
    struct printer_options options;
    const struct schema_resource *resource; /* of what is printed next */
    size_t *widths;
    size_t n_widths;
    bool headed;    /* the header of this kind was printed */
    size_t printed; /* objects */
};

/* -EINVAL for an output that is not known. */
int printer_init(struct printer *p, const struct printer_options *options, struct error *err);
/* What comes next is of this kind; a table of another kind gets a header of its own. */
void printer_resource(struct printer *p, const struct schema_resource *resource);
/* A Table, a list, or an object. */
void printer_object(struct printer *p, const json_t *answer);
void printer_end(struct printer *p);
void printer_done(struct printer *p); /* harmless on a zeroed printer */

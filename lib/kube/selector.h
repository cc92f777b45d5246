/*
 * Selectors: label selectors in their text form ("app=web,tier in (a,b),!canary") and as
 * LabelSelector objects, and field selectors ("metadata.name=x,status.phase!=Failed").
 */
#pragma once

#include <stdbool.h>

#include <jansson.h>

#include "base/error.h"
#include "base/strbuf.h"

#define SELECTOR_MAX_BYTES 65536 /* of the text form */

struct selector;
struct selector *selector_free(struct selector *s); /* NULL is harmless; returns NULL */
DEFINE_CLEANUP(struct selector *, selector_free);

/* Text form. "" and NULL select everything. 0 and *ret, or -EINVAL with the reason. */
int selector_parse(const char *text, struct selector **ret, struct error *err);
/* A LabelSelector (matchLabels, matchExpressions). NULL selects nothing, {} everything. */
int selector_from_object(const json_t *label_selector, struct selector **ret, struct error *err);
/* A plain map of labels (Service and ReplicationController selectors). Each pair must match;
 * NULL or {} selects nothing (as a Service without selector has no endpoints). */
struct selector *selector_from_map(const json_t *labels);

/* @labels: an object of strings or NULL (no labels). */
bool selector_matches(const struct selector *s, const json_t *labels);
/* Selects everything (no requirement). */
bool selector_is_everything(const struct selector *s);
/* Canonical text form; requirements sorted by key as upstream. */
void selector_write(const struct selector *s, struct strbuf *out);

/* A core/v1 NodeSelector (node affinity of pods and volumes) against a node's labels (an object or
 * NULL) and name. NULL, and one without terms, matches nothing. */
bool node_selector_matches(const json_t *selector, const json_t *labels, const char *name);

/* ---- field selectors ---- */
struct field_selector;
struct field_selector *field_selector_free(struct field_selector *s);
DEFINE_CLEANUP(struct field_selector *, field_selector_free);

/* @supported: NULL-terminated dotted paths that this kind can be selected by, beside metadata.name
 * and metadata.namespace which always are; see field_selector_fields(). 0, or -EINVAL ("field
 * label not supported: …"). */
int field_selector_parse(const char *text, const char *const *supported,
                         struct field_selector **ret, struct error *err);
/* The paths upstream supports for a kind ("Pod": spec.nodeName, status.phase, …). Never NULL. */
const char *const *field_selector_fields(const char *group, const char *kind);
/* Against a whole object. A missing field is "". */
bool field_selector_matches(const struct field_selector *s, const json_t *obj);
/* When the selector requires path = value, that value; else NULL (to narrow a range read). */
const char *field_selector_exact(const struct field_selector *s, const char *path);
bool field_selector_is_everything(const struct field_selector *s);

/* What table.c (the frame, simple kinds) and the files of single kinds share. */
#pragma once

#include "kube/table.h"

/* Makes the cell of a computed column; NULL when the kind has no such column. New reference. */
json_t *table_pod_cell(const char *column, const json_t *pod, int64_t now);

json_t *table_volume_cell(const char *column, const json_t *pv);
json_t *table_claim_cell(const char *column, const json_t *pvc);
json_t *table_class_cell(const char *column, const json_t *obj); /* the last resort */
json_t *table_csr_cell(const char *column, const json_t *csr);
json_t *table_binding_cell(const char *column, const json_t *binding);

/* Age of an RFC 3339 time, "<unknown>" when it is absent. New reference. */
json_t *table_age_of(const char *timestamp, int64_t now);
/* The text, "<none>" (or what @otherwise says) when absent or empty. New reference. */
json_t *table_text(const char *text, const char *otherwise);

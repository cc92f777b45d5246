/*
 * Metrics in Prometheus' text format: counters, gauges, histograms. A program registers each once
 * and keeps the pointer; what has labels names them with every change, as they are to be printed:
 * `code="200"`.
 */
#pragma once

#include "base/strbuf.h"

struct metrics;
struct metric;

#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

struct metrics *metrics_new(void);
struct metrics *metrics_free(struct metrics *m); /* NULL is harmless; returns NULL */

/* @name and @help are not copied. Owned by @m. */
struct metric *metrics_counter(struct metrics *m, const char *name, const char *help);
struct metric *metrics_gauge(struct metrics *m, const char *name, const char *help);
/* @bounds: upper bounds in ascending order, without infinity; copied. */
struct metric *metrics_histogram(struct metrics *m, const char *name, const char *help,
                                 const double *bounds, size_t n);

/* @labels NULL: none. A series exists from its first change on; adding 0 makes it visible. A NULL
 * metric is harmless. */
void metric_add(struct metric *metric, const char *labels, double value);
void metric_set(struct metric *metric, const char *labels, double value);
void metric_observe(struct metric *metric, const char *labels, double value);

/* Appends all of them, in the order of registration. */
void metrics_write(const struct metrics *m, struct strbuf *out);

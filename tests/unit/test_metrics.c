/* base/metrics: Prometheus' text format. */
#include "lib/test.h"

#include "base/metrics.h"

static void series_are_written_as_text(_unused_ void **state)
{
    static const double bounds[] = {0.001, 0.5, 2};
    struct metrics *m = metrics_new();
    struct metric *c = metrics_counter(m, "c_total", "A counter");
    struct metric *g = metrics_gauge(m, "g", "A gauge");
    struct metric *h = metrics_histogram(m, "h_seconds", "A histogram", bounds, 3);
    (void)metrics_gauge(m, "unused", "Never set");
    metric_add(c, "code=\"200\"", 1);
    metric_add(c, "code=\"200\"", 2);
    metric_add(c, "code=\"503\"", 0);
    metric_set(g, NULL, 1.5);
    metric_observe(h, NULL, 0.5);
    metric_observe(h, NULL, 0.25);
    metric_observe(h, NULL, 7);
    metric_add(NULL, NULL, 1); /* one that a mode does not have */
    struct strbuf out = STRBUF_INIT;
    metrics_write(m, &out);
    assert_string_equal(strbuf_text(&out), "# HELP c_total A counter\n"
                                           "# TYPE c_total counter\n"
                                           "c_total{code=\"200\"} 3\n"
                                           "c_total{code=\"503\"} 0\n"
                                           "# HELP g A gauge\n"
                                           "# TYPE g gauge\n"
                                           "g 1.5\n"
                                           "# HELP h_seconds A histogram\n"
                                           "# TYPE h_seconds histogram\n"
                                           "h_seconds_bucket{le=\"0.001\"} 0\n"
                                           "h_seconds_bucket{le=\"0.5\"} 2\n"
                                           "h_seconds_bucket{le=\"2\"} 2\n"
                                           "h_seconds_bucket{le=\"+Inf\"} 3\n"
                                           "h_seconds_sum 7.75\n"
                                           "h_seconds_count 3\n");
    strbuf_done(&out);
    assert_null(metrics_free(m));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(series_are_written_as_text),
    };
    return RUN_TESTS(tests);
}

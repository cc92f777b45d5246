/*
 * Metrics in Prometheus' text. What stands behind timestamps is written here by hand: lib/base's
 * metrics have none. See stats.h.
 */
#include <inttypes.h>

#include "base/strbuf.h"
#include "base/times.h"
#include "kubelet/credentials/certificate.h"
#include "kubelet/eviction/eviction.h"
#include "kubelet/pods.h"
#include "kubelet/stats/stats.h"

enum family {
    NODE_CPU,
    NODE_MEMORY,
    NODE_SWAP,
    POD_CPU,
    POD_MEMORY,
    POD_SWAP,
    CONTAINER_CPU,
    CONTAINER_MEMORY,
    CONTAINER_SWAP,
    CONTAINER_START,
    SCRAPE_ERROR,
    FAMILIES
};

static const struct {
    const char *name, *type, *help;
} families[FAMILIES] = {
    [NODE_CPU] = {"node_cpu_usage_seconds_total", "counter", "Processor time of the node"},
    [NODE_MEMORY] = {"node_memory_working_set_bytes", "gauge", "Working set of the node"},
    [NODE_SWAP] = {"node_swap_usage_bytes", "gauge", "Swap in use on the node"},
    [POD_CPU] = {"pod_cpu_usage_seconds_total", "counter", "Processor time of the pod"},
    [POD_MEMORY] = {"pod_memory_working_set_bytes", "gauge", "Working set of the pod"},
    [POD_SWAP] = {"pod_swap_usage_bytes", "gauge", "Swap in use by the pod"},
    [CONTAINER_CPU] = {"container_cpu_usage_seconds_total", "counter",
                       "Processor time of the container"},
    [CONTAINER_MEMORY] = {"container_memory_working_set_bytes", "gauge",
                          "Working set of the container"},
    [CONTAINER_SWAP] = {"container_swap_usage_bytes", "gauge", "Swap in use by the container"},
    [CONTAINER_START] = {"container_start_time_seconds", "gauge",
                         "When the container was started, since the epoch"},
    [SCRAPE_ERROR] = {"resource_scrape_error", "gauge", "1 when containers could not be read"},
};

struct writer {
    struct stats *stats;
    const struct stats_found *found;
    struct strbuf text[FAMILIES];
};

static void write_head(struct strbuf *out, const char *name, const char *type, const char *help)
{
    strbuf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void write_cpu(struct writer *w, enum family f, const char *labels, uint64_t ns,
                      int64_t at_ns)
{
    strbuf_addf(&w->text[f], "%s%s %" PRIu64 ".%09" PRIu64 " %" PRId64 "\n", families[f].name,
                labels, ns / 1000000000, ns % 1000000000, at_ns / 1000000);
}

static void write_number(struct writer *w, enum family f, const char *labels, uint64_t value,
                         int64_t at_ns)
{
    strbuf_addf(&w->text[f], "%s%s %" PRIu64 " %" PRId64 "\n", families[f].name, labels, value,
                at_ns / 1000000);
}

static void write_group(struct writer *w, enum family first, const char *labels,
                        const struct cgroup_stats *s)
{
    int64_t now = time_now_nano();
    if (s->has_cpu)
        write_cpu(w, first, labels, s->cpu_usage_ns, now);
    if (s->has_memory)
        write_number(w, first + 1, labels, s->memory_working_set, now);
    if (s->has_swap)
        write_number(w, first + 2, labels, s->swap_usage, now);
}

static void write_container(struct writer *w, const struct container_slot *s, const char *labels)
{
    const Runtime__V1__ContainerStats *c = stats_of_run(w->found, s->run);
    int64_t started = s->run->started;
    strbuf_addf(&w->text[CONTAINER_START], "%s%s %" PRId64 ".%09" PRId64 "\n",
                families[CONTAINER_START].name, labels, started / 1000000000, started % 1000000000);
    if (c && c->cpu && c->cpu->usage_core_nano_seconds)
        write_cpu(w, CONTAINER_CPU, labels, c->cpu->usage_core_nano_seconds->value,
                  c->cpu->timestamp);
    if (c && c->memory && c->memory->working_set_bytes)
        write_number(w, CONTAINER_MEMORY, labels, c->memory->working_set_bytes->value,
                     c->memory->timestamp);
    if (c && c->swap && c->swap->swap_usage_bytes)
        write_number(w, CONTAINER_SWAP, labels, c->swap->swap_usage_bytes->value,
                     c->swap->timestamp);
}

static void write_pod(const struct pod_worker *p, void *arg)
{
    struct writer *w = arg;
    const struct pod_meta *m = &p->pod->meta;
    struct cgroup_stats group;
    if (p->stage != WORKER_RUN)
        return;
    _cleanup_free_ char *labels = str_printf("{namespace=\"%s\",pod=\"%s\"}", m->ns, m->name);
    if (stats_of_pod(w->stats, p, &group))
        write_group(w, POD_CPU, labels, &group);
    for (size_t i = 0; i < p->n_slots; i++) {
        if (!slot_is_running(p->slots[i]))
            continue;
        _cleanup_free_ char *own = str_printf("{container=\"%s\",namespace=\"%s\",pod=\"%s\"}",
                                              slot_spec(p->slots[i])->name, m->ns, m->name);
        write_container(w, p->slots[i], own);
    }
}

void stats_resource_metrics(struct stats *s, const struct stats_found *f, struct strbuf *out)
{
    struct writer w = {.stats = s, .found = f};
    struct cgroup_stats host;
    host_stats(stats_kubelet(s), &host);
    write_group(&w, NODE_CPU, "", &host);
    pod_manager_each(stats_kubelet(s)->pods, write_pod, &w);
    strbuf_addf(&w.text[SCRAPE_ERROR], "%s %d\n", families[SCRAPE_ERROR].name, !f->containers);
    for (size_t i = 0; i < FAMILIES; i++) {
        if (w.text[i].len) {
            write_head(out, families[i].name, families[i].type, families[i].help);
            strbuf_adds(out, strbuf_text(&w.text[i]));
        }
        strbuf_done(&w.text[i]);
    }
}

/* ---- probes ---- */
static void write_probes(const struct pod_worker *p, void *arg)
{
    struct strbuf *out = arg;
    const struct pod_meta *m = &p->pod->meta;
    for (size_t i = 0; i < p->n_slots; i++) {
        const struct probe_totals *t = &p->slots[i]->probed;
        for (int k = 0; k < PROBE_KINDS; k++) {
            const uint64_t counts[] = {t->ok[k], t->failed[k]};
            static const char *const results[] = {"successful", "failed"};
            for (size_t n = 0; n < ARRAY_SIZE(counts); n++)
                if (counts[n])
                    strbuf_addf(out,
                                "prober_probe_total{container=\"%s\",namespace=\"%s\",pod=\"%s\","
                                "pod_uid=\"%s\",probe_type=\"%s\",result=\"%s\"} %" PRIu64 "\n",
                                slot_spec(p->slots[i])->name, m->ns, m->name, m->uid, probe_name(k),
                                results[n], counts[n]);
        }
    }
}

void stats_probe_metrics(const struct kubelet *k, struct strbuf *out)
{
    write_head(out, "prober_probe_total", "counter",
               "Results of the liveness, readiness and startup probes of containers");
    pod_manager_each(k->pods, write_probes, out);
}

/* ---- the kubelet's own ---- */
struct counts {
    unsigned pods, containers[RUN_EXITED + 1];
};

static void count(const struct pod_worker *p, void *arg)
{
    struct counts *c = arg;
    c->pods += p->sandbox.state == SANDBOX_READY;
    for (size_t i = 0; i < p->n_slots; i++)
        if (p->slots[i]->run)
            c->containers[p->slots[i]->run->state]++;
}

/* Upstream's names, which follow no rule. */
static void write_certificate(const struct certificate *c, const char *ttl, const char *errors,
                              struct strbuf *out)
{
    if (!c)
        return;
    write_head(out, ttl, "gauge",
               "Seconds until the certificate expires; negative when it has, infinite without one");
    if (certificate_expires(c))
        strbuf_addf(out, "%s %" PRId64 "\n", ttl, certificate_expires(c) - time_now());
    else
        strbuf_addf(out, "%s +Inf\n", ttl);
    write_head(out, errors, "counter", "How often asking for a certificate has failed");
    strbuf_addf(out, "%s %" PRIu64 "\n", errors, certificate_failures(c));
}

void stats_kubelet_metrics(const struct stats *s, struct strbuf *out)
{
    static const char *const states[] = {"created", "running", "exited"};
    const struct kubelet *k = stats_kubelet(s);
    struct counts c = {.pods = 0};
    pod_manager_each(k->pods, count, &c);
    write_head(out, "kubernetes_build_info", "gauge", "The version of this program");
    strbuf_addf(out, "kubernetes_build_info{git_version=\"%s\"} 1\n", CORACLE_VERSION);
    write_head(out, "kubelet_node_name", "gauge", "The name of the node");
    strbuf_addf(out, "kubelet_node_name{node=\"%s\"} 1\n", k->node_name);
    write_head(out, "kubelet_running_pods", "gauge", "Pods with a sandbox that is ready");
    strbuf_addf(out, "kubelet_running_pods %u\n", c.pods);
    write_head(out, "kubelet_running_containers", "gauge", "Containers by their state");
    for (size_t i = 0; i < ARRAY_SIZE(states); i++)
        strbuf_addf(out, "kubelet_running_containers{container_state=\"%s\"} %u\n", states[i],
                    c.containers[i]);
    write_head(out, "kubelet_evictions", "counter", "Pods evicted, by what the node was short of");
    for (enum eviction_signal e = 0; e < EVICTION_SIGNALS; e++)
        if (eviction_count(k->eviction, e))
            strbuf_addf(out, "kubelet_evictions{eviction_signal=\"%s\"} %" PRIu64 "\n",
                        signal_name(e), eviction_count(k->eviction, e));
    write_head(out, "kubelet_runtime_operations_total", "counter", "Calls of the runtime, by kind");
    for (int i = 0; i < CRI_METHODS; i++)
        if (k->runtime->calls[i])
            strbuf_addf(out,
                        "kubelet_runtime_operations_total{operation_type=\"%s\"} %" PRIu64 "\n",
                        cri_operation(i), k->runtime->calls[i]);
    write_certificate(k->client_certificate, "kubelet_certificate_manager_client_ttl_seconds",
                      "kubelet_certificate_manager_client_expiration_renew_errors", out);
    write_certificate(k->server_certificate, "kubelet_certificate_manager_server_ttl_seconds",
                      "kubelet_server_expiration_renew_errors", out);
}

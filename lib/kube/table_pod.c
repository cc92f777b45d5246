/* The cells of pods: the state in one word is computed as upstream's server does, so that what
 * people know from `kubectl get pods` holds. */
#include "base/json.h"
#include "base/strbuf.h"
#include "base/times.h"
#include "kube/meta.h"
#include "kube/table_internal.h"

struct pod_row {
    size_t ready, total;
    int64_t restarts;
    int64_t last_restart; /* ns since the epoch, 0 for never */
    char *reason;
};

static const char *text_at(const json_t *j, const char *path)
{
    const char *s = json_path_string(j, path);
    return s ? s : "";
}

static void set_reason(struct pod_row *row, char *reason)
{
    free(row->reason);
    row->reason = reason;
}

static bool has_condition(const json_t *pod, const char *type)
{
    const json_t *list = json_path(pod, "status.conditions");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *c = json_array_get(list, i);
        if (str_eq(text_at(c, "type"), type))
            return str_eq(text_at(c, "status"), "True");
    }
    return false;
}

static void count_restarts(const json_t *status, int64_t *restarts, int64_t *last)
{
    int64_t ns;
    *restarts += json_path_int(status, "restartCount", 0);
    const char *finished = json_path_string(status, "lastState.terminated.finishedAt");
    if (finished && time_parse(finished, &ns) == 0 && ns > *last)
        *last = ns;
}

/* "Error", "Signal:9" or "ExitCode:1". */
static char *terminated_text(const json_t *terminated, const char *prefix)
{
    const char *reason = text_at(terminated, "reason");
    int64_t signal = json_path_int(terminated, "signal", 0);
    if (*reason)
        return str_printf("%s%s", prefix, reason);
    if (signal)
        return str_printf("%sSignal:%lld", prefix, (long long)signal);
    return str_printf("%sExitCode:%lld", prefix,
                      (long long)json_path_int(terminated, "exitCode", 0));
}

static bool is_sidecar(const json_t *pod, const char *name)
{
    const json_t *list = json_path(pod, "spec.initContainers");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *c = json_array_get(list, i);
        if (str_eq(text_at(c, "name"), name))
            return str_eq(text_at(c, "restartPolicy"), "Always");
    }
    return false;
}

/* Goes through init containers up to the first that is not done. Returns whether there is one;
 * *side gets the restarts of sidecars alone. */
static bool add_init(const json_t *pod, struct pod_row *row, struct pod_row *side)
{
    const json_t *list = json_path(pod, "status.initContainerStatuses");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *s = json_array_get(list, i);
        const json_t *terminated = json_path(s, "state.terminated");
        const char *waiting = text_at(s, "state.waiting.reason");
        bool sidecar = is_sidecar(pod, text_at(s, "name"));
        count_restarts(s, &row->restarts, &row->last_restart);
        if (sidecar)
            count_restarts(s, &side->restarts, &side->last_restart);
        if (terminated && json_path_int(terminated, "exitCode", -1) == 0)
            continue;
        if (sidecar && json_path_bool(s, "started", false)) {
            row->ready += json_path_bool(s, "ready", false);
            continue;
        }
        if (terminated)
            set_reason(row, terminated_text(terminated, "Init:"));
        else if (*waiting && !str_eq(waiting, "PodInitializing"))
            set_reason(row, str_printf("Init:%s", waiting));
        else
            set_reason(row, str_printf("Init:%zu/%zu", i,
                                       json_array_size(json_path(pod, "spec.initContainers"))));
        return true;
    }
    return false;
}

static void add_containers(const json_t *pod, struct pod_row *row)
{
    const json_t *list = json_path(pod, "status.containerStatuses");
    bool running = false;
    for (size_t i = json_array_size(list); i-- > 0;) {
        const json_t *s = json_array_get(list, i);
        const json_t *terminated = json_path(s, "state.terminated");
        const char *waiting = text_at(s, "state.waiting.reason");
        count_restarts(s, &row->restarts, &row->last_restart);
        if (*waiting) {
            set_reason(row, str_dup(waiting));
        } else if (terminated) {
            set_reason(row, terminated_text(terminated, ""));
        } else if (json_path_bool(s, "ready", false) && json_path(s, "state.running")) {
            running = true;
            row->ready++;
        }
    }
    if (running && str_eq(row->reason, "Completed"))
        set_reason(row, str_dup(has_condition(pod, "Ready") ? "Running" : "NotReady"));
}

static bool is_gated(const json_t *pod)
{
    const json_t *list = json_path(pod, "status.conditions");
    for (size_t i = 0; i < json_array_size(list); i++)
        if (str_eq(text_at(json_array_get(list, i), "type"), "PodScheduled") &&
            str_eq(text_at(json_array_get(list, i), "reason"), "SchedulingGated"))
            return true;
    return false;
}

static void compute(const json_t *pod, struct pod_row *row)
{
    struct pod_row side = {0};
    const char *phase = text_at(pod, "status.phase"), *why = text_at(pod, "status.reason");
    const json_t *init = json_path(pod, "spec.initContainers");
    *row = (struct pod_row){.total = json_array_size(json_path(pod, "spec.containers"))};
    for (size_t i = 0; i < json_array_size(init); i++)
        row->total += str_eq(text_at(json_array_get(init, i), "restartPolicy"), "Always");
    set_reason(row, str_dup(is_gated(pod) ? "SchedulingGated" : *why ? why : phase));
    bool initializing = add_init(pod, row, &side);
    if (!initializing || has_condition(pod, "Initialized")) {
        row->restarts = side.restarts;
        row->last_restart = side.last_restart;
        add_containers(pod, row);
    }
    if (!*meta_deletion_timestamp(pod))
        return;
    if (str_eq(why, "NodeLost"))
        set_reason(row, str_dup("Unknown"));
    else if (!str_eq(phase, "Succeeded") && !str_eq(phase, "Failed"))
        set_reason(row, str_dup("Terminating"));
}

static json_t *restarts_cell(const struct pod_row *row, int64_t now)
{
    char age[TABLE_AGE_MAX];
    _cleanup_free_ char *text = NULL;
    if (row->restarts && row->last_restart)
        text = str_printf("%lld (%s ago)", (long long)row->restarts,
                          table_age(now - row->last_restart / 1000000000, age));
    else
        text = str_printf("%lld", (long long)row->restarts);
    return json_string(text);
}

static json_t *gates_cell(const json_t *pod)
{
    const json_t *gates = json_path(pod, "spec.readinessGates");
    size_t good = 0;
    for (size_t i = 0; i < json_array_size(gates); i++)
        good += has_condition(pod, text_at(json_array_get(gates, i), "conditionType"));
    if (!json_array_size(gates))
        return json_string("<none>");
    _cleanup_free_ char *text = str_printf("%zu/%zu", good, json_array_size(gates));
    return json_string(text);
}

json_t *table_pod_cell(const char *column, const json_t *pod, int64_t now)
{
    if (str_eq(column, "IP")) {
        const char *ip = json_path_string(json_array_get(json_path(pod, "status.podIPs"), 0), "ip");
        return table_text(ip ? ip : json_path_string(pod, "status.podIP"), "<none>");
    }
    if (str_eq(column, "Node"))
        return table_text(json_path_string(pod, "spec.nodeName"), "<none>");
    if (str_eq(column, "Nominated Node"))
        return table_text(json_path_string(pod, "status.nominatedNodeName"), "<none>");
    if (str_eq(column, "Readiness Gates"))
        return gates_cell(pod);
    struct pod_row row;
    json_t *cell = NULL;
    compute(pod, &row);
    if (str_eq(column, "Ready")) {
        _cleanup_free_ char *text = str_printf("%zu/%zu", row.ready, row.total);
        cell = json_string(text);
    } else if (str_eq(column, "Status")) {
        cell = json_text(row.reason);
    } else if (str_eq(column, "Restarts")) {
        cell = restarts_cell(&row, now);
    }
    free(row.reason);
    return cell;
}

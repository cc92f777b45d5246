/* Seccomp profiles in JSON (OCI runtime specification, "linux.seccomp"); see seccomp.h. */
#include <ctype.h>
#include <errno.h>
#include <linux/seccomp.h>
#include <string.h>

#include "base/json.h"
#include "cri/seccomp.h"
#include "cri/seccomp_filter.h"

#define RULES_MAX 8192 /* calls times conditions: more than any machine has */
#define ARGS_MAX  6
#define ERRNO_MAX 4095
#define TRACE_MAX 0xffff

static const struct {
    const char *name;
    uint32_t action;
} actions[] = {
    {"SCMP_ACT_KILL", SCMP_ACT_KILL_THREAD},
    {"SCMP_ACT_KILL_THREAD", SCMP_ACT_KILL_THREAD},
    {"SCMP_ACT_KILL_PROCESS", SCMP_ACT_KILL_PROCESS},
    {"SCMP_ACT_TRAP", SCMP_ACT_TRAP},
    {"SCMP_ACT_ALLOW", SCMP_ACT_ALLOW},
    {"SCMP_ACT_LOG", SCMP_ACT_LOG},
};

/* The action that @j's @name is, with the number in its @number. */
static int parse_action(const json_t *j, const char *prefix, const char *name, const char *number,
                        uint32_t *ret, struct error *err)
{
    const char *text = json_path_string(j, name);
    const json_t *n = json_path(j, number);
    const bool fails = str_eq(text, "SCMP_ACT_ERRNO"), traces = str_eq(text, "SCMP_ACT_TRACE");
    const int64_t value = n ? json_path_int(j, number, -1) : EPERM;
    _cleanup_free_ char *field = str_printf("%s%s", prefix, n ? number : name);
    if (n && !fails && !traces)
        return error_set_field(err, -EINVAL, field,
                               "%s: only for SCMP_ACT_ERRNO and "
                               "SCMP_ACT_TRACE",
                               field);
    if (value < 0 || value > (traces ? TRACE_MAX : ERRNO_MAX))
        return error_set_field(err, -EINVAL, field, "%s: no number of an error", field);
    if (fails || traces) {
        *ret = fails ? SCMP_ACT_ERRNO((uint32_t)value) : SCMP_ACT_TRACE((uint32_t)value);
        return 0;
    }
    for (size_t i = 0; text && i < ARRAY_SIZE(actions); i++)
        if (str_eq(actions[i].name, text)) {
            *ret = actions[i].action;
            return 0;
        }
    return error_set_field(err, -EINVAL, field, "%s: \"%.40s\" is not an action that we know",
                           field, text ? text : "");
}

static int parse_arg(const json_t *j, const char *field, struct scmp_arg_cmp *ret,
                     struct error *err)
{
    static const struct {
        const char *name;
        enum scmp_compare op;
    } ops[] = {{"SCMP_CMP_NE", SCMP_CMP_NE},
               {"SCMP_CMP_LT", SCMP_CMP_LT},
               {"SCMP_CMP_LE", SCMP_CMP_LE},
               {"SCMP_CMP_EQ", SCMP_CMP_EQ},
               {"SCMP_CMP_GE", SCMP_CMP_GE},
               {"SCMP_CMP_GT", SCMP_CMP_GT},
               {"SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ}};
    const char *op = json_path_string(j, "op");
    const int64_t index = json_path_int(j, "index", -1);
    const int64_t value = json_path_int(j, "value", -1), two = json_path_int(j, "valueTwo", 0);
    const char *bad = index < 0 || index >= ARGS_MAX ? "index"
                      : value < 0                    ? "value"
                      : two < 0                      ? "valueTwo"
                                                     : NULL;
    for (size_t i = 0; !bad && i < ARRAY_SIZE(ops); i++)
        if (str_eq(ops[i].name, op)) {
            *ret =
                (struct scmp_arg_cmp){(unsigned)index, ops[i].op, (uint64_t)value, (uint64_t)two};
            return 0;
        }
    return error_set_field(err, -EINVAL, field, "%s.%s: missing or not valid", field,
                           bad ? bad : "op");
}

struct conditions {
    struct scmp_arg_cmp args[ARGS_MAX];
    unsigned n;
    bool any; /* an argument has more than one: each is enough, as in runc */
};

static int parse_args(const json_t *j, const char *rule, struct conditions *c, struct error *err)
{
    size_t i;
    json_t *arg;
    json_array_foreach(json_path(j, "args"), i, arg) {
        _cleanup_free_ char *field = str_printf("%s.args[%zu]", rule, i);
        if (c->n == ARGS_MAX)
            return error_set_field(err, -EINVAL, field, "%s: more than %d", field, ARGS_MAX);
        int r = parse_arg(arg, field, &c->args[c->n], err);
        if (r < 0)
            return r;
        for (unsigned k = 0; k < c->n; k++)
            c->any |= c->args[k].arg == c->args[c->n].arg;
        c->n++;
    }
    return 0;
}

/* Docker's own format has conditions on rules, which the OCI's readers take for none. */
static int check_rule(const json_t *j, const char *rule, struct error *err)
{
    static const char *const docker[] = {"includes", "excludes"};
    for (size_t i = 0; i < ARRAY_SIZE(docker); i++)
        if (json_object_size(json_path(j, docker[i])))
            return error_set_field(err, -EINVAL, rule,
                                   "%s.%s: not of the OCI's format, and not to be passed over",
                                   rule, docker[i]);
    if (!json_array_size(json_path(j, "names")))
        return error_set_field(err, -EINVAL, rule, "%s.names: missing", rule);
    return 0;
}

static int add_rule(struct seccomp_filter *f, const json_t *j, size_t number, unsigned *total,
                    struct error *err)
{
    struct conditions c = {.n = 0};
    uint32_t action = 0;
    _cleanup_free_ char *rule = str_printf("syscalls[%zu]", number);
    _cleanup_free_ char *prefix = str_printf("%s.", rule);
    int r;
    if ((r = check_rule(j, rule, err)) < 0 ||
        (r = parse_action(j, prefix, "action", "errnoRet", &action, err)) < 0 ||
        (r = parse_args(j, rule, &c, err)) < 0)
        return r;
    size_t i;
    json_t *name;
    json_array_foreach(json_path(j, "names"), i, name) {
        const char *call = json_string_value(name);
        if (!call)
            return error_set_field(err, -EINVAL, rule, "%s.names[%zu]: not a string", rule, i);
        unsigned n = c.any ? c.n : 1;
        if ((*total += n) > RULES_MAX)
            return error_set_field(err, -E2BIG, "syscalls", "syscalls: more than %d", RULES_MAX);
        for (unsigned k = 0; r == 0 && k < n; k++)
            r = seccomp_filter_rule(f, action, call, c.any ? 1 : c.n, c.args + (c.any ? k : 0));
        if (r < 0)
            return error_errno(err, r, "%s: %.60s", rule, call);
    }
    return 0;
}

static int add_architectures(struct seccomp_filter *f, const json_t *list, struct error *err)
{
    size_t i;
    json_t *j;
    json_array_foreach(list, i, j) {
        char name[32] = "";
        const char *text = json_is_string(j) ? json_string_value(j) : "";
        if (str_starts(text, "SCMP_ARCH_"))
            (void)snprintf(name, sizeof(name), "%s", text + strlen("SCMP_ARCH_"));
        for (char *p = name; *p; p++)
            *p = (char)tolower((unsigned char)*p);
        uint32_t arch = seccomp_arch_resolve_name(name);
        if (!arch)
            return error_set_field(err, -EINVAL, "architectures",
                                   "architectures[%zu]: \"%.40s\" is none that we know", i, text);
        int r = seccomp_filter_arch(f, arch);
        if (r < 0)
            return error_errno(err, r, "architectures[%zu]: %s", i, text);
    }
    return 0;
}

static int parse_flags(const json_t *list, unsigned *ret, struct error *err)
{
    static const struct {
        const char *name;
        unsigned flag;
    } flags[] = {{"SECCOMP_FILTER_FLAG_TSYNC", 0}, /* there is one thread yet */
                 {"SECCOMP_FILTER_FLAG_LOG", SECCOMP_FILTER_FLAG_LOG},
                 {"SECCOMP_FILTER_FLAG_SPEC_ALLOW", SECCOMP_FILTER_FLAG_SPEC_ALLOW}};
    size_t i, k;
    json_t *j;
    *ret = 0;
    json_array_foreach(list, i, j) {
        const char *text = json_is_string(j) ? json_string_value(j) : "";
        for (k = 0; k < ARRAY_SIZE(flags) && !str_eq(flags[k].name, text); k++)
            continue;
        if (k == ARRAY_SIZE(flags))
            return error_set_field(err, -EINVAL, "flags",
                                   "flags[%zu]: \"%.60s\" is none that we know", i, text);
        *ret |= flags[k].flag;
    }
    return 0;
}

static int check_lists(const json_t *j, struct error *err)
{
    static const char *const lists[] = {"architectures", "flags", "syscalls"};
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
        const json_t *l = json_path(j, lists[i]);
        if (l && !json_is_array(l) && !json_is_null(l))
            return error_set_field(err, -EINVAL, lists[i], "%s: not a list", lists[i]);
    }
    return 0;
}

int seccomp_from_json(const char *json, size_t len, struct strbuf *out, unsigned *ret_flags,
                      struct error *err)
{
    _cleanup_json_ json_t *j = json_parse(json, len, err);
    if (!j)
        return -EINVAL;
    uint32_t fallback = 0;
    unsigned total = 0;
    int r = check_lists(j, err);
    if (r == 0)
        r = parse_action(j, "", "defaultAction", "defaultErrnoRet", &fallback, err);
    if (r == 0)
        r = parse_flags(json_path(j, "flags"), ret_flags, err);
    if (r < 0)
        return r;
    struct seccomp_filter f;
    r = seccomp_filter_init(&f, fallback);
    if (r < 0)
        r = error_set_field(err, r, "defaultAction", "defaultAction: not one for a default");
    else
        r = add_architectures(&f, json_path(j, "architectures"), err);
    size_t i;
    json_t *entry;
    json_array_foreach(json_path(j, "syscalls"), i, entry) {
        if (r == 0)
            r = add_rule(&f, entry, i, &total, err);
    }
    if (r == 0)
        r = seccomp_filter_export(&f, out, err);
    seccomp_filter_done(&f);
    return r;
}

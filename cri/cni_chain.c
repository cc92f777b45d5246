/* Running the plugins of a configuration; see cni_chain.h. */
#include "cri/cni_chain.h"

#include <errno.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/vfs.h>

#include "base/process.h"
#include "cri/cni_config.h"
#include "cri/cni_result.h"

extern char **environ;

static const char *const commands[] = {[CNI_ADD] = "ADD", [CNI_DEL] = "DEL", [CNI_GC] = "GC"};

struct cni_chain {
    struct cni_chain_options o;
    size_t done_plugins;
    json_t *result; /* of the plugin before (ADD); of ADD as a whole (DEL) */
    struct process_run *process;
    struct loop_deferred step;
    struct error err; /* why the next step is the last */
    void (*done)(int code, json_t *result, const struct error *err, void *arg);
    void *arg;
};

static size_t current(const struct cni_chain *c)
{
    size_t n = cni_config_count(c->o.attachment->config);
    return c->o.command == CNI_DEL ? n - 1 - c->done_plugins : c->done_plugins;
}

static const char *current_type(const struct cni_chain *c)
{
    return cni_config_type(c->o.attachment->config, current(c));
}

static void free_chain(struct cni_chain *c)
{
    loop_deferred_done(&c->step);
    json_decref(c->result);
    free(c);
}

static void finish(struct cni_chain *c)
{
    c->done(c->err.code, c->err.code == 0 && c->o.command == CNI_ADD ? c->result : NULL, &c->err,
            c->arg);
    free_chain(c);
}

/* ---- what a plugin is given ---- */

/* A namespace that is gone is not named: the plugin then frees what it can (section DEL). */
static const char *namespace_of(const struct cni_attachment *a)
{
    struct statfs s;
    return statfs(a->netns, &s) == 0 && s.f_type == NSFS_MAGIC ? a->netns : "";
}

struct environment {
    char **vars; /* NULL-terminated */
    size_t n;
};

static void add_var(struct environment *e, char *var)
{
    e->vars = mem_grow(e->vars, e->n + 2, sizeof(char *));
    e->vars[e->n++] = var;
    e->vars[e->n] = NULL;
}

static struct environment environment_of(const struct cni_chain *c)
{
    const struct cni_attachment *a = c->o.attachment;
    struct environment e = {.n = 0};
    for (char **var = environ; *var; var++)
        if (!str_starts(*var, "CNI_"))
            add_var(&e, str_dup(*var));
    add_var(&e, str_printf("CNI_COMMAND=%s", commands[c->o.command]));
    add_var(&e, str_printf("CNI_PATH=%s", c->o.path));
    if (c->o.command != CNI_GC) {
        add_var(&e, str_printf("CNI_CONTAINERID=%s", a->sandbox));
        add_var(&e, str_printf("CNI_NETNS=%s", namespace_of(a)));
        add_var(&e, str_dup("CNI_IFNAME=" CNI_IFNAME));
        add_var(&e, str_printf("CNI_ARGS=%s", a->args));
    }
    return e;
}

static json_t *input_of(const struct cni_chain *c)
{
    const struct cni_attachment *a = c->o.attachment;
    json_t *input = cni_config_input(a->config, current(c), a->runtime, c->result);
    if (c->o.command == CNI_GC) {
        (void)json_object_set(input, "cni.dev/valid-attachments", c->o.valid);
        /* The name that the specification's first text had. */
        (void)json_object_set(input, "cni.dev/attachments", c->o.valid);
    }
    return input;
}

/* ---- steps ---- */
static void on_ended(const struct process_result *result, void *arg)
{
    struct cni_chain *c = arg;
    const char *type = current_type(c), *command = commands[c->o.command];
    c->process = NULL;
    int r = cni_result_error(result, command, type, &c->err);
    if (r == 0 && c->o.command == CNI_ADD) {
        json_t *j =
            cni_result_parse(strbuf_text(result->out), result->out->len,
                             json_path_string(c->o.attachment->config, "cniVersion"), &c->err);
        if (j) {
            json_decref(c->result);
            c->result = j;
        } else {
            r = error_prefix(&c->err, -EINVAL, "CNI plugin %s (%s)", type, command);
        }
    }
    if (r == 0 && ++c->done_plugins < cni_config_count(c->o.attachment->config))
        loop_defer(&c->step);
    else
        finish(c);
}

static int run_plugin(struct cni_chain *c, struct error *err)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    _cleanup_free_ char *program = cni_plugin_find(c->o.path, current_type(c));
    if (!program)
        return error_set(err, -ENOENT, "the CNI plugin %s is not in %s", current_type(c),
                         c->o.path);
    _cleanup_json_ json_t *input = input_of(c);
    json_encode(input, &text);
    struct environment e = environment_of(c);
    const char *const argv[] = {program, NULL};
    struct process_spec spec = PROCESS_SPEC_INIT;
    spec.argv = argv;
    spec.envp = (const char *const *)e.vars;
    spec.new_session = true;
    int r = process_run(c->o.loop, &spec, text.data, text.len, CNI_OUTPUT_MAX, c->o.deadline_ms,
                        on_ended, c, &c->process, err);
    for (size_t i = 0; i < e.n; i++)
        free(e.vars[i]);
    free(e.vars);
    return r;
}

static void on_step(void *arg)
{
    struct cni_chain *c = arg;
    if (run_plugin(c, &c->err) < 0)
        finish(c);
}

struct cni_chain *cni_chain_start(const struct cni_chain_options *options,
                                  void (*done)(int code, json_t *result, const struct error *err,
                                               void *arg),
                                  void *arg)
{
    struct cni_chain *c = mem_zalloc(sizeof(*c));
    c->o = *options;
    c->done = done;
    c->arg = arg;
    /* The specification has it since 0.4.0. */
    if (options->command == CNI_DEL && cni_config_at_least(options->attachment->config, "0.4.0"))
        c->result = json_incref(options->attachment->result);
    loop_deferred_init(&c->step, options->loop, on_step, c);
    loop_defer(&c->step);
    return c;
}

void cni_chain_cancel(struct cni_chain *chain)
{
    if (!chain)
        return;
    process_run_cancel(chain->process);
    free_chain(chain);
}
